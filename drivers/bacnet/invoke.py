"""Invoke ids: which one the next request to a station takes, so that no late answer can be taken for its own. Pure.

Source: ANSI/ASHRAE 135-2020, clause 5.4 (an invoke id is unique between two stations while a transaction lasts).
"""

from __future__ import annotations

import random
from collections.abc import Container

from device_profiles.errors import DeviceError

REST_S = 60.0
"""How long an id rests whose answer never came."""

Key = tuple[str, int]
"""A station and an id."""


class InvokeIds:
    """The first id of a station is any: answers to a session before this one may be late too, and devices take an id that comes
    back soon for a repetition."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._owed: dict[Key, float] = {}

    def rest(self, key: Key, now: float) -> None:
        """Nobody waits for this answer any more, and it may still come."""
        self._owed[key] = now + REST_S

    def take(self, address: str, taken: Container[Key], now: float) -> int:
        """The next id of this station that is neither `taken` nor resting. Raises DeviceError when there is none."""
        while self._owed and next(iter(self._owed.values())) <= now:
            del self._owed[next(iter(self._owed))]
        number = self._last.get(address)
        if number is None:
            number = random.randrange(256)
        for _ in range(256):
            number = (number + 1) & 0xFF
            if (address, number) not in taken and (address, number) not in self._owed:
                self._last[address] = number
                return number
        raise DeviceError("256 requests wait for answers", where=address, next_step="wait, or ask it less")
