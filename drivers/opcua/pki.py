"""Certificates of an OPC UA link: our own, made when absent, and the trust list of servers (OPC 10000-12, 7).

A folder holds `own/`, `trusted/` and `rejected/`. A server is trusted when its certificate lies in `trusted/` (or its `certs/`),
or when the one that issued it does, and no revocation list names it (revocation.py). An unknown one is written to `rejected/`,
to be moved by a person who knows. Blocking: called in a thread.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from device_profiles.errors import ConfigError, LinkRefused
from drivers.base import LinkConfig

from . import revocation

_KEY_BITS = 2048
_VALID_DAYS = 3650
_WARN_DAYS = 30
_MOST_REJECTED = 100
_BAD_FILE = (ValueError, TypeError, UnsupportedAlgorithm)
_making = threading.Lock()
_log = structlog.get_logger("opcua")


@dataclass(frozen=True, slots=True)
class Own:
    """Our application certificate, its key, and the file to be given to servers."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    path: Path


def folder_of(link: LinkConfig) -> Path:
    """Where the link's certificates are."""
    assert link.opcua is not None
    return Path(link.opcua.pki) if link.opcua.pki else Path.home() / ".plantroom" / "pki"


def own_of(link: LinkConfig) -> Own:
    """Our certificate and key: those that the link names, else those in `own/`, made when absent.

    Raises ConfigError for files that cannot be read or made, do not belong together, or are expired.
    """
    assert link.opcua is not None
    named = link.opcua.certificate
    certificate_path = Path(named) if named else folder_of(link) / "own" / "plantroom.der"
    key_path = Path(link.opcua.key) if named else certificate_path.with_name("plantroom.key.pem")
    try:
        with _making:
            if not named and not (certificate_path.exists() and key_path.exists()):
                _make(link.opcua.application_uri, certificate_path, key_path)
        certificate, key = load_certificate(certificate_path.read_bytes()), _load_key(key_path.read_bytes())
    except OSError as error:
        step = "check that it exists and that this user may read and write there"
        raise ConfigError(f"cannot use {error.filename}: {error.strerror}", where=link.id, next_step=step) from error
    except _BAD_FILE as error:
        step = "give a DER or PEM file without a password, with an RSA key"
        raise ConfigError(
            f"{certificate_path} or {key_path} is none ({error})", where=link.id, next_step=step
        ) from error
    if certificate.public_key() != key.public_key():
        raise ConfigError(
            f"{certificate_path} and {key_path} do not belong together", where=link.id, next_step="give the pair"
        )
    _check_own_time(certificate, certificate_path, link, is_ours=not named)
    return Own(certificate, key, certificate_path)


def _check_own_time(certificate: x509.Certificate, path: Path, link: LinkConfig, *, is_ours: bool) -> None:
    now = datetime.datetime.now(datetime.UTC)
    left = certificate.not_valid_after_utc - now
    renew = f"delete {path.parent} and let the servers trust the new one" if is_ours else "have it renewed"
    if left.total_seconds() < 0 or certificate.not_valid_before_utc > now:
        span = f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"
        raise ConfigError(f"our certificate {path} is valid {span} only", where=link.id, next_step=renew)
    if left.days < _WARN_DAYS:
        _log.warning("our certificate expires soon", link=link.id, days=left.days, file=str(path), next_step=renew)


def load_certificate(data: bytes) -> x509.Certificate:
    """A certificate in DER (the first of a chain) or PEM. Raises ValueError."""
    if data.lstrip().startswith(b"-----"):
        return x509.load_pem_x509_certificate(data)
    return x509.load_der_x509_certificate(first_of(data))


def first_of(chain: bytes) -> bytes:
    """The leading certificate of DER certificates that stand one after another."""
    if len(chain) < 4 or chain[0] != 0x30:
        raise ValueError("no DER certificate")
    if chain[1] < 0x80:
        return chain[: 2 + chain[1]]
    octets = chain[1] & 0x7F
    return chain[: 2 + octets + int.from_bytes(chain[2 : 2 + octets], "big")]


def _load_key(data: bytes) -> rsa.RSAPrivateKey:
    load = load_pem_private_key if data.lstrip().startswith(b"-----") else load_der_private_key
    key = load(data, password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the key is no RSA key")
    return key


def _make(application_uri: str, certificate_path: Path, key_path: Path) -> None:
    """A self-signed application instance certificate (OPC 10000-6, 6.2.2)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    host = socket.gethostname() or "localhost"
    names = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "plantroom"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, host[:64])]
    )
    now = datetime.datetime.now(datetime.UTC)
    alternative = [x509.UniformResourceIdentifier(application_uri), *_host_names(host)]
    usage = dict.fromkeys(("key_cert_sign", "crl_sign", "key_agreement", "encipher_only", "decipher_only"), False)
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(names)
        .issuer_name(names)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # the server's clock may be behind
        .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True, **usage
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(key_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path.parent.mkdir(parents=True, exist_ok=True)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(key_path, secret, 0o600)
    _write(certificate_path, certificate.public_bytes(Encoding.DER), 0o644)
    _log.info("our OPC UA certificate was made", file=str(certificate_path), days=_VALID_DAYS)


def _host_names(host: str) -> list[x509.GeneralName]:
    with_label = re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?", host)
    return [x509.DNSName(host if with_label else "localhost")]


def _write(path: Path, data: bytes, mode: int) -> None:
    """There whole or not at all, and never readable by others in between."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)
    fresh.replace(path)


def check_server(link: LinkConfig, chain: bytes | None, application_uri: str | None) -> x509.Certificate:
    """The server's certificate (DER, its issuers may follow), when it is trusted and fits. Raises LinkRefused saying why not.

    One that lies in `trusted/` itself is believed whatever host it names; one that is trusted through its issuer must name ours.
    """
    where = link.where
    try:
        certificate = load_certificate(chain or b"")
        key = certificate.public_key()
    except _BAD_FILE as error:
        step = "have a certificate installed on the server"
        raise LinkRefused(f"the server shows no certificate ({error})", where=where, next_step=step) from error
    now = datetime.datetime.now(datetime.UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        span = f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"
        step = "check the clocks, and have the server's certificate renewed"
        raise LinkRefused(f"the server's certificate is valid {span} only", where=where, next_step=step)
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _KEY_BITS:
        step = f"have a certificate with an RSA key of at least {_KEY_BITS} bits installed on the server"
        raise LinkRefused("the server's key is too weak for its policy", where=where, next_step=step)
    days = (certificate.not_valid_after_utc - now).days
    if days < _WARN_DAYS:
        _log.warning("the server's certificate expires soon", link=link.id, days=days, next_step="have it renewed")
    trusted = _trusted(folder_of(link) / "trusted")
    if certificate not in trusted:
        if not any(_has_issued(issuer, certificate, now) for issuer in trusted):
            raise _untrusted(link, certificate, where)
        _check_host(certificate, link.host, where)
    taken_back = revocation.revoking(certificate, folder_of(link) / "trusted", trusted, now)
    if taken_back is not None:
        step = "have a new certificate issued for the server, and find out why this one was taken back"
        raise LinkRefused(f"the server's certificate is revoked by {taken_back}", where=where, next_step=step)
    _check_uri(certificate, application_uri, where)
    return certificate


def _trusted(folder: Path) -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    for path in sorted([*folder.glob("*"), *folder.glob("certs/*")]):
        if path.is_dir() or path.suffix == ".crl":
            continue
        try:
            found.append(load_certificate(path.read_bytes()))
        except (OSError, *_BAD_FILE) as error:
            _log.warning("this is no certificate", file=str(path), reason=str(error))
    return found


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate, now: datetime.datetime) -> bool:
    try:
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        certificate.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, InvalidSignature, *_BAD_FILE):
        return False
    return issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc


def _untrusted(link: LinkConfig, certificate: x509.Certificate, where: str) -> LinkRefused:
    print_ = certificate.fingerprint(hashes.SHA256()).hex()
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", str(common[0].value) if common else "server").strip("._")[:40] or "server"
    folder = folder_of(link)
    path = folder / "rejected" / f"{name}-{print_[:16]}.der"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        (folder / "trusted").mkdir(parents=True, exist_ok=True)
        if not path.exists() and len(list(path.parent.iterdir())) < _MOST_REJECTED:
            _write(path, certificate.public_bytes(Encoding.DER), 0o644)
    except OSError as error:
        step = f"make {folder} writable for this user"
        return LinkRefused(f"the server's certificate is unknown, and {error}", where=where, next_step=step)
    step = f"compare its SHA-256 {print_} with the server's, then move {path} to {folder / 'trusted'}"
    return LinkRefused("the server's certificate is not trusted", where=where, next_step=step)


def _names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _check_host(certificate: x509.Certificate, host: str, where: str) -> None:
    names = _names(certificate)
    dns = [] if names is None else [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    addresses = [] if names is None else [str(one) for one in names.get_values_for_type(x509.IPAddress)]
    try:
        fits = str(ipaddress.ip_address(host)) in addresses
    except ValueError:
        fits = host.lower() in dns
    if not fits:
        named = ", ".join([*dns, *addresses]) or "no host"
        step = "reach the server by a name that its certificate has, or lay the certificate itself into trusted/"
        raise LinkRefused(f"the server's certificate is for {named}, not for {host}", where=where, next_step=step)


def _check_uri(certificate: x509.Certificate, application_uri: str | None, where: str) -> None:
    names = _names(certificate)
    uris = [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)
    if application_uri not in uris:
        said = ", ".join(uris) or "no application"
        step = "have a certificate of this very server installed on it"
        raise LinkRefused(
            f"the server's certificate is for {said}, but it calls itself {application_uri}",
            where=where,
            next_step=step,
        )
