"""Every command is answered, none is carried out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.commands import Commands
from gateway.broker import EmbeddedBroker
from gateway.mqtt import Incoming, MqttSession, MqttSettings
from tests.edge_agent.uplink_box import Site, settings, until

NOW = 1_795_355_245_000


class Recorder:
    """Stands where the uplink does: keeps the handlers and what is said."""

    def __init__(self, *, is_connected: bool = True) -> None:
        self.handlers: dict[str, Callable[[Incoming], None]] = {}
        self.answers: list[tuple[str, dict[str, Any], int, int | None]] = []
        self.documents: dict[str, dict[str, Any]] = {}
        self.is_connected = is_connected

    def hear(self, rest: str, handler: Callable[[Incoming], None]) -> None:
        self.handlers[rest] = handler

    def retain(self, rest: str, payload: bytes) -> None:
        self.documents[rest] = json.loads(payload)

    def transient(self, rest: str, payload: bytes, *, qos: int = 0, expiry_s: int | None = None) -> bool:
        self.answers.append((rest, json.loads(payload), qos, expiry_s))
        return self.is_connected


def command(**more: Any) -> bytes:
    return json.dumps({"v": 1, "id": "01JDB4", "op": "gate.open", "dev": "gate-1", "by": "u:42", **more}).encode()


def incoming(payload: bytes, *, topic: str = "01JDB4", retain: bool = False, expiry_s: int | None = 15) -> Incoming:
    return Incoming(f"plantroom/v1/hq/gw-01/down/cmd/{topic}", payload, 1, retain, 1, expiry_s)


@pytest.mark.parametrize(
    ("message", "count", "st", "code"),
    [
        (incoming(command()), "unsupported", "rejected", "unsupported"),
        (incoming(command(exp=NOW + 1)), "unsupported", "rejected", "unsupported"),
        (incoming(command(), retain=True), "retained", "rejected", "precondition"),
        (incoming(command(exp=NOW)), "expired", "expired", "expired"),
        (incoming(command(), expiry_s=0), "expired", "expired", "expired"),
        (incoming(command(id="another")), "malformed", "rejected", "precondition"),
        (incoming(b"\xff\x00"), "malformed", "rejected", "precondition"),
        (incoming(b"[]"), "malformed", "rejected", "precondition"),
        (incoming(command(v=2)), "malformed", "rejected", "precondition"),
    ],
)
def test_every_command_is_answered(message: Incoming, count: str, st: str, code: str) -> None:
    line = Recorder()
    commands = Commands(line, wall_ms=lambda: NOW)
    line.handlers["cmd/+"](message)
    [(rest, answer, qos, expiry_s)] = line.answers
    assert (rest, qos, expiry_s) == ("cmd/01JDB4", 1, 3600)
    assert (answer["id"], answer["n"], answer["st"], answer["err"]["code"]) == ("01JDB4", 0, st, code)
    assert commands.count[count] == 1


def test_answer_goes_nowhere_but_to_its_own_topic() -> None:
    line = Recorder()
    commands = Commands(line, wall_ms=lambda: NOW)
    line.handlers["cmd/+"](incoming(command(id="x" * 65), topic="x" * 65))
    assert not line.answers
    assert commands.count["unanswered"] == 1


def test_desired_configuration_is_reported_as_rejected() -> None:
    line = Recorder()
    Commands(line, wall_ms=lambda: NOW, applied=lambda: 7)
    desired = json.dumps({"v": 1, "rev": 42, "sha256": "ab", "config": {}}).encode()
    line.handlers["config/desired"](Incoming("t", desired, 1, True, 1))
    report = line.documents["config/reported"]
    assert (report["seen"], report["applied"], report["st"], report["sha256"]) == (42, 7, "rejected", "ab")
    assert "plantroom reload" in report["errors"][0]["msg"]
    line.handlers["config/desired"](Incoming("t", b"nonsense", 1, True, 1))
    assert line.documents["config/reported"]["seen"] == 7


@pytest.fixture
async def mqtt() -> AsyncIterator[MqttSettings]:
    async with EmbeddedBroker() as broker:
        yield settings(broker.port)


async def test_answers_over_the_broker_and_f33_retained(tmp_path: Path, mqtt: MqttSettings) -> None:
    """A command left retained is refused with an answer, whoever finds it there after a reconnect."""
    heard: list[Incoming] = []
    platform = MqttSession(mqtt, client_id="platform", session_expiry_s=0, on_message=heard.append)
    platform.subscribe([("plantroom/v1/+/+/up/cmd/#", 1)])
    running = asyncio.create_task(platform.run())
    await until(lambda: platform.connected)
    platform.publish("plantroom/v1/hq/gw-01/down/cmd/01JDB4", command(), retain=True)
    await until(lambda: platform.outstanding == 0)
    box = Site(tmp_path, mqtt)
    commands = Commands(box.uplink, wall_ms=box.wall_ms)
    box.start()
    await until(lambda: bool(heard), "the answer to the retained command")
    assert json.loads(heard[0].payload)["st"] == "rejected"
    assert commands.count["retained"] == 1
    platform.publish("plantroom/v1/hq/gw-01/down/cmd/two", command(id="two"), expiry_s=15)
    await until(lambda: len(heard) > 1)
    answer = json.loads(heard[1].payload)
    assert (heard[1].topic.rpartition("/")[2], answer["err"]["code"]) == ("two", "unsupported")
    running.cancel()
    await box.kill()
    await box.spool.close()
