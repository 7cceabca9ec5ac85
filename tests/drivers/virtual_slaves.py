"""Sessions and simulated slaves on a virtual clock: a line of true timing at any baud rate, and nobody sleeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from drivers.base import LinkConfig, WireCount
from drivers.serial_line import Line
from firmware_sim.slaves import Slave
from tests.drivers.virtual_wire import Other, Piece, VirtualWire

T = TypeVar("T")


class VirtualLine:
    """A LineAccess whose line is a VirtualWire with `other` at its end."""

    def __init__(self, other: Other, link: LinkConfig, *, gap_chars: float | None = None) -> None:
        self.link = link
        self.wire = VirtualWire(other, char_s=link.bits_per_char / link.baud)
        self.line = Line(self.wire, link, self.wire, gap_chars=gap_chars)

    @property
    def counts(self) -> WireCount:
        return self.line.counts

    async def call(self, work: Callable[[Line], T]) -> T:
        return work(self.line)


def answering(slaves: Sequence[Slave], char_s: float) -> Other:
    """What a bus makes of slaves: each speaks after its own turnaround, and where several speak at once a 0 wins over a 1."""

    def answer(request: bytes, _end: float) -> list[Piece]:
        replies = [(slave, reply) for slave in slaves if not slave.mute and (reply := slave.reply(request)) is not None]
        if len(replies) == 1:
            slave, reply = replies[0]
            return [(slave.turnaround_s + late, piece) for late, piece in slave.spoil(reply)]
        heard: dict[int, int] = {}
        for slave, reply in replies:
            for at, one in enumerate(reply, round(slave.turnaround_s / char_s)):
                heard[at] = heard.get(at, 0xFF) & one
        return [(at * char_s, bytes((one,))) for at, one in sorted(heard.items())]

    return answer
