"""Bench: from a card at a reader to its row in the store, with 32 OSDP readers on four lines.

Readers, broker, agent and centre are processes of their own. The store is looked into from outside, every few milliseconds, which
is counted in; cards travel in clear, so that each one is told apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drivers.osdp.bench import BAUD, LINES, READERS, bits_of
from edge_agent.bench import agent_yaml, centre, start, until

_KEY_NAME = "PLANTROOM_BENCH_SCBK"
_LOOK_S = 0.004
_LAST_S = 3.0
_OVERLAP_NS = 1_000_000_000
"""Rows are not stored in the order of their times: looked at again this far back."""


class Line:
    """One simulated line."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge_agent.cli", "sim", "osdp", "--count", str(READERS), "--baud", str(BAUD),
             "--key-env", _KEY_NAME, "--json"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.link: str = json.loads(self.process.stdout.readline())["link"]

    def order(self, **order: Any) -> dict[str, Any]:
        """Done when it returns."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(5)


def bench_osdp_store(seconds: float = 20.0) -> dict[str, Any]:
    """Milliseconds from a card (about twenty a second, anywhere) to its row, p50, p99 and worst."""
    with tempfile.TemporaryDirectory(prefix="plantroom-bench-") as name, _lines() as lines:
        folder = Path(name)
        with centre(folder) as (broker, _):
            links = {f"osdp-{n}": line.link for n, line in enumerate(lines)}
            devices = [
                {"id": f"door-{n}-{unit}", "link": f"osdp-{n}", "unit": unit, "profile": "generic-osdp-reader",
                 "secret": {"env": _KEY_NAME}}
                for n in range(LINES) for unit in range(READERS)
            ]  # fmt: skip
            config = agent_yaml(folder, broker, devices, links)
            config.write_text(config.read_text() + "privacy: {cards: clear}\n")
            (folder / "profiles").mkdir(exist_ok=True)
            agent = start(folder, "agent", "edge_agent.cli", "run", str(config))
            try:
                until(folder / "agent.sock", agent, "values", LINES * READERS * 8)
                return _measured(next((folder / "centre").glob("**/*.db")), lines, seconds)
            finally:
                agent.stop()


def _measured(store: Path, lines: list[Line], seconds: float) -> dict[str, Any]:
    stored: dict[str, float] = {}
    ended = threading.Event()
    looking = threading.Thread(target=_look, args=(store, stored, ended), name="bench look")
    looking.start()
    rng, shown = random.Random(1), dict[str, float]()
    end = time.perf_counter() + seconds
    try:
        while time.perf_counter() < end:
            number = 1_000_000 + len(shown)
            shown[str(number)] = time.perf_counter()
            rng.choice(lines).order(op="card", reader=rng.randrange(READERS), bits=bits_of(number))
            time.sleep(0.05 * rng.uniform(0.5, 1.5))
        time.sleep(_LAST_S)
    finally:
        ended.set()
        looking.join()
    delays = sorted(stored[card] - at for card, at in shown.items() if card in stored)
    ms = [round(delay * 1000, 1) for delay in delays]
    return {
        "cards": len(shown),
        "missing": len(shown) - len(ms),
        "p50_ms": ms[len(ms) // 2] if ms else None,
        "p99_ms": ms[int(len(ms) * 0.99)] if ms else None,
        "worst_ms": ms[-1] if ms else None,
    }


def _look(store: Path, stored: dict[str, float], ended: threading.Event) -> None:
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        since_ns = 0
        while not ended.wait(_LOOK_S):
            found = "SELECT t_ns, data FROM event WHERE t_ns > ? AND type LIKE '%card.read'"
            rows = db.execute(found, (since_ns - _OVERLAP_NS,)).fetchall()
            now = time.perf_counter()
            for t_ns, data in rows:
                since_ns = max(since_ns, t_ns)
                stored.setdefault(str(json.loads(data)["card"]).rpartition(":")[2], now)


@contextlib.contextmanager
def _lines() -> Iterator[list[Line]]:
    os.environ[_KEY_NAME] = secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        stack.callback(os.environ.pop, _KEY_NAME, None)
        lines = []
        for _ in range(LINES):
            lines.append(Line())
            stack.callback(lines[-1].close)
        yield lines
