"""`plantroom demo` as a stranger runs it: one JSON line for a program, a clean end on Ctrl-C, no process left behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.processes import WAIT_S, children_of, is_alive, plantroom, until

PARTS = 6  # two simulators, broker (two processes), gateway, agent


@contextmanager
def demo(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "edge_agent.cli", "demo", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_ends_with_one_json_line(tmp_path: Path) -> None:
    with demo("--seconds", "2", "--json", "--dir", tmp_path) as process:
        until(lambda: len(children_of(process.pid)) >= PARTS, "all parts to run")
        parts = children_of(process.pid)
        told, errors = process.communicate(timeout=WAIT_S)
    assert (process.returncode, errors) == (0, "")
    report = json.loads(told)
    assert told.count("\n") == 1
    assert list(report) == [
        "devices", "points", "readings", "stored", "lost", "undelivered", "duplicates", "latency_ms", "page",
    ]  # fmt: skip
    assert report["devices"] >= 90
    assert report["points"] > report["devices"]
    assert 0 < report["readings"] == report["stored"]
    assert (report["lost"], report["undelivered"], report["duplicates"]) == (0, 0, 0)
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", report["page"])
    assert not [pid for pid in parts if is_alive(pid)]
    assert not (tmp_path / "agent.sock").exists()


def test_ctrl_c_stops_everything_cleanly() -> None:
    with demo("--no-plant-room") as process:
        assert process.stdout is not None
        told = [process.stdout.readline(), process.stdout.readline()]
        assert re.search(r"page: http://127\.0\.0\.1:\d+/", told[1]), told
        parts = children_of(process.pid)
        assert len(parts) >= PARTS - 1
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=WAIT_S)
    assert (process.returncode, errors) == (0, "")
    assert re.search(r"\d+ devices, \d+ points: \d+ readings, \d+ stored, 0 lost, 0 duplicates", rest)
    assert not [pid for pid in parts if is_alive(pid)]


def test_agent_and_gateway_that_are_killed_come_back_and_nothing_is_lost(tmp_path: Path) -> None:
    with demo("--no-plant-room", "--dir", tmp_path) as process:
        assert process.stdout is not None
        page = [process.stdout.readline(), process.stdout.readline()][1].split()[1]
        parts = {name: _part(process.pid, name) for name in ("gateway", "run")}
        until(lambda: _stored(page) > 100, "readings in the store")
        for pid in parts.values():
            os.kill(pid, signal.SIGKILL)
        until(lambda: _stored(page) > 0, "the page, at the same address")
        until(lambda: _part(process.pid, "run") != parts["run"] and (tmp_path / "agent.sock").exists(), "the agent")
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=2 * WAIT_S)
    assert (process.returncode, errors) == (0, "")
    assert re.search(r"\d+ stored, 0 lost, 0 duplicates", rest)


def test_ctrl_c_before_everything_runs_ends_at_once_and_leaves_nothing() -> None:
    with demo("--json") as process:
        parts = until(lambda: children_of(process.pid), "the first parts")
        process.send_signal(signal.SIGINT)
        told, errors = process.communicate(timeout=WAIT_S)
        assert (process.returncode, told, errors) == (130, "", "")
        until(lambda: not any(map(is_alive, parts)), "the end of the parts, by SIGTERM when the demo is gone")


def _part(demo_pid: int, name: str) -> int:
    """The process of a part, by the sub-command that it runs; 0 for none."""
    for pid in children_of(demo_pid):
        with contextlib.suppress(OSError):
            if name in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:5]:
                return pid
    return 0


def _stored(page: str) -> int:
    """Messages in the store since the gateway began; -1 while it does not answer."""
    try:
        with urllib.request.urlopen(f"{page}healthz", timeout=5) as answer:
            return int(json.load(answer)["ingest"].get("stored", 0))
    except OSError:
        return -1


def test_a_folder_whose_path_is_too_long_is_refused(tmp_path: Path) -> None:
    done = plantroom("demo", "--seconds", "1", "--dir", tmp_path / ("long" * 30))
    assert done.returncode == 1
    assert "a Unix socket's may have 107" in done.stderr
