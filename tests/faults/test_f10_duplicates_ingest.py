"""F10, the store's side: messages that come again, and ingest that dies between the store's commit and its acknowledgements."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.stores.base import EventRow, Refused, RowBatch
from tests.gateway.centre import MoodyStore, centre, fake_agent, sqlite_store
from tests.gateway.message_box import AGENT, DEV, EPOCH, NOW, SITE, TOPICS, event, telemetry
from tests.gateway.mqtt_box import mosquitto, needs_mosquitto, until

pytestmark = [pytest.mark.real, needs_mosquitto]
T = NOW - 100_000
COUNT = 200


async def everything(store: Any) -> tuple[list[Any], list[EventRow], list[Any]]:
    samples = await store.samples(SITE, DEV, ["power_active"], 0, 2 * NOW)
    quality = await store.quality(SITE, DEV, 0, 2 * NOW)
    return samples["power_active"], await store.events(0, 2 * NOW), quality


def message(seq: int) -> tuple[str, bytes]:
    if seq % 10 == 0:
        return TOPICS.event(DEV, "access"), event(seq)
    bad = [{"p": "voltage_l1", "q": 2, "sc": "BadTimeout"}] if seq % 7 == 0 else []
    return TOPICS.data(DEV), telemetry(seq, T + seq, {"power_active": float(seq)}, x=bad)


async def test_every_message_one_to_three_times(tmp_path: Path) -> None:
    async with mosquitto(tmp_path / "mosquitto") as broker, centre(broker.port, tmp_path) as one:
        async with fake_agent(broker.port) as agent:
            for again in range(3):
                for seq in range(COUNT):
                    if seq % 3 >= again:
                        agent.publish(*message(seq))
            sent = sum(seq % 3 + 1 for seq in range(COUNT))
            await one.settled(sent)
            await agent.acknowledged(COUNT)
        samples, events, quality = await everything(one.store)
        assert [value for _, value in samples] == [float(seq) for seq in range(COUNT) if seq % 10]
        assert len(events) == COUNT // 10
        assert len(quality) == sum(1 for seq in range(COUNT) if seq % 7 == 0 and seq % 10)
        numbers = [n for row in await one.store.ledger(AGENT) for n in range(row.a, row.b + 1)]
        assert set(numbers) == set(range(COUNT))
        assert one.figure("seq_conflicts") == 0


class DyingStore(MoodyStore):
    """Commits, and then never comes back with the news: as if the process had died in between."""

    async def write(self, batch: RowBatch) -> list[Refused]:
        refused = await super().write(batch)
        await asyncio.Event().wait()
        return refused


async def test_a_crash_between_commit_and_acknowledgement(tmp_path: Path) -> None:
    async with mosquitto(tmp_path / "mosquitto") as broker, fake_agent(broker.port) as agent:
        store = DyingStore(sqlite_store(tmp_path))
        async with centre(broker.port, tmp_path, store=store) as dying:  # type: ignore[arg-type]
            for seq in range(COUNT):
                agent.publish(*message(seq))
            await until(lambda: store.writes == 2 and store.in_flight == 0)
            dying.ingest._limits = type(dying.ingest._limits)(stop_s=0.01)
        assert agent.receipts == []
        # The broker has the session, so it sends again what was never acknowledged; the agent's resend is the other net.
        async with centre(broker.port, tmp_path) as one:
            for seq in range(COUNT):
                agent.publish(*message(seq))
            await until(lambda: agent.ok.get(EPOCH) == set(range(COUNT)))
            samples, events, _ = await everything(one.store)
            assert [value for _, value in samples] == [float(seq) for seq in range(COUNT) if seq % 10]
            assert len(events) == COUNT // 10
            assert one.figure("received") > COUNT
