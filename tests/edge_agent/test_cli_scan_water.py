"""`plantroom scan cjt188` and `scan mbus` against simulated meters, and a reading with a shipped profile of each."""

from __future__ import annotations

import json
import os
import signal

import pytest

from edge_agent.cli import invoke
from firmware_sim.cjt188 import CjtMeter
from firmware_sim.mbus import MbusSlave, heat_meter
from firmware_sim.slaves import SlaveLine
from firmware_sim.wire import Wire


def test_water_meters(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = ["00111100012345"]
    with SlaveLine([CjtMeter(one, turnaround_s=0.002) for one in numbers], Wire(115200)) as line:
        link = f"serial:{line.path}?baud=115200"
        assert invoke(["scan", "cjt188", "--link", link, "--timeout", "0.05", "--json"]) == 0
        assert [one["address"] for one in json.loads(capsys.readouterr().out)["meters"]] == numbers
        asked = ["read", "--link", link, "--profile", "generic-cjt188-water", "--unit", numbers[0], "--json"]
        assert invoke(asked) == 0
        points = {point["id"]: point["value"] for point in json.loads(capsys.readouterr().out)["points"]}
        assert points["volume"] == 1234.56
        assert points["valve_open"] is True
        for slave in line.slaves:
            slave.mute = True
        assert invoke(["scan", "cjt188", "--link", link, "--timeout", "0.05"]) == 1
    assert invoke(["scan", "cjt188", "--link", "tcp://127.0.0.1:502"]) == 1


def test_heat_meters(capsys: pytest.CaptureFixture[str]) -> None:
    slaves = [MbusSlave("12345678", heat_meter(), primary=1, turnaround_s=0.002)]
    with SlaveLine(slaves, Wire(115200)) as line:
        link = f"serial:{line.path}?baud=115200"
        assert invoke(["scan", "mbus", "--link", link, "--timeout", "0.03", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["slaves"]
        assert sorted(one["serial"] for one in found) == ["12345678"]
        asked = ["read", "--link", link, "--profile", "generic-mbus-heat", "--unit", found[0]["unit"], "--json"]
        assert invoke(asked) == 0
        points = {point["id"]: point["value"] for point in json.loads(capsys.readouterr().out)["points"]}
        assert points["heat_energy"] == 12_345.0
        assert points["supply_water_temperature"] == 65.4
        for slave in slaves:
            slave.mute = True
        assert invoke(["scan", "mbus", "--link", link, "--timeout", "0.03"]) == 1
    assert invoke(["scan", "mbus", "--link", "bacnet://127.0.0.1"]) == 1


class Impatient(MbusSlave):
    """A slave whose person presses Ctrl-C when address 9 is asked."""

    def reply(self, request: bytes) -> bytes | None:
        if request[2] == 9:
            os.kill(os.getpid(), signal.SIGINT)
        return super().reply(request)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_search_that_is_stopped_shows_what_it_found(form: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    slave = Impatient("12345678", heat_meter(), primary=1, turnaround_s=0.002)
    with SlaveLine([slave], Wire(115200)) as line:
        link = f"serial:{line.path}?baud=115200"
        assert invoke(["scan", "mbus", "--primary", "--link", link, "--timeout", "0.03", *form]) == 130
    told = capsys.readouterr()
    assert "12345678" in told.out
    assert "stopped before all were asked" in told.err
    assert "Traceback" not in told.err
