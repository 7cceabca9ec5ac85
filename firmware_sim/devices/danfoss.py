"""Danfoss VLT FC102: a parameter's register is its number times ten, counted from 1; control, status and main value apart.

Source: Danfoss, VLT HVAC Drive FC 102 design guide, chapter RS-485: parameter 16-12 is register 16120, sent as address 16119
("starting address = parameter number x 10 - 1"); conversion indexes of the parameter list; 4000h is 100 %.
"""

from __future__ import annotations

from firmware_sim.device import Model
from firmware_sim.plant import Drive
from firmware_sim.registers import COIL, HOLDING, S16, S32, U16, U32, Cell, Kind, Value

_CONTROL_READY, _DRIVE_READY, _COASTING, _RUNNING, _ON_REFERENCE, _BUS_CONTROL = (
    0x01,
    0x02,
    0x04,
    0x0800,
    0x0100,
    0x0200,
)
_FULL = 0x4000


class Fc102(Drive):
    """The drive seen through the FC profile."""

    def __init__(self, seed: int, utc_offset_s: float) -> None:
        super().__init__(seed, rated_kw=7.5, rated_a=16, utc_offset_s=utc_offset_s)

    def write(self, quantity: str, raw: int, t: float) -> int:
        reference, word, run = self.reference, self.control_word, self.is_started
        if quantity == "control_word":
            word, run = raw, raw & 0x0440 == 0x0440
        elif quantity == "reference_4000h":
            reference = (raw - 0x10000 if raw & 0x8000 else raw) / _FULL
        else:
            return super().write(quantity, raw, t)
        self.command(t, run=run, reference=reference, control_word=word)
        return 0

    def snapshot(self, t: float) -> dict[str, Value]:
        values = super().snapshot(t)
        share = float(values["share"] or 0)
        status = _CONTROL_READY | _DRIVE_READY | _COASTING | _BUS_CONTROL
        status |= (_RUNNING if values["running"] else 0) | (_ON_REFERENCE if values["at_reference"] else 0)
        bits: dict[str, Value] = {f"status_bit{bit}": bool(status >> bit & 1) for bit in range(16)}
        return (
            values
            | bits
            | {
                "status_word": status,
                "share_4000h": share * _FULL,
                "reference_4000h": float(values["reference"] or 0) * _FULL,
                "percent": share * 100,
            }
        )


def _parameter(number: str, kind: Kind, quantity: str, lsb: float, label: str) -> Cell:
    group, index = number.split("-")
    return Cell(10 * (100 * int(group) + int(index)) - 1, kind, quantity, lsb, f"{number} {label}")


_PARAMETERS = (
    _parameter("15-00", U32, "hours", 1.0, "Operating hours"),
    _parameter("15-01", U32, "hours", 1.0, "Running hours"),
    _parameter("15-02", U32, "kwh", 1.0, "kWh counter"),
    _parameter("15-03", U32, "starts", 1.0, "Power up's"),
    _parameter("16-00", U16, "control_word", 1.0, "Control word"),
    _parameter("16-03", U16, "status_word", 1.0, "Status word"),
    _parameter("16-05", S16, "percent", 0.01, "Main actual value [%]"),
    _parameter("16-10", S32, "kw", 0.01, "Power [kW]"),
    _parameter("16-12", U16, "volts", 0.1, "Motor voltage"),
    _parameter("16-13", U16, "hz", 0.1, "Frequency"),
    _parameter("16-14", S32, "amps", 0.01, "Motor current"),
    _parameter("16-15", S16, "percent", 0.01, "Frequency [%]"),
    _parameter("16-17", S32, "rpm", 1.0, "Speed [RPM]"),
    _parameter("16-18", U16, "thermal", 1.0, "Motor thermal"),
    _parameter("16-22", S16, "torque", 1.0, "Torque [%]"),
    _parameter("16-30", U16, "dc_volts", 1.0, "DC link voltage"),
    _parameter("16-34", U16, "heatsink_c", 1.0, "Heatsink temperature"),
    _parameter("16-35", U16, "thermal", 1.0, "Inverter thermal"),
    _parameter("16-90", U32, "fault", 1.0, "Alarm word"),
    _parameter("16-92", U32, "warning", 1.0, "Warning word"),
)

FC102 = Model(
    slug="danfoss-vlt-fc102",
    title="Danfoss VLT HVAC Drive FC 102",
    source="Danfoss, FC 102 design guide, RS-485 chapter and parameter lists",
    world=Fc102,
    tables={
        HOLDING: (
            *_PARAMETERS,
            Cell(2809, U16, "control_word", label="2810 Control word (CTW)", writable=True),
            Cell(2810, S16, "reference_4000h", label="2811 Bus reference (REF)", writable=True),
            Cell(2909, U16, "status_word", label="2910 Status word (STW)"),
            Cell(2910, S16, "share_4000h", label="2911 Main actual value (MAV)"),
            Cell(49999, U16, "control_word", label="50000 Control word (CTW)", writable=True),
            Cell(50009, S16, "reference_4000h", label="50010 Bus reference (REF)", writable=True),
            Cell(50199, U16, "status_word", label="50200 Status word (STW)"),
            Cell(50209, S16, "share_4000h", label="50210 Main actual value (MAV)"),
        )
    },
    bits={COIL: {32 + bit: f"status_bit{bit}" for bit in range(16)}},
    functions=frozenset({1, 3, 5, 6, 15, 16}),
    turnaround_s=0.01,
    counters={"kwh": 2_147_483_647.0},
)
