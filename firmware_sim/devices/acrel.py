"""Acrel DTSD1352 (secondary values: the reader multiplies by the transformers' ratios) and ADW300 (primary values).

Source: Acrel, DTSD1352 three-phase energy meter manual, MODBUS address table (energy = data x PT x CT x 0.01 kWh); Acrel,
ADW300 manual, address table.
"""

from __future__ import annotations

from firmware_sim.device import Model
from firmware_sim.registers import HOLDING, S16, S32, U16, U32, Cell, phases
from firmware_sim.worlds import ThreePhase

CT, PT = 40, 1
"""Current transformers of 200/5 A; voltage measured directly."""
_KW = 0.001 * CT * PT
_KWH = 0.01 * CT * PT


def _energy(address: int, quantity: str, label: str) -> tuple[Cell, ...]:
    """A total and its spike, peak, flat and valley parts; without a tariff plan all of it is flat."""
    return (
        Cell(address, U32, quantity, _KWH, f"Current {label} energy"),
        Cell(address + 2, U32, "=0", label=f"{label}, spike"),
        Cell(address + 4, U32, "=0", label=f"{label}, peak"),
        Cell(address + 6, U32, quantity, _KWH, f"{label}, flat"),
        Cell(address + 8, U32, "=0", label=f"{label}, valley"),
    )


_DTSD1352 = (
    *_energy(0x0000, "kwh_total", "total active"),
    *_energy(0x000A, "kwh_import", "forward active total"),
    *_energy(0x0014, "kwh_export", "reverse active total"),
    *_energy(0x001E, "kvarh_total", "total reactive"),
    *_energy(0x0028, "kvarh_import", "forward reactive total"),
    *_energy(0x0032, "kvarh_export", "reverse reactive total"),
    *phases(0x0061, U16, "u", 0.1 * PT, "Voltage of phase {}"),
    *phases(0x0064, U16, "i", 0.01 * CT, "Current of phase {}"),
    *phases(0x0067, S16, "kw", _KW, "Active power of phase {}"),
    Cell(0x006A, S16, "kw", _KW, "Total active power"),
    *phases(0x006B, S16, "kvar", _KW, "Reactive power of phase {}"),
    Cell(0x006E, S16, "kvar", _KW, "Total reactive power"),
    *phases(0x006F, U16, "kva", _KW, "Apparent power of phase {}"),
    Cell(0x0072, U16, "kva", _KW, "Total apparent power"),
    *phases(0x0073, S16, "pf", 0.001, "Power factor of phase {}"),
    Cell(0x0076, S16, "pf", 0.001, "Total power factor"),
    Cell(0x0077, U16, "frequency", 0.01, "Frequency"),
    Cell(0x0078, U16, "u12", 0.1 * PT, "Voltage A-B"),
    Cell(0x0079, U16, "u23", 0.1 * PT, "Voltage C-B"),
    Cell(0x007A, U16, "u31", 0.1 * PT, "Voltage A-C"),
    Cell(0x008D, U16, f"={PT}", label="Voltage transformer ratio PT"),
    Cell(0x008E, U16, f"={CT}", label="Current transformer ratio CT"),
    *phases(0x0164, S32, "kw", _KW, "Active power of phase {}"),
    Cell(0x016A, S32, "kw", _KW, "Total active power"),
    *phases(0x016C, S32, "kvar", _KW, "Reactive power of phase {}"),
    Cell(0x0172, S32, "kvar", _KW, "Total reactive power"),
    *phases(0x0174, S32, "kva", _KW, "Apparent power of phase {}"),
    Cell(0x017A, S32, "kva", _KW, "Total apparent power"),
    *phases(0x017C, S16, "pf", 0.001, "Power factor of phase {}"),
    Cell(0x017F, S16, "pf", 0.001, "Total power factor"),
)

_ADW300 = (
    *phases(20, U16, "u", 0.1, "Voltage of phase {}"),
    Cell(23, U16, "u12", 0.1, "Voltage A-B"),
    Cell(24, U16, "u23", 0.1, "Voltage B-C"),
    Cell(25, U16, "u31", 0.1, "Voltage C-A"),
    *phases(26, U16, "i", 0.01, "Current of phase {}"),
    Cell(29, U16, "i_n", 0.01, "Vector sum of the currents"),
    *phases(30, S32, "kw", 0.001, "Active power of phase {}, W"),
    Cell(36, S32, "kw", 0.001, "Total active power, W"),
    *phases(38, S32, "kvar", 0.001, "Reactive power of phase {}, var"),
    Cell(44, S32, "kvar", 0.001, "Total reactive power, var"),
    *phases(46, S32, "kva", 0.001, "Apparent power of phase {}, VA"),
    Cell(52, S32, "kva", 0.001, "Total apparent power, VA"),
    *phases(54, S16, "pf", 0.001, "Power factor of phase {}"),
    Cell(57, S16, "pf", 0.001, "Total power factor"),
    Cell(58, U16, "frequency", 0.01, "Frequency"),
    Cell(60, S32, "kwh_total", 0.01, "Total active energy"),
    Cell(62, S32, "kwh_import", 0.01, "Forward active energy"),
    Cell(64, S32, "kwh_export", 0.01, "Reverse active energy"),
    Cell(66, S32, "kvarh_import", 0.01, "Forward reactive energy"),
    Cell(68, S32, "kvarh_export", 0.01, "Reverse reactive energy"),
)

DTSD1352 = Model(
    slug="acrel-dtsd1352",
    title="Acrel DTSD1352-CT",
    source="Acrel, DTSD1352 manual, MODBUS address table",
    world=lambda seed, offset: ThreePhase(seed, rated_kw=110, utc_offset_s=offset),
    tables={HOLDING: _DTSD1352},
    functions=frozenset({3, 16}),
    turnaround_s=0.03,
    counters={"kwh_import": 1e6 * CT * PT, "kwh_export": 1e6 * CT * PT},
)

ADW300 = Model(
    slug="acrel-adw300",
    title="Acrel ADW300",
    source="Acrel, ADW300 manual, address table; evcc meter acrel-adw300",
    world=lambda seed, offset: ThreePhase(seed, rated_kw=35, utc_offset_s=offset),
    tables={HOLDING: _ADW300},
    functions=frozenset({3, 16}),
    turnaround_s=0.03,
)
