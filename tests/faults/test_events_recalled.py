"""Nothing that a door kept is lost, and nothing is there twice: the agent is off for six hours and killed while it reads.

Doors that are a file, and beside them the real spool, broker, ingest and store. No card is anywhere in clear.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.processes import SITE, Listener, Site, plantroom, until

HERE = Path(__file__).parent
HOURS_MS = 6 * 3_600_000
SWIPES = 1_000
CARD = 90_071_992_540_000
"""The first card; the others follow. So long that no number in a file is it by chance."""


class Doors:
    """The records of two doors, as a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()
        self.written: dict[int, list[int]] = {1: [], 2: []}
        """By unit, the time of each record."""

    def add(self, unit: int, t_ms: int, event: str = "access.granted", **data: Any) -> None:
        times = self.written[unit]
        card = str(CARD + len(times)) if event.startswith("access") else ""
        data = data or {"dir": "in"}
        record = {"unit": unit, "index": len(times) + 1, "t": t_ms, "event": event, "card": card, "data": data}
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        times.append(t_ms)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as site:
        site.start_broker()
        site.start_gateway()
        yield site


def start_agent(site: Site, doors: Doors) -> None:
    program = site.start("agent", sys.executable, HERE / "event_agent.py", site.agent_yaml, doors.path)
    until(lambda: program.check() or site.asked("status"), "the agent to answer")


def configured(site: Site) -> None:
    document = site.agent_file(
        links={"doors": "tcp://127.0.0.1:1"},
        devices=[
            {"id": f"door-{unit}", "link": "doors", "unit": unit, "profile": "quick-meter", "poll": 5}
            for unit in (1, 2)
        ],
    )
    site.write_agent(document)


def told(site: Site, door: str = "door-1") -> int:
    """The index of the last record that was told."""
    status = site.asked("status")
    events = next((device["events"] for device in status["devices"] if device["id"] == door), None) if status else None
    return int(events["index"] or 0) if events else -1


def stored(site: Site, door: str, types: str = "access.granted") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.get(
        f"/api/v1/events?site={SITE}&device={door}&types={types}&from=-8h&limit={2 * SWIPES}"
    )
    return found


@pytest.mark.timeout(180)
def test_six_hours_of_swipes_and_kills_while_they_are_read(site: Site, tmp_path: Path) -> None:
    doors = Doors(tmp_path / "records.jsonl")
    now_ms = time.time_ns() // 1_000_000
    for number in range(5):
        doors.add(1, now_ms - 2 * HOURS_MS + number)
    configured(site)
    with Listener(site.broker_port, "#") as listener:
        start_agent(site, doors)
        until(lambda: told(site) == 5, "first contact")
        assert site.end("agent") == 0
        begin_ms = now_ms - HOURS_MS
        for number in range(SWIPES):
            doors.add(1 + (number % 4 == 3), begin_ms + number * HOURS_MS // SWIPES)
        doors.add(1, now_ms - 4_000, "alarm.raised", id="tamper", sev="high")
        for share in (0.1, 0.4, 0.7):
            start_agent(site, doors)
            until(lambda share=share: told(site) > share * SWIPES * 0.75, "a part of the records to be told")
            site.kill("agent")
        start_agent(site, doors)
        until(lambda: told(site) == len(doors.written[1]), "all records of door 1 to be told")
        until(lambda: told(site, "door-2") == len(doors.written[2]), "all records of door 2 to be told")
        shown = plantroom("status", "--socket", site.socket).stdout
        assert "events of" in shown
        live_ms = time.time_ns() // 1_000_000
        doors.add(1, live_ms, "access.denied", reason="expired_card")
        until(lambda: stored(site, "door-1", "access.denied"), "a live record in the store")
        (alarm,) = site.get(f"/api/v1/alarms?site={SITE}")
        assert (alarm["device"], alarm["id"], alarm["sev"], alarm["n"]) == ("door-1", "tamper", "high", 1)
        status = site.ask("drain")
        assert status["spool"]["msgs"] == 0
        for unit in (1, 2):
            rows = stored(site, f"door-{unit}")
            expected = [t for t in doors.written[unit] if begin_ms <= t < now_ms - 4_000]
            assert sorted(row["t"] for row in rows) == expected
            assert len({row["id"] for row in rows}) == len(expected)
            assert len({row["data"]["card"] for row in rows}) == len(expected)
            assert all(row["data"]["card"].startswith("hmac:own-") for row in rows)
        assert len(stored(site, "door-1")) + len(stored(site, "door-2")) == SWIPES
        assert [row["t"] for row in stored(site, "door-1", "alarm.raised")] == [now_ms - 4_000]
        assert site.end("agent") == 0
        _no_card(tmp_path, listener)


def _no_card(folder: Path, listener: Listener) -> None:
    """What the doors know of a card is nowhere else: not in spool, logs, store and on the wire."""
    begin = str(CARD)[:-4].encode()
    wire = [payload for _, _, payload, _ in listener.heard]
    assert any(b"access.granted" in payload for payload in wire)
    assert not any(begin in payload for payload in wire)
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "records.jsonl"]
    assert {"spool.db", "agent.log"} <= {path.name for path in files}
    assert [path.name for path in files if begin in path.read_bytes()] == []


def test_watch_shows_what_happens_with_the_key_of_the_site(site: Site, tmp_path: Path) -> None:
    doors = Doors(tmp_path / "records.jsonl")
    configured(site)
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123456789abcdef\n")
    key.chmod(0o600)
    document = yaml.safe_load(site.agent_yaml.read_text())
    site.write_agent(document | {"privacy": {"keys": [{"id": "k1", "secret": {"file": str(key)}}]}})
    start_agent(site, doors)
    until(lambda: told(site) == 0, "first contact")
    watch = site.start_ours("watch", "watch", "door-1", "--socket", site.socket, "-i", "0.1", "-n", "600", "--json")
    assert watch.process.stdout is not None
    assert json.loads(watch.process.stdout.readline())["device"] == "door-1"
    doors.add(1, time.time_ns() // 1_000_000)
    event = next(line for line in map(json.loads, watch.process.stdout) if "event" in line)
    assert event["event"] == "access.granted"
    assert event["data"]["card"].startswith("hmac:k1:")
    assert len(event["data"]["card"]) == len("hmac:k1:") + 32
