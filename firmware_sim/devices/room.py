"""A wall-mounted air-quality sensor, and a board of eight relays and eight inputs.

Source: leaflets of RS-485 air-quality transmitters (16-bit registers from 0, functions 3 and 4; sold under many names, with
many maps); Waveshare, Modbus RTU Relay (D), development protocol (coils 0..7, discrete inputs 0..7).
"""

from __future__ import annotations

from firmware_sim.device import Model, both
from firmware_sim.plant import Relays, Room
from firmware_sim.registers import COIL, DISCRETE, HOLDING, S16, U16, Cell

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
    slug="waveshare-relay-8ch-d",
    title="Waveshare Modbus RTU Relay (D), 8 channels",
    source="Waveshare, Modbus RTU Relay (D), development protocol",
    world=lambda seed, offset: Relays(seed),
    tables={
        HOLDING: (
            *(
                Cell(0x1000 + channel, U16, "=0", label=f"Control mode of channel {channel + 1}: normal")
                for channel in range(8)
            ),
            Cell(0x4000, U16, "=1", label="Device address"),
            Cell(0x8000, U16, "=200", label="Software version, V2.00"),
        )
    },
    bits={
        COIL: {address: f"relay{address + 1}" for address in range(Relays.COUNT)},
        DISCRETE: {address: f"input{address + 1}" for address in range(Relays.COUNT)},
    },
    functions=frozenset({1, 2, 3, 5, 6, 15}),
    turnaround_s=0.008,
    refresh_s=0.1,
)
