"""The demo as processes: simulated devices, broker, centre and agent, started and ended in order, with their real commands.

What runs here is what runs on a site; this file only writes two configuration files and starts programs.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from device_profiles.errors import LinkRefused, PlantroomError
from edge_agent.local_api import ask

SITE, AGENT = "demo", "box-1"
_READY_S = 30.0
_STOP_S = 10.0
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """In the child: SIGTERM when the demo is gone, even by kill -9 (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Program:
    """One child process. Its standard output may begin with one JSON line that says that it is ready."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
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

    def check(self) -> None:
        """Raises PlantroomError when the process has ended by itself."""
        if self.process.poll() is not None:
            raise self.failure("ended by itself")

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

    def __init__(self, folder: Path, *, port: int = 0, speed: float = 1.0) -> None:
        self.folder = folder
        self.socket = folder / "agent.sock"
        self.page = ""
        self._port = port
        self._speed = speed
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
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        # The three do not need one another, so they get ready side by side.
        simulated = self._start(
            "sim", ["edge_agent.cli", "sim", "demo", "--dir", str(self.folder), "--json", "--speed", str(self._speed)]
        )
        broker = self._start("broker", ["gateway.broker"])
        broker_port = int(broker.ready()["port"])
        config = self.folder / "gateway.yaml"
        config.write_text(yaml.safe_dump(gateway_config(self.folder, broker_port, self._port), sort_keys=False))
        centre = self._start("gateway", ["edge_agent.cli", "gateway", str(config), "--ready"])
        devices = simulated.ready()
        config = self.folder / "agent.yaml"
        config.write_text(yaml.safe_dump(agent_config(self.folder, broker_port, devices), sort_keys=False))
        self.page = str(centre.ready()["page"])
        self._await_agent(self._start("agent", ["edge_agent.cli", "run", str(config)]))

    def _await_agent(self, agent: Program) -> None:
        deadline = time.monotonic() + _READY_S
        while True:
            agent.check()
            try:
                ask(self.socket, "status")
                return
            except LinkRefused:
                if time.monotonic() > deadline:
                    raise agent.failure("did not get ready") from None
                time.sleep(0.05)

    def _start(self, name: str, arguments: list[str]) -> Program:
        program = Program(name, [sys.executable, "-m", *arguments], self.folder / "logs" / f"{name}.log")
        self._programs.append(program)
        return program

    def program(self, name: str) -> Program:
        """One of sim, broker, gateway and agent."""
        return next(program for program in self._programs if program.name == name)

    def check(self) -> None:
        """Raises PlantroomError when a part has ended by itself."""
        for program in self._programs:
            program.check()

    def stop(self) -> None:
        """Ends everything, last started first."""
        while self._programs:
            self._programs.pop().stop()


def gateway_config(folder: Path, broker_port: int, api_port: int) -> dict[str, Any]:
    """gateway.yaml of the demo: every agent is welcome, the embedded store, the page on loopback."""
    return {
        "data_dir": str(folder / "centre"),
        "mqtt": {"url": f"mqtt://127.0.0.1:{broker_port}"},
        "store": {"kind": "sqlite"},
        "agents": "any",
        "api": {"host": "127.0.0.1", "port": api_port},
    }


def agent_config(folder: Path, broker_port: int, simulated: Mapping[str, Any]) -> dict[str, Any]:
    """agent.yaml for the devices that the simulator says it runs; quick polling, so that there is something to see."""
    links: dict[str, Any] = {}
    devices: list[dict[str, Any]] = []
    for device in simulated["devices"]:
        links.setdefault(device["link_id"], device["link"])
        entry = {"id": device["id"], "name": device["name"], "link": device["link_id"], "unit": device["unit"]}
        entry |= {
            "profile": device["model"],  # a simulated make has the id of its profile
            "space": device["space"],
            "poll": 10 if device["link"].startswith("serial") else 5,
        }
        devices.append({key: value for key, value in entry.items() if value not in ("", None)})
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


def _zone() -> str:
    """This machine's time zone by name, UTC where it has none."""
    try:
        name = os.readlink("/etc/localtime").partition("zoneinfo/")[2]
    except OSError:
        return "UTC"
    return name if "/" in name or name == "UTC" else "UTC"
