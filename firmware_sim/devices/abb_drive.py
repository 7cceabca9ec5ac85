"""ABB ACS580: control and status words at the front, parameters as 16-bit and as 32-bit registers.

Source: ABB, ACS580 standard control program firmware manual 3AXD50000016097, chapter "Fieldbus control through the embedded
fieldbus interface (EFB)": parameter gg.ii is register 400000 + 100 gg + ii (16 bits, scaled by group 46) or 420000 + 200 gg +
2 ii (32 bits); registers count from 1. Parameter 58.34 Word order is LO-HI as delivered: low word first. ABB Drives profile:
references and actual values of 20000 are the scaling of 46.01/46.02.
"""

from __future__ import annotations

from firmware_sim.device import Model
from firmware_sim.plant import Drive
from firmware_sim.registers import HOLDING, S16, S32, U16, U32, Cell, Kind, Value, low_word_first

READY_ON, READY_RUN, OPERATING, TRIPPED, AT_SETPOINT, REMOTE = 0x0001, 0x0002, 0x0004, 0x0008, 0x0100, 0x0200
OFF2_INACTIVE, OFF3_INACTIVE = 0x0010, 0x0020
_RUN_BITS = 0x047F


class Acs580(Drive):
    """The drive seen through the ABB Drives profile."""

    def __init__(self, seed: int, utc_offset_s: float) -> None:
        super().__init__(seed, rated_kw=11, rated_a=22, utc_offset_s=utc_offset_s)

    def write(self, quantity: str, raw: int, t: float) -> int:
        reference, word, run = self.reference, self.control_word, self.is_started
        if quantity == "control_word":
            word, run = raw, raw & 0x000F == 0x000F
        elif quantity == "reference_20000":
            reference = (raw - 0x10000 if raw & 0x8000 else raw) / 20000
        else:
            return super().write(quantity, raw, t)
        self.command(t, run=run, reference=reference, control_word=word)
        return 0

    def snapshot(self, t: float) -> dict[str, Value]:
        values = super().snapshot(t)
        running, share = bool(values["running"]), float(values["share"] or 0)
        status = READY_ON | READY_RUN | OFF2_INACTIVE | OFF3_INACTIVE | REMOTE
        status |= (OPERATING if running else 0) | (AT_SETPOINT if values["at_reference"] else 0)
        return values | {
            "status_word": status,
            "reference_20000": float(values["reference"] or 0) * 20000,
            "share_20000": share * 20000,
            "torque_10000": float(values["torque"] or 0) * 100,
            "days": float(values["hours"] or 0) / 24,
        }


def _short(group: int, index: int, kind: Kind, quantity: str, lsb: float, label: str) -> Cell:
    return Cell(100 * group + index - 1, kind, quantity, lsb, f"{group:02}.{index:02} {label}")


def _long(group: int, index: int, kind: Kind, quantity: str, lsb: float, label: str) -> Cell:
    return Cell(
        20000 + 200 * group + 2 * index - 1, low_word_first(kind), quantity, lsb, f"{group:02}.{index:02} {label}"
    )


_PARAMETERS = (
    (1, 1, "rpm", None, 0.01, "Motor speed used, rpm"),
    (1, 6, "hz", None, 0.01, "Output frequency, Hz"),
    (1, 7, "amps", 1.0, 0.01, "Motor current, A"),
    (1, 10, "torque", 0.01, 0.1, "Motor torque, %"),
    (1, 11, "dc_volts", 0.1, 0.01, "DC voltage, V"),
    (1, 13, "volts", 1.0, 1.0, "Output voltage, V"),
    (1, 14, "kw", 0.1, 0.01, "Output power, kW"),
    (1, 20, "kwh", 1.0, 1.0, "Inverter kWh counter"),
    (4, 1, "fault", 1.0, 1.0, "Tripping fault"),
    (4, 6, "warning", 1.0, 1.0, "Active warning 1"),
    (5, 1, "days", 1.0, 1.0, "On-time counter, days"),
    (5, 2, "days", 1.0, 1.0, "Run-time counter, days"),
    (5, 11, "thermal", 0.1, 0.1, "Inverter temperature, %"),
)
"""(group, index, quantity, last digit of the 16-bit form or None for 20000-scaled, of the 32-bit form, name)."""


def _parameter_cells() -> tuple[Cell, ...]:
    cells: list[Cell] = []
    for group, index, quantity, short, long, label in _PARAMETERS:
        if short is None:
            cells.append(_short(group, index, S16, "share_20000", 1.0, f"{label}: 20000 = 46.01/46.02"))
        else:
            cells.append(_short(group, index, S16, quantity, short, label))
        cells.append(_long(group, index, S32 if group == 1 else U32, quantity, long, label))
    return tuple(cells)


ACS580 = Model(
    slug="abb-acs580",
    title="ABB ACS580-01",
    source="ABB, 3AXD50000016097, EFB register mapping",
    world=Acs580,
    tables={
        HOLDING: (
            Cell(0, U16, "control_word", label="400001 Control word", writable=True),
            Cell(1, S16, "reference_20000", label="400002 Reference 1", writable=True),
            Cell(2, S16, "=0", label="400003 Reference 2"),
            Cell(3, U16, "status_word", label="400004 Status word"),
            Cell(4, S16, "share_20000", label="400005 Actual value 1"),
            Cell(5, S16, "torque_10000", label="400006 Actual value 2"),
            *_parameter_cells(),
        )
    },
    functions=frozenset({1, 2, 3, 4, 5, 6, 15, 16, 22}),
    identity={0: "ABB", 1: "ACS580", 2: "2.18.0.1"},
    turnaround_s=0.008,
    counters={"kwh": 65_536.0},
)
