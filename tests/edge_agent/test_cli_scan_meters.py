"""DL/T 645 on the command line: the search for meters, a device entry's number, and what a profile must say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_agent.cli import invoke
from firmware_sim.meters import MeterLine, energy_meter
from firmware_sim.wire import Wire

_AGENT = """
agent: {{site: hq, id: a1, tz: Asia/Shanghai}}
mqtt: {{url: "mqtt://127.0.0.1:1883"}}
links:
  rs485-1: {{kind: {kind}, {place}}}
devices:
  - {{id: meter-1, link: rs485-1, {unit}profile: generic-dlt645-2007-three-phase}}
"""


def test_scan_finds_the_meter(capsys: pytest.CaptureFixture[str]) -> None:
    meter = energy_meter("2007", "000012345678")
    meter.turnaround_s = 0.002
    with MeterLine([meter], Wire(115200)) as line:
        link = f"serial:{line.path}?baud=115200"
        assert invoke(["scan", "dlt645", "--link", link, "--timeout", "0.1", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["meters"] == ["000012345678"]
        meter.mute = True
        assert invoke(["scan", "dlt645", "--link", link, "--timeout", "0.1"]) == 1
    assert invoke(["scan", "dlt645", "--link", "serial:/dev/null", "--edition", "2019"]) == 1


def test_scan_tries_editions_and_baud_rates(capsys: pytest.CaptureFixture[str]) -> None:
    meter = energy_meter("1997", "000012345678")
    meter.turnaround_s = 0.002
    with MeterLine([meter], Wire(9600)) as line:
        asked = ["scan", "dlt645", "--link", f"serial:{line.path}", "--timeout", "0.05", "--json"]
        assert invoke([*asked, "--bauds", "9600,19200", "--edition", "both"]) == 0
        found = json.loads(capsys.readouterr().out)["found"]
    assert found == [{"number": "000012345678", "protocol": "dlt645-1997", "baud": 9600, "parity": "E"}]
    for wrong in (["--bauds", "fast"], ["--bauds", "2400", "--parities", "X"]):
        assert invoke([*asked, *wrong]) == 1
    assert invoke(["scan", "dlt645", "--link", "rtu+tcp://127.0.0.1:1", "--bauds", "2400"]) == 1
    assert invoke(["scan", "dlt645", "--link", "tcp://127.0.0.1:502"]) == 1


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("", "unit is missing"),
        ("unit: 12345678, ", "is no meter number"),
        ('unit: "12345678", ', "is no meter number"),
        ('unit: "00001234567A", ', "is no meter number"),
        ('unit: "999999999999", ', "broadcast"),
        ('unit: "000012345678", ', ""),
        ('unit: "AAAAAA345678", ', ""),
    ],
)
def test_the_number_of_a_meter(tmp_path: Path, capsys: pytest.CaptureFixture[str], unit: str, said: str) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(
        _AGENT.format(kind="rtu+tcp", place="host: 127.0.0.1, port: 4001, baud: 2400, parity: E", unit=unit)
    )
    assert invoke(["check", str(file)]) == (1 if said else 0)
    assert said in capsys.readouterr().out


def test_a_meter_needs_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(_AGENT.format(kind="tcp", place="host: 127.0.0.1", unit='unit: "000012345678", '))
    assert invoke(["check", str(file)]) == 1
    assert "use a link of kind serial or rtu+tcp" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("{id: power_active, reg: 1}", "has no DL/T 645 address"),
        ('{id: power_active, di: "0x9010"}', "is no whole number"),
        ("{id: power_active, di: 0x00010000}", "longer than DL/T 645-1997 has"),
        ("{id: power_active, di: 0x9010, format: XXX}", "odd number of digits"),
        ("{id: power_active, di: 0x9010, item: 2}", "give block"),
        ("{id: power_active, di: 0x9010, access: rw}", "only read"),
        ("{id: power_active, di: 0x9010, type: u16}", "does not make a u16"),
    ],
)
def test_what_a_profile_cannot_say(tmp_path: Path, capsys: pytest.CaptureFixture[str], point: str, said: str) -> None:
    file = tmp_path / "my-meter.yaml"
    file.write_text(
        "profile: my-meter\nversion: 1\nclass: electricity_meter\nsystem: energy\nproducts: [mine]\n"
        f"protocol: dlt645-1997\npoints:\n  - {point}\nsource: {{title: mine}}\n"
    )
    assert invoke(["profile", "lint", str(file)]) == 1
    assert said in capsys.readouterr().out
