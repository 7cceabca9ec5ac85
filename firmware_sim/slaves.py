"""Slaves of any protocol on one simulated line: who answers a request, when, and what a bus makes of several who answer at
once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from firmware_sim.line import SerialLine
from firmware_sim.wire import Wire

Spoil = Callable[[bytes], list[tuple[float, bytes]]]
"""(seconds late, bytes) that go out for a right reply: what is wrong with a slave."""


def whole(frame: bytes) -> list[tuple[float, bytes]]:
    """Nothing is wrong."""
    return [(0.0, frame)]


class Slave(Protocol):
    """One device on a line."""

    turnaround_s: float
    mute: bool
    spoil: Spoil

    def reply(self, request: bytes) -> bytes | None:
        """What goes out for the bytes of one request; None for a request that is not for it, or that is none."""
        ...


S = TypeVar("S")


class SlaveLine(SerialLine, Generic[S]):
    """Of Slaves. `with SlaveLine(slaves, Wire(2400, "E")) as line: line.path` is the port to open."""

    def __init__(self, slaves: Iterable[S], wire: Wire, *, link: Path | None = None) -> None:
        super().__init__((), wire, link=link)
        self.slaves = list(slaves)

    def _serve(self, frame: bytes) -> None:
        self.stats.requests += 1
        there: list[Any] = self.slaves
        answers: list[tuple[Slave, bytes]] = [
            (slave, reply) for slave in there if not slave.mute and (reply := slave.reply(frame)) is not None
        ]
        if not answers:
            return
        ended = self._receiver.quiet_since or 0.0
        slave, first = answers[0]
        self.stats.exchange_s += (len(frame) + len(first)) * self.wire.char_s + slave.turnaround_s
        parts = slave.spoil(first) if len(answers) == 1 else [(0.0, overlaid([reply for _, reply in answers]))]
        for after, piece in parts:
            self._order += 1
            heapq.heappush(self._pending, (ended + slave.turnaround_s + after, self._order, piece))


def overlaid(replies: list[bytes]) -> bytes:
    """What a bus makes of several who speak at once: a 0 wins over a 1."""
    mixed = bytearray(max(replies, key=len))
    for reply in replies:
        for at, one in enumerate(reply):
            mixed[at] &= one
    return bytes(mixed)
