"""The demo as processes: simulated devices, broker, centre and agent, started and ended in order, with their real commands.

What runs here is what runs on a site; this file only writes two configuration files and starts programs. Agent and gateway are
started again when they end, as systemd does there (deploy/systemd); a simulator or the broker that ends is an error.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from device_profiles.errors import LinkRefused, PlantroomError
from edge_agent.local_api import ask

SITE, AGENT = "demo", "box-1"
_READY_S = 30.0
_STOP_S = 10.0
_SUPERVISED = ("gateway", "agent")
_MOST_RESTARTS = 20
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """In the child: SIGTERM when the demo is gone, even by kill -9 (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Program:
    """One child process. Its standard output may begin with one JSON line that says that it is ready."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._command = command
        self._log = log
        # A pipe on standard input tells the simulators that we are gone, however we ended.
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                preexec_fn=_end_with_parent,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    def ready(self) -> Mapping[str, Any]:
        """The JSON line. Raises PlantroomError with the program's last words when it ends or stays silent."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            readable, _, _ = select.select([self.process.stdout], [], [], 0.2)
            if readable:
                line = self.process.stdout.readline()
                if not line:
                    break
                if line.startswith(b"{"):
                    document: Mapping[str, Any] = json.loads(line)
                    return document
            elif self.process.poll() is not None:
                break
        raise self.failure("did not get ready")

    def failure(self, what: str) -> PlantroomError:
        code = self.process.poll()
        ended = f" (it ended with code {code})" if code is not None else ""
        last = self._log.read_text(errors="replace").strip().splitlines()[-5:]
        return PlantroomError(
            f"{what}{ended}: {' | '.join(last) or 'it said nothing'}", where=self.name, next_step=f"see {self._log}"
        )

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def check(self) -> None:
        """Raises PlantroomError when the process has ended by itself."""
        if self.has_ended():
            raise self.failure("ended by itself")

    def again(self) -> Program:
        """The same program, started anew."""
        self.stop()
        return Program(self.name, self._command, self._log)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what does not listen."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_S)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class Campus:
    """`with Campus(folder) as campus:` everything runs; `campus.page` is where to look."""

    def __init__(
        self, folder: Path, *, port: int = 0, speed: float = 1.0, plant_room: bool = True, morning: bool = True
    ) -> None:
        self.folder = folder
        self.socket = folder / "agent.sock"
        self.spool = folder / "agent" / "spool.db"
        self.page = ""
        self.restarts = 0
        """How often agent or gateway were started again."""
        self._port = port
        self._speed = speed
        self._plant_room = plant_room
        self._morning = morning
        self._programs: list[Program] = []

    def __enter__(self) -> Campus:
        try:
            self._start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _start_all(self) -> None:
        try:
            (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            step = "give a --dir that you may write to"
            raise PlantroomError(
                f"no folder can be made ({error.strerror})", where=str(self.folder), next_step=step
            ) from error
        if self._port and not _is_free(self._port):
            raise PlantroomError(
                f"port {self._port} of this machine is in use", next_step="give another --port, or none for a free one"
            )
        # These do not need one another, so they get ready side by side.
        sim = ["edge_agent.cli", "sim"]
        plant = None
        if self._plant_room:
            plant = self._start("plant", [*sim, "opcua", "--pki", str(self.folder / "plant"), "--json"])
        people = None
        if self._morning:
            where = ["--dir", str(self.folder / "secrets"), "--listen-port", str(_free_port()), "--tz", _zone()]
            people = self._start("morning", [*sim, "morning", *where, "--json"])
        flags = ["--dir", str(self.folder), "--json", "--speed", str(self._speed)]
        simulated = self._start("sim", [*sim, "demo", *flags, "--plant-room" if plant else "--no-plant-room"])
        broker = self._start("broker", ["gateway.broker"])
        broker_port = int(broker.ready()["port"])
        gateway = self.folder / "gateway.yaml"
        gateway.write_text(yaml.safe_dump(gateway_config(self.folder, broker_port, self._port), sort_keys=False))
        centre = self._start("gateway", ["edge_agent.cli", "gateway", str(gateway), "--ready"])
        devices = simulated.ready()
        endpoint = None if plant is None else str(plant.ready()["url"])
        if endpoint is not None:
            trust(self.folder)
        config = self.folder / "agent.yaml"
        found = agent_config(self.folder, broker_port, devices, endpoint)
        if people is not None:
            more = people.ready()
            found["links"] |= more["links"]
            found["devices"] += more["devices"]
        config.write_text(yaml.safe_dump(found, sort_keys=False))
        self.page = str(centre.ready()["page"])
        port = urlsplit(self.page).port or 0  # the same when it is started again
        gateway.write_text(yaml.safe_dump(gateway_config(self.folder, broker_port, port), sort_keys=False))
        agent = self._start("agent", ["edge_agent.cli", "run", str(config)])
        deadline = time.monotonic() + _READY_S
        while not self._agent_answers():
            agent.check()
            _wait(deadline, agent)

    def await_all(self) -> None:
        """Returns once agent and gateway answer, where one was just started again. Raises PlantroomError."""
        deadline = time.monotonic() + _READY_S
        while not (self._agent_answers() and self._page_answers()):
            self.check()
            _wait(deadline, self.program("agent"))

    def _agent_answers(self) -> bool:
        try:
            ask(self.socket, "status")
        except LinkRefused:
            return False
        return True

    def _page_answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.page, timeout=5):
                return True
        except OSError:
            return False

    def _start(self, name: str, arguments: list[str]) -> Program:
        program = Program(name, [sys.executable, "-m", *arguments], self.folder / "logs" / f"{name}.log")
        self._programs.append(program)
        return program

    def program(self, name: str) -> Program:
        """One of plant, morning, sim, broker, gateway and agent."""
        return next(program for program in self._programs if program.name == name)

    def check(self) -> None:
        """Starts agent and gateway again where they ended. PlantroomError: another part did, or they do too often."""
        for at, program in enumerate(self._programs):
            if program.has_ended() and program.name in _SUPERVISED and self.restarts < _MOST_RESTARTS:
                self.restarts += 1
                self._programs[at] = program.again()
            else:
                program.check()

    def stop(self) -> None:
        """Ends everything, last started first."""
        while self._programs:
            self._programs.pop().stop()


def _wait(deadline: float, program: Program) -> None:
    """A moment, or PlantroomError when it is too late."""
    if time.monotonic() > deadline:
        raise program.failure("did not get ready")
    time.sleep(0.05)


def gateway_config(folder: Path, broker_port: int, api_port: int) -> dict[str, Any]:
    """gateway.yaml of the demo: every agent is welcome, the embedded store, the page on loopback."""
    return {
        "data_dir": str(folder / "centre"),
        "mqtt": {"url": f"mqtt://127.0.0.1:{broker_port}"},
        "store": {"kind": "sqlite"},
        "agents": "any",
        "api": {"host": "127.0.0.1", "port": api_port},
    }


PROFILES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "bacnet-ahu": (("", "generic-bacnet-ahu", ""),),
    "bacnet-vav": (("", "generic-bacnet-vav-prefixed", "{prefix}"),),
    "bacnet-chiller-plant": (
        ("", "generic-bacnet-chiller-plant", ""),
        ("-ch1", "generic-bacnet-chiller-prefixed", "CH1."),
        ("-ch2", "generic-bacnet-chiller-prefixed", "CH2."),
        ("-chwp1", "generic-bacnet-pump-prefixed", "CHWP1."),
        ("-chwp2", "generic-bacnet-pump-prefixed", "CHWP2."),
    ),
    "bacnet-lift-bank": tuple((f"-{n}", "generic-bacnet-lift-prefixed", f"LIFT{n}.") for n in (1, 2, 3)),
}
"""What stands behind a simulated BACnet controller: (end of the id, profile, prefix) of each device. Other makes have the id of
their profile."""
OPCUA_DEVICES = (
    ("energy-station", "generic-opcua-energy-station", "EnergyStation", "Energy station"),
    ("chiller-plant-2", "generic-opcua-chiller-plant", "ChillerPlant", "Chiller plant, building 2"),
    ("chiller-2-1", "generic-opcua-chiller", "ChillerPlant/Chiller1", "Chiller 1, building 2"),
    ("chiller-2-2", "generic-opcua-chiller", "ChillerPlant/Chiller2", "Chiller 2, building 2"),
)
"""Devices of the OPC UA server: id, profile, prefix, name."""


_POLL_S = {"serial": 10, "bacnet": None}
"""Seconds between reads by kind of link; None leaves it to the profile."""


def trust(folder: Path) -> None:
    """The agent trusts the simulated server's certificate, as an engineer would have told it to."""
    trusted = folder / "agent" / "pki" / "trusted"
    trusted.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "plant" / "server.der", trusted / "plant.der")


def agent_config(folder: Path, broker_port: int, simulated: Mapping[str, Any], endpoint: str | None) -> dict[str, Any]:
    """agent.yaml for the devices that the simulators say they run; quick polling, so that there is something to see."""
    links: dict[str, Any] = {}
    devices: list[dict[str, Any]] = []
    for device in simulated["devices"]:
        links.setdefault(device["link_id"], device["link"])
        behind = PROFILES.get(device["model"], (("", device["model"], ""),))
        devices += [_entry(device, end, profile, prefix) for end, profile, prefix in behind]
    if endpoint is not None:
        links["opcua-1"] = {"url": endpoint, "opcua": {"policy": "Basic256Sha256", "mode": "sign_and_encrypt"}}
        devices += [
            {"id": id, "name": name, "link": "opcua-1", "profile": profile, "prefix": prefix, "space": "b2/f0/plant"}
            for id, profile, prefix, name in OPCUA_DEVICES
        ]
    return {
        "agent": {
            "id": AGENT,
            "site": SITE,
            "name": "Demo campus",
            "tz": _zone(),
            "data_dir": str(folder / "agent"),
            "socket": str(folder / "agent.sock"),
        },
        "mqtt": {"url": f"mqtt://127.0.0.1:{broker_port}"},
        "links": links,
        "devices": devices,
    }


def _entry(device: Mapping[str, Any], end: str, profile: str, prefix: str) -> dict[str, Any]:
    entry = {
        "id": device["id"] + end,
        "name": f"{device['name']} {end.strip('-')}".strip(),
        "link": device["link_id"],
        "unit": device["unit"],
        "prefix": prefix.replace("{prefix}", device.get("prefix", "")),
        "profile": profile,
        "space": device["space"],
        "poll": None
        if prefix or device["link"].startswith("bacnet")
        else 10
        if device["link"].startswith("serial")
        else 5,
    }
    return {key: value for key, value in entry.items() if value not in ("", None)}


def _free_port() -> int:
    """A TCP port of loopback that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    """Nobody listens at this TCP port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


def _zone() -> str:
    """This machine's time zone by name, UTC where it has none."""
    try:
        name = os.readlink("/etc/localtime").partition("zoneinfo/")[2]
    except OSError:
        return "UTC"
    return name if "/" in name or name == "UTC" else "UTC"
