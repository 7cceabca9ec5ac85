"""An OSDP control panel on a virtual line at 38400 Bd: nobody sleeps, and the other end does what it is told."""

from __future__ import annotations

from drivers.base import LinkConfig
from drivers.osdp.cycle import GAP_CHARS, Cycle
from drivers.osdp.facts import Told
from drivers.osdp.reader import Reader
from firmware_sim.osdp import OsdpReader
from tests.drivers.virtual_slaves import VirtualLine
from tests.drivers.virtual_wire import Other, Piece

LINK = LinkConfig("osdp-1", "serial", path="x", baud=38400, parity="N", timeout_s=1.0)
CHAR_S = 10 / 38400


class Bench(VirtualLine):
    """`cards` are the numbers that each reader told, `said` every other message, `faults` what was not understood."""

    def __init__(self, other: Other, *addresses: int, key: bytes | None = None, may_install: bool = False) -> None:
        super().__init__(other, LINK, gap_chars=GAP_CHARS)
        self.cycle = Cycle(LINK, self._tell)
        own_key = None if key is None else lambda: key
        self.readers = {one: Reader(one, own_key, may_install=may_install) for one in addresses}
        self.cards: dict[int, list[int]] = {one: [] for one in addresses}
        self.said: list[dict[str, object]] = []
        self.faults: list[str] = []
        for reader in self.readers.values():
            self.cycle.attend(reader)

    @property
    def online(self) -> set[int]:
        return {number for number, reader in self.readers.items() if reader.facts.online}

    def step(self) -> None:
        """A command and its answer, or the wait until one is due."""
        if (wait_s := self.cycle.step(self.line)) > 0:
            self.wire.wait_until(self.wire.time + wait_s)

    def run(self, seconds: float) -> None:
        end = self.wire.time + seconds
        while self.wire.time < end:
            self.step()

    def sent(self) -> list[int]:
        """The codes of all commands so far, those in a security block too."""
        return [raw[6 + raw[6]] if raw[5] & 8 else raw[6] for _, raw in self.wire.sent]

    def _tell(self, reader: Reader, told: list[Told]) -> None:
        for one in told:
            if one.card is not None:
                self.cards[reader.number].append(int(one.card.bits, 2))
            elif one.fault:
                self.faults.append(one.fault)
            else:
                self.said.append(one.message)


def answering(*readers: OsdpReader) -> Other:
    """What simulated readers on the line make of a command."""

    def answer(frame: bytes, _end: float) -> list[Piece]:
        return [
            (reader.turnaround_s + late, piece)
            for reader in readers
            if (reply := reader.hear(frame[1:])) is not None
            for late, piece in reader.spoil(b"\xff" + reply)
        ]

    return answer
