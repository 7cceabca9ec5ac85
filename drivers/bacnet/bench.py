"""Benches of the BACnet driver: what reading costs in processor time, beside bacpypes3 in the same run, and for a fleet.

The devices are a process of their own (`bench_server`), so that only the asking side is measured. Both functions return what
`plantroom bench` prints as its one JSON line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from device_profiles.errors import DeviceTimeout
from device_profiles.schema import Point
from drivers.base import Address, BacnetLink, Batch, Layout, Limits, LinkConfig

from .driver import BacnetDriver
from .session import BacnetSession

_POINTS = 50
_ROUNDS, _READS = 5, 60
_DEVICES, _DEVICE_POINTS, _PERIOD_S = 500, 40, 30.0
_NEIGHBOURS = 200
_SEARCH_PERIOD_S = 60.0
_NOBODY, _SILENCE_S = 9_999, 1.0
"""An instance that nobody has, and how long it is waited for."""
_LAYOUT: Layout = {"max_apdu": 1476, "rpm": True, "identity": {}, "revision": None, "restarted": ""}


def bench_bacnet_rpm() -> dict[str, Any]:
    """Processor milliseconds of one ReadPropertyMultiple of 50 present values, ours and bacpypes3's, alternating in one run.

    `with_flags_ms` is what the driver really asks: the status flags of all 50 objects beside their values. The best round of
    each counts, because what disturbs a round only adds to it.
    """
    return asyncio.run(_rpm())


async def _rpm() -> dict[str, Any]:
    async with _server(1, 1) as ports, BacnetDriver().open(_link(ports)) as session:
        bare = {**_LAYOUT, "no_flags": [f"2:{at}" for at in range(_POINTS)]}
        [ours] = _plan(_POINTS, bare)
        [flagged] = _plan(_POINTS, {**_LAYOUT, "max_apdu": 1476})
        async with _bacpypes(ports[0]) as theirs:
            await _time(lambda: _read(session, 1, ours), 3)
            await _time(lambda: _read(session, 1, flagged), 3)
            rounds = [
                (
                    await _time(lambda: _read(session, 1, ours), _READS),
                    await _time(lambda: _read(session, 1, flagged), _READS),
                    await _time(theirs, _READS // 3),
                )
                for _ in range(_ROUNDS)
            ]
    ours_ms, flagged_ms, theirs_ms = (min(column) * 1000 for column in zip(*rounds, strict=True))
    return {
        "points": _POINTS,
        "ours_ms": round(ours_ms, 3),
        "with_flags_ms": round(flagged_ms, 3),
        "bacpypes3_ms": round(theirs_ms, 3),
        "ratio": round(theirs_ms / ours_ms, 1),
    }


def bench_bacnet_fleet() -> dict[str, Any]:
    """The share of one core that 20,000 points on 500 devices take at 30 s, and how much longer a cycle over 200 devices takes
    for the 199 others when one of them does not answer. Looking for it among all 500 configured peers, at most once a minute, is
    told apart, as the share of a core that it takes.
    """
    return asyncio.run(_fleet())


async def _fleet() -> dict[str, Any]:
    async with _server(_DEVICES, 1) as ports, BacnetDriver().open(_link(ports)) as session:
        batches = [_plan(_DEVICE_POINTS, _LAYOUT) for _ in range(_DEVICES)]
        await _cycle(session, batches, range(1, _DEVICES + 1))
        busy = []
        for _ in range(3):
            began = time.process_time()
            await _cycle(session, batches, range(1, _DEVICES + 1))
            busy.append(time.process_time() - began)
        searched = time.process_time()
        with contextlib.suppress(DeviceTimeout):
            await _read(session, _NOBODY, batches[0][0])
        searched = time.process_time() - searched
        healthy, broken = [], []
        for _ in range(_ROUNDS):
            healthy.append(await _neighbours(session, batches, []))
            broken.append(await _neighbours(session, batches, [_NOBODY]))
    return {
        "points": _DEVICES * _DEVICE_POINTS,
        "core_share": round(min(busy) / _PERIOD_S, 4),
        "ms_per_device": round(min(busy) / _DEVICES * 1000, 3),
        "search_share": round(searched / _SEARCH_PERIOD_S, 5),
        "unreachable_slows_others": round(min(broken) / min(healthy) - 1, 3),
    }


async def _cycle(session: BacnetSession, batches: list[tuple[Batch, ...]], instances: Iterable[int]) -> None:
    """Reads these devices once, as many at a time as the session allows."""
    waiting = iter(instances)

    async def work() -> None:
        for instance in waiting:
            for batch in batches[instance % len(batches)]:
                await _read(session, instance, batch)

    async with asyncio.TaskGroup() as group:
        for at in range(session.parallel):
            group.create_task(work(), name=f"bench {at}")


async def _neighbours(session: BacnetSession, batches: list[tuple[Batch, ...]], silent: list[int]) -> float:
    """Processor seconds that a cycle over 199 devices takes while these others, which do not answer, have a place each. Reads
    follow each other without a pause, so that is their time; wall time would say more of what else runs on the machine.
    """
    until, began = time.perf_counter() + _SILENCE_S, time.process_time()
    reads = 0

    async def work() -> None:
        nonlocal reads
        while time.perf_counter() < until:
            instance = reads % (_NEIGHBOURS - 1) + 1
            reads += 1
            await _read(session, instance, batches[instance][0])

    async def wait(instance: int) -> None:
        with contextlib.suppress(DeviceTimeout):
            await _read(session, instance, batches[0][0])

    async with asyncio.TaskGroup() as group:
        for instance in silent:
            group.create_task(wait(instance), name=f"bench silent {instance}")
        for at in range(session.parallel - len(silent)):
            group.create_task(work(), name=f"bench {at}")
    return (time.process_time() - began) * (_NEIGHBOURS - 1) / reads


async def _read(session: BacnetSession, instance: int, batch: Batch) -> None:
    values = await session.read(Address(instance), batch)
    assert values[0] == 0.5, values
    assert values[-1] == len(values) - 0.5, values


async def _time(action: Callable[[], Coroutine[Any, Any, None]], times: int) -> float:
    """Processor seconds of one action."""
    began = time.process_time()
    for _ in range(times):
        await action()
    return (time.process_time() - began) / times


@asynccontextmanager
async def _bacpypes(port: int) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
    """Reads the same 50 values with bacpypes3's own application."""
    from bacpypes3.ipv4.app import NormalApplication
    from bacpypes3.local.device import DeviceObject
    from bacpypes3.pdu import Address as StationAddress
    from bacpypes3.pdu import IPv4Address

    device = DeviceObject(objectIdentifier=("device", 599), objectName="bench", vendorIdentifier=999)
    app = NormalApplication(device, IPv4Address("127.0.0.1:0"))
    asked = [item for at in range(_POINTS) for item in (f"analog-value,{at}", ["present-value"])]
    station = StationAddress(f"127.0.0.1:{port}")

    async def read() -> None:
        values = await app.read_property_multiple(station, asked)
        assert len(values) == _POINTS, values

    try:
        yield read
    finally:
        app.close()


@asynccontextmanager
async def _server(devices: int, first: int) -> AsyncIterator[list[int]]:
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "drivers.bacnet.bench_server", str(devices), str(first),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield json.loads(await server.stdout.readline())
    finally:
        server.stdin.close()
        await server.wait()


def _link(ports: list[int]) -> LinkConfig:
    own = BacnetLink(peers=tuple(f"127.0.0.1:{port}" for port in ports), apdu_timeout_s=_SILENCE_S)
    return LinkConfig("bench", "bacnet", host="127.0.0.1", port=0, bacnet=own)


def _plan(count: int, layout: Layout) -> tuple[Batch, ...]:
    points = [_point(at) for at in range(count)]
    return BacnetDriver().plan(points, Limits(), layout, LinkConfig("bench", "bacnet"))


@cache
def _point(at: int) -> Point:
    return Point.model_validate({"id": f"av{at}", "object": f"analog-value:{at}", "type": "f32"})
