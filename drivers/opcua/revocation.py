"""Revocation lists of the trust list: certificates that their issuer took back (OPC 10000-4, 6.1.3; RFC 5280, 5).

Lists are files `*.crl` in `trusted/`, or any in `trusted/crl/`, as the stacks of other makers lay them out. None is fetched, and
a missing one does not refuse a server. Blocking: called in a thread.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

_BAD_LIST = (ValueError, TypeError, UnsupportedAlgorithm)
_log = structlog.get_logger("opcua")


def files_of(trusted: Path) -> list[Path]:
    """The files of lists that stand in a trust list's folder."""
    return sorted([*trusted.glob("*.crl"), *(path for path in trusted.glob("crl/*") if path.is_file())])


def revoking(
    certificate: x509.Certificate, trusted: Path, issuers: Sequence[x509.Certificate], now: datetime.datetime
) -> Path | None:
    """The file of the list that takes the certificate back; None where none does.

    A list counts when it bears the name of the certificate's issuer and, where that issuer is among `issuers`, its signature.
    """
    for path, found in _lists(trusted):
        if found.issuer != certificate.issuer:
            continue
        signers = [issuer for issuer in issuers if issuer.subject == found.issuer]
        if signers and not any(_is_signed_by(found, issuer) for issuer in signers):
            _log.warning("this revocation list is not signed by its issuer", file=str(path))
            continue
        until = found.next_update_utc
        if until is not None and until < now:
            _log.warning("this revocation list is out of date", file=str(path), until=f"{until:%Y-%m-%d}")
        if found.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            return path
    return None


def _lists(trusted: Path) -> Iterator[tuple[Path, x509.CertificateRevocationList]]:
    for path in files_of(trusted):
        try:
            data = path.read_bytes()
            is_pem = data.lstrip().startswith(b"-----")
            yield path, x509.load_pem_x509_crl(data) if is_pem else x509.load_der_x509_crl(data)
        except (OSError, *_BAD_LIST) as error:
            _log.warning("this is no revocation list", file=str(path), reason=str(error))


def _is_signed_by(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    try:
        return isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) and found.is_signature_valid(key)
    except (InvalidSignature, *_BAD_LIST):
        return False
