"""Ingest between an embedded broker and a real store: what is acknowledged when, in which order, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import StoreUnavailable
from gateway.broker import EmbeddedBroker
from gateway.contract.topics import Topics
from gateway.ingest import Limits
from gateway.intake import ranges
from gateway.stores.base import StoreMisconfigured
from tests.gateway.centre import QUICK, MoodyStore, centre, fake_agent, sqlite_store
from tests.gateway.message_box import AGENT, DEV, EPOCH, NOW, SITE, TOPICS, event, telemetry
from tests.gateway.mqtt_box import mosquitto, needs_mosquitto, until

T = NOW - 10_000


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with EmbeddedBroker() as broker:
        yield broker.port


@pytest.fixture
async def real_port(tmp_path: Path) -> AsyncIterator[int]:
    """Mosquitto, where a worker leaves: the embedded broker does not survive the end of a client with shared subscriptions."""
    async with mosquitto(tmp_path / "mosquitto") as broker:
        yield broker.port


async def stored(centre: Any, point: str = "power_active", dev: str = DEV) -> list[tuple[int, Any]]:
    found = await centre.store.samples(SITE, dev, [point], 0, 2 * NOW)
    return list(found[point])


async def test_stored_then_acknowledged_in_ranges(port: int, tmp_path: Path) -> None:
    async with centre(port, tmp_path) as one, fake_agent(port) as agent:
        for seq in [*range(40), *range(50, 60)]:
            agent.publish(TOPICS.data(DEV), telemetry(seq, T + seq, {"power_active": float(seq)}))
        agent.publish(TOPICS.hist(DEV), telemetry(60, T - 500, {"power_active": -1.0}))
        agent.publish(TOPICS.event(DEV, "access"), event(61))
        await agent.acknowledged(52)
        assert agent.ok == {EPOCH: {*range(40), *range(50, 62)}}
        assert [value for _, value in await stored(one)] == [-1.0, *map(float, [*range(40), *range(50, 60)])]
        (row,) = await one.store.events(0, 2 * NOW)
        assert (row.type, row.agent) == ("access.denied", AGENT)
        numbers = {n for row in await one.store.ledger(AGENT) for n in range(row.a, row.b + 1)}
        assert numbers == agent.ok[EPOCH]
        assert agent.receipts[0].expiry_s is not None
        assert agent.receipts[0].expiry_s <= 300


async def test_what_is_refused_is_a_dead_letter_and_says_so(port: int, tmp_path: Path) -> None:
    async with centre(port, tmp_path) as one, fake_agent(port) as agent:
        agent.publish(TOPICS.data(DEV), telemetry(1, T, {"power_active": 1.0}))
        agent.publish(TOPICS.data(DEV), telemetry(2, T, {"power_active": "on"}))
        agent.publish(TOPICS.data(DEV), telemetry(3, 0))
        agent.publish(TOPICS.data(DEV), b"garbage")
        agent.publish(TOPICS.up("data/Bad Device"), telemetry(4))
        await one.settled(5)
        await agent.acknowledged(3)
        assert agent.ok == {EPOCH: {1, 2, 3}}
        assert agent.dead == {2: "type", 3: "time"}
        assert [letter.reason for letter in one.dead] == ["type", "time", "json", "topic"]
        assert await stored(one) == [(T, 1.0)]


async def test_an_unregistered_agent_gets_no_receipt_until_it_is(port: int, tmp_path: Path) -> None:
    async with centre(port, tmp_path, registered=()) as one, fake_agent(port) as agent:
        message = telemetry(1, T, {"power_active": 1.0})
        agent.publish(TOPICS.data(DEV), message)
        agent.publish(TOPICS.up("site"), b'{"v":1,"tz":"Asia/Shanghai","name":"HQ"}', retain=True)
        await one.settled(2)
        assert agent.receipts == []
        assert await stored(one) == []
        assert list(one.dead) == []
        assert one.figure("unregistered") == 1
        (known,) = one.inventory.agents()
        assert (known.id, known.registered, known.refused) == (AGENT, False, 1)
        assert one.inventory.zone(SITE) == "UTC"
        await one.inventory.register(SITE, AGENT)
        agent.publish(TOPICS.data(DEV), message)
        await agent.acknowledged(1)
        assert await stored(one) == [(T, 1.0)]


async def test_retained_documents_reach_the_inventory(port: int, tmp_path: Path) -> None:
    async with fake_agent(port) as agent:
        meta = {
            "v": 1, "rev": "r1", "name": "Incomer", "cls": "electricity_meter", "system": "energy", "profile": "a/b@1",
            "proto": "modbus", "addr": "x:1", "points": {"power_active": {"type": "num", "unit": "kW", "hb_s": 300}},
        }  # fmt: skip
        agent.publish(TOPICS.up("status"), b'{"v":1,"state":"online","epoch":"E","sid":3,"t":5}', retain=True)
        agent.publish(TOPICS.up("site"), b'{"v":1,"tz":"Asia/Shanghai","name":"HQ"}', retain=True)
        agent.publish(TOPICS.device(DEV, "meta"), msgspec.json.encode(meta), retain=True)
        alarm = {"v": 1, "id": "tamper", "sev": "high", "st": "active", "since": NOW}
        agent.publish(TOPICS.up(f"alarm/{DEV}/tamper"), msgspec.json.encode(alarm), retain=True)
        await until(lambda: len(agent.pubacks) == 4)
        async with centre(port, tmp_path) as one:
            await until(lambda: one.inventory.device(SITE, DEV) is not None)
            await until(lambda: one.inventory.zone(SITE) == "Asia/Shanghai")
            device = one.inventory.device(SITE, DEV)
            assert device is not None
            assert device.points["power_active"].unit == "kW"
            assert one.inventory.agents()[0].online
            await until(lambda: [alarm.id for alarm in one.inventory.current.alarms(SITE, DEV)] == ["tamper"])
            agent.publish(TOPICS.up(f"alarm/{DEV}/tamper"), b"", retain=True)
            await until(lambda: not one.inventory.current.alarms(SITE, DEV))


async def test_two_agents_with_one_device_id(port: int, tmp_path: Path) -> None:
    other = Topics(SITE, "gw-02")
    async with (
        centre(port, tmp_path, registered=None) as one,
        fake_agent(port) as agent,
        fake_agent(port, "b", other) as second,
    ):
        agent.publish(TOPICS.data(DEV), telemetry(1, T, {"power_active": 1.0}))
        await agent.acknowledged(1)
        second.publish(other.data(DEV), telemetry(7, T, {"power_active": 9.0}))
        second.publish(other.event(DEV, "access"), event(8, source=f"/{SITE}/gw-02/{DEV}"))
        await second.acknowledged(2)
        assert second.dead == {7: "dev_conflict", 8: "dev_conflict"}
        assert one.figure("dev_conflicts") == 2
        assert await stored(one) == [(T, 1.0)]


async def test_one_number_with_other_bytes_is_stored_and_noticed(port: int, tmp_path: Path) -> None:
    async with centre(port, tmp_path) as one, fake_agent(port) as agent:
        for t in (T, T, T + 1):
            agent.publish(TOPICS.data(DEV), telemetry(1, t, {"power_active": 1.0}))
        await one.settled(3)
        assert one.figure("seq_conflicts") == 1
        assert [t for t, _ in await stored(one)] == [T, T + 1]


@pytest.mark.real
@needs_mosquitto
async def test_nothing_is_acknowledged_before_the_store_has_it(real_port: int, tmp_path: Path) -> None:
    store = MoodyStore(sqlite_store(tmp_path))
    store.hold.clear()
    async with centre(real_port, tmp_path, store=store) as one, fake_agent(real_port) as agent:  # type: ignore[arg-type]
        for seq in range(300):
            agent.publish(TOPICS.data(DEV), telemetry(seq, T + seq))
        await until(lambda: store.in_flight == 2)
        await until(lambda: one.figure("waiting") > 0 or sum(store.sizes) > 300)
        assert agent.receipts == []
        assert one.figure("settled") == 0
        store.hold.set()
        await agent.acknowledged(300)
        assert store.most_in_flight == 2


async def test_a_store_that_is_away_is_waited_for(port: int, tmp_path: Path) -> None:
    store = MoodyStore(sqlite_store(tmp_path))
    store.moods = [StoreUnavailable("busy", retry_after_s=0.01)] * 3
    async with centre(port, tmp_path, store=store) as one, fake_agent(port) as agent:  # type: ignore[arg-type]
        agent.publish(TOPICS.data(DEV), telemetry(1, T))
        await agent.acknowledged(1)
        assert one.figure("retries") == 3
        assert one.ingest.alarms == {}
        assert len(await stored(one)) == 1


@pytest.mark.real
@needs_mosquitto
async def test_a_store_that_stays_away_ends_the_session_and_loses_nothing(real_port: int, tmp_path: Path) -> None:
    store = MoodyStore(sqlite_store(tmp_path))
    async with centre(real_port, tmp_path, store=store) as one, fake_agent(real_port) as agent:  # type: ignore[arg-type]
        store.moods = [StoreMisconfigured("401", next_step="correct the token")] * 5
        for seq in range(20):
            agent.publish(TOPICS.data(DEV), telemetry(seq, T + seq))
        await until(lambda: "store_misconfigured" in one.ingest.alarms)
        await until(lambda: one.ingest.figures()["connected"] is False)
        await until(lambda: one.ingest.figures()["connected"] is True)
        for seq in range(20, 25):
            agent.publish(TOPICS.data(DEV), telemetry(seq, T + seq))
        await until(lambda: {20, 21, 22, 23, 24} <= agent.ok.get(EPOCH, set()))
        assert "store_misconfigured" not in one.ingest.alarms
        times = {t for t, _ in await stored(one)}
        assert {T + seq for seq in agent.ok[EPOCH]} <= times


@pytest.mark.real
@needs_mosquitto
async def test_the_window_is_bounded(real_port: int, tmp_path: Path) -> None:
    store = MoodyStore(sqlite_store(tmp_path))
    store.hold.clear()
    limits = Limits(window_messages=50, batch_rows=20, retry_s=0.01, stop_s=1.0)
    async with centre(real_port, tmp_path, store=store, limits=limits) as one, fake_agent(real_port) as agent:  # type: ignore[arg-type]
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, one.figure("waiting"))
                await asyncio.sleep(0)

        watcher = asyncio.create_task(watch())
        for seq in range(600):
            agent.publish(TOPICS.data(DEV), telemetry(seq, T + seq))
            await asyncio.sleep(0)
        await until(lambda: one.ingest._is_paused)
        store.hold.set()
        await agent.acknowledged(600)
        watcher.cancel()
        # One read of the socket may bring some more than the bound.
        assert 50 <= most <= 50 + 600
        assert max(store.sizes) <= 20 + 250 + 1


async def test_a_stop_finishes_what_was_taken(port: int, tmp_path: Path) -> None:
    store = MoodyStore(sqlite_store(tmp_path))
    store.hold.clear()
    async with centre(port, tmp_path, store=store) as one, fake_agent(port) as agent:  # type: ignore[arg-type]
        agent.publish(TOPICS.data(DEV), telemetry(1, T))
        await until(lambda: store.in_flight == 1)
        stopping = asyncio.create_task(one.stop())
        await asyncio.sleep(0)
        store.hold.set()
        await stopping
        await agent.acknowledged(1)
        assert one.task.cancelled()


async def test_a_replayed_dead_letter_is_stored_once(port: int, tmp_path: Path) -> None:
    async with centre(port, tmp_path, registered=None) as one, fake_agent(port) as agent:
        other = Topics(SITE, "gw-02")
        agent.publish(TOPICS.data(DEV), telemetry(1, T))
        await agent.acknowledged(1)
        agent.publish(other.data(DEV), telemetry(2, T + 5, {"power_active": 7.0}))
        agent.publish(TOPICS.data(DEV), b"garbage")
        await one.settled(3)
        conflict, garbage = one.dead
        one.inventory._devices[SITE, DEV].agent = "gw-02"  # a person moved the device
        for letter in (conflict, garbage, conflict):
            one.dead.ask_replay(letter)
        await until(lambda: one.figure("replayed") == 1)
        await until(lambda: not list((tmp_path / "dead" / "replay").glob("*.json")))
        assert await stored(one) == [(T, 81.25), (T + 5, 7.0)]
        assert [letter.id for letter in one.dead] == [garbage.id]


async def test_documents_of_the_wrong_shape_are_dead_letters(port: int, tmp_path: Path) -> None:
    async with centre(port, tmp_path) as one, fake_agent(port) as agent:
        agent.publish(TOPICS.up("site"), b'{"v":1,"tz":"Mars/Base","name":"x"}', retain=True)
        agent.publish(TOPICS.up("status"), b'{"v":1}', retain=True)
        agent.publish(TOPICS.device(DEV, "meta"), b"\xff\xff", retain=True)
        await one.settled(3)
        assert sorted(letter.reason for letter in one.dead) == ["json", "schema", "tz"]
        assert one.inventory.device(SITE, DEV) is None


def test_quick_limits_are_the_shipped_ones_but_for_time() -> None:
    assert (QUICK.receive_maximum, QUICK.batch_rows, QUICK.batch_bytes, QUICK.in_flight) == (1000, 5000, 8 * 1024**2, 2)


@given(st.lists(st.integers(0, 60)))
def test_ranges_are_exactly_the_numbers(numbers: list[int]) -> None:
    found = ranges(numbers)
    assert [n for a, b in found for n in range(a, b + 1)] == sorted(set(numbers))
    assert all(a[1] + 1 < b[0] for a, b in pairwise(found))
