"""A small site as processes, with the commands that run on a real one: meters, broker, gateway and agent.

A test starts, kills and asks them; it waits on conditions, and every wait has an end. Everything is on loopback, the ports are
free ones, and what a test started is gone when it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import paho.mqtt.client as mqtt
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from device_profiles.errors import LinkRefused
from edge_agent.cli.demo_campus import Program
from edge_agent.local_api import ask
from tests.gateway.mqtt_box import MOSQUITTO

WAIT_S = 30.0
SITE, AGENT = "hq", "box-1"
_STEP_S = 0.02
_T = TypeVar("_T")

METER = """\
profile: quick-meter
version: 1
class: electricity_meter
system: energy
products: [Six floats of an Eastron SDM630]
protocol: modbus
table: input
type: f32
points:
  - {id: voltage_l1, reg: 0, deadband: 0, label: Phase 1 line to neutral volts}
  - {id: voltage_l2, reg: 2, deadband: 0, label: Phase 2 line to neutral volts}
  - {id: voltage_l3, reg: 4, deadband: 0, label: Phase 3 line to neutral volts}
  - {id: current_l1, reg: 6, deadband: 0, label: Phase 1 current}
  - {id: current_l2, reg: 8, deadband: 0, label: Phase 2 current}
  - {id: current_l3, reg: 10, deadband: 0, label: Phase 3 current}
source: {title: Eastron SDM630 Modbus protocol}
"""
"""A site's own profile: every poll of a living meter gives a message, because no deadband holds it back."""


def until(condition: Callable[[], _T], what: str, timeout_s: float = WAIT_S) -> _T:
    """Waits until `condition` gives something true, and returns that."""
    pause = threading.Event()
    end = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"waited {timeout_s:g} s for {what}; last seen: {found!r}"
        pause.wait(_STEP_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def plantroom(*arguments: str | Path, timeout_s: float = WAIT_S) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def children_of(pid: int) -> list[int]:
    """Living processes below `pid`, however deep."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, front = list[int](), {pid}
    while front:
        front = {child for child, parent in parents.items() if parent in front}
        found += sorted(front)
    return found


def is_alive(pid: int) -> bool:
    """False for a zombie too: it only waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def samples_of(get: Callable[[str], Any], site: str, device: str) -> Iterator[tuple[str, list[tuple[int, Any]]]]:
    """(point, every raw sample of the last eight days) of a device, asked of the HTTP API."""
    names = [point["id"] for point in get(f"/api/v1/points?site={site}&device={device}")]
    for at in range(0, len(names), 50):
        path = f"/api/v1/history?site={site}&device={device}&points={','.join(names[at : at + 50])}&from=-8d"
        yield from ((name, series["samples"]) for name, series in get(path)["points"].items())


class Listener:
    """Somebody else at the broker: keeps every message of the filters it subscribes to, with the time it came."""

    def __init__(self, port: int, *filters: str) -> None:
        self.heard: list[tuple[int, str, bytes, bool]] = []
        """(UTC ms, topic, payload, retained)"""
        self._filters = filters
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="", protocol=mqtt.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe(
            [(name, mqtt.SubscribeOptions(1)) for name in filters]
        )
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _c, _u, message: self.heard.append(
            (time.time_ns() // 1_000_000, message.topic, message.payload, message.retain)
        )
        self._client.connect("127.0.0.1", port, clean_start=True)
        self._client.loop_start()

    def __enter__(self) -> Listener:
        assert self._subscribed.wait(WAIT_S), "no SUBACK"
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, **options: Any) -> int:
        """QoS 1; returns the reason of the PUBACK as a number, 0 for success."""
        info = self._client.publish(topic, payload, qos=1, **options)
        info.wait_for_publish(WAIT_S)
        return int(info.rc)

    def last(self, topic: str) -> bytes | None:
        """The newest payload of a topic, None while nothing came."""
        return next((payload for _, name, payload, _ in reversed(self.heard) if name == topic), None)


class Site:
    """`with Site(folder) as site:` nothing runs yet; start what the test needs. Parts are named as the methods start them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "agent.sock"
        self.page = ""
        self.broker_port = free_port()
        self.devices: Sequence[Mapping[str, Any]] = ()
        self._programs: dict[str, Program] = {}
        self._broker_child = 0
        (folder / "profiles").mkdir(parents=True, exist_ok=True)
        (folder / "profiles" / "quick-meter.yaml").write_text(METER)

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *exc: object) -> None:
        for name in reversed(list(self._programs)):
            self._programs.pop(name).stop()

    # --- parts

    def start(self, name: str, *command: str | Path) -> Program:
        """Starts a program; its standard error goes to NAME.log, one file for all its lives."""
        program = Program(name, [str(part) for part in command], self.folder / f"{name}.log")
        self._programs[name] = program
        return program

    def start_ours(self, name: str, *arguments: str | Path) -> Program:
        """Starts `plantroom ARGUMENTS...`."""
        return self.start(name, sys.executable, "-m", "edge_agent.cli", *arguments)

    def start_meters(self, count: int, *, model: str = "eastron-sdm630", speed: float = 10.0) -> None:
        """`count` meters behind one Modbus TCP gateway, units 1 to `count`; quick enough that no two readings are equal."""
        units = f"1-{count}"
        command = (
            "sim",
            "device",
            model,
            "--tcp",
            "0",
            "--unit",
            units,
            "--baud",
            "1000000",
            "--speed",
            str(speed),
            "--json",
        )
        self.devices = self.start_ours("sim", *command).ready()["devices"]

    def start_broker(self) -> None:
        """The embedded one, on the same port in each of its lives. Its state lives in memory only."""
        until(lambda: not listens(self.broker_port), "the broker's port to be free")
        program = self.start("broker", sys.executable, "-m", "gateway.broker", "--port", str(self.broker_port))
        self._broker_child = int(program.ready()["pid"])

    def start_mosquitto(self, lines: str = "allow_anonymous true") -> None:
        """Debian's broker in the place of the embedded one, with a configuration of the test."""
        assert MOSQUITTO is not None
        config = self.folder / "mosquitto.conf"
        config.write_text(f"user root\nlistener {self.broker_port} 127.0.0.1\n{lines}\n")
        program = self.start("broker", MOSQUITTO, "-c", config)
        until(lambda: program.check() or listens(self.broker_port), "mosquitto to listen")

    def start_gateway(self, **changes: Any) -> None:
        """The centre with the embedded store; `changes` go over its configuration."""
        config = {
            "data_dir": str(self.folder / "centre"),
            "mqtt": {"url": f"mqtt://127.0.0.1:{self.broker_port}"},
            "store": {"kind": "sqlite"},
            "agents": [{"site": SITE, "agent": AGENT}],
            "api": {"host": "127.0.0.1", "port": 0},
        }
        path = self.folder / "gateway.yaml"
        path.write_text(yaml.safe_dump(config | changes, sort_keys=False))
        self.page = str(self.start_ours("gateway", "gateway", path, "--ready").ready()["page"]).rstrip("/")

    def agent_file(self, *, poll: float = 0.5, **changes: Any) -> dict[str, Any]:
        """What agent.yaml says for the running meters."""
        return {
            "agent": {
                "id": AGENT,
                "site": SITE,
                "tz": "Asia/Shanghai",
                "data_dir": str(self.folder / "agent"),
                "socket": str(self.socket),
                "profiles": [str(self.folder / "profiles")],
                "spool": {"commit_ms": 200, "ballast": 0, "floor_free_bytes": 0},
            },
            "mqtt": {"url": f"mqtt://127.0.0.1:{self.broker_port}"},
            "links": {entry["link_id"]: entry["link"] for entry in self.devices},
            "devices": [
                {
                    "id": f"meter-{entry['unit']}",
                    "link": entry["link_id"],
                    "unit": entry["unit"],
                    "profile": "quick-meter",
                    "poll": poll,
                }
                for entry in self.devices
            ],
            **changes,
        }

    @property
    def agent_yaml(self) -> Path:
        return self.folder / "agent.yaml"

    def write_agent(self, document: Mapping[str, Any]) -> None:
        self.agent_yaml.write_text(yaml.safe_dump(dict(document), sort_keys=False))

    def start_agent(self, document: Mapping[str, Any] | None = None) -> Program:
        """The agent, once it answers on its socket; with the file as it is, unless `document` is given."""
        if document is not None:
            self.write_agent(document)
        program = self.start_ours("agent", "run", self.agent_yaml)
        until(lambda: program.check() or self.asked("status"), "the agent to answer")
        return program

    # --- what happens to them

    @property
    def running(self) -> tuple[str, ...]:
        """Parts that were started and not ended by the test."""
        return tuple(self._programs)

    def process(self, name: str) -> subprocess.Popen[bytes]:
        return self._programs[name].process

    def kill(self, name: str) -> None:
        """kill -9."""
        program = self._programs.pop(name)
        if name == "broker" and self._broker_child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._broker_child, signal.SIGKILL)
        program.process.kill()
        program.process.wait()
        program.stop()

    def end(self, name: str) -> int:
        """SIGTERM; the exit code."""
        program = self._programs.pop(name)
        program.stop()
        return int(program.process.returncode)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    # --- what they say

    def ask(self, op: str, **arguments: Any) -> Any:
        """The agent's answer on its local socket."""
        return ask(self.socket, op, **arguments)

    def asked(self, op: str) -> Any:
        """The same, None while no agent answers."""
        try:
            return ask(self.socket, op)
        except LinkRefused:
            return None

    def get(self, path: str) -> Any:
        """The gateway's JSON answer; an unhealthy /healthz is an answer too."""
        try:
            with urllib.request.urlopen(self.page + path, timeout=WAIT_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return json.load(error)
            raise AssertionError(f"{path}: {error.code} {error.read(500)!r}") from error

    def order(self, op: str, **arguments: Any) -> dict[str, Any]:
        """The simulator's answer to an order."""
        process = self.process("sim")
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"op": op, **arguments}).encode() + b"\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        assert answer.pop("ok"), answer
        return answer

    def ledger(self, epoch: str | None = None) -> dict[str, Mapping[str, Any]]:
        """By epoch, what the store has of the agent."""
        listed = self.get(f"/api/v1/ledger?agent={AGENT}")
        return {entry["epoch"]: entry for entry in listed if epoch in (None, entry["epoch"])}

    def stored(self) -> int:
        """Messages of all epochs that are in the store."""
        return sum(int(entry["messages"]) for entry in self.ledger().values())

    def await_stored(self, more: int, timeout_s: float = WAIT_S) -> None:
        """Waits until so many more messages are in the store."""
        before = self.stored()
        until(lambda: self.stored() >= before + more, f"{more} more messages in the store", timeout_s)

    def samples(self, device: str) -> Iterator[tuple[str, list[tuple[int, Any]]]]:
        """(point, every raw sample of it), as the store gives them back."""
        yield from samples_of(self.get, SITE, device)
