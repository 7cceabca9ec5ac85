"""A serial line on a virtual clock: bytes arrive one by one when their time has come, and nobody sleeps.

It is Port and LineClock at once. What the other end does is a function from a request to the pieces it sends, each with the
seconds from the end of the request to its first byte.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from drivers.base import LinkConfig

Piece = tuple[float, bytes]
Other = Callable[[bytes, float], Sequence[Piece]]
"""(request, when its last character was on the wire) -> (delay in seconds, bytes)."""


class VirtualWire:
    def __init__(self, other: Other, *, char_s: float, echo: bool = False) -> None:
        self.time = 100.0
        self.char_s = char_s
        self.sent: list[tuple[float, bytes]] = []
        self.gaps: list[float] = []
        """Silence before each request, since the last character of anything."""
        self.reads = 0
        self._other = other
        self._echo = echo
        self._coming: list[tuple[float, int, int]] = []
        self._count = 0
        self._last_char = self.time

    # LineClock

    def now(self) -> float:
        return self.time

    def wait_until(self, instant: float) -> None:
        self.time = max(self.time, instant)

    # Port

    def write(self, data: bytes) -> None:
        heard = [when for when, _, _ in self._coming if when <= self.time]
        self.gaps.append(self.time - max([self._last_char, *heard]))
        self.sent.append((self.time, data))
        end = self.time + len(data) * self.char_s
        self._last_char = end
        if self._echo:
            self.put(self.time, data)
        for delay, piece in self._other(data, end):
            self.put(end + delay, piece)

    def put(self, when: float, data: bytes) -> None:
        """Bytes that begin at `when`."""
        for at, byte in enumerate(data):
            self._count += 1
            heapq.heappush(self._coming, (when + (at + 1) * self.char_s, self._count, byte))

    def read(self, wait_s: float) -> bytes:
        self.reads += 1
        limit = self.time + max(0.0, wait_s)
        if not self._coming or self._coming[0][0] > limit:
            self.time = limit
            return b""
        self.time = max(self.time, self._coming[0][0])
        data = bytearray()
        while self._coming and self._coming[0][0] <= self.time and len(data) < 4096:
            when, _, byte = heapq.heappop(self._coming)
            self._last_char = max(self._last_char, when)
            data.append(byte)
        return bytes(data)

    def wake(self) -> None:
        """Nobody sleeps here."""

    def tune(self, link: LinkConfig) -> None:
        self.char_s = link.bits_per_char / link.baud

    def close(self) -> None:
        self._coming.clear()
