"""Signed commands: the canonical form of a JSON document, and Ed25519 over it. Pure; loads `cryptography` when it is needed.

The signed bytes are the command without its `sig`, in the form of RFC 8785 (JCS): UTF-8, no white space, keys sorted by UTF-16
code units, strings with the shortest escapes, numbers as ECMAScript writes them (20.0 is 20, 1e-7 is 1e-7). `sig` is base64 or
base64url of the 64 bytes of RFC 8032. A document that JSON readers may read differently (a key twice, NaN, a lone surrogate, a
whole number beyond 2**53) has no canonical form and is refused. `tests/edge_agent/test_command_signature.py` holds a test vector.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import Any, NoReturn

SAFE_INTEGER = 2**53 - 1
_SPKI = bytes.fromhex("302a300506032b6570032100")
"""SubjectPublicKeyInfo of an Ed25519 key up to its 32 bytes (RFC 8410, section 4)."""
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class NotCanonical(ValueError):
    """The document has no canonical form."""


def parse(payload: bytes) -> dict[str, Any]:
    """A JSON object that every reader reads alike. Raises NotCanonical."""
    try:
        document = json.loads(payload.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except NotCanonical:
        raise
    except (ValueError, RecursionError) as error:
        raise NotCanonical(f"it is no JSON: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise NotCanonical("it is no JSON object")
    return document


def canonical(value: Any) -> bytes:
    """The canonical form of what `parse` gave. Raises NotCanonical."""
    try:
        return _text(value).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise NotCanonical(f"it has no canonical form: {type(error).__name__}") from error


def signed_bytes(document: dict[str, Any]) -> bytes:
    """What is signed: the document without `sig`."""
    return canonical({key: value for key, value in document.items() if key != "sig"})


def is_valid(public_key: bytes, signature: str, message: bytes) -> bool:
    """Whether `signature` is that of `message` by the key of 32 bytes."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        text = signature.replace("-", "+").replace("_", "/")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        Ed25519PublicKey.from_public_bytes(public_key).verify(raw, message)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def public_key_of(pem: str) -> bytes:
    """The 32 bytes of an Ed25519 public key in PEM (`openssl pkey -pubout`). Raises ValueError."""
    lines = [line.strip() for line in pem.strip().splitlines()]
    if len(lines) < 3 or lines[0] != "-----BEGIN PUBLIC KEY-----" or lines[-1] != "-----END PUBLIC KEY-----":
        raise ValueError("it holds no PEM public key")
    der = base64.b64decode("".join(lines[1:-1]), validate=True)
    if len(der) != len(_SPKI) + 32 or not der.startswith(_SPKI):
        raise ValueError("it holds a key that is not Ed25519")
    return der[len(_SPKI) :]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise NotCanonical("a key is there twice")
    return document


def _no_constant(text: str) -> NoReturn:
    raise NotCanonical(f"{text} is no JSON number")


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
    return "{" + ",".join(f"{_string(key)}:{_text(value[key])}" for key in keys) + "}"


def _string(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(char) or (char if char >= " " else f"\\u{ord(char):04x}") for char in text) + '"'


def _number(number: float) -> str:
    """ECMA-262, Number::toString: the shortest digits that read back the same."""
    if isinstance(number, int):
        if abs(number) > SAFE_INTEGER:
            raise NotCanonical(f"{str(number)[:40]} is beyond 2**53")
        return str(number)
    if not math.isfinite(number):
        raise NotCanonical("a number is not finite")
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"
