"""The retained documents of an agent: what the centre should see, and what the broker is known to have.

It decides what to publish and in which order; how is the uplink's. A document is published when it changed, never twice at a
time; what the broker has is remembered over restarts, so that a device that is gone takes its documents with it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

Publish = Callable[[str, bytes, Callable[[int], None]], bool]
"""(rest of the topic, payload, on_ack) -> taken. An empty payload removes the document."""

_FAILURE = 0x80
_LOST = 0x100
_FIRST = ("caps", "site", "config/")
_LAST_OF_DEVICE = ("meta", "state", "last")


class Retained:
    """`memory` is what `remember(rest, mark)` kept before the restart; None forgets."""

    def __init__(
        self, publish: Publish, memory: Mapping[str, Any], remember: Callable[[str, int | None], None]
    ) -> None:
        self._publish = publish
        self._remember = remember
        self._wanted: dict[str, bytes] = {}
        self._known: dict[str, int] = {rest: mark for rest, mark in memory.items() if isinstance(mark, int)}
        self._sending: dict[str, bytes] = {}
        self._refused: set[str] = set()
        self._unsent: set[str] = set()
        self._is_connected = False

    def set(self, rest: str, payload: bytes) -> None:
        """The document under `up/{rest}` from now on; b"" removes it."""
        if self._wanted.get(rest) != payload:
            self._wanted[rest] = payload
            self._refused.discard(rest)
            if self._is_connected:
                self._send(rest)

    def connected(self, session_present: bool) -> None:
        """Publish what the broker lacks: all of it where it lost the session."""
        if not session_present:
            self._known = dict.fromkeys(self._known, -1)
        self._is_connected = True
        self._refused.clear()
        self._drop_what_is_gone()
        self._unsent = set(self._wanted)
        self.catch_up()

    def disconnected(self) -> None:
        """What was on the way is published again with the next connection."""
        self._is_connected = False
        self._sending.clear()

    def catch_up(self) -> None:
        """Publish what could not be published before, in the contract's order."""
        if self._is_connected and self._unsent:
            unsent, self._unsent = self._unsent, set()
            for rest in sorted(unsent, key=_rank):
                self._send(rest)

    def _drop_what_is_gone(self) -> None:
        """Devices that were removed, and alarms that were cleared, while the broker was away."""
        for rest in self._known:
            parts = rest.split("/")
            is_gone = parts[0] == "alarm" or f"dev/{parts[1]}/meta" not in self._wanted if len(parts) == 3 else False
            if rest not in self._wanted and is_gone:
                self._wanted[rest] = b""

    def _send(self, rest: str) -> None:
        payload = self._wanted.get(rest)
        if payload is None:
            return
        if rest in self._sending or rest in self._refused or self._known.get(rest) == _mark(payload):
            return
        if not payload and rest not in self._known:
            del self._wanted[rest]
            return

        def answered(reason: int) -> None:
            if self._sending.get(rest) is payload and reason < _LOST:
                del self._sending[rest]
                self._settle(rest, payload, reason)

        if self._publish(rest, payload, answered):
            self._sending[rest] = payload
        else:
            self._unsent.add(rest)

    def _settle(self, rest: str, payload: bytes, reason: int) -> None:
        if reason >= _FAILURE:
            self._refused.add(rest)
            return
        if payload:
            mark = _mark(payload)
            # What changes all the time would only wear the flash: of it, it is enough to know that it is there.
            is_volatile = rest.endswith(("/state", "/last"))
            if not is_volatile or rest not in self._known:
                self._remember(rest, -1 if is_volatile else mark)
            self._known[rest] = mark
        else:
            self._known.pop(rest, None)
            self._remember(rest, None)
        if self._wanted.get(rest) != payload:
            self._send(rest)
        elif not payload:
            del self._wanted[rest]


def _mark(payload: bytes) -> int:
    return zlib.crc32(payload)


def _rank(rest: str) -> tuple[int, str]:
    for at, prefix in enumerate(_FIRST):
        if rest.startswith(prefix):
            return at, rest
    if rest.startswith("dev/"):
        what = rest.rpartition("/")[2]
        return len(_FIRST) + (_LAST_OF_DEVICE.index(what) if what in _LAST_OF_DEVICE else 3), rest
    return 9, rest
