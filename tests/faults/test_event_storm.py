"""A storm of 10,000 events a second, through driver, spool, broker, ingest and store: each is stored once and in order.

What the agent cannot hear in time it reads from the boards' memories afterwards; polling beside it never waits.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from storm_boards import CARDS, FIRST

from edge_agent.events.own_key import own_key
from edge_agent.events.pseudonym import Privacy
from tests.e2e.processes import Site, until
from tests.shipped import LIBRARY

BOARDS, PER_S, POLL_S = 20, 10_000, 1.0
RECORDS = PER_S * (10 if os.environ.get("PLANTROOM_FAULTS") == "all" else 2)
MOST_RSS_MB = 150


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as site:
        site.start_meters(3)
        site.start_broker()
        site.start_gateway()
        yield site


def told(site: Site) -> list[int | None]:
    """The index of the last record that was told, of each board."""
    devices = site.ask("status")["devices"]
    return [(device["events"] or {}).get("index") for device in devices if device["id"].startswith("door-")]


@pytest.mark.timeout(240)
def test_nothing_is_lost_in_a_storm(site: Site) -> None:
    boards = site.start(
        "boards", sys.executable, Path(__file__).with_name("storm_boards.py"), str(BOARDS), str(RECORDS), str(PER_S)
    )
    at = boards.ready()["address"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    document = site.agent_file(poll=POLL_S)
    document["agent"]["tz"] = "UTC"
    document["links"]["doors"] = {"kind": "udp", "host": "127.0.0.1", "port": port, "listen": {"allow": ["127.0.0.1"]}}
    document["devices"] += [
        {"id": f"door-{number}", "link": "doors", "unit": FIRST + number, "at": at, "profile": "uhppote-l04"}
        for number in range(BOARDS)
    ]
    site.start_agent(document)
    until(lambda: told(site) == [0] * BOARDS, "first contact")
    began, before = time.monotonic(), site.ask("status")["links"]["line"]
    assert boards.process.stdin is not None
    boards.process.stdin.write(b"begin\n")
    boards.process.stdin.flush()
    until(lambda: told(site) == [RECORDS // BOARDS] * BOARDS, "every record to be told", 200)
    status, took_s = site.ask("status"), time.monotonic() - began
    print(f"{RECORDS} records told after {took_s:.1f} s, {status['process']['rss_mb']} MB")
    line = status["links"]["line"]
    assert (line["failed"], line["skipped"]) == (0, 0)
    assert line["reads"] - before["reads"] >= 3 * (took_s / POLL_S - 2) * 0.9, "polling went on"
    assert status["process"]["rss_mb"] < MOST_RSS_MB
    until(lambda: site.ask("drain")["spool"]["msgs"] == 0, "all to be stored", 60)
    _as_they_were(site)


def _as_they_were(site: Site) -> None:
    credential = LIBRARY.get("uhppote-l04").credential
    assert credential is not None
    privacy = Privacy((own_key(site.folder / "agent"),))
    with sqlite3.connect(site.folder / "centre" / "store.db") as store:
        for board in range(BOARDS):
            rows: list[tuple[str, str]] = store.execute(
                "SELECT id, data FROM event WHERE dev = ? AND type = 'access.granted' ORDER BY t_ns", (f"door-{board}",)
            ).fetchall()
            cards = [msgspec.json.decode(data, type=dict[str, Any]).get("card") for _, data in rows]
            shown = [credential.of_text(str(number % CARDS + 1)) for number in range(board, RECORDS, BOARDS)]
            assert cards == [privacy.written("card", clear, 0) for clear in shown]
            assert len({id for id, _ in rows}) == len(rows)
