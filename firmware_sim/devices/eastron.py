"""Eastron SDM630: every value two registers of IEEE 754, high word first, read by function 4.

Source: Eastron, SDM630 Modbus protocol, table of input registers. At most 40 parameters (80 registers) in one request; one
that begins or ends inside a value is refused with exception 02; reserved parameters inside a block read as zero.
"""

from __future__ import annotations

from firmware_sim.device import Model
from firmware_sim.registers import F32, HOLDING, INPUT, Cell, Holes, phases
from firmware_sim.worlds import ThreePhase

_W = 0.001
"""The meter says W and var where the world says kW and kvar."""

_INPUTS = (
    *phases(0x0000, F32, "u", label="Phase {} line to neutral volts"),
    *phases(0x0006, F32, "i", label="Phase {} current"),
    *phases(0x000C, F32, "kw", _W, "Phase {} power"),
    *phases(0x0012, F32, "kva", _W, "Phase {} volt amps"),
    *phases(0x0018, F32, "kvar", _W, "Phase {} volt amps reactive"),
    *phases(0x001E, F32, "pf", label="Phase {} power factor"),
    *phases(0x0024, F32, "angle", label="Phase {} phase angle"),
    Cell(0x002A, F32, "u_avg", label="Average line to neutral volts"),
    Cell(0x002E, F32, "i_avg", label="Average line current"),
    Cell(0x0030, F32, "i_sum", label="Sum of line currents"),
    Cell(0x0034, F32, "kw", _W, "Total system power"),
    Cell(0x0038, F32, "kva", _W, "Total system volt amps"),
    Cell(0x003C, F32, "kvar", _W, "Total system VAr"),
    Cell(0x003E, F32, "pf", label="Total system power factor"),
    Cell(0x0042, F32, "angle", label="Total system phase angle"),
    Cell(0x0046, F32, "frequency", label="Frequency of supply voltages"),
    Cell(0x0048, F32, "kwh_import", label="Total import kWh"),
    Cell(0x004A, F32, "kwh_export", label="Total export kWh"),
    Cell(0x004C, F32, "kvarh_import", label="Total import kVArh"),
    Cell(0x004E, F32, "kvarh_export", label="Total export kVArh"),
    Cell(0x0050, F32, "kvah", label="Total kVAh"),
    Cell(0x0052, F32, "ah", label="Ah"),
    Cell(0x0054, F32, "kw_demand", _W, "Total system power demand"),
    Cell(0x0056, F32, "kw_demand_max", _W, "Maximum total system power demand"),
    Cell(0x0064, F32, "kva", _W, "Total system VA demand"),
    Cell(0x0066, F32, "kw_demand_max", _W, "Maximum total system VA demand"),
    Cell(0x0068, F32, "i_n", label="Neutral current demand"),
    Cell(0x006A, F32, "i_n", label="Maximum neutral current demand"),
    Cell(0x00C8, F32, "u12", label="Line 1 to line 2 volts"),
    Cell(0x00CA, F32, "u23", label="Line 2 to line 3 volts"),
    Cell(0x00CC, F32, "u31", label="Line 3 to line 1 volts"),
    Cell(0x00CE, F32, "ull_avg", label="Average line to line volts"),
    Cell(0x00E0, F32, "i_n", label="Neutral current"),
    *phases(0x00EA, F32, "thd_u", label="Phase {} L/N volts THD"),
    *phases(0x00F0, F32, "thd_i", label="Phase {} current THD"),
    *phases(0x0102, F32, "i", label="Phase {} current demand"),
    *phases(0x0108, F32, "i_max", label="Maximum phase {} current demand"),
    Cell(0x0156, F32, "kwh_total", label="Total kWh"),
    Cell(0x0158, F32, "kvarh_total", label="Total kVArh"),
)

_HOLDING = (
    Cell(0x0002, F32, "=60", label="Demand period"),
    Cell(0x000A, F32, "=3", label="System type: 3 = 3p4w"),
    Cell(0x0014, F32, "=1", label="Network node"),
    Cell(0x001C, F32, "=2", label="Network baud rate: 2 = 9600"),
)

SDM630 = Model(
    slug="eastron-sdm630",
    title="Eastron SDM630 Modbus",
    source="Eastron, SDM630 Modbus protocol, input registers",
    world=lambda seed, offset: ThreePhase(seed, rated_kw=30, utc_offset_s=offset),
    tables={INPUT: _INPUTS, HOLDING: _HOLDING},
    functions=frozenset({3, 4, 16}),
    holes=Holes.FILL,
    whole_values=True,
    max_registers=80,
    turnaround_s=0.025,
    counters={"kwh_import": 1e7, "kwh_export": 1e7, "kwh_total": 1e7},
)
