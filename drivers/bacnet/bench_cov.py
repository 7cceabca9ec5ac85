"""Bench of change of value: how many notifications a second arrive, by our path and by bacpypes3's own handler in the same run.

The device is a process of its own (`bench_notifier`). Returns what `plantroom bench` prints as its one JSON line.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from device_profiles.schema import Point
from drivers.base import Address, BacnetLink, Change, LinkConfig

from .bench_notifier import INSTANCE
from .driver import BacnetDriver

_OBJECTS = 50
_RATE, _SECONDS = 10_000, 3.0
_SETTLED_S = 0.5

Storm = Callable[[], Awaitable[int]]
"""Makes the device send to who subscribed last; gives how many."""


def bench_bacnet_cov() -> dict[str, Any]:
    """Notifications at 10,000 a second over 50 objects: how many arrived as values, and the share of a core that took.

    Ours go the whole way to `changes()`; bacpypes3's are counted where its handler puts them, and nobody reads them there.
    """
    return asyncio.run(_compare())


async def _compare() -> dict[str, Any]:
    async with _notifier() as (port, storm):
        ours = await _ours(port, storm)
        theirs = await _bacpypes(port, storm)
    return {
        "rate": _RATE,
        "sent": ours["sent"],
        "lost": ours["sent"] - ours["received"],
        "core_share": ours["core_share"],
        "us_each": ours["us_each"],
        "bacpypes3_lost": theirs["sent"] - theirs["received"],
        "bacpypes3_us_each": theirs["us_each"],
    }


@asynccontextmanager
async def _notifier() -> AsyncIterator[tuple[int, Storm]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "drivers.bacnet.bench_notifier",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    told, heard = process.stdin, process.stdout

    async def storm() -> int:
        told.write(f"{_RATE} {_SECONDS}\n".encode())
        return int(await heard.readline())

    try:
        yield int(await heard.readline()), storm
    finally:
        told.close()
        await process.wait()


async def _measured(storm: Storm, received: Callable[[], int]) -> dict[str, Any]:
    """Lets the device send and waits until nothing more arrives."""
    began, busy = time.perf_counter(), time.process_time()
    sent = await storm()
    wall_s = time.perf_counter() - began
    count = -1
    while count != received():
        count = received()
        await asyncio.sleep(_SETTLED_S)
    busy = time.process_time() - busy
    each = busy / max(1, count)
    return {"sent": sent, "received": count, "core_share": round(busy / wall_s, 3), "us_each": round(each * 1e6, 1)}


async def _ours(port: int, storm: Storm) -> dict[str, Any]:
    link = LinkConfig(
        "bench", "bacnet", host="127.0.0.1", port=_free_port(), bacnet=BacnetLink(peers=(f"127.0.0.1:{port}",))
    )
    points = [Point.model_validate({"id": f"p{at}", "object": f"AI:{at}", "type": "f32"}) for at in range(_OBJECTS)]
    arrived = 0

    async with BacnetDriver().open(link) as session:

        async def read() -> None:
            nonlocal arrived
            async for turn in session.changes():
                arrived += sum(len(change.values) for change in turn if isinstance(change, Change))

        reader = asyncio.create_task(read(), name="bench reader")
        taken = await session.subscribe(Address(INSTANCE, "d"), points, None)
        assert len(taken) == _OBJECTS, taken
        result = await _measured(storm, lambda: arrived)
    await reader
    return result


async def _bacpypes(port: int, storm: Storm) -> dict[str, Any]:
    from bacpypes3.ipv4.app import NormalApplication
    from bacpypes3.local.device import DeviceObject
    from bacpypes3.pdu import IPv4Address
    from bacpypes3.primitivedata import ObjectIdentifier

    device = DeviceObject(objectIdentifier="device,4194001", objectName="bench", vendorIdentifier=999)
    app = NormalApplication(device, IPv4Address(f"127.0.0.1:{_free_port()}"))
    await asyncio.sleep(0.1)  # it binds in a task of its own
    async with contextlib.AsyncExitStack() as stack:
        watched = []
        for at in range(_OBJECTS):
            subscription = app.change_of_value(
                IPv4Address(f"127.0.0.1:{port}"), ObjectIdentifier(f"analog-input,{at}"), at + 1, False, 1800
            )
            watched.append(await stack.enter_async_context(subscription))
        result = await _measured(storm, lambda: sum(one.queue.qsize() for one in watched) // 2)
    app.close()
    return result


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
