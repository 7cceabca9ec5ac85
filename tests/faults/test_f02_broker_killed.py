"""F2: the broker is killed (kill -9) and started again during traffic, with its stock persistence. Nothing lost, no dup."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gateway.broker import EmbeddedBroker
from tests.edge_agent.uplink_box import Centre, Site, centre, settings, site, until
from tests.gateway.mqtt_box import Mosquitto, mosquitto, needs_mosquitto

KILLS = 100 if os.environ.get("PLANTROOM_FAULTS") == "all" else 4


async def kill_during_traffic(broker: Mosquitto | EmbeddedBroker, one: Site, hq: Centre, kills: int) -> None:
    """Accepts messages all the time; kills the broker whenever some more have arrived."""
    accepted: set[tuple[str, int]] = set()
    is_over = asyncio.Event()

    async def produce() -> None:
        while not is_over.is_set():
            accepted.update(one.put(3))
            await asyncio.sleep(0.002)

    producer = asyncio.create_task(produce())
    for _ in range(kills):
        before = len(hq.got)
        await until(lambda: len(hq.got) > before + 30, "messages after a restart", timeout_s=40)  # noqa: B023
        await broker.kill()
        await broker.start()
    is_over.set()
    await producer
    await until(lambda: accepted <= set(hq.got), "every accepted message", timeout_s=40)
    await until(lambda: one.spool.fill().msgs == 0, "the spool to forget them")
    assert set(hq.got) == accepted
    assert all(len(bodies) == 1 for bodies in hq.bodies.values()), "the same number never has other bytes"
    assert not one.lost
    print(f"F2: {kills} kills, {len(accepted)} messages, {sum(hq.got.values()) - len(accepted)} sent twice")


@pytest.mark.real
@needs_mosquitto
@pytest.mark.timeout(60 if KILLS < 10 else 1200)
async def test_mosquitto(tmp_path: Path) -> None:
    lines = f"allow_anonymous true\npersistence true\npersistence_location {tmp_path}/"
    async with mosquitto(tmp_path, lines) as broker:
        mqtt = settings(broker.port)
        async with centre(mqtt) as hq, site(tmp_path, mqtt) as one:
            await kill_during_traffic(broker, one, hq, KILLS)


@pytest.mark.timeout(60 if KILLS < 10 else 1200)
async def test_embedded_broker(tmp_path: Path) -> None:
    async with EmbeddedBroker() as broker:
        mqtt = settings(broker.port)
        async with centre(mqtt) as hq, site(tmp_path, mqtt) as one:
            await kill_during_traffic(broker, one, hq, max(2, KILLS // 10))
