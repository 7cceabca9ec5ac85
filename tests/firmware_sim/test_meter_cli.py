"""`plantroom sim meter`: what it prints, which orders it obeys, what it refuses; and a simulated meter agrees with itself."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from firmware_sim.cli import app
from firmware_sim.meter_cli import KINDS, spoiler
from firmware_sim.meter_counting import CountingMeter
from firmware_sim.meters import bcd, build, take_apart

NUMBER = "000000880047"
NOW = 1_795_320_020.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dlt698"], "no make of meter"),
        (["dlt645-2007", "--number", "12"], "12 digits"),
        (["dlt645-2007", "--number", "9" * 12], "12 digits"),
        (["dlt645-2007", "--number", NUMBER, "--number", NUMBER], "same number"),
        (["dlt645-2007", "--parity", "X"], "none of N, E, O"),
        (["dlt645-2007", "--password", "secret"], "two digits"),
        (["dlt645-2007", "--fault", "sleepy"], "known are"),
        (["dlt645-2007", "--fault", "late:delay_s=soon"], "not understood"),
        (["dlt645-2007", "--fault", "000000000009=mute"], "no meter 000000000009"),
    ],
)
def test_what_is_asked_wrongly_is_said(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["meter", *arguments])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_it_runs_obeys_and_ends_with_its_input() -> None:
    orders = [
        {"op": "fault", "meter": NUMBER, "kind": "late", "delay_s": 1},
        {"op": "fault", "kind": "sleepy"},
        {"op": "heal"},
        {"op": "clock", "skew_s": 90},
        {"op": "meters"},
        {"op": "unplug"},
        {"op": "plug"},
        {"op": "stats"},
        {"op": "clock", "meter": "1"},
        {"op": "dance"},
    ]
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", "sim", "meter", "dlt645-2007", "--number", NUMBER, "--json"],
        input="".join(json.dumps(order) + "\n" for order in orders) + "no json\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    ready, *answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert ready["meters"] == [NUMBER]
    assert ready["link"].startswith("serial:/dev/pts/")
    assert [answer["ok"] for answer in answers] == [
        True,
        False,
        True,
        True,
        True,
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert answers[4]["meters"] == {NUMBER: {"relay": "closed"}}


def held(life: CountingMeter, di: int) -> int:
    data = life.meter().holds(di)
    assert data is not None
    return int(data[::-1].hex())


def test_energy_is_what_the_power_adds_up_to_and_freezes_are_what_it_was() -> None:
    life = CountingMeter(NUMBER, now=lambda: NOW)
    before = held(life, 0x00010000)
    frozen = held(life, 0x05040101)
    kw = held(life, 0x02030000) / 10_000
    life.now = lambda: NOW + 60
    assert held(life, 0x00010000) - before == pytest.approx(kw / 60 * 100, abs=2)
    assert held(life, 0x05040101) == frozen
    life.now = lambda: NOW // 3600 * 3600
    assert held(life, 0x00010000) == frozen


def test_the_tariffs_add_up_to_the_total() -> None:
    life = CountingMeter(NUMBER, now=lambda: NOW)
    total, *parts = (held(life, 0x00010000 | tariff << 8) for tariff in range(5))
    assert sum(parts) == total


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fault_changes_what_goes_out(kind: str) -> None:
    reply = b"\xfe" * 4 + build(bcd(1, 6), 0x91, bytes(8))
    sent = spoiler(kind, {"delay_s": 2.0})(reply)
    assert sent != [(0.0, reply)]
    assert spoiler(kind, {"chance": 0.0})(reply) == [(0.0, reply)]
    if kind == "foreign":
        other = take_apart(sent[0][1])
        assert other is not None
        assert other[0] != bcd(1, 6)
