"""Operations the whole way: over MQTT through the agent to simulated doors, gates, readers, meters and projectors, and the answer
back; never twice after a kill; and nothing at all to a fire panel."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_agent.cli import invoke
from edge_agent.cli.demo_campus import AGENT as DEMO_AGENT
from edge_agent.cli.demo_campus import SITE as DEMO_SITE
from edge_agent.cli.demo_campus import Campus
from edge_agent.local_api import ask
from gateway.contract.topics import Topics
from tests.e2e.processes import AGENT, SITE, Listener, Site, until

ENDED = ("succeeded", "failed", "rejected", "expired", "cancelled", "unknown")


class Centre:
    """Sends commands as the centre does, and hears the answers."""

    def __init__(self, topics: Topics, listener: Listener) -> None:
        self._topics = topics
        self._listener = listener
        self._number = 0

    def send(self, device: str, op: str, **args: Any) -> str:
        self._number += 1
        command_id, now_ms = f"cmd-{self._number}", time.time_ns() // 1_000_000
        command = {
            "v": 1, "id": command_id, "op": op, "dev": device, "args": args, "t": now_ms, "exp": now_ms + 30_000, "by": "u:42",
        }  # fmt: skip
        self._listener.publish(self._topics.down(f"cmd/{command_id}"), json.dumps(command).encode())
        return command_id

    def answer(self, command_id: str) -> dict[str, Any]:
        topic = self._topics.up(f"cmd/{command_id}")

        def last() -> dict[str, Any] | None:
            told = [json.loads(payload) for _, name, payload, _ in self._listener.heard if name == topic]
            return next((each for each in told if each["st"] in ENDED), None)

        return until(last, f"the answer to {command_id}") or {}

    def do(self, device: str, op: str, **args: Any) -> dict[str, Any]:
        return self.answer(self.send(device, op, **args))


@pytest.fixture(scope="module")
def campus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campus]:
    with Campus(tmp_path_factory.mktemp("ops"), plant_room=False) as running:
        config = running.folder / "agent.yaml"
        document = yaml.safe_load(config.read_text())
        password = running.folder / "meter.password"
        password.touch(mode=0o600)
        password.write_text("02:000000\n")
        next(each for each in document["devices"] if each["id"] == "canteen-1")["secret"] = {"file": str(password)}
        config.write_text(yaml.safe_dump(document, sort_keys=False))
        ask(running.socket, "reload")
        until(lambda: {"ok"} == {row["state"] for row in ask(running.socket, "status")["devices"]}, "every device")
        yield running


@pytest.fixture(scope="module")
def centre(campus: Campus) -> Iterator[Centre]:
    url = yaml.safe_load((campus.folder / "agent.yaml").read_text())["mqtt"]["url"]
    topics = Topics(DEMO_SITE, DEMO_AGENT)
    with Listener(int(url.rpartition(":")[2]), topics.up("cmd/#")) as listener:
        yield Centre(topics, listener)


@pytest.mark.parametrize(
    ("device", "op", "args", "shown"),
    [
        ("doors-floor-2", "gate.open", {"call": "open_1"}, {"unlocked": True}),
        ("terminal-north", "gate.open", {}, {"readback": 1}),
        ("barrier-1", "gate.open", {}, {}),
        ("turnstile-1", "gate.open", {"call": "open_in"}, {"check": 6}),
        ("reader-1", "device.call", {"call": "led"}, {}),
        ("reader-1", "device.call", {"call": "output"}, {"output_0": True}),
        ("canteen-1", "breaker.open", {}, {}),
        ("water-1", "device.call", {"call": "valve_close"}, {"valve_open": False}),
        ("projector-1", "point.write", {"p": "power_state", "val": 1}, {}),
    ],
)
def test_each_kind_of_device_does_it_and_shows_it(
    centre: Centre, device: str, op: str, args: dict[str, Any], shown: dict[str, Any]
) -> None:
    answer = centre.do(device, op, **args)
    assert (answer["st"], answer.get("err")) == ("succeeded", None)
    assert shown.items() <= answer["res"].items()


def test_a_breaker_without_a_password_is_left_alone(centre: Centre) -> None:
    answer = centre.do("canteen-2", "breaker.open")
    assert answer["st"] in ("failed", "rejected")
    assert "secret" in answer["err"]["msg"]


class Board:
    """A Modbus TCP relay board whose relays pulse and which never says that they did; and every byte that it heard."""

    def __init__(self) -> None:
        self.pulses = self.reads = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link, contextlib.suppress(OSError, ValueError), link.makefile("rb") as heard:
            while head := heard.read(7):
                number, _, size, unit = struct.unpack(">HHHB", head)
                body = heard.read(size - 1)
                if body[0] == 5:
                    self.pulses += 1
                    continue
                self.reads += 1
                bits = bytes((int.from_bytes(body[3:5], "big") + 7) // 8)
                answer = bytes((body[0], len(bits))) + bits
                link.sendall(struct.pack(">HHHB", number, 0, len(answer) + 1, unit) + answer)

    def close(self) -> None:
        self._server.close()


class Panel:
    """A fire panel's printer port that says nothing, and keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.is_open = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._server.accept()
                self.is_open.set()
                with link:
                    while heard := link.recv(1024):
                        self.heard += heard

    def close(self) -> None:
        self._server.close()


def small_site(folder: Path, board: Board, panel: Panel, site: Site) -> dict[str, Any]:
    document = site.agent_file()
    links = {"l1": f"tcp://127.0.0.1:{board.port}?timeout_s=5", "l2": f"tcp://127.0.0.1:{panel.port}"}
    devices = [
        {"id": "barrier-1", "link": "l1", "unit": 1, "profile": "waveshare-relay-8ch-d-barrier"},
        {"id": "fire-1", "link": "l2", "profile": "gst-gst9000-printer"},
    ]
    (folder / "profiles").mkdir(exist_ok=True)
    return {**document, "links": links, "devices": devices}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Site, Board, Panel, Centre]]:
    board, panel, topics = Board(), Panel(), Topics(SITE, AGENT)
    with contextlib.closing(board), contextlib.closing(panel), Site(tmp_path) as site:
        site.start_broker()
        with Listener(site.broker_port, topics.up("cmd/#"), topics.up("status")) as listener:
            site.start_agent(small_site(tmp_path, board, panel, site))
            until(panel.is_open.is_set, "the panel's link")
            until(lambda: "barrier-1" in site.ask("latest"), "the board's first reading")
            until(lambda: b'"online"' in (listener.last(topics.up("status")) or b""), "the agent to listen to commands")
            yield site, board, panel, Centre(topics, listener)


def test_a_pulse_that_was_out_when_the_agent_was_killed_is_unknown_and_never_sent_again(
    small: tuple[Site, Board, Panel, Centre],
) -> None:
    site, board, _, centre = small
    command_id = centre.send("barrier-1", "gate.open")
    until(lambda: board.pulses, "the pulse")
    site.kill("agent")
    site.start_agent()
    assert centre.answer(command_id)["st"] == "unknown"
    before = board.reads
    until(lambda: board.reads > before + 3, "the board to be read again")
    assert board.pulses == 1


def test_a_fire_panel_takes_nothing_from_anybody(small: tuple[Site, Board, Panel, Centre]) -> None:
    site, _, panel, centre = small
    for op in ("device.call", "gate.open", "gate.close", "breaker.open", "time.sync"):
        answer = centre.do("fire-1", op)
        assert (answer["st"], answer["err"]["code"]) == ("rejected", "unsupported"), answer
    for point in ("fire_alarm", "messages_heard"):
        answer = centre.do("fire-1", "point.write", p=point, val=1)
        assert answer["st"] == "rejected", answer
        assert answer["err"]["code"] in ("not_writable", "unsupported", "out_of_range")
    for words in (["call", "fire-1", "silence"], ["write", "fire-1", "messages_heard", "0"]):
        with redirect_stdout(io.StringIO()):
            assert invoke([*words, "--yes", "--json", "--socket", str(site.socket)]) == 1
    assert panel.heard == b""
