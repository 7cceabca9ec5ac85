"""F12: whatever InfluxDB answers, nothing is lost, nothing is acknowledged before a 204, and people are told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import StoreUnavailable
from gateway.broker import EmbeddedBroker
from gateway.ingest import wait_s
from gateway.stores.influx import InfluxSettings, InfluxStore
from tests.faults.tcp_proxy import TcpProxy
from tests.gateway.centre import FakeAgent, centre, fake_agent
from tests.gateway.fake_influx import FakeInflux, fake_influx
from tests.gateway.message_box import DEV, EPOCH, NOW, TOPICS, telemetry
from tests.gateway.mqtt_box import mosquitto, needs_mosquitto, until

T = NOW - 100_000
COUNT = 50


def store_of(fake: FakeInflux, **more: Any) -> InfluxStore:
    return InfluxStore(InfluxSettings(fake.version, fake.url, "plantroom", **({"timeout_s": 0.3, "token": "t"} | more)))  # type: ignore[arg-type]


async def send(agent: FakeAgent, count: int = COUNT) -> None:
    for seq in range(count):
        agent.publish(TOPICS.data(DEV), telemetry(seq, T + seq, {"power_active": float(seq)}))


def all_stored(fake: FakeInflux, count: int = COUNT) -> bool:
    return fake.values("electricity_meter", "power_active") == [float(seq) for seq in range(count)]


def none_too_early(fake: FakeInflux, agent: FakeAgent) -> None:
    """Receipts speak only of what the store had accepted."""
    values = set(fake.values("electricity_meter", "power_active"))
    assert {float(seq) for seq in agent.ok.get(EPOCH, ())} <= values


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_try_again_answers(version: str, status: int, tmp_path: Path) -> None:
    async with EmbeddedBroker() as broker, fake_influx(version) as fake:
        fake.script = [(status, '{"error":"later"}', {"Retry-After": "0"})] * 3
        async with centre(broker.port, tmp_path, store=store_of(fake)) as one, fake_agent(broker.port) as agent:
            await send(agent)
            await agent.acknowledged(COUNT)
            none_too_early(fake, agent)
            assert all_stored(fake)
            assert one.figure("retries") == 3
            assert one.figure("dead") == 0


def test_a_retry_after_is_kept_to() -> None:
    """Up to 60 s, whatever the server asks for."""
    assert wait_s(StoreUnavailable("", retry_after_s=7), 1, 0.5) == 7
    assert wait_s(StoreUnavailable("", retry_after_s=7200), 1, 0.5) == 60
    waits = [wait_s(StoreUnavailable(""), failures, 0.5) for failures in range(1, 30)]
    assert all(0 < wait <= 60 for wait in waits)
    assert waits[0] <= 0.5
    assert len({round(wait, 6) for wait in waits}) == len(waits)  # jitter


async def test_a_body_too_large_is_split(tmp_path: Path) -> None:
    async with EmbeddedBroker() as broker, fake_influx("v2") as fake:
        fake.most_bytes = 300
        async with centre(broker.port, tmp_path, store=store_of(fake)) as one, fake_agent(broker.port) as agent:
            await send(agent)
            await agent.acknowledged(COUNT)
            assert all_stored(fake)
            assert one.figure("dead") == 0


@pytest.mark.real
@needs_mosquitto
@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_person_is_needed(status: int, tmp_path: Path) -> None:
    """Ingest stops consuming and raises an alarm; nothing is dropped, and it goes on by itself once it may again."""
    async with mosquitto(tmp_path / "mosquitto") as broker, fake_influx("v2") as fake:
        fake.always = lambda body: (status, '{"code":"unauthorized","message":"no"}', {})
        async with centre(broker.port, tmp_path, store=store_of(fake)) as one, fake_agent(broker.port) as agent:
            await send(agent, 10)
            await until(lambda: "store_misconfigured" in one.ingest.alarms)
            await until(lambda: one.ingest.figures()["connected"] is False)
            assert str(status) in one.ingest.alarms["store_misconfigured"]
            assert agent.receipts == []
            fake.always = lambda body: None
            await until(lambda: one.ingest.figures()["connected"] is True)
            await until(lambda: len(agent.pubacks) == 10)
            await send(agent)  # the agent's resend
            await until(lambda: agent.ok.get(EPOCH) == set(range(COUNT)))
            assert all_stored(fake)
            assert one.ingest.alarms == {}
            assert list(one.dead) == []


async def test_connections_that_break_inside_the_body(tmp_path: Path) -> None:
    async with (
        EmbeddedBroker() as broker,
        fake_influx("v1") as fake,
        TcpProxy(int(fake.url.rsplit(":", 1)[1])) as proxy,
    ):
        proxy.cut_after = 600
        influx = InfluxStore(InfluxSettings("v1", f"http://127.0.0.1:{proxy.port}", "plantroom", timeout_s=0.5))
        async with centre(broker.port, tmp_path, store=influx) as one, fake_agent(broker.port) as agent:
            await send(agent)
            await until(lambda: one.figure("retries") >= 3)
            assert proxy.cuts >= 3
            none_too_early(fake, agent)
            proxy.cut_after = 0
            await agent.acknowledged(COUNT)
            assert all_stored(fake)


async def test_a_store_that_does_not_answer(tmp_path: Path) -> None:
    async with (
        EmbeddedBroker() as broker,
        fake_influx("v3") as fake,
        TcpProxy(int(fake.url.rsplit(":", 1)[1])) as proxy,
    ):
        proxy.is_black_hole = True
        influx = InfluxStore(
            InfluxSettings("v3", f"http://127.0.0.1:{proxy.port}", "plantroom", token="t", timeout_s=0.05)
        )
        async with centre(broker.port, tmp_path, store=influx) as one, fake_agent(broker.port) as agent:
            await send(agent)
            await until(lambda: one.figure("retries") >= 2)
            assert agent.receipts == []
            proxy.is_black_hole = False
            await agent.acknowledged(COUNT)
            assert all_stored(fake)
            await asyncio.sleep(0)
            assert "store_unavailable" not in one.ingest.alarms
