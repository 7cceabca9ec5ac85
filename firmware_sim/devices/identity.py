"""Not a device of this world: a server whose every register holds its own address, for tests of drivers and wiring.

Holding and input registers 0..65535 read as their address, coils and discrete inputs as its lowest bit; nothing is refused
but writes to registers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from firmware_sim.clock import Now
from firmware_sim.device import Device, Model
from firmware_sim.registers import Value
from firmware_sim.worlds import ReadOnly


class _Nothing(ReadOnly):
    def snapshot(self, t: float) -> dict[str, Value]:
        return {}


class AddressDevice(Device):
    """Answers with addresses."""

    def __init__(self, *, id: str = "address", unit: int = 1, now: Now) -> None:
        super().__init__(ADDRESS, id=id, unit=unit, now=now)

    def read_registers(self, table: str, address: int, count: int) -> bytes | None:
        return struct.pack(f">{count}H", *range(address, address + count))

    def read_bits(self, table: str, address: int, count: int) -> Sequence[bool] | None:
        return [bool(place & 1) for place in range(address, address + count)]


ADDRESS = Model(
    slug="address",
    title="Every register holds its address",
    source="none",
    world=lambda seed, offset: _Nothing(),
    functions=frozenset({1, 2, 3, 4}),
    identity={0: "Plantroom", 1: "address", 2: "1"},
    turnaround_s=0.0,
)
