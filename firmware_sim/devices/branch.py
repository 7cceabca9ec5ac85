"""A branch circuit meter: one address space, 24 circuits of equal blocks.

Source: layout of multi-circuit monitors (a common part, then one block a circuit); no single maker's map.
"""

from __future__ import annotations

from firmware_sim.device import Model
from firmware_sim.plant import Branches
from firmware_sim.registers import HOLDING, S32, U16, U32, Cell, phases

CIRCUITS, FIRST, STRIDE = 24, 100, 8


def _circuit(number: int) -> tuple[Cell, ...]:
    base = FIRST + STRIDE * (number - 1)
    return (
        Cell(base, U16, f"c{number}_i", 0.01, f"Circuit {number} current"),
        Cell(base + 1, S32, f"c{number}_kw", 0.001, f"Circuit {number} active power, W"),
        Cell(base + 3, U16, f"c{number}_pf", 0.001, f"Circuit {number} power factor"),
        Cell(base + 4, U32, f"c{number}_kwh", 0.01, f"Circuit {number} active energy, kWh"),
        Cell(base + 6, U16, f"c{number}_on", 1.0, f"Circuit {number} breaker closed"),
        Cell(base + 7, U16, "=0", label=f"Circuit {number} reserved"),
    )


BRANCH_24 = Model(
    slug="generic-branch-meter-24",
    title="Branch circuit meter, 24 circuits",
    source="layout of multi-circuit monitors",
    world=lambda seed, offset: Branches(seed, circuits=CIRCUITS, utc_offset_s=offset),
    tables={
        HOLDING: (
            *phases(0, U16, "u", 0.1, "Voltage L{}-N"),
            Cell(3, U16, "frequency", 0.01, "Frequency"),
            Cell(4, S32, "kw", 0.001, "Total active power, W"),
            *(cell for number in range(1, CIRCUITS + 1) for cell in _circuit(number)),
        )
    },
    functions=frozenset({3, 6, 16}),
    turnaround_s=0.02,
    counters={f"c{number}_kwh": 42_949_672.96 for number in range(1, CIRCUITS + 1)},
)
