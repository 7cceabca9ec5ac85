"""F13: lines that the store refuses. The good ones are stored, the bad ones are dead letters with the store's words."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gateway.broker import EmbeddedBroker
from gateway.stores.base import ClassRow, RowBatch
from gateway.stores.influx import InfluxSettings, InfluxStore
from tests.gateway.centre import centre, fake_agent
from tests.gateway.fake_influx import fake_influx
from tests.gateway.message_box import DEV, NOW, SITE, TOPICS, telemetry
from tests.gateway.real_stores import influxd, needs_influxd

T = NOW - 100_000
COUNT = 120
BAD = {17, 80}


def message(seq: int) -> bytes:
    """Two of them carry a point under another type: in the class `electricity_meter` it is a number for ever."""
    return telemetry(
        seq,
        T + seq,
        {"power_active": float(seq), ("serial_text" if seq in BAD else "serial"): "7" if seq in BAD else 7},
    )


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
async def test_bad_lines_among_good_ones(version: str, tmp_path: Path) -> None:
    async with EmbeddedBroker() as broker, fake_influx(version) as fake:
        fake.types["electricity_meter", "serial_text"] = float
        store = InfluxStore(InfluxSettings(version, fake.url, "plantroom", token="t"))  # type: ignore[arg-type]
        async with centre(broker.port, tmp_path, store=store) as one, fake_agent(broker.port) as agent:
            for seq in range(COUNT):
                agent.publish(TOPICS.data(DEV), message(seq))
            await agent.acknowledged(COUNT)
            assert agent.dead == dict.fromkeys(sorted(BAD), "type")
            assert fake.values("electricity_meter", "power_active") == [float(n) for n in range(COUNT) if n not in BAD]
            letters = list(one.dead)
            assert [letter.reason for letter in letters] == ["type", "type"]
            assert all("conflict" in letter.detail and "serial_text" in letter.lines[0] for letter in letters)
            requests = len(fake.requests)
            assert requests <= one.figure("batches") + len(BAD) * (math.ceil(math.log2(COUNT + 2)) + 1)
            agent.publish(TOPICS.data(DEV), telemetry(COUNT, T + COUNT, {"power_active": 1.0}))
            await agent.acknowledged(COUNT + 1)
            assert len(fake.requests) == requests + 1


async def test_beyond_the_stores_retention(tmp_path: Path) -> None:
    async with EmbeddedBroker() as broker, fake_influx("v1") as fake:
        fake.oldest = T
        store = InfluxStore(InfluxSettings("v1", fake.url, "plantroom"))
        async with centre(broker.port, tmp_path, store=store) as one, fake_agent(broker.port) as agent:
            agent.publish(TOPICS.hist(DEV), telemetry(1, T - 10**9))
            agent.publish(TOPICS.data(DEV), telemetry(2, T))
            await agent.acknowledged(2)
            assert agent.dead == {1: "retention"}
            assert [letter.topic for letter in one.dead] == [TOPICS.hist(DEV)]


@pytest.mark.real
@needs_influxd
async def test_with_a_real_influxdb(tmp_path: Path) -> None:
    async with influxd(tmp_path / "influx") as url, EmbeddedBroker() as broker:
        store = InfluxStore(InfluxSettings("v1", url, "plantroom"))
        async with centre(broker.port, tmp_path, store=store) as one, fake_agent(broker.port) as agent:
            before = RowBatch()
            before.add([ClassRow(SITE, "old", "electricity_meter", T, {"serial_text": 5.0})], 0)
            assert await store.write(before) == []
            for seq in range(COUNT):
                agent.publish(TOPICS.data(DEV), message(seq))
            await agent.acknowledged(COUNT)
            found = await store.samples(SITE, DEV, ["power_active"], 0, 2 * NOW)
            assert [value for _, value in found["power_active"]] == [
                float(seq) for seq in range(COUNT) if seq not in BAD
            ]
            assert agent.dead == dict.fromkeys(sorted(BAD), "type")
            assert all("field type conflict" in letter.detail for letter in one.dead)
