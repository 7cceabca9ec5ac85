"""A SunSpec three-phase inverter: marker at 40000, then models 1 (common), 103 (inverter), 120 (nameplate), 0xFFFF.

Every number of model 103 is an integer with its scale factor beside it; what the inverter does not measure is 0xFFFF or
0x8000, and its energy is an accumulator.
Source: SunSpec Alliance, Device Information Model Specification V1.2.1 and models 1, 103, 120. A read that leaves the chain
or that splits a value is refused with exception 02, as inverters do.
"""

from __future__ import annotations

from firmware_sim.device import Model
from firmware_sim.plant import Inverter
from firmware_sim.registers import HOLDING, S16, U16, U32, Cell, Kind, text

BASE = 40000


def _sf(exponent: int) -> str:
    return f"={exponent}"


_COMMON = BASE + 2
_INVERTER = _COMMON + 68
_NAMEPLATE = _INVERTER + 52
_END = _NAMEPLATE + 28


def _at(base: int, rows: tuple[tuple[int, Kind, str, float, str], ...]) -> tuple[Cell, ...]:
    return tuple(Cell(base + at, kind, quantity, lsb, label) for at, kind, quantity, lsb, label in rows)


_COMMON_ROWS = (
    (0, U16, "=1", 1.0, "ID"),
    (1, U16, "=66", 1.0, "L"),
    (2, text(16), "=Plantroom", 1.0, "Mn, Manufacturer"),
    (18, text(16), "=SIM-50K", 1.0, "Md, Model"),
    (34, text(8), "=none", 1.0, "Opt, Options"),
    (42, text(8), "=1.4.2", 1.0, "Vr, Version"),
    (50, text(16), "=PR50K-00017", 1.0, "SN, Serial Number"),
    (66, U16, "=1", 1.0, "DA, Device Address"),
    (67, U16, "=", 1.0, "Pad"),
)

_INVERTER_ROWS = (
    (0, U16, "=103", 1.0, "ID"),
    (1, U16, "=50", 1.0, "L"),
    (2, U16, "a", 0.01, "A, AC Current"),
    (3, U16, "a1", 0.01, "AphA, Phase A Current"),
    (4, U16, "a2", 0.01, "AphB, Phase B Current"),
    (5, U16, "a3", 0.01, "AphC, Phase C Current"),
    (6, S16, _sf(-2), 1.0, "A_SF"),
    (7, U16, "u12", 0.1, "PPVphAB"),
    (8, U16, "u23", 0.1, "PPVphBC"),
    (9, U16, "u31", 0.1, "PPVphCA"),
    (10, U16, "u1", 0.1, "PhVphA"),
    (11, U16, "u2", 0.1, "PhVphB"),
    (12, U16, "u3", 0.1, "PhVphC"),
    (13, S16, _sf(-1), 1.0, "V_SF"),
    (14, S16, "w", 10.0, "W, AC Power"),
    (15, S16, _sf(1), 1.0, "W_SF"),
    (16, U16, "hz", 0.01, "Hz, Line Frequency"),
    (17, S16, _sf(-2), 1.0, "Hz_SF"),
    (18, S16, "va", 10.0, "VA, AC Apparent Power"),
    (19, S16, _sf(1), 1.0, "VA_SF"),
    (20, S16, "var", 10.0, "VAr, AC Reactive Power"),
    (21, S16, _sf(1), 1.0, "VAr_SF"),
    (22, S16, "pf_percent", 0.1, "PF, AC Power Factor, %"),
    (23, S16, _sf(-1), 1.0, "PF_SF"),
    (24, U32, "wh", 10.0, "WH, AC Energy"),
    (26, S16, _sf(1), 1.0, "WH_SF"),
    (27, U16, "dc_a", 0.01, "DCA, DC Current"),
    (28, S16, _sf(-2), 1.0, "DCA_SF"),
    (29, U16, "dc_v", 0.1, "DCV, DC Voltage"),
    (30, S16, _sf(-1), 1.0, "DCV_SF"),
    (31, S16, "dc_w", 10.0, "DCW, DC Power"),
    (32, S16, _sf(1), 1.0, "DCW_SF"),
    (33, S16, "cabinet_c", 0.1, "TmpCab, Cabinet Temperature"),
    (34, S16, "=", 1.0, "TmpSnk: not implemented"),
    (35, S16, "=", 1.0, "TmpTrns: not implemented"),
    (36, S16, "=", 1.0, "TmpOt: not implemented"),
    (37, S16, _sf(-1), 1.0, "Tmp_SF"),
    (38, U16, "status", 1.0, "St, Operating State"),
    (39, U16, "=", 1.0, "StVnd: not implemented"),
    (40, U32, "=0", 1.0, "Evt1"),
    (42, U32, "=0", 1.0, "Evt2"),
    (44, U32, "=", 1.0, "EvtVnd1: not implemented"),
    (46, U32, "=", 1.0, "EvtVnd2: not implemented"),
    (48, U32, "=", 1.0, "EvtVnd3: not implemented"),
    (50, U32, "=", 1.0, "EvtVnd4: not implemented"),
)

_NAMEPLATE_ROWS = (
    (0, U16, "=120", 1.0, "ID"),
    (1, U16, "=26", 1.0, "L"),
    (2, U16, "=4", 1.0, "DERTyp: PV"),
    (3, U16, "=5000", 1.0, "WRtg"),
    (4, S16, _sf(1), 1.0, "WRtg_SF"),
    (5, U16, "=5000", 1.0, "VARtg"),
    (6, S16, _sf(1), 1.0, "VARtg_SF"),
    *((at, S16, "=", 1.0, "VArRtgQ1..Q4: not implemented") for at in range(7, 11)),
    (11, S16, "=", 1.0, "VArRtg_SF"),
    (12, U16, "=725", 1.0, "ARtg"),
    (13, S16, _sf(-1), 1.0, "ARtg_SF"),
    *((at, U16, "=", 1.0, "not implemented") for at in range(14, 28)),
)

INVERTER = Model(
    slug="sunspec-inverter-three-phase",
    title="SunSpec three-phase inverter, integer models",
    source="SunSpec models 1, 103 and 120",
    world=lambda seed, offset: Inverter(seed, rated_kw=50, utc_offset_s=offset),
    tables={
        HOLDING: (
            Cell(BASE, text(2), "=SunS", label="SunSpec marker"),
            *_at(_COMMON, _COMMON_ROWS),
            *_at(_INVERTER, _INVERTER_ROWS),
            *_at(_NAMEPLATE, _NAMEPLATE_ROWS),
            Cell(_END, U16, "=65535", label="End of the chain"),
            Cell(_END + 1, U16, "=0", label="L of the end"),
        )
    },
    functions=frozenset({3, 6, 16}),
    whole_values=True,
    turnaround_s=0.012,
    counters={"wh": 42_949_672_960.0},
)
