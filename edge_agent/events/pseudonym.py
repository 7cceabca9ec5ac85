"""Cards and plates as pseudonyms: a keyed HMAC over the canonical form, the key's id in front (CONTRACT.md section 7). Pure.

The same card gives the same pseudonym at every reader of all agents that share a key, and another one under the next key. A key
is taken by the time of the event, so that what is told again later gets the same pseudonym.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from device_profiles.credential import Clear

SHORTEST_KEY = 32
"""Octets: less can be guessed by trying all cards there are with all keys there are."""
_HEX_DIGITS = 32
"""128 bits of the HMAC."""

Treatment = Literal["pseudonym", "clear"]
KINDS = ("card", "plate")


@dataclass(frozen=True, slots=True)
class PseudonymKey:
    """A key, and from when on it is used (UTC ms)."""

    id: str
    secret: bytes = field(repr=False)
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Privacy:
    """What leaves the site of cards and plates. `keys` is never empty where something becomes a pseudonym."""

    keys: tuple[PseudonymKey, ...] = ()
    cards: Treatment = "pseudonym"
    plates: Treatment = "pseudonym"

    def written(self, kind: str, clear: Clear, t_ms: int) -> str:
        """What is written of a `card` or `plate` of an event at `t_ms`: `hmac:{key id}:{32 hex digits}`, or the canonical form
        where the site wants it in clear.
        """
        if (self.plates if kind == "plate" else self.cards) == "clear":
            return clear.text
        key = key_at(self.keys, t_ms)
        digest = hmac.new(key.secret, f"{kind}:{clear.text}".encode(), hashlib.sha256).hexdigest()
        return f"hmac:{key.id}:{digest[:_HEX_DIGITS]}"


def key_at(keys: Sequence[PseudonymKey], t_ms: int) -> PseudonymKey:
    """The newest key that is in use at this time; before all of them, the oldest."""
    begun = [key for key in keys if key.since_ms <= t_ms]
    return max(begun, key=lambda key: key.since_ms) if begun else min(keys, key=lambda key: key.since_ms)
