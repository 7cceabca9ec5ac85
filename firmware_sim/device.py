"""One simulated device: a model (data), its world, its register images, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from firmware_sim.clock import Now
from firmware_sim.faults import Faults
from firmware_sim.pdu import ILLEGAL_ADDRESS, answer, exception
from firmware_sim.registers import COIL, HOLDING, INPUT, Cell, Holes, Image, Snapshot
from firmware_sim.worlds import World

READS = frozenset({3, 4})


@dataclass(frozen=True, slots=True)
class Model:
    """What a make of device is, from its datasheet."""

    slug: str
    title: str
    source: str
    world: Callable[[int, float], World]
    """(seed, seconds of local time ahead of UTC) -> the world behind the registers."""
    tables: Mapping[str, tuple[Cell, ...]] = field(default_factory=dict)
    bits: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """Table -> address -> quantity, for coils and discrete inputs."""
    timed_coils: Mapping[int, str] = field(default_factory=dict)
    """Coils that take any word by function 5 (a time), and the quantity that is written."""
    functions: frozenset[int] = READS
    holes: Holes = Holes.REFUSE
    filler: bytes = b"\0\0"
    whole_values: bool = False
    """The device refuses a block that begins or ends inside a value."""
    max_registers: int = 125
    max_bits: int = 2000
    turnaround_s: float = 0.02
    """From the end of a request to the first byte of the reply, as found in the field."""
    refresh_s: float = 0.5
    """How often the device measures."""
    counters: Mapping[str, float] = field(default_factory=dict)
    """Counting quantity -> the reading at which its register starts over, in the quantity's unit."""
    identity: Mapping[int, str] = field(default_factory=dict)
    """Objects of function 43/14; empty where the device does not know the function."""
    baud: int = 9600
    parity: str = "N"


class Device:
    """A device that answers requests. Not safe for threads: it belongs to one link."""

    def __init__(
        self,
        model: Model,
        *,
        id: str,
        unit: int = 1,
        seed: int = 0,
        now: Now,
        utc_offset_s: float = 0.0,
        world: World | None = None,
    ) -> None:
        self.model, self.id, self.unit = model, id, unit
        self.faults = Faults(seed)
        self.functions = model.functions | ({43} if model.identity else set())
        self.max_registers, self.max_bits = model.max_registers, model.max_bits
        self.requests = 0
        self.writes = 0
        """Writes that it confirmed or refused by its world."""
        self.refresh_s = model.refresh_s
        self._now = now
        self._world = world or model.world(seed, utc_offset_s)
        self._images = {
            table: Image(cells, holes=model.holes, filler=model.filler, whole_values=model.whole_values)
            for table, cells in model.tables.items()
        }
        self._refreshed = float("-inf")
        self._snapshot: Snapshot = {}

    def answer(self, pdu: bytes) -> bytes:
        """The reply PDU of a device in good health, values refreshed as often as it measures."""
        self.requests += 1
        self._refresh()
        if len(pdu) == 5 and pdu[0] == 5 and (quantity := self.model.timed_coils.get(int.from_bytes(pdu[1:3]))):
            code = self._write([(quantity, int.from_bytes(pdu[3:]))])
            return exception(5, code) if code else pdu
        return answer(self, pdu)

    def now(self) -> float:
        return self._now()

    @property
    def snapshot(self) -> Snapshot:
        """What the registers say at this moment, for tests and people."""
        self._refresh()
        return self._snapshot

    def _refresh(self, *, force: bool = False) -> None:
        t = self.faults.tampering.time(self._now())
        if not force and not self.faults.tampering.dirty and 0 <= t - self._refreshed < self.refresh_s:
            return
        self._refreshed = t
        self._snapshot = self.faults.tampering.counters(self._world.snapshot(t), self.model.counters)
        for image in self._images.values():
            image.update(self._snapshot, self.faults.tampering.absent)

    def read_registers(self, table: str, address: int, count: int) -> bytes | None:
        image = self._images.get(table)
        return image.read(address, count) if image else None

    def read_bits(self, table: str, address: int, count: int) -> Sequence[bool] | None:
        known = self.model.bits.get(table, {})
        wanted = range(address, address + count)
        if any(place not in known for place in wanted):
            return None
        return [bool(self._snapshot[known[place]]) for place in wanted]

    def write_registers(self, address: int, values: Sequence[int]) -> int:
        image = self._images.get(HOLDING)
        writes: list[tuple[str, int]] = []
        index = 0
        while index < len(values):
            cell = image.cells.get(address + index) if image else None
            if cell is None or not cell.writable or index + cell.kind.words > len(values):
                return ILLEGAL_ADDRESS
            words = values[index : index + cell.kind.words]
            raw = 0
            for word in reversed(words) if cell.kind.swapped else words:
                raw = raw << 16 | word
            writes.append((cell.quantity, raw))
            index += cell.kind.words
        return self._write(writes)

    def write_coils(self, address: int, values: Sequence[bool]) -> int:
        known = self.model.bits.get(COIL, {})
        if any(address + index not in known for index in range(len(values))):
            return ILLEGAL_ADDRESS
        return self._write([(known[address + index], int(value)) for index, value in enumerate(values)])

    def _write(self, writes: Sequence[tuple[str, int]]) -> int:
        self.writes += 1
        if self.faults.tampering.ignores_writes:
            return 0
        for quantity, raw in writes:
            code = self._world.write(quantity, raw, self._now())
            if code:
                return code
        self._refresh(force=True)
        return 0

    def identification(self) -> dict[int, bytes]:
        return {key: text.encode("ascii") for key, text in self.model.identity.items()}


def both(cells: tuple[Cell, ...]) -> dict[str, tuple[Cell, ...]]:
    """The same map for functions 3 and 4, as many meters have it."""
    return {HOLDING: cells, INPUT: cells}
