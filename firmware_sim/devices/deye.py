"""Deye/IGEN DTSD422-D3: powers and currents as sign and magnitude with the low word first, energies high word first;
two three-phase channels 0x1000 apart.

Source: Solarman, DTSD422-D3 Modbus list of 2024-10-29; facts cross-checked with kbialek/deye-inverter-mqtt (Apache-2.0).
"""

from __future__ import annotations

from firmware_sim.device import Model
from firmware_sim.registers import HOLDING, SM16, SM32, U16, U32, Cell, Holes, Value, low_word_first, phases
from firmware_sim.worlds import ReadOnly, ThreePhase

_SM32 = low_word_first(SM32)
_W = 0.001


class TwoChannels(ReadOnly):
    """A generator on CT 1 to 3 and a load on CT 4 to 6; the second channel's quantities begin with `b_`."""

    def __init__(self, seed: int, utc_offset_s: float) -> None:
        self._first = ThreePhase.generating(seed, rated_kw=12, utc_offset_s=utc_offset_s)
        self._second = ThreePhase(seed + 1, rated_kw=7, utc_offset_s=utc_offset_s)

    def snapshot(self, t: float) -> dict[str, Value]:
        second = {f"b_{quantity}": value for quantity, value in self._second.snapshot(t).items()}
        return self._first.snapshot(t) | second


def _channel(base: int, prefix: str) -> tuple[Cell, ...]:
    return (
        *phases(base + 0x01, U16, f"{prefix}u", 0.1, "Voltage CT{}"),
        *phases(base + 0x07, _SM32, f"{prefix}i_signed", 0.001, "Current CT{}"),
        Cell(base + 0x0D, _SM32, f"{prefix}kw", _W, "Total active power"),
        *phases(base + 0x0F, _SM32, f"{prefix}kw", _W, "Active power CT{}"),
        Cell(base + 0x15, _SM32, f"{prefix}kvar", _W, "Total reactive power"),
        *phases(base + 0x17, _SM32, f"{prefix}kvar", _W, "Reactive power CT{}"),
        Cell(base + 0x1D, _SM32, f"{prefix}kva", _W, "Total apparent power"),
        *phases(base + 0x1F, _SM32, f"{prefix}kva", _W, "Apparent power CT{}"),
        Cell(base + 0x25, SM16, f"{prefix}pf", 0.001, "Power factor"),
        *phases(base + 0x26, SM16, f"{prefix}pf", 0.001, "Power factor CT{}"),
        Cell(base + 0x29, U16, f"{prefix}frequency", 0.01, "Frequency"),
        Cell(base + 0x2A, U32, f"{prefix}kwh_import", 0.01, "Total positive energy"),
        Cell(base + 0x34, U32, f"{prefix}kwh_export", 0.01, "Total negative energy"),
        *phases(base + 0x3E, U32, f"{prefix}kwh_phase", 0.01, "Total positive energy CT{}", step=0x14),
        *phases(base + 0x48, U32, f"{prefix}kwh_export_phase", 0.01, "Total negative energy CT{}", step=0x14),
    )


DTSD422 = Model(
    slug="deye-dtsd422",
    title="Deye/IGEN DTSD422-D3",
    source="Solarman, DTSD422-D3 Modbus list",
    world=TwoChannels,
    tables={HOLDING: (*_channel(0x0000, ""), *_channel(0x1000, "b_"))},
    functions=frozenset({3, 16}),
    holes=Holes.FILL,
    turnaround_s=0.03,
    counters={"kwh_import": 42_949_672.96, "kwh_export": 42_949_672.96},
)
