"""Servers whose certificates their issuer took back: revocation lists beside the trusted certificates."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from device_profiles.errors import LinkRefused
from drivers.base import LinkConfig, OpcUaLink
from drivers.opcua import pki

URI = "urn:example:plc"
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
ROOT, SERVER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def certificate(subject: str, key: Any, *, serial: int, is_ca: bool = False) -> bytes:
    names = [x509.UniformResourceIdentifier(URI), x509.DNSName("plc.example")]
    builder = x509.CertificateBuilder(
        name("house CA"), name(subject), key.public_key(), serial, NOW - DAY, NOW + 90 * DAY
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(ROOT, hashes.SHA256()).public_bytes(Encoding.DER)


def revoked(*serials: int, by: Any = ROOT, ago: int = 1, encoding: Encoding = Encoding.DER) -> bytes:
    builder = x509.CertificateRevocationListBuilder(name("house CA"), NOW - 9 * DAY, NOW + (5 - 6 * (ago > 1)) * DAY)
    for serial in serials:
        one = x509.RevokedCertificateBuilder(serial, NOW - DAY).build()
        builder = builder.add_revoked_certificate(one)
    return builder.sign(by, hashes.SHA256()).public_bytes(encoding)


AUTHORITY = certificate("house CA", ROOT, serial=1, is_ca=True)
PLC = certificate("plc", SERVER, serial=7)


def folder_of(tmp_path: Path, files: dict[str, bytes]) -> LinkConfig:
    for file, data in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(data)
    own = OpcUaLink(policy="Basic256Sha256", pki=str(tmp_path))
    return LinkConfig("plant", "opcua", host="plc.example", port=4840, opcua=own)


@pytest.mark.parametrize("ca", ["trusted/ca.der", "trusted/certs/ca.der"])
@pytest.mark.parametrize("at", ["trusted/ca.crl", "trusted/crl/ca.crl", "trusted/crl/list.pem"])
def test_a_certificate_that_its_issuer_took_back_is_refused(ca: str, at: str, tmp_path: Path) -> None:
    encoding = Encoding.PEM if at.endswith(".pem") else Encoding.DER
    link = folder_of(tmp_path, {ca: AUTHORITY, at: revoked(5, encoding=encoding)})
    assert pki.check_server(link, PLC, URI)
    (tmp_path / at).write_bytes(revoked(7, encoding=encoding))
    with pytest.raises(LinkRefused, match="revoked") as caught:
        pki.check_server(link, PLC, URI)
    assert str(tmp_path / at) in str(caught.value)
    assert caught.value.next_step


def test_a_trusted_certificate_is_taken_back_by_its_issuer_as_well(tmp_path: Path) -> None:
    link = folder_of(tmp_path, {"trusted/plc.der": PLC, "trusted/ca.der": AUTHORITY, "trusted/ca.crl": revoked(7)})
    with pytest.raises(LinkRefused, match="revoked"):
        pki.check_server(link, PLC, URI)


def test_a_list_that_somebody_else_signed_or_that_is_none_counts_nothing_and_is_said(tmp_path: Path) -> None:
    files = {"trusted/ca.der": AUTHORITY, "trusted/crl/a.crl": revoked(7, by=SERVER), "trusted/crl/b.crl": b"nothing"}
    link = folder_of(tmp_path, files)
    with structlog.testing.capture_logs() as logs:
        assert pki.check_server(link, PLC, URI)
    said = [(one["log_level"], Path(one["file"]).name) for one in logs if "file" in one]
    assert ("warning", "a.crl") in said
    assert ("warning", "b.crl") in said


def test_a_list_that_is_too_old_counts_and_is_said(tmp_path: Path) -> None:
    link = folder_of(tmp_path, {"trusted/ca.der": AUTHORITY, "trusted/crl/a.crl": revoked(5, ago=2)})
    with structlog.testing.capture_logs() as logs:
        assert pki.check_server(link, PLC, URI)
    assert any("out of date" in one["event"] for one in logs)
    (tmp_path / "trusted/crl/a.crl").write_bytes(revoked(7, ago=2))
    with pytest.raises(LinkRefused, match="revoked"):
        pki.check_server(link, PLC, URI)
