"""Processor time of each stage of a point's way by itself, each fed with what the one before it gave.

The stages are the real ones. Their sum is not the cost of a point: what they share (event loop, schedule, garbage collection)
belongs to none of them, and a stage alone has warmer caches.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from device_profiles.reading import Acquisition
from drivers.base import Address, LinkConfig
from drivers.registry import load_driver
from edge_agent.clock import SystemClock
from edge_agent.encode import builders
from edge_agent.model import Device, SpoolSettings
from edge_agent.normalize import Normalizer
from edge_agent.spool import Kind, Spool
from gateway.contract.messages import Ack, encode
from gateway.mqtt import MqttSession, MqttSettings

_ROUNDS = 200
_SESSIONS = 20
_WINDOW = 100


def _used_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def stages(ports: Sequence[int], broker_port: int, device: Device, folder: Path) -> dict[str, float]:
    """Microseconds of processor a point: read, normalize, encode, spool, publish, ack."""
    count = _ROUNDS * _SESSIONS
    began = _used_s()
    heard = await _read(ports, device)
    cost = {"read": _used_s() - began}

    clock, normalizer = SystemClock(), Normalizer(device)
    form = normalizer.prepare([point.id for point in device.points])
    acquisitions: list[Acquisition] = []
    began, t_ms = _used_s(), 0
    for raws in itertools.islice(itertools.cycle(heard), count):
        t_ms = clock.stamp(t_ms)
        acquisition = Acquisition(device.id, t_ms)
        normalizer.take(form, raws, t_ms, acquisition)
        acquisitions.append(acquisition)
    cost["normalize"] = _used_s() - began

    began = _used_s()
    messages = [
        (t, build("7Q2XK9M4TB", number))
        for number, acquisition in enumerate(acquisitions)
        for t, build in builders(acquisition, cls=device.cls, meta="7c1e0000", clk="ntp")
    ]
    cost["encode"] = _used_s() - began

    cost |= await _spool(messages, device, folder)
    cost["publish"] = await _publish([payload for _, payload in messages], broker_port)
    points = count * len(device.points)
    return {
        name: round(cost[name] / points * 1e6, 3) for name in ("read", "normalize", "encode", "spool", "publish", "ack")
    }


async def _read(ports: Sequence[int], device: Device) -> list[Any]:
    driver = load_driver(device.protocol)
    heard: list[Any] = []
    async with AsyncExitStack() as stack:

        async def many(port: int) -> None:
            link = LinkConfig(id="bench", kind="tcp", host="127.0.0.1", port=port)
            session = await stack.enter_async_context(driver.open(link))
            (batch,) = driver.plan(device.points, device.limits, None, link)
            address = Address(1, device.id)
            heard.extend([await session.read(address, batch) for _ in range(_ROUNDS)])

        await asyncio.gather(*(many(ports[number % len(ports)]) for number in range(_SESSIONS)))
    return heard


async def _spool(messages: Sequence[tuple[int, bytes]], device: Device, folder: Path) -> dict[str, float]:
    spool = Spool.open(
        SpoolSettings(folder / "stages" / "spool.db", ballast_bytes=0),
        site="bench",
        agent="bench-1",
        on_commit=lambda entries: None,
        on_trouble=lambda kind, facts: None,
    )
    try:
        began = _used_s()
        for at in range(0, len(messages), 256):
            for t_ms, payload in messages[at : at + 256]:
                spool.put(Kind.TELEMETRY, device.id, t_ms, lambda epoch, seq, payload=payload: payload)  # type: ignore[misc]
            await spool.flush()
        put = _used_s() - began
        receipts = [encode(Ack(epoch=spool.epoch, ok=[(at + 1, at + 64)])) for at in range(0, len(messages), 64)]
        decode = msgspec.json.Decoder(Ack).decode
        began = _used_s()
        for receipt in receipts:
            ack = decode(receipt)
            spool.forget(ack.epoch, ack.ok)
        await spool.flush()
        return {"spool": put, "ack": _used_s() - began}
    finally:
        await spool.close()


async def _publish(payloads: Sequence[bytes], port: int) -> float:
    connected, room = asyncio.Event(), asyncio.Semaphore(_WINDOW)
    session = MqttSession(
        MqttSettings(port=port),
        client_id="bench-stages",
        session_expiry_s=0,
        clean_start=True,
        on_message=lambda message: None,
        on_connect=lambda present: connected.set(),
        on_disconnect=lambda reason: None,
    )
    running = asyncio.create_task(session.run())
    try:
        async with asyncio.timeout(60):
            await connected.wait()
            began = _used_s()
            for payload in payloads:
                await room.acquire()
                session.publish("bench/stages", payload, on_ack=lambda reason: room.release())
            for _ in range(_WINDOW):
                await room.acquire()
            return _used_s() - began
    finally:
        running.cancel()
        await asyncio.wait((running,))
