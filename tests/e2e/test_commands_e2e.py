"""Commands the whole way: over MQTT or the local socket, through the agent, onto a simulated relay board, and the answer back."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import pytest

from edge_agent.cli import invoke
from gateway.contract.topics import Topics
from tests.e2e.processes import AGENT, SITE, Listener, Site, until

TOPICS = Topics(SITE, AGENT)
BOARD = "relay-1"


class Plant:
    """A running site with one relay board."""

    def __init__(self, site: Site, centre: Listener) -> None:
        self.site = site
        self.centre = centre
        self._number = 0

    def send(self, point: str, value: Any, *, command_id: str = "", retain: bool = False, **changes: Any) -> str:
        """Publishes a command as the centre does; its id."""
        self._number += 1
        command_id = command_id or f"cmd-{self._number}"
        now_ms = time.time_ns() // 1_000_000
        command = {
            "v": 1, "id": command_id, "op": "point.write", "dev": BOARD, "args": {"p": point, "val": value}, "t": now_ms,
            "exp": now_ms + 20_000, "by": "u:42", "why": "WO-118", **changes,
        }  # fmt: skip
        topic = TOPICS.down(f"cmd/{command_id}")
        self.centre.publish(topic, json.dumps(command).encode(), retain=retain)
        return command_id

    def answers(self, command_id: str) -> list[dict[str, Any]]:
        topic = TOPICS.up(f"cmd/{command_id}")
        return [json.loads(payload) for _, name, payload, _ in self.centre.heard if name == topic]

    def answer(self, command_id: str, count: int = 1) -> dict[str, Any]:
        """The `count`-th answer that ends a command."""
        states = ("succeeded", "failed", "rejected", "expired", "cancelled", "unknown")

        def last() -> dict[str, Any] | None:
            found = [answer for answer in self.answers(command_id) if answer["st"] in states]
            return found[count - 1] if len(found) >= count else None

        return until(last, f"answer {count} to {command_id}") or {}

    def relay(self, number: int) -> bool:
        """What the board itself says."""
        pipes = self.site.process("sim")
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        device = self.site.devices[0]["id"]
        pipes.stdin.write(json.dumps({"op": "values", "device": device}).encode() + b"\n")
        pipes.stdin.flush()
        return bool(json.loads(pipes.stdout.readline())["values"][f"relay{number}"])

    def cli(self, *words: str) -> tuple[int, dict[str, Any]]:
        """`plantroom WORDS`, in this process: a new one would take longer than all the rest."""
        said = io.StringIO()
        with redirect_stdout(said):
            code = invoke([*words, "--socket", str(self.site.socket), "--json"])
        return code, json.loads(said.getvalue() or "{}")


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with Site(tmp_path_factory.mktemp("commands")) as site:
        site.start_broker()
        site.start_meters(1, model="waveshare-relay-8ch-d", speed=1.0)
        document = site.agent_file(poll=0.3)
        document["devices"][0] |= {"id": BOARD, "profile": "waveshare-relay-8ch-d"}
        with Listener(site.broker_port, TOPICS.up("#")) as centre:
            site.start_agent(document)
            until(lambda: BOARD in site.ask("latest"), "the board's first reading")
            until(lambda: b'"online"' in (centre.last(TOPICS.up("status")) or b""), "the agent to listen to commands")
            yield Plant(site, centre)


def test_a_command_is_carried_out_once_and_read_back(plant: Plant) -> None:
    command_id = plant.send("output_3", True)
    answer = plant.answer(command_id)
    assert (answer["st"], answer["res"]["readback"], answer.get("err")) == ("succeeded", True, None)
    assert [each["n"] for each in plant.answers(command_id)] == list(range(len(plant.answers(command_id))))
    assert plant.relay(3)
    until(lambda: plant.site.ask("latest")[BOARD]["s"].get("output_3") is True, "the next reading to show it")
    assert plant.answer(plant.send("output_3", False))["st"] == "succeeded"
    before = len(plant.answers(command_id))
    plant.send("output_3", True, command_id=command_id)
    until(lambda: len(plant.answers(command_id)) > before, "the repetition's answer")
    assert not plant.relay(3), "a repeated id gets an answer and is not carried out"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": 1}, "expired"),
        ({"dev": "relay-9"}, "unsupported"),
        ({"args": {"p": "input_1", "val": True}}, "not_writable"),
        ({"args": {"p": "output_1", "val": 7}}, "out_of_range"),
        ({"if": {"val": True}}, "precondition"),
        ({"op": "gate.open"}, "unsupported"),
    ],
)
def test_what_is_refused_changes_nothing(plant: Plant, changes: dict[str, Any], code: str) -> None:
    answer = plant.answer(plant.send("output_1", True, **changes))
    assert answer["st"] in ("rejected", "expired", "failed")
    assert answer["err"]["code"] == code
    assert not plant.relay(1)


def test_a_dry_command_says_what_would_be_sent(plant: Plant) -> None:
    answer = plant.answer(plant.send("output_1", True, dry=True))
    assert answer["st"] == "succeeded"
    assert answer["res"]["does"] == "FC 5: coil 0 (0x0000) = on"
    assert not plant.relay(1)


def test_people_on_the_box_write_through_the_agent(plant: Plant) -> None:
    code, document = plant.cli("write", BOARD, "output_2", "on", "--dry-run")
    assert (code, document["res"]["does"]) == (0, "FC 5: coil 1 (0x0001) = on"), document
    code, document = plant.cli("write", BOARD, "output_2", "on", "--if", "off", "--why", "WO-7", "--yes")
    assert (code, document["st"], document["res"]["readback"]) == (0, "succeeded", True), document
    assert plant.relay(2)
    code, document = plant.cli("write", BOARD, "output_2", "maybe", "--yes")
    assert (code, document["err"]["code"]) == (1, "out_of_range")


def test_a_hold_ends_by_itself_and_by_release(plant: Plant) -> None:
    code, document = plant.cli("write", BOARD, "output_4", "on", "--hold", "2s", "--yes")
    assert (code, document["st"]) == (0, "succeeded"), document
    assert plant.relay(4)
    until(lambda: not plant.relay(4), "the hold to end")
    assert plant.cli("write", BOARD, "output_5", "on", "--hold", "1h", "--yes")[0] == 0
    assert plant.relay(5)
    code, document = plant.cli("release", BOARD, "output_5", "--yes")
    assert (code, document["st"]) == (0, "succeeded"), document
    assert not plant.relay(5)


def test_a_hold_outlives_the_agent_and_still_ends(plant: Plant) -> None:
    """The last test: the agent is killed in it."""
    assert plant.cli("write", BOARD, "output_6", "on", "--hold", "4s", "--yes")[0] == 0
    plant.site.kill("agent")
    assert plant.relay(6)
    plant.site.start_agent()
    until(lambda: not plant.relay(6), "the hold to end after the restart")
