"""OPC UA links: policies, trust on both sides, identities, and never less security than was asked for."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from opcua_world import by_node, pki_at, plant

from device_profiles.errors import ConfigError, LinkRefused, LinkTimeout, PlantroomError
from drivers.base import Address, Limits, LinkConfig, OpcUaLink
from drivers.opcua import pki
from drivers.opcua.connect import POLICIES
from drivers.opcua.driver import OpcUaDriver
from firmware_sim.opcua.server import APPLICATION_URI, USERS, make_certificate

SECURE = [policy for policy in POLICIES if policy != "none"]
DRIVER = OpcUaDriver()


@pytest.fixture
def healed() -> Iterator[None]:
    yield
    plant().server.offer()
    plant().server.trusted_clients = None


async def read_power(link: LinkConfig) -> Any:
    [batch] = DRIVER.plan(by_node(["ChillerPlant.Chiller1.Power"]), Limits(), None, link)
    async with DRIVER.open(link) as session:
        [value] = await session.read(Address(0), batch)
        return value


async def refused(link: LinkConfig, kind: type[PlantroomError] = LinkRefused) -> str:
    with pytest.raises(kind) as caught:
        await read_power(link)
    assert caught.value.next_step
    assert caught.value.where
    return str(caught.value)


@pytest.mark.parametrize("mode", ["sign", "sign_and_encrypt"])
@pytest.mark.parametrize("policy", SECURE)
async def test_every_policy_and_mode(policy: str, mode: str, tmp_path: Path) -> None:
    folder = pki_at(tmp_path, plant().server.certificate)
    assert await read_power(plant().link(policy=policy, mode=mode, pki=str(folder))) > 0


async def test_an_unknown_server_is_refused_and_its_certificate_kept_for_a_person(tmp_path: Path) -> None:
    folder = pki_at(tmp_path)
    link = plant().link(policy="Basic256Sha256", pki=str(folder))
    said = await refused(link)
    [kept] = (folder / "rejected").iterdir()
    assert "not trusted" in said
    assert str(kept) in said
    assert str(folder / "trusted") in said
    assert kept.read_bytes() == plant().server.certificate
    await refused(link)
    assert len(list((folder / "rejected").iterdir())) == 1
    kept.rename(folder / "trusted" / kept.name)
    assert await read_power(link) > 0


async def test_a_server_that_does_not_trust_us_is_told_with_our_file(tmp_path: Path, healed: None) -> None:
    plant().server.trusted_clients = set()
    folder = pki_at(tmp_path, plant().server.certificate)
    said = await refused(plant().link(policy="Basic256Sha256", pki=str(folder)))
    assert str(folder / "own" / "plantroom.der") in said


async def test_a_server_that_offers_only_none_gets_nothing(tmp_path: Path, healed: None) -> None:
    await plant().on(lambda: plant().server.offer("none"))
    folder = pki_at(tmp_path, plant().server.certificate)
    said = await refused(plant().link(policy="Basic256Sha256", pki=str(folder)))
    assert "does not offer Basic256Sha256 sign_and_encrypt; it offers none" in said
    assert "127.0.0.1" in said


async def test_the_mode_is_not_lowered_either(tmp_path: Path, healed: None) -> None:
    await plant().on(lambda: plant().server.offer("none", "Basic256Sha256 sign"))
    folder = pki_at(tmp_path, plant().server.certificate)
    assert "it offers Basic256Sha256 sign, none" in await refused(
        plant().link(policy="Basic256Sha256", pki=str(folder))
    )


def password_in(tmp_path: Path, text: str) -> str:
    path = tmp_path / "password"
    path.write_text(text + "\n", encoding="utf-8")
    return str(path)


async def test_a_user_comes_in_and_a_wrong_password_is_said_without_it(tmp_path: Path) -> None:
    folder = pki_at(tmp_path / "pki", plant().server.certificate)
    [(user, password)] = USERS.items()
    link = plant().link(
        policy="Basic256Sha256",
        pki=str(folder),
        identity="user",
        user=user,
        password_file=password_in(tmp_path, password),
    )
    assert await read_power(link) > 0
    said = await refused(
        replace(link, opcua=replace(link.opcua, password_file=password_in(tmp_path, "wrong-7461")))  # type: ignore[type-var]
    )
    assert "identity" in said
    assert "wrong-7461" not in said


async def test_a_password_is_encrypted_for_a_trusted_server_or_does_not_leave(tmp_path: Path) -> None:
    [(user, password)] = USERS.items()
    own = {"identity": "user", "user": user, "password_file": password_in(tmp_path, password)}
    untrusted = pki_at(tmp_path / "a")
    assert "not trusted" in await refused(plant().link(pki=str(untrusted), **own))
    trusted = pki_at(tmp_path / "b", plant().server.certificate)
    assert await read_power(plant().link(pki=str(trusted), **own)) > 0


async def test_a_missing_or_empty_password_file_is_said_with_its_name(tmp_path: Path) -> None:
    own = {"identity": "user", "user": "operator", "pki": str(tmp_path)}
    assert "cannot read" in await refused(plant().link(password_file=str(tmp_path / "none"), **own))
    assert "empty" in await refused(plant().link(password_file=password_in(tmp_path, ""), **own))


async def test_a_certificate_is_an_identity(tmp_path: Path, healed: None) -> None:
    folder = pki_at(tmp_path, plant().server.certificate)
    link = plant().link(policy="Aes256Sha256RsaPss", pki=str(folder), identity="certificate")
    assert await read_power(link) > 0


def test_our_certificate_is_made_once_and_its_key_is_ours_alone(tmp_path: Path) -> None:
    link = LinkConfig("plant", "opcua", opcua=OpcUaLink(pki=str(tmp_path), application_uri="urn:house:agent-7"))
    first = pki.own_of(link)
    key_path = tmp_path / "own" / "plantroom.key.pem"
    assert stat.S_IMODE(key_path.stat().st_mode) == 0o600
    assert first.key.key_size == 2048
    names = first.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:house:agent-7"]
    assert names.get_values_for_type(x509.DNSName)
    assert pki.own_of(link).certificate == first.certificate


def link_to(folder: Path, host: str = "plc.example") -> LinkConfig:
    return LinkConfig("plant", "opcua", host=host, port=4840, opcua=OpcUaLink(pki=str(folder)))


def check(folder: Path, certificate: bytes | None, uri: str = APPLICATION_URI, host: str = "plc.example") -> str:
    with pytest.raises(LinkRefused) as caught:
        pki.check_server(link_to(folder, host), certificate, uri)
    assert caught.value.next_step
    return str(caught.value)


def test_what_is_wrong_with_a_servers_certificate_is_said(tmp_path: Path) -> None:
    expired, _ = make_certificate(APPLICATION_URI, days=5, ago_days=10)
    weak, _ = make_certificate(APPLICATION_URI, bits=1024)
    good, _ = make_certificate(APPLICATION_URI)
    folder = pki_at(tmp_path, expired, weak, good)
    assert "is valid" in check(folder, expired)
    assert "too weak" in check(folder, weak)
    assert "shows no certificate" in check(folder, None)
    assert "shows no certificate" in check(folder, b"\x30\x82\xff\xff\x00")
    assert "calls itself urn:somebody:else" in check(folder, good, "urn:somebody:else")
    assert pki.check_server(link_to(folder), good + b"\x30\x03\x01\x01\x00", APPLICATION_URI)


def test_an_issuer_is_trusted_for_the_hosts_it_names(tmp_path: Path) -> None:
    import datetime

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding

    def signed(name: str, issuer: str, key: Any, by: Any, *, is_ca: bool) -> bytes:
        common = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (name, issuer)]
        now = datetime.datetime.now(datetime.UTC)
        names = [x509.UniformResourceIdentifier(APPLICATION_URI), x509.DNSName("plc.example")]
        builder = x509.CertificateBuilder().subject_name(common[0]).issuer_name(common[1]).public_key(key.public_key())
        builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=90))
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(by, hashes.SHA256()).public_bytes(Encoding.DER)

    root, server = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    authority = signed("house CA", "house CA", root, root, is_ca=True)
    issued = signed("plc", "house CA", server, root, is_ca=False)
    forged = signed("plc", "house CA", server, server, is_ca=False)
    folder = pki_at(tmp_path, authority)
    assert pki.check_server(link_to(folder), issued, APPLICATION_URI)
    assert "for plc.example, not for 10.0.0.9" in check(folder, issued, host="10.0.0.9")
    assert "not trusted" in check(folder, forged)
    not_ca = pki_at(tmp_path / "other", forged)
    assert "not trusted" in check(not_ca, issued)


def test_our_own_expired_or_foreign_files_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    certificate, key = make_certificate("urn:plantroom:agent", days=5, ago_days=10)
    _, other_key = make_certificate("urn:plantroom:agent")
    for name, data in (("c.der", certificate), ("k.pem", key), ("o.pem", other_key), ("x.pem", b"nothing")):
        (tmp_path / name).write_bytes(data)

    def said(certificate_name: str, key_name: str) -> str:
        own = OpcUaLink(certificate=str(tmp_path / certificate_name), key=str(tmp_path / key_name))
        with pytest.raises(ConfigError) as caught:
            pki.own_of(LinkConfig("plant", "opcua", opcua=own))
        return str(caught.value)

    assert "is valid" in said("c.der", "k.pem")
    assert "do not belong together" in said("c.der", "o.pem")
    assert "is none" in said("c.der", "x.pem")
    assert "cannot use" in said("gone.der", "k.pem")


async def test_nobody_there_no_such_host_and_another_protocol_are_told_apart(unused_tcp_port: int) -> None:
    link = replace(plant().link(), port=unused_tcp_port)
    assert "refused" in (await refused(link)).lower()
    assert await refused(replace(link, host="no-such-host.invalid"), PlantroomError)
    with pytest.raises(ConfigError):
        DRIVER.open(LinkConfig("m", "tcp", host="127.0.0.1"))


async def test_a_server_that_never_answers_is_a_timeout() -> None:
    import asyncio

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    said = await refused(replace(plant().link(), port=port, timeout_s=0.1), LinkTimeout)
    assert "list its endpoints within 0.1 s" in said
    server.close()
