"""`plantroom demo` as a stranger runs it: one JSON line for a program, a clean end on Ctrl-C, no process left behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
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
        "devices", "points", "readings", "stored", "lost", "duplicates", "latency_ms", "page",
    ]  # fmt: skip
    assert report["devices"] >= 90
    assert report["points"] > report["devices"]
    assert 0 < report["readings"] == report["stored"]
    assert (report["lost"], report["duplicates"]) == (0, 0)
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


def test_a_folder_whose_path_is_too_long_is_refused(tmp_path: Path) -> None:
    done = plantroom("demo", "--seconds", "1", "--dir", tmp_path / ("long" * 30))
    assert done.returncode == 1
    assert "a Unix socket's may have 107" in done.stderr
