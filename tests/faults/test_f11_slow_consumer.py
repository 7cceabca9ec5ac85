"""F11: a store that takes its time. Ingest bounds its memory, the agents' credit holds them back, the broker drops nothing."""

from __future__ import annotations

import asyncio
import os
import re
import resource
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.contract.topics import Topics
from gateway.stores.base import Refused, RowBatch
from tests.gateway.centre import MoodyStore, centre, fake_agent, sqlite_store
from tests.gateway.message_box import NOW, SITE, telemetry
from tests.gateway.mqtt_box import MOSQUITTO, mosquitto, needs_mosquitto, probe, settings, until

pytestmark = [pytest.mark.real, needs_mosquitto]
CREDIT = 256
AGENTS = 5
EACH = 400 if os.environ.get("PLANTROOM_FAULTS") != "all" else 5000
SHIPPED = Path(__file__).parents[2] / "deploy" / "mosquitto"


class SlowStore(MoodyStore):
    """Holds every write until the loop has had many turns: slow against everything around it, without a clock."""

    async def write(self, batch: RowBatch) -> list[Refused]:
        for _ in range(100):
            await asyncio.sleep(0)
        return await super().write(batch)


def bounds() -> str:
    """The lines of the shipped configuration that decide what is queued and what is dropped."""
    text = "".join(path.read_text() for path in sorted(SHIPPED.glob("*.conf")))
    found = re.findall(r"^(max_\w+ \d+)$", text, re.MULTILINE)
    return "\n".join(["allow_anonymous true", "sys_interval 1", *found])


async def test_nothing_is_dropped_and_memory_is_bounded(tmp_path: Path) -> None:
    assert MOSQUITTO is not None
    async with mosquitto(tmp_path / "mosquitto", bounds()) as broker, AsyncExitStack() as stack:
        store = SlowStore(sqlite_store(tmp_path))
        one = await stack.enter_async_context(centre(broker.port, tmp_path, store=store, registered=None))  # type: ignore[arg-type]
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        async def send(number: int) -> None:
            topics = Topics(SITE, f"gw-{number}")
            agent = await stack.enter_async_context(fake_agent(broker.port, f"agent-{number}", topics))
            epoch = f"EPOCH{number}"
            for seq in range(EACH):
                await until(lambda: seq - len(agent.ok.get(epoch, ())) < CREDIT)  # noqa: B023
                agent.publish(
                    topics.data(f"m-{number}"),
                    telemetry(seq, NOW - 10**6 + seq, {f"voltage_l{n}": seq * 0.1 for n in range(60)}, epoch=epoch),
                )
            await agent.acknowledged(EACH)

        await asyncio.gather(*(send(number) for number in range(AGENTS)))
        assert one.figure("stored") == AGENTS * EACH
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
        print(f"grown by {grown_mb:.0f} MB")
        assert grown_mb < 300
        async with probe(settings(broker.port)) as watcher:
            watcher.session.subscribe([("$SYS/broker/publish/messages/dropped", 0)])
            await until(lambda: bool(watcher.heard))
            assert int(watcher.heard[-1].payload) == 0
