"""A wall-mounted air-quality sensor and an 8-channel relay and input board, as they are sold under many names.

Source: register tables printed on the data sheets of RS-485 air-quality transmitters (16-bit registers from 0, function 3 or
4) and of 8-channel Modbus relay boards with inputs (coils 0..7, discrete inputs 0..7, functions 1, 2, 5 and 15).
"""

from __future__ import annotations

from firmware_sim.device import Model, both
from firmware_sim.plant import Relays, Room
from firmware_sim.registers import COIL, DISCRETE, S16, U16, Cell

_AIR = (
    Cell(0, U16, "co2_ppm", 1.0, "CO2, ppm"),
    Cell(1, U16, "pm25", 1.0, "PM2.5, ug/m3"),
    Cell(2, U16, "pm10", 1.0, "PM10, ug/m3"),
    Cell(3, S16, "celsius", 0.1, "Temperature, 0.1 degC"),
    Cell(4, U16, "humidity", 0.1, "Relative humidity, 0.1 %"),
    Cell(5, U16, "tvoc", 0.001, "TVOC, 0.001 mg/m3"),
)

AIR_QUALITY = Model(
    slug="generic-air-quality",
    title="RS-485 air-quality transmitter",
    source="data sheets of RS-485 air-quality transmitters",
    world=lambda seed, offset: Room(seed, utc_offset_s=offset),
    tables=both(_AIR),
    functions=frozenset({3, 4, 6}),
    turnaround_s=0.04,
    refresh_s=2.0,
)

RELAY_BOARD = Model(
    slug="relay-board-8",
    title="8-channel relay and input board",
    source="data sheets of 8-channel Modbus relay boards",
    world=lambda seed, offset: Relays(seed),
    bits={
        COIL: {address: f"relay{address + 1}" for address in range(Relays.COUNT)},
        DISCRETE: {address: f"input{address + 1}" for address in range(Relays.COUNT)},
    },
    functions=frozenset({1, 2, 5, 15}),
    turnaround_s=0.008,
    refresh_s=0.1,
)
