"""What DL/T 645-2007 meters can be told to do, as a profile's `call` says it, into control codes and data. Pure.

    {control: trip | close | close_now | alarm | alarm_off | keep_on | keep_on_off, valid_s: 300,
     status: {di: 0x04000503, bit: 4}}                      1CH, with the password; the relay is looked at afterwards
    {freeze: now, to: meter | all}                          16H
    {time: broadcast}                                       08H, by the rule of `clock.why_not`

Source: DL/T 645-2007, section 7 (time 08H, freeze 16H) and the control command 1CH of its 2009 supplement; bits of status word 3
(04000503) in annex C. `close` (1BH) lets a meter with a button be closed by it, `close_now` (1CH) closes it at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from device_profiles.errors import ConfigError

from .clock import time_bytes
from .rights import Rights

WRITE, TIME, FREEZE, CONTROL = 0x14, 0x08, 0x16, 0x1C
CONTROLS = {
    "trip": 0x1A, "close": 0x1B, "close_now": 0x1C, "alarm": 0x2A, "alarm_off": 0x2B, "keep_on": 0x3A, "keep_on_off": 0x3B,
}  # fmt: skip
NAMES = {code: name for name, code in CONTROLS.items()}
STATUS_WORD_3 = 0x04000503
RELAY_OPEN_BIT = 4
FREEZE_NOW = b"\x99" * 4
"""MMDDhhmm, each 99: at once."""
_VALID_S = 300


@dataclass(frozen=True, slots=True)
class Control:
    """One control command. `opens` is how the relay must stand afterwards, None where it is not touched."""

    name: str
    code: int
    valid_s: int
    opens: bool | None
    status_di: int
    status_bit: int

    def data(self, rights: Rights, meter_time: datetime) -> tuple[bytes, bytes]:
        """(data, the same without the password): valid until so long after the meter's own time."""
        until = time_bytes(meter_time + timedelta(seconds=self.valid_s))
        rest = bytes((self.code, 0)) + until
        return rights.whole + rest, rights.hidden + rest


def control_of(call: Mapping[str, Any], where: str) -> Control:
    """Raises ConfigError for a call that is not understood."""
    name, status = call["control"], call.get("status") or {}
    unknown = set(call) - {"control", "valid_s", "status"} or (
        set(status) - {"di", "bit"} if isinstance(status, dict) else {status}
    )
    if name not in CONTROLS or unknown:
        step = f"write call: {{control: one of {', '.join(CONTROLS)}}}, with valid_s and status: {{di, bit}} if need be"
        raise ConfigError(f"call: {dict(call)} is no control of DL/T 645", where=where, next_step=step)
    opens = {"trip": True, "close": False, "close_now": False}.get(name)
    return Control(
        name,
        CONTROLS[name],
        int(call.get("valid_s", _VALID_S)),
        opens,
        int(status.get("di", STATUS_WORD_3)),
        int(status.get("bit", RELAY_OPEN_BIT)),
    )


def write_data(di: int, value: bytes, rights: Rights) -> tuple[bytes, bytes]:
    """Data of 14H, and the same without the password."""
    key = di.to_bytes(4, "little")
    return key + rights.whole + value, key + rights.hidden + value
