"""Bench of the OPC UA driver: changes a second received without loss, and reads of 1,000 nodes, beside asyncua's own ways.

The server is asyncua's in a process of its own (bench_server), so that only the client's processor time is counted here. Every
change carries its number: what arrives is counted, and summed, so that a value that came twice or was merged is not missed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asyncua import Client, ua

from device_profiles.schema import Point
from drivers.base import Address, Change, Limits, LinkConfig, OpcUaLink

from .bench_server import NAMESPACE
from .driver import OpcUaDriver

_ITEMS = 2000
_RATE = 20_000
_SECONDS = 3.0
_PUBLISH_MS = 100
_NODES = 1000
_READS = 20
_SETTLE_S = 5.0
_DEVICE = Address(0, "bench")


def bench_opcua() -> dict[str, Any]:
    """Shares lost and processor time a change and a value, ours and asyncua's; `x` is how many times less ours takes."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)
    return asyncio.run(_bench())


async def _bench() -> dict[str, Any]:
    async with _server() as (port, order):
        link = LinkConfig(
            "bench", "opcua", host="127.0.0.1", port=port, timeout_s=20.0,
            opcua=OpcUaLink(path="/bench", publish_ms=_PUBLISH_MS),
        )  # fmt: skip
        ours, theirs = await _our_changes(link, order), await _their_changes(link, order)
        our_read, their_read = await _our_reads(link), await _their_reads(link)
    return {
        "changes_offered_per_s": ours["offered_per_s"],
        "lost": ours["lost"],
        "us_per_change": round(ours["us"], 2),
        "core": round(ours["core"], 3),
        "asyncua_lost": theirs["lost"],
        "asyncua_us_per_change": round(theirs["us"], 2),
        "x_changes": round(theirs["us"] / ours["us"], 1),
        "us_per_value": round(our_read, 2),
        "asyncua_us_per_value": round(their_read, 2),
        "x_reads": round(their_read / our_read, 1),
    }


@asynccontextmanager
async def _server() -> AsyncIterator[tuple[int, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "drivers.opcua.bench_server", str(_ITEMS), str(_RATE),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    async def order(text: str) -> dict[str, Any]:
        stdin.write(text.encode() + b"\n")
        answer: dict[str, Any] = json.loads(await stdout.readline())
        return answer

    try:
        yield json.loads(await stdout.readline())["port"], order
    finally:
        stdin.close()
        await process.wait()


def _points(count: int) -> list[Point]:
    return [
        Point.model_validate({"id": f"v{n}", "address": {"node": f"nsu={NAMESPACE};i={n + 1}"}}) for n in range(count)
    ]


class _Tally:
    """What arrived, by number."""

    def __init__(self) -> None:
        self.count, self.sum = 0, 0.0

    async def reaches(self, count: int, limit_s: float) -> None:
        """Until so many have arrived, or no longer than this."""
        until = time.perf_counter() + limit_s
        while self.count < count and time.perf_counter() < until:  # noqa: ASYNC110  # an event would cost each change
            await asyncio.sleep(0.02)


async def _measured(order: Any, tally: _Tally) -> dict[str, float]:
    """One run: what was lost of what was changed, by count and by sum of the numbers, and the processor time of this process."""
    tally.count, tally.sum = 0, 0.0
    cpu, began = time.process_time(), time.perf_counter()
    said = await order(f"start {_SECONDS}")
    took = time.perf_counter() - began
    await tally.reaches(said["changed"], _SETTLE_S)
    cpu = time.process_time() - cpu
    first = said["last"] - said["changed"] + 1
    is_whole = tally.sum == (first + said["last"]) * said["changed"] / 2
    lost = said["changed"] - tally.count
    return {
        "offered_per_s": round(said["changed"] / took),
        "lost": lost if lost or is_whole else -1,
        "us": 1e6 * cpu / max(1, tally.count),
        "core": cpu / took,
    }


async def _our_changes(link: LinkConfig, order: Any) -> dict[str, float]:
    tally = _Tally()
    async with OpcUaDriver().open(link) as session:
        await session.subscribe(_DEVICE, _points(_ITEMS), None)

        async def take() -> None:
            async for turn in session.changes():
                for change in turn:
                    if isinstance(change, Change):
                        tally.count += len(change.values)
                        tally.sum += sum(change.values)  # type: ignore[arg-type]  # all are numbers here

        task = asyncio.create_task(take(), name="bench changes")
        await tally.reaches(_ITEMS, _SETTLE_S)
        result = await _measured(order, tally)
        task.cancel()
        return result


class _Handler:
    """asyncua's high-level way: one call a change."""

    def __init__(self, tally: _Tally) -> None:
        self._tally = tally

    def datachange_notification(self, node: Any, value: float, data: Any) -> None:
        self._tally.count += 1
        self._tally.sum += value


async def _their_changes(link: LinkConfig, order: Any) -> dict[str, float]:
    tally = _Tally()
    async with Client(link.place, timeout=20) as client:
        index = await client.get_namespace_index(NAMESPACE)
        subscription = await client.create_subscription(_PUBLISH_MS, _Handler(tally))
        nodes = [client.get_node(ua.NodeId(n + 1, index)) for n in range(_ITEMS)]
        await subscription.subscribe_data_change(nodes, queuesize=10)
        await tally.reaches(_ITEMS, _SETTLE_S)
        result = await _measured(order, tally)
        await subscription.delete()
        return result


async def _our_reads(link: LinkConfig) -> float:
    """Microseconds of processor time a value, 1,000 values a service call."""
    driver, points = OpcUaDriver(), _points(_NODES)
    [batch] = driver.plan(points, Limits(), None, link)
    async with driver.open(link) as session:
        await session.read(_DEVICE, batch)
        cpu = time.process_time()
        for _ in range(_READS):
            assert len(await session.read(_DEVICE, batch)) == _NODES
        return 1e6 * (time.process_time() - cpu) / (_READS * _NODES)


async def _their_reads(link: LinkConfig) -> float:
    async with Client(link.place, timeout=20) as client:
        index = await client.get_namespace_index(NAMESPACE)
        nodes = [client.get_node(ua.NodeId(n + 1, index)) for n in range(_NODES)]
        await client.read_values(nodes)
        cpu = time.process_time()
        for _ in range(_READS):
            assert len(await client.read_values(nodes)) == _NODES
        return 1e6 * (time.process_time() - cpu) / (_READS * _NODES)
