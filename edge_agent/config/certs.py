"""Looks into the TLS files that a configuration names: present, readable, in time, and belonging together.

Findings only, no connection. Shared by `plantroom check` for agent and gateway; the agent itself never imports it, because
cryptography is heavy.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from device_profiles.problems import Problems
from device_profiles.yamlfile import KeyPath

SOON = timedelta(days=30)


class TlsFiles(Protocol):
    """The part of the MQTT settings that this needs."""

    @property
    def ca(self) -> Path | None: ...
    @property
    def cert(self) -> Path | None: ...
    @property
    def key(self) -> Path | None: ...


def check_tls(
    files: TlsFiles,
    at: KeyPath,
    problems: Problems,
    *,
    identity: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Notes what is wrong with the files. `identity`: what the broker should know us by, the certificate's common name."""
    time = now()
    if files.ca is not None:
        for authority in _certificates(files.ca, (*at, "ca"), problems):
            _check_dates(authority, files.ca, (*at, "ca"), problems, time)
    if files.cert is None:
        return
    chain = _certificates(files.cert, (*at, "cert"), problems)
    if not chain:
        return
    _check_dates(chain[0], files.cert, (*at, "cert"), problems, time)
    name = common_name(chain[0])
    if identity is not None and name != identity:
        problems.warn(
            (*at, "cert"),
            f"the certificate is for {name!r}, not for {identity!r}",
            f"use the certificate of {identity}: the broker's ACL goes by its common name",
        )
    if files.key is not None:
        _check_key(chain[0], files.key, (*at, "key"), problems)


def common_name(certificate: x509.Certificate) -> str:
    """The subject's common name, which Mosquitto takes as the user name (use_identity_as_username)."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _certificates(file: Path, at: KeyPath, problems: Problems) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        problems.add(at, f"{file} cannot be read ({error.strerror})", "check the path and its permissions")
    except ValueError:
        problems.add(at, f"{file} holds no PEM certificate", "convert it: openssl x509 -in FILE -out FILE.pem")
    return []


def _check_dates(certificate: x509.Certificate, file: Path, at: KeyPath, problems: Problems, now: datetime) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= end:
        problems.add(at, f"{file.name} expired on {end:%Y-%m-%d}", "renew the certificate")
    elif now < start:
        problems.add(at, f"{file.name} is valid only from {start:%Y-%m-%d %H:%M} UTC", "set this machine's clock")
    elif end - now < SOON:
        problems.warn(at, f"{file.name} expires in {(end - now).days} days, on {end:%Y-%m-%d}", "renew the certificate")


def _check_key(certificate: x509.Certificate, file: Path, at: KeyPath, problems: Problems) -> None:
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        problems.add(at, f"{file} cannot be read ({error.strerror})", "check its owner and permissions")
    except TypeError:
        problems.add(at, f"{file} is encrypted", "write it without a passphrase: openssl pkey -in FILE -out FILE.plain")
    except (ValueError, UnsupportedAlgorithm):
        problems.add(at, f"{file} holds no PEM private key", "check that cert and key are not exchanged")
    else:
        spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if key.public_key().public_bytes(*spki) != certificate.public_key().public_bytes(*spki):
            problems.add(at, f"{file.name} does not belong to the certificate", "use the key that it was made with")
