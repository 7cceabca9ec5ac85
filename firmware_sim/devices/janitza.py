"""Janitza UMG 96RM-E: a long run of floats from 19000, energies in Wh.

Source: Janitza, UMG 96RM-E Modbus address list, "frequently required readings" at 19000. A float32 of Wh has steps of 8 Wh at
100 MWh.
"""

from __future__ import annotations

from firmware_sim.device import Model, both
from firmware_sim.registers import F32, Cell, phases
from firmware_sim.worlds import ThreePhase

_W = 0.001

_CELLS = (
    *phases(19000, F32, "u", label="Voltage L{}-N"),
    Cell(19006, F32, "u12", label="Voltage L1-L2"),
    Cell(19008, F32, "u23", label="Voltage L2-L3"),
    Cell(19010, F32, "u31", label="Voltage L3-L1"),
    *phases(19012, F32, "i", label="Apparent current, L{}"),
    Cell(19018, F32, "i_n", label="Vector sum; IN=I1+I2+I3"),
    *phases(19020, F32, "kw", _W, "Real power L{}"),
    Cell(19026, F32, "kw", _W, "Sum; Psum3=P1+P2+P3"),
    *phases(19028, F32, "kva", _W, "Apparent power S L{}"),
    Cell(19034, F32, "kva", _W, "Sum; Ssum3=S1+S2+S3"),
    *phases(19036, F32, "kvar", _W, "Reactive power L{} (fundamental comp.)"),
    Cell(19042, F32, "kvar", _W, "Qsum3=Q1+Q2+Q3"),
    *phases(19044, F32, "pf", label="CosPhi; UL{} IL{}"),
    Cell(19050, F32, "frequency", label="Measured frequency"),
    Cell(19052, F32, "=1", label="Rotation field; 1=right, 0=none, -1=left"),
    *phases(19054, F32, "kwh_phase", _W, "Real energy L{}"),
    Cell(19060, F32, "kwh_import", _W, "Real energy L1..L3"),
    *phases(19062, F32, "kwh_phase", _W, "Real energy L{}, consumed"),
    Cell(19068, F32, "kwh_import", _W, "Real energy L1..L3, consumed, rate 1"),
    *phases(19070, F32, "kwh_export_phase", _W, "Real energy L{}, delivered"),
    Cell(19076, F32, "kwh_export", _W, "Real energy L1..L3, delivered"),
    *phases(19078, F32, "kvah_phase", _W, "Apparent energy L{}"),
    Cell(19084, F32, "kvah", _W, "Apparent energy L1..L3"),
    *phases(19086, F32, "kvarh_phase", _W, "Reactive energy L{}"),
    Cell(19092, F32, "kvarh_import", _W, "Reactive energy L1..L3"),
    *phases(19094, F32, "kvarh_phase", _W, "Reactive energy, inductive, L{}"),
    Cell(19100, F32, "kvarh_import", _W, "Reactive energy L1..L3, inductive"),
    *(Cell(19102 + 2 * phase, F32, "=0", label=f"Reactive energy, capacitive, L{phase + 1}") for phase in range(3)),
    Cell(19108, F32, "kvarh_export", _W, "Reactive energy L1..L3, capacitive"),
    *phases(19110, F32, "thd_u", label="Harmonic, THD, U L{}-N"),
    *phases(19116, F32, "thd_i", label="Harmonic, THD, I L{}"),
)

UMG96RME = Model(
    slug="janitza-umg96rm-e",
    title="Janitza UMG 96RM-E",
    source="Janitza, UMG 96RM-E Modbus address list",
    world=lambda seed, offset: ThreePhase(seed, rated_kw=140, utc_offset_s=offset),
    tables=both(_CELLS),
    functions=frozenset({3, 4, 6, 16}),
    identity={0: "Janitza electronics GmbH", 1: "UMG 96RM-E", 2: "2.102"},
    turnaround_s=0.003,
)
