"""Does a request that came to us carry the secret of its device: in its path, by basic or by digest authentication.

Compares in constant time and keeps nothing but nonces it can recognise again. Source: RFC 7617 (basic), RFC 7616 (digest, MD5 and
SHA-256, qop auth or none).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import time
from collections.abc import Callable

from .http_listener import Answer, Visit

REALM = "plantroom"
_NONCE_S = 300.0
_FIELD = re.compile(r'(\w+)=(?:"([^"\\]*)"|([^\s,"]+))')
_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def same(told: str, secret: str) -> bool:
    """The text is the secret, said in constant time."""
    return hmac.compare_digest(_bytes(told), _bytes(secret))


def _bytes(text: str) -> bytes:
    """Headers may hold bytes that are no UTF-8, which stand in text as surrogates."""
    return text.encode("utf-8", "surrogatepass")


def by_basic(visit: Visit, secret: str) -> bool:
    """The password of basic authentication is the secret, whatever the user is called."""
    kind, _, text = visit.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "basic":
        return False
    try:
        told = base64.b64decode(text.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    return same(told.partition(":")[2], secret)


class Digest:
    """Digest authentication of one listener. A nonce is good for five minutes and for the address that it was given to."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = os.urandom(16)
        self._clock = clock

    def challenge(self, visit: Visit) -> Answer:
        """The 401 that asks for it."""
        value = f'Digest realm="{REALM}", qop="auth", algorithm=MD5, nonce="{self._nonce(visit.host)}"'
        return Answer(status=401, headers={"WWW-Authenticate": value})

    def holds(self, visit: Visit, secret: str) -> bool:
        """The answer to a challenge of ours shows that the peer knows the secret, whatever the user is called."""
        kind, _, text = visit.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "digest":
            return False
        told = {name.lower(): quoted or bare for name, quoted, bare in _FIELD.findall(text)}
        algorithm = _HASHES.get(told.get("algorithm", "MD5").upper())
        if algorithm is None or told.get("realm") != REALM or not self._is_ours(told.get("nonce", ""), visit.host):
            return False
        if told.get("uri") not in (visit.target, visit.path):
            return False

        def digest(*parts: str) -> str:
            return algorithm(_bytes(":".join(parts))).hexdigest()

        first = digest(told.get("username", ""), REALM, secret)
        second = digest(visit.method, told["uri"])
        middle = [told["nonce"]]
        if told.get("qop") == "auth":
            middle += [told.get("nc", ""), told.get("cnonce", ""), "auth"]
        return same(told.get("response", "").lower(), digest(first, *middle, second))

    def _nonce(self, host: str, at: int | None = None) -> str:
        when = f"{int(self._clock()) if at is None else at:x}"
        return f"{when}-{hmac.new(self._key, f'{when} {host}'.encode(), hashlib.sha256).hexdigest()[:32]}"

    def _is_ours(self, nonce: str, host: str) -> bool:
        when, _, _ = nonce.partition("-")
        try:
            at = int(when, 16)
        except ValueError:
            return False
        return 0 <= self._clock() - at <= _NONCE_S and same(nonce, self._nonce(host, at))
