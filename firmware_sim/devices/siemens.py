"""Siemens SENTRON PAC3200: floats at odd offsets, energies as 64-bit floats of Wh.

Source: Siemens, SENTRON PAC3200 manual A5E01168664, appendix A, Modbus measured variables with function codes 3 and 4.
"""

from __future__ import annotations

from firmware_sim.device import Model, both
from firmware_sim.registers import F32, F64, Cell, phases
from firmware_sim.worlds import ThreePhase

_W = 0.001

_CELLS = (
    *phases(1, F32, "u", label="Voltage L{}-N"),
    Cell(7, F32, "u12", label="Voltage L1-L2"),
    Cell(9, F32, "u23", label="Voltage L2-L3"),
    Cell(11, F32, "u31", label="Voltage L3-L1"),
    *phases(13, F32, "i", label="Current L{}"),
    *phases(19, F32, "kva", _W, "Apparent power L{}"),
    *phases(25, F32, "kw", _W, "Active power L{}"),
    *phases(31, F32, "kvar", _W, "Reactive power L{}"),
    *phases(37, F32, "pf", label="Power factor L{}"),
    *phases(43, F32, "thd_u", label="THD-R voltage L{}"),
    *phases(49, F32, "thd_i", label="THD-R current L{}"),
    Cell(55, F32, "frequency", label="Frequency"),
    Cell(57, F32, "u_avg", label="Average voltage L-N"),
    Cell(59, F32, "ull_avg", label="Average voltage L-L"),
    Cell(61, F32, "i_avg", label="Average current"),
    Cell(63, F32, "kva", _W, "Total apparent power"),
    Cell(65, F32, "kw", _W, "Total active power"),
    Cell(67, F32, "kvar", _W, "Total reactive power"),
    Cell(69, F32, "pf", label="Total power factor"),
    Cell(71, F32, "u_unbalance", label="Amplitude unbalance voltage"),
    Cell(73, F32, "i_unbalance", label="Amplitude unbalance current"),
    Cell(801, F64, "kwh_import", _W, "Active energy import tariff 1, Wh"),
    Cell(805, F64, "=0", label="Active energy import tariff 2, Wh"),
    Cell(809, F64, "kwh_export", _W, "Active energy export tariff 1, Wh"),
    Cell(813, F64, "=0", label="Active energy export tariff 2, Wh"),
    Cell(817, F64, "kvarh_import", _W, "Reactive energy import tariff 1, varh"),
    Cell(821, F64, "=0", label="Reactive energy import tariff 2, varh"),
    Cell(825, F64, "kvarh_export", _W, "Reactive energy export tariff 1, varh"),
    Cell(829, F64, "=0", label="Reactive energy export tariff 2, varh"),
    Cell(833, F64, "kvah", _W, "Apparent energy tariff 1, VAh"),
    Cell(837, F64, "=0", label="Apparent energy tariff 2, VAh"),
)

PAC3200 = Model(
    slug="siemens-pac3200",
    title="Siemens SENTRON PAC3200",
    source="Siemens, A5E01168664, appendix A",
    world=lambda seed, offset: ThreePhase(seed, rated_kw=160, utc_offset_s=offset),
    tables=both(_CELLS),
    functions=frozenset({2, 3, 4, 6, 16}),
    identity={0: "SIEMENS", 1: "7KM2112-0BA00-3AA0", 2: "V2.2.4"},
    whole_values=True,
    turnaround_s=0.004,
    counters={"kwh_import": 1e9, "kwh_export": 1e9},
)
