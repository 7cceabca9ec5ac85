"""TLS against Debian's mosquitto: who is let in, who is not, and what is said about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.mqtt import MqttSettings
from tests.gateway.mqtt_box import Mosquitto, mosquitto, needs_mosquitto, probe, scripted, settings, until

pytestmark = [pytest.mark.real, needs_mosquitto]


@dataclass
class Authority:
    """A certificate authority of the test and what it signs."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        self.file = self.folder / f"{self.name}.pem"
        builder = self._builder(self._subject, self._key, days=10).add_extension(
            x509.BasicConstraints(True, None), True
        )
        self.file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days))
        )

    def sign(self, name: str, *, days: int = 5, host: str | None = None) -> tuple[Path, Path]:
        """(certificate, key) files; `days` below 0 has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, days=days)
        if host is not None:
            names = x509.SubjectAlternativeName(
                [x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)]
            )
            builder = builder.add_extension(names, False)
        cert_file, key_file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        cert_file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file


@dataclass
class Setup:
    authority: Authority
    broker: Mosquitto

    def client(self, name: str = "gw-01", *, days: int = 5, ca: Path | None = None) -> MqttSettings:
        cert, key = self.authority.sign(name, days=days)
        return settings(self.broker.port, tls=True, ca=ca or self.authority.file, cert=cert, key=key)


def lines(ca: Path, cert: Path, key: Path) -> str:
    return f"cafile {ca}\ncertfile {cert}\nkeyfile {key}\nrequire_certificate true\nuse_identity_as_username true\n"


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    authority = Authority(tmp_path, "authority")
    async with mosquitto(tmp_path, lines(authority.file, *authority.sign("server", host="127.0.0.1"))) as broker:
        yield Setup(authority, broker)


async def first_reason(mqtt: MqttSettings) -> str:
    async with probe(mqtt, join=False) as one:
        await until(lambda: bool(one.reasons) or one.session.connected)
        assert not one.session.connected
        assert one.session.connects == 0
        return one.reasons[0]


async def test_client_certificate_lets_in(setup: Setup) -> None:
    codes: list[int] = []
    async with probe(setup.client()) as one:
        for _ in range(300):
            one.session.publish("t", b"x" * 3000, on_ack=codes.append)
        await until(lambda: len(codes) == 300)
        assert one.reasons == []


async def test_broker_of_another_authority(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "stranger")
    reason = await first_reason(setup.client(ca=other.file))
    assert "the broker's certificate is not accepted" in reason
    assert "mqtt.ca" in reason


async def test_broker_under_another_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    async with mosquitto(tmp_path, lines(authority.file, *authority.sign("server", host="hq.example"))) as broker:
        reason = await first_reason(Setup(authority, broker).client())
        assert "IP address mismatch" in reason
        assert "mqtt.url" in reason


async def test_broker_with_an_expired_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    server = authority.sign("server", host="127.0.0.1", days=-1)
    async with mosquitto(tmp_path, lines(authority.file, *server)) as broker:
        reason = await first_reason(Setup(authority, broker).client())
        assert "expired" in reason
        assert "renew the broker's certificate" in reason


async def test_our_certificate_has_expired_and_is_renewed(setup: Setup) -> None:
    """The session goes on trying, reads the files anew each time, and says which one and since when."""
    mqtt = setup.client("gw-09", days=-2)
    async with probe(mqtt, join=False) as one:
        await until(lambda: bool(one.reasons))
        reason = one.reasons[0]
        assert "gw-09.crt, valid until 20" in reason
        assert "renew mqtt.cert" in reason
        setup.authority.sign("gw-09", days=5)
        await one.connected()


async def test_without_a_certificate_of_ours(setup: Setup) -> None:
    mqtt = settings(setup.broker.port, tls=True, ca=setup.authority.file)
    reason = await first_reason(mqtt)
    # Which one is seen is a race between the alert and the reset that follows it.
    assert "refuses our certificate: none is configured" in reason or "may want a client certificate" in reason


async def test_missing_file_and_wrong_file(setup: Setup, tmp_path: Path) -> None:
    reason = await first_reason(settings(setup.broker.port, tls=True, ca=tmp_path / "none.pem"))
    assert "none.pem" in reason
    assert "correct mqtt.ca" in reason
    cert, _ = setup.authority.sign("a")
    _, key = setup.authority.sign("b")
    wrong = settings(setup.broker.port, tls=True, ca=setup.authority.file, cert=cert, key=key)
    assert "a TLS file cannot be used" in await first_reason(wrong)


async def test_tls_and_plain_do_not_meet(setup: Setup) -> None:
    """Neither falls back: TLS to a plain port and plain to a TLS port fail, and say so."""
    reason = await first_reason(settings(setup.broker.port))
    assert "mqtt.tls: true" in reason
    async with scripted(b"\x20\x03\x00\x00\x00") as (port, _):
        cert, key = setup.authority.sign("c")
        reason = await first_reason(settings(port, tls=True, ca=setup.authority.file, cert=cert, key=key))
        assert "TLS failed" in reason
    await asyncio.sleep(0)
