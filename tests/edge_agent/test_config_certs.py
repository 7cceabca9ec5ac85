"""TLS files are looked into before a broker is: dates, keys that do not belong, what is no certificate at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from device_profiles.problems import Problems
from device_profiles.yamlfile import parse_yaml
from edge_agent.config.certs import check_tls
from gateway.mqtt import MqttSettings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Files:
    """A folder with one certificate and its key."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key, self.ca = folder / "gw-01.pem", folder / "gw-01.key", folder / "ca.pem"

    def make(
        self,
        *,
        days: float = 365,
        since: float = 1,
        name: str = "gw-01",
        encryption: KeySerializationEncryption | None = None,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(NOW - timedelta(days=since))
            .not_valid_after(NOW + timedelta(days=days))
            .sign(key, hashes.SHA256())
        )
        pem = certificate.public_bytes(Encoding.PEM)
        self.cert.write_bytes(pem)
        self.ca.write_bytes(pem)
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))

    def problems(self) -> Problems:
        document = parse_yaml("mqtt:\n  url: mqtts://b\n  ca: a\n  cert: b\n  key: c\n", "agent.yaml")
        found = Problems(document)
        settings = MqttSettings(ca=self.ca, cert=self.cert, key=self.key, tls=True)
        check_tls(settings, ("mqtt",), found, identity="gw-01", now=lambda: NOW)
        return found


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path)
    found.make()
    return found


def test_good_files_say_nothing(files: Files) -> None:
    assert (files.problems().problems, files.problems().warnings) == ((), ())


def _expired(files: Files) -> None:
    files.make(days=-1, since=9)


def _not_yet(files: Files) -> None:
    files.make(since=-1)


def _garbage(files: Files) -> None:
    files.cert.write_text("hello")


def _foreign_key(files: Files) -> None:
    pem = files.cert.read_bytes()
    files.make()
    files.cert.write_bytes(pem)


def _encrypted(files: Files) -> None:
    files.make(encryption=BestAvailableEncryption(b"x"))


def _exchanged(files: Files) -> None:
    files.key.write_bytes(files.cert.read_bytes())


def _gone(files: Files) -> None:
    files.ca.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_expired, "agent.yaml:4 mqtt.cert: gw-01.pem expired on 2026-11-21. renew the certificate"),
        (_expired, "agent.yaml:3 mqtt.ca: ca.pem expired on 2026-11-21"),
        (_not_yet, "is valid only from 2026-11-23 12:00 UTC. set this machine's clock"),
        (_garbage, "holds no PEM certificate"),
        (_foreign_key, "agent.yaml:5 mqtt.key: gw-01.key does not belong to the certificate"),
        (_encrypted, "is encrypted. write it without a passphrase"),
        (_exchanged, "holds no PEM private key"),
        (_gone, "cannot be read"),
    ],
)
def test_finds(files: Files, spoil: Callable[[Files], None], said: str) -> None:
    spoil(files)
    told = [str(problem) for problem in files.problems().problems]
    assert any(said in line for line in told), told


def test_warns_before_it_is_too_late_and_of_a_foreign_name(files: Files) -> None:
    files.make(days=29.5)
    assert "gw-01.pem expires in 29 days, on 2026-12-22" in str(files.problems().warnings[1])
    files.make(days=31, name="gw-02")
    assert "the certificate is for 'gw-02', not for 'gw-01'" in str(files.problems().warnings[0])
