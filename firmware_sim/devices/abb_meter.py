"""ABB B23: 64-bit energies, signed powers, and all-ones (or 0x7FFF...) where there is nothing.

Source: ABB, B23/B24 user manual 2CMC485003M0201, chapter 9, mapping tables. Unused registers and values that are not
available read as 0xFFFF (unsigned) or 0x7FFF FFFF (signed).
"""

from __future__ import annotations

from dataclasses import replace

from firmware_sim.device import Model
from firmware_sim.registers import HOLDING, S16, S32, S64, U16, U32, U64, Cell, Holes, phases, text
from firmware_sim.worlds import ThreePhase

_S16 = replace(S16, absent=b"\x7f\xff")
_S32 = replace(S32, absent=b"\x7f\xff\xff\xff")
_S64 = replace(S64, absent=b"\x7f" + b"\xff" * 7)
_W = 0.00001
"""0.01 W a unit."""

_CELLS = (
    Cell(0x5000, U64, "kwh_import", 0.01, "Active import, kWh"),
    Cell(0x5004, U64, "kwh_export", 0.01, "Active export, kWh"),
    Cell(0x5008, _S64, "kwh_net", 0.01, "Active net, kWh"),
    Cell(0x500C, U64, "kvarh_import", 0.01, "Reactive import, kvarh"),
    Cell(0x5010, U64, "kvarh_export", 0.01, "Reactive export, kvarh"),
    Cell(0x5014, _S64, "kvarh_import", 0.01, "Reactive net, kvarh"),
    Cell(0x5018, U64, "kvah", 0.01, "Apparent import, kVAh"),
    Cell(0x501C, U64, "=", label="Apparent export: not available"),
    Cell(0x5170, U64, "kwh_import", 0.01, "Active import tariff 1, kWh"),
    *(Cell(0x5170 + 4 * tariff, U64, "=0", label=f"Active import tariff {tariff + 1}") for tariff in (1, 2, 3)),
    *phases(0x5460, U64, "kwh_phase", 0.01, "Active import L{}, kWh"),
    *phases(0x546C, U64, "kwh_export_phase", 0.01, "Active export L{}, kWh"),
    *phases(0x5B00, U32, "u", 0.1, "Voltage L{}-N"),
    Cell(0x5B06, U32, "u12", 0.1, "Voltage L1-L2"),
    Cell(0x5B08, U32, "u23", 0.1, "Voltage L3-L2"),
    Cell(0x5B0A, U32, "u31", 0.1, "Voltage L1-L3"),
    *phases(0x5B0C, U32, "i", 0.01, "Current L{}"),
    Cell(0x5B12, U32, "i_n", 0.01, "Current N"),
    Cell(0x5B14, _S32, "kw", _W, "Active power total"),
    *phases(0x5B16, _S32, "kw", _W, "Active power L{}"),
    Cell(0x5B1C, _S32, "kvar", _W, "Reactive power total"),
    *phases(0x5B1E, _S32, "kvar", _W, "Reactive power L{}"),
    Cell(0x5B24, _S32, "kva", _W, "Apparent power total"),
    *phases(0x5B26, _S32, "kva", _W, "Apparent power L{}"),
    Cell(0x5B2C, U16, "frequency", 0.01, "Frequency"),
    Cell(0x5B2D, _S16, "angle", 0.1, "Phase angle power total"),
    *phases(0x5B2E, _S16, "angle", 0.1, "Phase angle power L{}"),
    Cell(0x5B3A, _S16, "pf", 0.001, "Power factor total"),
    *phases(0x5B3B, _S16, "pf", 0.001, "Power factor L{}"),
    Cell(0x8900, U32, "=21041817", label="Serial number"),
    Cell(0x8908, text(8), "=B1.30.0", label="Meter firmware version"),
    Cell(0x8960, text(6), "=B23 112-100", label="Type designation"),
)

B23 = Model(
    slug="abb-b23",
    title="ABB B23 112-100",
    source="ABB, 2CMC485003M0201, chapter 9",
    world=lambda seed, offset: ThreePhase(seed, rated_kw=24, utc_offset_s=offset),
    tables={HOLDING: _CELLS},
    functions=frozenset({3, 6, 16}),
    holes=Holes.ALWAYS_FILL,
    filler=b"\xff\xff",
    turnaround_s=0.02,
    counters={"kwh_import": 1e7, "kwh_export": 1e7},
)
