"""Carlo Gavazzi EM24: 32-bit integers with the low word first.

Source: Carlo Gavazzi, EM24-DIN communication protocol, table 2.1 (functions 3 and 4). At most 11 words a request, as older
firmware has it. Its revisions call 0x3E or 0x42 the total; a meter that was never reset has the same number in both.
"""

from __future__ import annotations

from firmware_sim.device import Model, both
from firmware_sim.registers import S16, S32, U16, Cell, low_word_first, phases
from firmware_sim.worlds import ThreePhase

_S32 = low_word_first(S32)
_W = 0.0001

_CELLS = (
    *phases(0x0000, _S32, "u", 0.1, "V L{}-N"),
    Cell(0x0006, _S32, "u12", 0.1, "V L1-L2"),
    Cell(0x0008, _S32, "u23", 0.1, "V L2-L3"),
    Cell(0x000A, _S32, "u31", 0.1, "V L3-L1"),
    *phases(0x000C, _S32, "i", 0.001, "A L{}"),
    *phases(0x0012, _S32, "kw", _W, "W L{}"),
    *phases(0x0018, _S32, "kva", _W, "VA L{}"),
    *phases(0x001E, _S32, "kvar", _W, "var L{}"),
    Cell(0x0024, _S32, "u_avg", 0.1, "V L-N sum"),
    Cell(0x0026, _S32, "ull_avg", 0.1, "V L-L sum"),
    Cell(0x0028, _S32, "kw", _W, "W sum"),
    Cell(0x002A, _S32, "kva", _W, "VA sum"),
    Cell(0x002C, _S32, "kvar", _W, "var sum"),
    Cell(0x002E, _S32, "kw_demand", _W, "W dmd"),
    Cell(0x0030, _S32, "kva", _W, "VA dmd"),
    *phases(0x0032, S16, "pf", 0.001, "PF L{}"),
    Cell(0x0035, S16, "pf", 0.001, "PF sum"),
    Cell(0x0036, S16, "=0", label="Phase sequence: 0 = L1-L2-L3"),
    Cell(0x0037, U16, "frequency", 0.1, "Hz"),
    Cell(0x0038, _S32, "kw_demand_max", _W, "W dmd max"),
    Cell(0x003A, _S32, "kva", _W, "VA dmd max"),
    Cell(0x003C, _S32, "i1", 0.001, "A dmd max"),
    Cell(0x003E, _S32, "kwh_import", 0.1, "kWh(+) TOT"),
    Cell(0x0040, _S32, "kvarh_import", 0.1, "kvarh(+) TOT"),
    Cell(0x0042, _S32, "kwh_import", 0.1, "kWh(+) PAR, never reset"),
    Cell(0x0044, _S32, "kvarh_import", 0.1, "kvarh(+) PAR"),
    *phases(0x0046, _S32, "kwh_phase", 0.1, "kWh(+) L{}"),
    Cell(0x005C, _S32, "kwh_export", 0.1, "kWh(-) TOT"),
    Cell(0x005E, _S32, "kvarh_export", 0.1, "kvarh(-) TOT"),
)

EM24 = Model(
    slug="carlo-gavazzi-em24",
    title="Carlo Gavazzi EM24-DIN",
    source="Carlo Gavazzi, EM24-DIN communication protocol",
    world=lambda seed, offset: ThreePhase(seed, rated_kw=20, utc_offset_s=offset),
    tables=both(_CELLS),
    functions=frozenset({3, 4, 6}),
    max_registers=11,
    turnaround_s=0.04,
    counters={"kwh_import": 10_000_000.0, "kwh_export": 10_000_000.0},
)
