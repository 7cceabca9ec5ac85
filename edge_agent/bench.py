"""Measures the agent as a process: cost of a point on its whole way, cost of idling, time from reading to row.

Every figure is of this machine in this run; the ones to compare are ratios of two things measured side by side: processor time of
the agent's process against a straightforward pipeline's. Servers run in processes of their own, so their cost is not counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from device_profiles.vocabulary import vocabulary
from edge_agent.cli.demo_campus import Program, gateway_config
from edge_agent.local_api import ask

DEVICES = 50
POINTS = 62
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PROFILE = "bench-f32"


def profile_text(points: int, *, poll: float) -> str:
    """A profile of `points` float32 values in one block, as a site would write it: plain measurements of the vocabulary."""
    known = vocabulary()
    wide = {quantity.id for quantity in known.quantities.values() if quantity.low <= 0 and quantity.high >= 50_000}
    names = [
        point.id
        for point in known.points.values()
        if point.quantity in wide and point.type == "num" and not point.counter
    ]
    rows = [
        f"  - {{id: {name}, label: {name}, address: {{table: holding, reg: {2 * n}}}, type: f32, deadband: 0}}"
        for n, name in enumerate(names[:points])
    ]
    head = {
        "profile": _PROFILE,
        "version": 1,
        "class": "electricity_meter",
        "system": "energy",
        "products": ["Bench"],
        "protocol": "modbus",
        "poll": poll,
        "source": {"title": "Made for the bench"},
    }
    return yaml.safe_dump(head, sort_keys=False) + "points:\n" + "\n".join(rows) + "\n"


def agent_yaml(folder: Path, broker: int, devices: list[dict[str, Any]], links: dict[str, Any], **more: Any) -> Path:
    """Writes the agent's configuration; `more` belongs to its section `agent`."""
    config = {
        "agent": {
            "id": "bench-1", "site": "bench", "name": "Bench", "tz": "UTC", "data_dir": str(folder / "agent"),
            "socket": str(folder / "agent.sock"), "profiles": [str(folder / "profiles")], **more,
        },
        "mqtt": {"url": f"mqtt://127.0.0.1:{broker}"},
        "links": links,
        "devices": devices,
    }  # fmt: skip
    path = folder / "agent.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def start(folder: Path, name: str, *arguments: str) -> Program:
    """A Python module as a process, its log in the folder."""
    return Program(name, [sys.executable, "-m", *arguments], folder / "logs" / f"{name}.log")


def cpu_s(pid: int) -> float:
    """Processor time of a process and its threads in seconds (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def rss_mb(pid: int) -> float:
    """Resident memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


@contextmanager
def centre(folder: Path) -> Iterator[tuple[int, str]]:
    """Broker and gateway as processes: (broker's port, address of the API)."""
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        broker = start(folder, "broker", "gateway.broker")
        stack.callback(broker.stop)
        port = int(broker.ready()["port"])
        config = folder / "gateway.yaml"
        config.write_text(yaml.safe_dump(gateway_config(folder, port, 0), sort_keys=False))
        gateway = start(folder, "gateway", "edge_agent.cli", "gateway", str(config), "--ready")
        stack.callback(gateway.stop)
        yield port, str(gateway.ready()["page"])


@contextmanager
def _servers(folder: Path, count: int) -> Iterator[list[int]]:
    """Fast Modbus TCP servers that answer 124 holding registers: their ports."""
    program = start(folder, "sim", "edge_agent.cli", "sim", "bench-server", "--ports", str(count))
    try:
        yield list(program.ready()["ports"])
    finally:
        program.stop()


def until(socket: Path, agent: Program, what: str, least: float, limit_s: float = 30.0) -> Mapping[str, Any]:
    """The agent's status once a figure of it is there. Raises the program's failure."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        agent.check()
        if socket.exists():
            status: Mapping[str, Any] = ask(socket, "status")
            if status[what] >= least:
                return status
        time.sleep(0.005)
    raise agent.failure(f"{what} did not reach {least} in {limit_s:g} s")


@contextmanager
def _running(devices: int, points: int, poll: float, folder: Path, broker: int, ports: list[int]) -> Iterator[Program]:
    (folder / "profiles").mkdir(exist_ok=True)
    (folder / "profiles" / f"{_PROFILE}.yaml").write_text(profile_text(points, poll=poll))
    links = {f"tcp-{n}": f"tcp://127.0.0.1:{ports[n % len(ports)]}" for n in range(devices)}
    listed = [{"id": f"meter-{n}", "link": f"tcp-{n}", "unit": 1, "profile": _PROFILE} for n in range(devices)]
    config = agent_yaml(folder, broker, listed, links)
    agent = start(folder, "agent", "edge_agent.cli", "run", str(config))
    try:
        yield agent
    finally:
        agent.stop()


def bench_agent(seconds: float = 12.0) -> dict[str, Any]:
    """50 devices of 62 float32 points, polled flat out until acknowledged; points a second of processor."""
    from edge_agent.bench_stages import stages
    from edge_agent.config.load import load_config

    with tempfile.TemporaryDirectory(prefix="plantroom-bench-") as name:
        folder = Path(name)
        with centre(folder) as (broker, _), _servers(folder, DEVICES) as ports:
            with _running(DEVICES, POINTS, 0.001, folder, broker, ports) as agent:
                before = until(folder / "agent.sock", agent, "values", DEVICES * POINTS)
                began = cpu_s(agent.process.pid)
                time.sleep(seconds)
                after = ask(folder / "agent.sock", "status")
                used = cpu_s(agent.process.pid) - began
            naive = _naive(folder, broker, ports[0])
            device = load_config(folder / "agent.yaml").devices[0]
            stage_us = _run_async(stages(ports, broker, device, folder))
    # Only what ingest has acknowledged counts; what still waits has cost its share all the same.
    points = (after["uplink"]["acknowledged"] - before["uplink"]["acknowledged"]) * POINTS
    rate = points / used
    return {
        "points_per_core_s": round(rate),
        "naive_points_per_core_s": round(naive),
        "ratio": round(rate / naive, 1),
        "us_per_point": stage_us,
        "points": points,
        "waiting": after["spool"]["msgs"],
        "cpu_s": round(used, 2),
    }


def _naive(folder: Path, broker: int, port: int) -> float:
    """Points a second of processor of the straightforward pipeline, in a process of its own."""
    program = start(folder, "naive", "edge_agent.bench_naive", str(port), str(broker))
    try:
        return float(program.ready()["points_per_core_s"])
    finally:
        program.stop()


def bench_idle(seconds: float = 15.0) -> dict[str, Any]:
    """100 points a second over Modbus TCP: memory, processor and the time from start to the first reading."""
    with tempfile.TemporaryDirectory(prefix="plantroom-bench-") as name:
        folder = Path(name)
        with centre(folder) as (broker, _), _servers(folder, 5) as ports:
            began = time.monotonic()
            with _running(5, 20, 1.0, folder, broker, ports) as agent:
                until(folder / "agent.sock", agent, "values", 1)
                first = time.monotonic() - began
                until(folder / "agent.sock", agent, "values", 300)
                used, at = cpu_s(agent.process.pid), time.monotonic()
                time.sleep(seconds)
                share = (cpu_s(agent.process.pid) - used) / (time.monotonic() - at)
                memory = rss_mb(agent.process.pid)
    return {"rss_mb": round(memory, 1), "cpu_percent": round(share * 100, 2), "first_reading_s": round(first, 2)}


def bench_live(seconds: float = 20.0) -> dict[str, Any]:
    """1,000 points a second: from reading to row in the store."""
    with tempfile.TemporaryDirectory(prefix="plantroom-bench-") as name:
        folder = Path(name)
        with (
            centre(folder) as (broker, page),
            _servers(folder, 20) as ports,
            _running(20, 50, 1.0, folder, broker, ports) as agent,
        ):
            until(folder / "agent.sock", agent, "values", 1000)
            time.sleep(seconds)
            with urllib.request.urlopen(page.rstrip("/") + "/healthz", timeout=10) as answer:
                latency = json.load(answer)["ingest"]["latency_ms"]
    return {"p50_ms": latency["p50"], "p99_ms": latency["p99"], "points_per_s": 1000}


def _run_async(main: Any) -> Any:
    """Runs a coroutine on uvloop, as the agent does."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
