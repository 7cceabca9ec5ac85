"""A barrier on a board of eight relays and inputs.

Source: Waveshare, Modbus RTU Relay (D), development protocol (coils 0..7, discrete inputs 0..7; function 05 at 0x0200 and up
switches a relay on for so many tenths of a second).
"""

from __future__ import annotations

from firmware_sim.barrier import Barrier
from firmware_sim.device import Model
from firmware_sim.registers import COIL, DISCRETE

BARRIER = Model(
    slug="waveshare-relay-8ch-d-barrier",
    title="Barrier on a Waveshare Modbus RTU Relay (D)",
    source="Waveshare, Modbus RTU Relay (D), development protocol",
    world=lambda seed, offset: Barrier(seed),
    bits={
        COIL: {address: f"relay{address + 1}" for address in range(8)},
        DISCRETE: {address: f"input{address + 1}" for address in range(8)},
    },
    timed_coils={0x0200: "flash1", 0x0201: "flash2"},
    functions=frozenset({1, 2, 5, 15}),
    turnaround_s=0.008,
    refresh_s=0.1,
)
