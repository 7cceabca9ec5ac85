"""The uplink over the embedded broker, with the real spool."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.spool import Kind
from gateway.broker import EmbeddedBroker
from gateway.contract import messages
from gateway.contract.events import make_event
from gateway.mqtt import Incoming, MqttSession, MqttSettings
from tests.edge_agent.uplink_box import QUICK, Site, centre, settings, site, until


@pytest.fixture
async def mqtt() -> AsyncIterator[MqttSettings]:
    async with EmbeddedBroker() as broker:
        yield settings(broker.port)


async def test_message_leaves_spool_when_ingest_has_it(tmp_path: Path, mqtt: MqttSettings) -> None:
    async with centre(mqtt) as hq, site(tmp_path, mqtt) as one:
        await until(lambda: one.uplink.figures()["connected"])
        numbers = one.put(50)
        await until(lambda: set(hq.got) >= numbers, "all messages")
        await until(lambda: one.spool.fill().msgs == 0, "the spool to be empty")
        assert set(hq.got.values()) == {1}
        assert len(hq.by_kind["data"]) == 50
        assert one.uplink.figures()["acknowledged"] == 50
        assert one.uplink.figures()["inflight_bytes"] == 0


async def test_silent_ingest_keeps_everything(tmp_path: Path, mqtt: MqttSettings) -> None:
    """A PUBACK alone never releases a message; the same bytes come again."""
    async with centre(mqtt, is_silent=True) as hq, site(tmp_path, mqtt) as one:
        await until(lambda: one.uplink.figures()["connected"])
        numbers = one.put(5)
        await until(lambda: all(hq.got[number] >= 2 for number in numbers), "resends")
        assert one.spool.fill().msgs == 5
        hq.is_silent = False
        await until(lambda: one.spool.fill().msgs == 0)
        assert all(len(bodies) == 1 for bodies in hq.bodies.values())


async def test_credit_bounds_what_is_unacknowledged(tmp_path: Path, mqtt: MqttSettings) -> None:
    limits = replace(QUICK, resend_s=60.0, credit_msgs=20)
    async with centre(mqtt, is_silent=True) as hq, site(tmp_path, mqtt, limits=limits) as one:
        await until(lambda: one.uplink.figures()["connected"])
        numbers = one.put(100)
        await one.spool.flush()
        await until(lambda: len(hq.got) == 20)
        assert one.uplink.figures()["inflight_msgs"] == 20
        hq.is_silent = False
        epoch = one.spool.epoch
        receipt = messages.encode(messages.Ack(epoch=epoch, ok=[(1, 20)]))
        hq.session.publish(one.topics.down("ack"), receipt)
        await until(lambda: set(hq.got) == numbers)
        await until(lambda: one.spool.fill().msgs == 0)


async def test_credit_in_bytes(tmp_path: Path, mqtt: MqttSettings) -> None:
    limits = replace(QUICK, resend_s=60.0, credit_bytes=100_000)
    async with centre(mqtt, is_silent=True) as hq, site(tmp_path, mqtt, limits=limits) as one:
        await until(lambda: one.uplink.figures()["connected"])
        one.put(40, size=20_000)
        await until(lambda: len(hq.got) == 5)
        await one.spool.flush()
        assert 100_000 <= one.uplink.figures()["inflight_bytes"] < 121_000


async def test_spooled_while_disconnected_comes_as_history(tmp_path: Path) -> None:
    async with EmbeddedBroker() as broker:
        mqtt = settings(broker.port)
        async with site(tmp_path, mqtt) as one:
            await until(lambda: one.uplink.figures()["connected"])
            await broker.kill()
            await until(lambda: not one.uplink.figures()["connected"])
            late = one.put(300, age_s=3600)
            await one.spool.flush()
            await broker.start()
            async with centre(mqtt) as hq:
                await until(lambda: one.uplink.figures()["connected"])
                live = one.put(10)
                await until(lambda: set(hq.got) == late | live)
                await until(lambda: one.spool.fill().msgs == 0)
                assert set(hq.by_kind["hist"]) == late
                assert set(hq.by_kind["data"]) == live


async def test_live_is_not_held_up_by_history(tmp_path: Path, mqtt: MqttSettings) -> None:
    """A subscriber of live data sees nothing of a backlog, and its readings at once."""
    limits = replace(QUICK, resend_s=60.0)
    box = Site(tmp_path, mqtt, limits=limits)
    late = box.put(3000, age_s=7200)
    await box.spool.flush()
    async with centre(mqtt) as hq:
        box.start()
        await until(lambda: len(hq.by_kind.get("hist", ())) > 100)
        live: set[tuple[str, int]] = set()
        for _ in range(20):
            live |= box.put(1)
            await box.spool.flush()
        await until(lambda: set(hq.by_kind.get("data", ())) == live, "live data")
        assert len(hq.by_kind["hist"]) < 3000
        await until(lambda: len(hq.got) == 3020 and box.spool.fill().msgs == 0, "the backlog")
        assert set(hq.by_kind["hist"]) == late
        assert set(hq.got.values()) == {1}
    await box.kill()
    await box.spool.close()


async def test_without_subscriber_only_probes(tmp_path: Path, mqtt: MqttSettings) -> None:
    """PUBACK 0x10, or no acknowledgement at all: one message every probe_s, and all of it once ingest is there."""
    limits = replace(QUICK, silence_s=0.3, resend_s=0.2, probe_s=0.2)
    async with site(tmp_path, mqtt, limits=limits) as one:
        await until(lambda: one.uplink.figures()["connected"])
        numbers = one.put(400)
        await one.spool.flush()
        await until(lambda: one.uplink.figures()["probing"] is not None)
        before = one.uplink.figures()["published"]
        await until(lambda: one.uplink.figures()["published"] >= before + 2, "probes")
        assert one.uplink.figures()["published"] <= before + 5
        async with centre(mqtt) as hq:
            await until(lambda: set(hq.got) == numbers, "everything")
            await until(lambda: one.spool.fill().msgs == 0)


async def test_order_on_connect(tmp_path: Path, mqtt: MqttSettings) -> None:
    heard: list[Incoming] = []
    listener = MqttSession(mqtt, client_id="l", session_expiry_s=0, on_message=heard.append)
    listener.subscribe([("plantroom/v1/hq/gw-01/up/#", 1)])
    listening = asyncio.create_task(listener.run())
    await until(lambda: listener.connected)
    box = Site(tmp_path, mqtt)
    for rest in ("dev/m/last", "dev/m/state", "dev/m/meta", "config/reported", "site", "caps"):
        box.uplink.retain(rest, rest.encode())
    box.put(1)
    await box.spool.flush()
    box.start()
    await until(lambda: any("/data/" in message.topic for message in heard))
    rests = [message.topic.partition("/up/")[2] for message in heard]
    order = ["status", "caps", "site", "config/reported", "dev/m/meta", "dev/m/state", "dev/m/last", "data/meter-01"]
    assert [rest for at, rest in enumerate(rests) if at == rests.index(rest)] == order
    assert json.loads(heard[0].payload)["state"] == "online"
    await asyncio.wait_for(box.uplink.stop(), 5)
    await until(lambda: json.loads(heard[-1].payload).get("state") == "offline")
    assert box.task is not None
    await asyncio.wait_for(box.task, 5)
    listening.cancel()
    await box.spool.close()


async def test_documents_are_published_on_change_and_removed(tmp_path: Path, mqtt: MqttSettings) -> None:
    async with centre(mqtt) as hq:
        async with site(tmp_path, mqtt) as one:
            one.uplink.retain("dev/a/meta", b"a1")
            one.uplink.retain("dev/b/meta", b"b1")
            await until(lambda: {"dev/a/meta", "dev/b/meta"} <= hq.retained.keys())
            one.uplink.retain("dev/a/meta", b"a1")
            one.uplink.retain("dev/b/meta", b"b2")
            await until(lambda: hq.retained["dev/b/meta"] == b"b2")
            assert [payload for topic, payload in hq.log if topic.endswith("a/meta")] == [b"a1"]
            await one.spool.flush()
        # The next process knows no device b any more: its document goes. That of a is the same and stays as it is.
        hq.log.clear()
        box = Site(tmp_path, mqtt)
        box.uplink.retain("dev/a/meta", b"a1")
        box.start()
        await until(lambda: hq.retained["dev/b/meta"] == b"")
        assert not [payload for topic, payload in hq.log if topic.endswith("a/meta")]
        await box.kill()
        await box.spool.close()


async def test_broker_without_the_session_gets_all_documents_again(tmp_path: Path) -> None:
    async with EmbeddedBroker() as broker:
        mqtt = settings(broker.port)
        async with site(tmp_path, mqtt) as one:
            one.uplink.retain("dev/a/meta", b"a1")
            async with centre(mqtt) as hq:
                await until(lambda: "dev/a/meta" in hq.retained)
            await broker.kill()
            await broker.start()
            async with centre(mqtt) as hq:
                await until(lambda: hq.retained.get("dev/a/meta") == b"a1")


async def test_own_lost_is_answered_with_online(tmp_path: Path, mqtt: MqttSettings) -> None:
    async with centre(mqtt) as hq, site(tmp_path, mqtt) as one:
        await until(lambda: "status" in hq.retained)
        hq.log.clear()
        lost = messages.encode(messages.Status(state="lost", epoch=one.spool.epoch, sid=1))
        hq.session.publish(one.topics.up("status"), lost, retain=True)
        await until(lambda: json.loads(hq.log[-1][1])["state"] == "online" if hq.log else False)


async def test_sid_grows_over_restarts(tmp_path: Path, mqtt: MqttSettings) -> None:
    sids: list[int] = []
    for _ in range(3):
        async with centre(mqtt) as hq, site(tmp_path, mqtt) as one:
            await until(lambda: one.uplink.figures()["connected"])
            await until(lambda: json.loads(hq.retained.get("status", b'{"state":""}'))["state"] == "online")
            sids.append(json.loads(hq.retained["status"])["sid"])
    assert sids == sorted(set(sids))


async def test_events_have_their_topic_and_no_age(tmp_path: Path, mqtt: MqttSettings) -> None:
    async with centre(mqtt) as hq, site(tmp_path, mqtt) as one:
        await until(lambda: one.uplink.figures()["connected"])

        def build(epoch: str, seq: int) -> bytes:
            data = {"reason": "start", "boot_id": "b"}
            return make_event(
                "system.restart",
                site="hq",
                agent="gw-01",
                device="gw-01",
                data=data,
                key="k",
                t_ms=1,
                epoch=epoch,
                seq=seq,
            )

        one.spool.put(Kind.EVENT, "gw-01", 1, build, cls="system")
        await until(lambda: "event" in hq.by_kind)
        assert hq.log[-1][0] == "plantroom/v1/hq/gw-01/up/event/gw-01/system"
        await until(lambda: one.spool.fill().msgs == 0)


async def test_delivery_broker_releases_on_puback(tmp_path: Path, mqtt: MqttSettings) -> None:
    async with centre(mqtt, is_silent=True) as hq, site(tmp_path, mqtt, delivery="broker") as one:
        await until(lambda: one.uplink.figures()["connected"])
        numbers = one.put(20)
        await until(lambda: one.spool.fill().msgs == 0)
        await until(lambda: set(hq.got) == numbers)


async def test_dead_and_malformed_receipts_are_counted(tmp_path: Path, mqtt: MqttSettings) -> None:
    async with centre(mqtt, is_silent=True) as hq, site(tmp_path, mqtt, limits=replace(QUICK, resend_s=60.0)) as one:
        await until(lambda: one.uplink.figures()["connected"])
        one.put(2)
        await until(lambda: len(hq.got) == 2)
        hq.session.publish(one.topics.down("ack"), b"{")
        await until(lambda: one.uplink.figures()["malformed"] == 1)
        receipt = messages.Ack(epoch=one.spool.epoch, ok=[(1, 2)], dead=[(2, "type")])
        hq.session.publish(one.topics.down("ack"), messages.encode(receipt))
        await until(lambda: one.spool.fill().msgs == 0)
        assert one.uplink.figures()["dead"] == 1


async def test_transient_needs_a_connection(tmp_path: Path, mqtt: MqttSettings) -> None:
    heard: list[Incoming] = []
    box = Site(tmp_path, mqtt)
    assert not box.uplink.transient("metrics", b"{}", qos=0, expiry_s=60)
    listener = MqttSession(mqtt, client_id="l", session_expiry_s=0, on_message=heard.append)
    listener.subscribe([("plantroom/v1/hq/gw-01/up/metrics", 0)])
    listening = asyncio.create_task(listener.run())
    box.start()
    await until(lambda: bool(box.uplink.figures()["connected"]) and listener.connected)
    await until(lambda: box.uplink.transient("metrics", b"{}", qos=0, expiry_s=60) and bool(heard))
    assert heard[0].payload == b"{}"
    assert 0 < (heard[0].expiry_s or 0) <= 60
    listening.cancel()
    await box.kill()
    await box.spool.close()
