"""Our own MQTT session with the settings of the shipped examples, against the shipped broker configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.config.load import load_config
from gateway.config import load_config as load_gateway_config
from gateway.contract.topics import Topics
from gateway.mqtt import Incoming, MqttSession, MqttSettings

pytestmark = pytest.mark.real

DEPLOY = Path(__file__).parents[2] / "deploy"
WAIT_S = 10.0


@asynccontextmanager
async def session(
    settings: MqttSettings, client_id: str, messages: asyncio.Queue[Incoming]
) -> AsyncIterator[MqttSession]:
    connected = asyncio.Event()
    found = MqttSession(
        settings,
        client_id=client_id,
        session_expiry_s=60,
        clean_start=True,
        on_message=messages.put_nowait,
        on_connect=lambda _: connected.set(),
    )
    task = asyncio.create_task(found.run(), name=client_id)
    try:
        await asyncio.wait_for(connected.wait(), WAIT_S)
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def puback(found: MqttSession, topic: str, payload: bytes = b"{}") -> int:
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    assert found.publish(topic, payload, on_ack=answered.set_result)
    return await asyncio.wait_for(answered, WAIT_S)


async def test_agent_and_ingest_meet_as_their_examples_say(broker: Any, tmp_path: Path) -> None:
    (tmp_path / "tls").symlink_to(broker.tls)
    for name, port in (("agent.yaml", broker.agents), ("gateway.yaml", broker.centre)):
        text = (DEPLOY / name).read_text()
        shipped = next(line for line in text.splitlines() if line.strip().startswith("url: mqtts://"))
        here = f"  url: mqtts://localhost:{port}"
        (tmp_path / name).write_text(text.replace(shipped, here))
    for name in ("influx.token", "wall-screen.token"):
        (tmp_path / name).write_text("s3cret")
    agent, gateway = load_config(tmp_path / "agent.yaml"), load_gateway_config(tmp_path / "gateway.yaml")
    topics = Topics(agent.site, agent.agent, agent.mqtt.root)
    to_agent: asyncio.Queue[Incoming] = asyncio.Queue()
    to_ingest: asyncio.Queue[Incoming] = asyncio.Queue()
    async with (
        session(agent.mqtt, agent.agent, to_agent) as box,
        session(gateway.mqtt, gateway.client_id, to_ingest) as centre,
    ):
        centre.subscribe([(f"$share/ingest/{gateway.mqtt.root}/v1/+/+/up/data/#", 1)])
        box.subscribe([(topics.down("#"), 1)])
        # Sent until it arrives: a subscription is in force a moment after it is asked for.
        while to_ingest.empty():
            assert await puback(box, topics.data("incomer-1"), b'{"n":1}') < 0x80
            await asyncio.sleep(0.01)
        assert (await asyncio.wait_for(to_ingest.get(), WAIT_S)).topic == topics.data("incomer-1")
        while to_agent.empty():
            assert await puback(centre, topics.down("ack"), b'{"ok":[]}') < 0x80
            await asyncio.sleep(0.01)
        assert (await asyncio.wait_for(to_agent.get(), WAIT_S)).payload == b'{"ok":[]}'
        assert await puback(box, Topics("north", "gw-07").data("incomer-1")) == 0x87
        assert await puback(centre, topics.down("cmd/1")) == 0x87
