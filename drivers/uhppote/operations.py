"""What a board can be told to do: open a door, hold it, set its clock. Each is done once, and read back.

`call` of an operation: `{do: open_door, door: 1}`, `{do: set_time}`, `{do: set_door, door: 1, mode: 1}` (1 held open, 2 held
closed, 3 controlled by cards; for `delay_s` of its inputs, or the present one).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceMismatch, DeviceRefused
from device_profiles.reading import Raw
from drivers.base import Address

from . import frame
from .boards import Boards
from .frame import Function

MODES = {1: "normally_open", 2: "normally_closed", 3: "controlled"}
_TOLERANCE_S = 5


async def operate(
    boards: Boards, device: Address, operation: Operation, inputs: Mapping[str, Raw], now: datetime
) -> Mapping[str, Raw]:
    """Does it, once. `now` is our time in the board's zone. Raises DeviceRefused, DeviceTimeout, DeviceMismatch, ConfigError."""
    call = operation.call
    do, door = call.get("do"), inputs.get("door", call.get("door"))
    if do == "set_time":
        return await _set_time(boards, device, now)
    if do not in ("open_door", "set_door") or not isinstance(door, int | float) or int(door) not in (1, 2, 3, 4):
        raise ConfigError(
            f"operation {operation.id} is none of a board ({do!r}, door {door!r})",
            where=device.device,
            next_step="write call: {do: open_door, door: 1}, {do: set_door, door: 1, mode: 3} or {do: set_time}",
        )
    if do == "open_door":
        return await _open_door(boards, device, int(door))
    mode = call.get("mode")
    if mode not in MODES:
        raise ConfigError(
            f"mode {mode!r} is none of 1, 2, 3", where=device.device, next_step="1 holds open, 2 closed, 3 by cards"
        )
    delay = inputs.get("delay_s")
    return await _set_door(boards, device, int(door), int(mode), None if delay is None else int(delay))


async def _open_door(boards: Boards, device: Address, door: int) -> Mapping[str, Raw]:
    """Unlocks it for its delay. The board's word, and the relay and the door contact right after."""
    taken = await boards.ask(device, Function.OPEN_DOOR, bytes((door,)), once=True)
    if taken.byte(8) != 1:
        raise DeviceRefused(
            f"the board did not open door {door}",
            code=taken.byte(8),
            status="BadInvalidState",
            where=device.device,
            next_step="see its mode (door_mode), interlock, and whether it has this door",
        )
    status = frame.status_of(await boards.ask(device, Function.GET_STATUS))
    return {"unlocked": bool(status.relays >> (door - 1) & 1), "door_open": status.doors_open[door - 1]}


async def _set_door(boards: Boards, device: Address, door: int, mode: int, delay_s: int | None) -> Mapping[str, Raw]:
    before = await boards.ask(device, Function.GET_DOOR, bytes((door,)))
    delay = before.byte(10) if delay_s is None else delay_s
    if not 0 <= delay <= 255:
        raise ConfigError(f"a delay of {delay} s is none of a board", where=device.device, next_step="give 1 to 255")
    await boards.ask(device, Function.SET_DOOR, bytes((door, mode, delay)))
    after = await boards.ask(device, Function.GET_DOOR, bytes((door,)))
    if (after.byte(8), after.byte(9), after.byte(10)) != (door, mode, delay):
        raise DeviceRefused(
            f"door {door} is {MODES.get(after.byte(9), after.byte(9))} for {after.byte(10)} s after it was set to "
            f"{MODES[mode]} for {delay} s",
            code=after.byte(9),
            status="BadInvalidState",
            where=device.device,
            next_step="see whether another program sets it",
        )
    return {"mode": mode, "delay_s": delay}


async def _set_time(boards: Boards, device: Address, now: datetime) -> Mapping[str, Raw]:
    local = now.replace(tzinfo=None, microsecond=0)
    await boards.ask(device, Function.SET_TIME, frame.time_bcd(local))
    shown = frame.bcd_time((await boards.ask(device, Function.GET_TIME)).body[:7])
    if shown is None:
        raise DeviceMismatch("its clock shows no time after it was set", where=device.device)
    off_s = (shown - local).total_seconds()
    if abs(off_s) > _TOLERANCE_S:
        raise DeviceRefused(
            f"its clock is {off_s:+.0f} s off after it was set",
            code=0,
            status="BadInvalidState",
            where=device.device,
            next_step="check the battery of the board",
        )
    return {"clock": shown.isoformat(sep=" "), "off_s": off_s}
