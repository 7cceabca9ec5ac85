"""`plantroom watch`: what happens at a device, as it happens, with no agent: listens on the open link.

Nothing is kept, so the device is never told that its records may be forgotten; a card or plate is not shown.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from device_profiles.errors import DeviceError, LinkError, PlantroomError

if TYPE_CHECKING:
    from drivers.listening import CanListen
    from edge_agent.cli.one_device import OneDevice
    from edge_agent.model import Device

_AGAIN_S = 5.0
_FORGET_S = 5.0
_REMEMBERED = 1000

Tell = Callable[[Mapping[str, Any]], None]
"""Shows one event: `event`, `t` (UTC ms), `data`."""


@asynccontextmanager
async def listening(one: OneDevice, tell: Tell, say: Callable[[str], None]) -> AsyncIterator[bool]:
    """While it is entered, events of the device are told; gives whether its protocol has any. `say` is told of trouble."""
    from drivers.listening import CanListen

    session = one.session
    if not isinstance(session, CanListen):
        yield False
        return
    task = asyncio.create_task(_hear(session, one.device, tell, say), name="watch events")
    try:
        yield True
    finally:
        task.cancel()
        await asyncio.wait([task])
        with suppress(PlantroomError, TimeoutError):
            async with asyncio.timeout(_FORGET_S):
                await session.forget(one.device.address)
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


async def _hear(session: CanListen, device: Device, tell: Tell, say: Callable[[str], None]) -> None:
    wanted = device.listened(device.tz or "UTC")
    try:
        while True:
            try:
                await session.listen(wanted)
                break
            except DeviceError as error:
                say(f"no events yet: {error}")
                await asyncio.sleep(_AGAIN_S)
        raised: set[str] = set()
        seen: deque[str] = deque(maxlen=_REMEMBERED)  # a device that is not answered tells the same again
        async for turn in session.occurrences():
            for told in turn:
                if told.key in seen:
                    continue
                seen.append(told.key)
                if _is_stale_end(told.name, told.data.get("id"), raised):
                    continue
                hidden = {name: str(clear) for name, clear in told.clear.items()}
                t_ms = told.t_ms if told.t_ms is not None else time.time_ns() // 1_000_000
                data = {name: value for name, value in told.data.items() if name != "moment"}
                tell({"event": told.name, "t": t_ms, "data": data | hidden})
    except LinkError as error:
        say(str(error))


def _is_stale_end(name: str, alarm: Any, raised: set[str]) -> bool:
    """The end of an alarm that never began while we looked: how a device says at first that all is well."""
    if name == "alarm.raised":
        raised.add(str(alarm))
    is_end = name == "alarm.cleared"
    was_raised = str(alarm) in raised
    if is_end:
        raised.discard(str(alarm))
    return is_end and not was_raised


def line(event: Mapping[str, Any]) -> str:
    """One event for people: local time, name, and what is in its data."""
    from device_profiles.logs import printable

    at = datetime.fromtimestamp(event["t"] / 1000, UTC).astimezone()
    data = " ".join(f"{name}={printable(str(value))}" for name, value in event["data"].items())
    return f"{at:%H:%M:%S}  {event['event']}  {data}".rstrip()
