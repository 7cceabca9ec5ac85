"""Schneider iEM3000 and PM5000: floats, and energies as 64-bit integers of Wh. The manuals count registers from 1.

Source: Schneider Electric, iEM3000 series user manual DOCA0005EN, Modbus register list; PM5000 series public Modbus register
list. A value they do not measure is the float NaN, or 0x8000000000000000.
"""

from __future__ import annotations

from firmware_sim.device import Model
from firmware_sim.registers import F32, HOLDING, S64, U16, U32, Cell, Holes, phases, text
from firmware_sim.worlds import ThreePhase

_WH = 0.001

_MEASUREMENTS = (
    *phases(2999, F32, "i", label="I{}: phase {} current"),
    Cell(3009, F32, "i_avg", label="Current average"),
    Cell(3019, F32, "u12", label="Voltage L1-L2"),
    Cell(3021, F32, "u23", label="Voltage L2-L3"),
    Cell(3023, F32, "u31", label="Voltage L3-L1"),
    Cell(3025, F32, "ull_avg", label="Voltage L-L average"),
    *phases(3027, F32, "u", label="Voltage L{}-N"),
    Cell(3035, F32, "u_avg", label="Voltage L-N average"),
    *phases(3053, F32, "kw", label="Active power phase {}, kW"),
    Cell(3059, F32, "kw", label="Total active power, kW"),
    *phases(3061, F32, "kvar", label="Reactive power phase {}, kvar"),
    Cell(3067, F32, "kvar", label="Total reactive power, kvar"),
    *phases(3069, F32, "kva", label="Apparent power phase {}, kVA"),
    Cell(3075, F32, "kva", label="Total apparent power, kVA"),
    Cell(3083, F32, "pf", label="Total power factor (4-quadrant)"),
    Cell(3109, F32, "frequency", label="Frequency"),
    Cell(3203, S64, "kwh_import", _WH, "Total active energy import, Wh"),
    Cell(3207, S64, "kwh_export", _WH, "Total active energy export, Wh"),
    Cell(3219, S64, "kvarh_import", _WH, "Total reactive energy import, varh"),
    Cell(3223, S64, "kvarh_export", _WH, "Total reactive energy export, varh"),
)

_IEM = (
    Cell(29, text(20), "=Energy Meter", label="Meter name"),
    Cell(49, text(20), "=iEM3155", label="Meter model"),
    Cell(69, text(20), "=Schneider Electric", label="Manufacturer"),
    Cell(129, U32, "=1712450917", label="Serial number"),
    *_MEASUREMENTS,
    *phases(3517, S64, "kwh_phase", _WH, "Active energy import phase {}, Wh"),
    Cell(45099, F32, "kwh_import", _WH, "Total active energy import, Wh"),
    Cell(45101, F32, "kwh_export", _WH, "Total active energy export, Wh"),
)

_PM = (
    Cell(29, text(20), "=Incomer", label="Meter name"),
    Cell(49, text(20), "=PM5320", label="Meter model"),
    Cell(69, text(20), "=Schneider Electric", label="Manufacturer"),
    Cell(129, U32, "=1710230042", label="Serial number"),
    Cell(2013, U16, "=3", label="Number of phases"),
    Cell(2699, F32, "kwh_import", label="Active energy delivered (into load), kWh"),
    Cell(2701, F32, "kwh_export", label="Active energy received (out of load), kWh"),
    Cell(2703, F32, "kwh_total", label="Active energy delivered + received, kWh"),
    Cell(2707, F32, "kvarh_import", label="Reactive energy delivered, kvarh"),
    Cell(2715, F32, "kvah", label="Apparent energy delivered, kVAh"),
    Cell(3005, F32, "i_n", label="Current N"),
    Cell(3017, F32, "i_unbalance", label="Current unbalance worst"),
    *phases(3077, F32, "pf", label="Power factor {}"),
    Cell(3193, F32, "pf", label="Power factor total (4Q FP)"),
    *_MEASUREMENTS,
    Cell(3211, S64, "kwh_total", _WH, "Active energy delivered + received, Wh"),
    Cell(3235, S64, "kvah", _WH, "Apparent energy delivered, VAh"),
    *phases(21299, F32, "thd_i", label="THD current {}"),
    *phases(21329, F32, "thd_u", label="THD voltage {}-N"),
)

IEM3000 = Model(
    slug="schneider-iem3000",
    title="Schneider Electric iEM3155",
    source="Schneider Electric, DOCA0005EN, Modbus register list",
    world=lambda seed, offset: ThreePhase(seed, rated_kw=25, utc_offset_s=offset),
    tables={HOLDING: _IEM},
    functions=frozenset({3, 6, 16}),
    identity={0: "Schneider Electric", 1: "iEM3155", 2: "1.3.009"},
    holes=Holes.FILL,
    turnaround_s=0.03,
    counters={"kwh_import": 1e8, "kwh_export": 1e8},
)

PM5000 = Model(
    slug="schneider-pm5000",
    title="Schneider Electric PM5320",
    source="Schneider Electric, PM5000 series public Modbus register list",
    world=lambda seed, offset: ThreePhase(seed, rated_kw=220, utc_offset_s=offset),
    tables={HOLDING: _PM},
    functions=frozenset({3, 6, 16}),
    identity={0: "Schneider Electric", 1: "METSEPM5320", 2: "2.3.5", 4: "PM5000"},
    holes=Holes.FILL,
    turnaround_s=0.005,
)
