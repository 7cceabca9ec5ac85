"""Socomec Diris A20/A40: 32-bit integers high word first, powers in tens of watts.

Source: Socomec, Diris A40/A41 communication table (JBUS), metrology table at 0xC550 and energies at 0xC652 and 0xC702.
"""

from __future__ import annotations

from firmware_sim.device import Model
from firmware_sim.registers import HOLDING, S32, U32, Cell, phases
from firmware_sim.worlds import ThreePhase

_TEN_W = 0.01

_CELLS = (
    Cell(0xC550, U32, "hours", 0.01, "Hour meter"),
    Cell(0xC552, U32, "u12", 0.01, "Phase to phase voltage U12"),
    Cell(0xC554, U32, "u23", 0.01, "Phase to phase voltage U23"),
    Cell(0xC556, U32, "u31", 0.01, "Phase to phase voltage U31"),
    *phases(0xC558, U32, "u", 0.01, "Phase to neutral voltage phase {}"),
    Cell(0xC55E, U32, "frequency", 0.01, "Frequency"),
    *phases(0xC560, U32, "i", 0.001, "Current phase {}"),
    Cell(0xC566, U32, "i_n", 0.001, "Neutral current"),
    Cell(0xC568, S32, "kw", _TEN_W, "Sum of active power +/-"),
    Cell(0xC56A, S32, "kvar", _TEN_W, "Sum of reactive power +/-"),
    Cell(0xC56C, U32, "kva", _TEN_W, "Sum of apparent power"),
    Cell(0xC56E, S32, "pf", 0.001, "Sum of power factor: -: leading, +: lagging"),
    *phases(0xC570, S32, "kw", _TEN_W, "Active power phase {} +/-"),
    *phases(0xC576, S32, "kvar", _TEN_W, "Reactive power phase {} +/-"),
    *phases(0xC57C, U32, "kva", _TEN_W, "Apparent power phase {}"),
    *phases(0xC582, S32, "pf", 0.001, "Power factor phase {}"),
    Cell(0xC588, U32, "i_avg", 0.001, "System current"),
    Cell(0xC58A, U32, "ull_avg", 0.01, "System phase to phase voltage"),
    Cell(0xC58C, U32, "u_avg", 0.01, "System phase to neutral voltage"),
    Cell(0xC650, U32, "hours", 0.01, "Hour meter"),
    Cell(0xC652, U32, "kwh_import", 1.0, "Total active energy +"),
    Cell(0xC654, U32, "kvarh_import", 1.0, "Total reactive energy +"),
    Cell(0xC656, U32, "kvah", 1.0, "Total apparent energy"),
    Cell(0xC658, U32, "kwh_export", 1.0, "Total active energy -"),
    Cell(0xC65A, U32, "kvarh_export", 1.0, "Total reactive energy -"),
    Cell(0xC702, U32, "kwh_import", 1.0, "Partial active energy +"),
    Cell(0xC704, U32, "kvarh_import", 1.0, "Partial reactive energy +"),
    Cell(0xC706, U32, "kvah", 1.0, "Partial apparent energy"),
    Cell(0xC708, U32, "kwh_export", 1.0, "Partial active energy -"),
    Cell(0xC70A, U32, "kvarh_export", 1.0, "Partial reactive energy -"),
)

DIRIS = Model(
    slug="socomec-diris",
    title="Socomec Diris A20",
    source="Socomec, Diris A communication tables",
    world=lambda seed, offset: ThreePhase(seed, rated_kw=80, utc_offset_s=offset),
    tables={HOLDING: _CELLS},
    functions=frozenset({3, 6, 16}),
    turnaround_s=0.05,
    counters={"kwh_import": 100_000_000.0, "kwh_export": 100_000_000.0},
)
