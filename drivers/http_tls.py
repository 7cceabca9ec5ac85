"""What is believed of the certificate of a device that is asked over HTTPS. Opens no connection."""

from __future__ import annotations

import ssl
from pathlib import Path

from device_profiles.errors import ConfigError

from .base import HttpLink, LinkConfig


def tls_context(link: LinkConfig, own: HttpLink) -> ssl.SSLContext:
    """What is believed of the device's certificate. Raises ConfigError for a ca_file that is none."""
    try:
        context = ssl.create_default_context(cafile=own.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{own.ca_file} is no certificate in PEM ({error})", where=link.id, next_step="give a PEM file"
        ) from error
    if not own.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif own.ca_file and _is_device_own(own.ca_file):
        context.check_hostname = False  # nothing else is signed by it: the certificate itself is what is known
    return context


def _is_device_own(ca_file: str) -> bool:
    """The file holds one self-signed certificate that is not made to sign others."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(Path(ca_file).read_bytes())
    except (OSError, ValueError):
        return False
    if len(found) != 1 or found[0].issuer != found[0].subject:
        return False
    try:
        return not found[0].extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True
