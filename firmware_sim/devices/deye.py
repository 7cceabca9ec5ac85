"""Deye/IGEN DTSD422-D3: powers and currents as sign and magnitude with the low word first, energies high word first.

Source: Solarman, DTSD422-D3 Modbus list of 2024-10-29; facts cross-checked with kbialek/deye-inverter-mqtt (Apache-2.0).
"""

from __future__ import annotations

from firmware_sim.device import Model
from firmware_sim.registers import HOLDING, SM16, SM32, U16, U32, Cell, low_word_first, phases
from firmware_sim.worlds import ThreePhase

_SM32 = low_word_first(SM32)
_W = 0.001

_CELLS = (
    *phases(0x0001, U16, "u", 0.1, "Voltage CT{}"),
    *phases(0x0007, _SM32, "i_signed", 0.001, "Current CT{}"),
    Cell(0x000D, _SM32, "kw", _W, "Total active power"),
    *phases(0x000F, _SM32, "kw", _W, "Active power CT{}"),
    Cell(0x0015, _SM32, "kvar", _W, "Total reactive power"),
    *phases(0x0017, _SM32, "kvar", _W, "Reactive power CT{}"),
    Cell(0x001D, _SM32, "kva", _W, "Total apparent power"),
    *phases(0x001F, _SM32, "kva", _W, "Apparent power CT{}"),
    Cell(0x0025, SM16, "pf", 0.001, "Power factor"),
    *phases(0x0026, SM16, "pf", 0.001, "Power factor CT{}"),
    Cell(0x0029, U16, "frequency", 0.01, "Frequency"),
    Cell(0x002A, U32, "kwh_import", 0.01, "Total positive energy"),
    Cell(0x0034, U32, "kwh_export", 0.01, "Total negative energy"),
    *phases(0x003E, U32, "kwh_phase", 0.01, "Total positive energy CT{}", step=0x14),
    *phases(0x0048, U32, "kwh_export_phase", 0.01, "Total negative energy CT{}", step=0x14),
)

DTSD422 = Model(
    slug="deye-dtsd422",
    title="Deye/IGEN DTSD422-D3",
    source="Solarman, DTSD422-D3 Modbus list",
    world=lambda seed, offset: ThreePhase.generating(seed, rated_kw=12, utc_offset_s=offset),
    tables={HOLDING: _CELLS},
    functions=frozenset({3, 16}),
    turnaround_s=0.03,
    counters={"kwh_import": 42_949_672.96, "kwh_export": 42_949_672.96},
)
