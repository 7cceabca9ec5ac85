"""The command line of an operation. Pure.

`call`: `{do: open_door, door: 1, seconds: 5}`, `{do: set_time}`, `{do: reboot}`, `{do: check}`, `{do: cancel_alarm}`, and
`{do: send_again, hours: 24}` for records that were taken once already. What differs between attendance and security push is told
apart here. Source: published servers for both; the time of attendance push: source: unverified.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from device_profiles.control import Operation
from device_profiles.errors import ConfigError
from device_profiles.reading import Raw

from .protocol import encoded_time

_KNOWN = "open_door, set_time, reboot, check, cancel_alarm, send_again"


def line_of(operation: Operation, inputs: Mapping[str, Raw], *, is_security: bool, now: datetime, where: str) -> str:
    """What the terminal fetches behind `C:number:`. `now` as the terminal is to show it. Raises ConfigError."""
    call = {**operation.call, **inputs}
    do = operation.call.get("do")
    if do == "open_door":
        door, seconds = _whole(call, "door", 1, 8, where), _whole(call, "seconds", 1, 254, where)
        return f"CONTROL DEVICE 01{door:02x}01{seconds:02x}" if is_security else "AC_UNLOCK"
    if do == "set_time":
        return (
            f"SET OPTIONS DateTime={encoded_time(now)}" if is_security else f"SET OPTION DateTime={encoded_time(now)}"
        )
    if do == "reboot":
        return "CONTROL DEVICE 03000000" if is_security else "REBOOT"
    if do == "cancel_alarm":
        return "CONTROL DEVICE 02000000" if is_security else "AC_UNALARM"
    if do == "check":
        return "CHECK"
    if do == "send_again" and not is_security:
        since = now - timedelta(hours=_whole(call, "hours", 1, 744, where))
        return f"DATA QUERY ATTLOG StartTime={since:%Y-%m-%d %H:%M:%S}\tEndTime={now:%Y-%m-%d %H:%M:%S}"
    raise ConfigError(f"{do!r} is nothing that a terminal does", where=where, next_step=f"use one of {_KNOWN}")


def _whole(call: Mapping[str, object], name: str, low: int, high: int, where: str) -> int:
    value = call.get(name, {"door": 1, "hours": 24}.get(name, 5))
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or not low <= value <= high:
        raise ConfigError(f"{name} {value!r} is none", where=where, next_step=f"give {low} to {high}")
    return int(value)
