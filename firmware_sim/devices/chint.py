"""Chint DTSU666: floats that are scaled all the same (a voltage of 229.8 V is the float 2298.0).

Source: Chint, DTSU666/DSSU666 user manual, table of the communication address list (function 3).
"""

from __future__ import annotations

from firmware_sim.device import Model
from firmware_sim.registers import F32, HOLDING, U16, Cell, Holes, phases
from firmware_sim.worlds import ThreePhase

_W = 0.0001
"""0.1 W a unit; the world says kW."""

_HOLDING = (
    Cell(0x0000, U16, "=204", label="REV. version"),
    Cell(0x0003, U16, "=0", label="net: 0 = 3P4W"),
    Cell(0x0006, U16, "=1", label="IrAt, current transformer ratio"),
    Cell(0x0007, U16, "=10", label="UrAt, voltage transformer ratio x10"),
    Cell(0x2000, F32, "u12", 0.1, "Uab"),
    Cell(0x2002, F32, "u23", 0.1, "Ubc"),
    Cell(0x2004, F32, "u31", 0.1, "Uca"),
    *phases(0x2006, F32, "u", 0.1, "U phase {}"),
    *phases(0x200C, F32, "i", 0.001, "I phase {}"),
    Cell(0x2012, F32, "kw", _W, "Pt, combined active power"),
    *phases(0x2014, F32, "kw", _W, "P phase {}"),
    Cell(0x201A, F32, "kvar", _W, "Qt, combined reactive power"),
    *phases(0x201C, F32, "kvar", _W, "Q phase {}"),
    Cell(0x202A, F32, "pf", 0.001, "PFt, combined power factor"),
    *phases(0x202C, F32, "pf", 0.001, "PF phase {}"),
    Cell(0x2044, F32, "frequency", 0.01, "Freq"),
    Cell(0x2050, F32, "kw_demand", _W, "DmPt, active power demand"),
    Cell(0x101E, F32, "kwh_import", label="ImpEp, positive total active energy, kWh"),
    Cell(0x1028, F32, "kwh_export", label="ExpEp, negative total active energy, kWh"),
)

DTSU666 = Model(
    slug="chint-dtsu666",
    title="Chint DTSU666",
    source="Chint, DTSU666/DSSU666 user manual, communication address list",
    world=lambda seed, offset: ThreePhase(seed, rated_kw=18, utc_offset_s=offset),
    tables={HOLDING: _HOLDING},
    functions=frozenset({3, 16}),
    holes=Holes.FILL,
    turnaround_s=0.03,
    counters={"kwh_import": 1_000_000.0, "kwh_export": 1_000_000.0},
)
