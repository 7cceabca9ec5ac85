"""Tables for people: what a narrow terminal leaves out, and that a pipe gets everything."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.cli import status as status_command
from edge_agent.cli.tables import Column, fitted, many, screen

_COLUMNS = (Column("device"), Column("name", spare=1), Column("state", most=10), Column("age", right=True))
_ROWS = (("meter-1", "Incomer of the old boiler house", "down BadTimeout: nothing came", "3 s"),)


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    console = screen()
    console.print(fitted(_COLUMNS, _ROWS, width=console.width))
    return capsys.readouterr().out


def test_a_pipe_gets_every_column_uncut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = printed(capsys).splitlines()
    assert len(lines) == 2
    assert lines[1].split("  ")[0] == "meter-1"
    assert "Incomer of the old boiler house" in lines[1]
    assert "down BadTimeout: nothing came" in lines[1]


def test_a_narrow_terminal_loses_the_spare_column_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = printed(capsys)
    assert "Incomer" not in out
    assert "also shows: name" in " ".join(out.split())
    assert "down" in out, "a column that always stays is folded"
    assert "nothing" in out
    assert all(len(line) <= 40 for line in out.splitlines())


def test_a_long_title_stands_on_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    title = "/dev/ttyUSB0 2400 8E1 unit 000012345678 as generic-dlt645-2007-three-phase@2"
    screen().print(fitted((Column("point"),), (("a",),), width=80, title=title))
    assert capsys.readouterr().out.splitlines()[0] == title


def test_one_is_not_plural() -> None:
    assert [many(count, "meter") for count in (0, 1, 2)] == ["0 meters", "1 meter", "2 meters"]


def _device(number: int, **more: Any) -> dict[str, Any]:
    name, link = f"Meter of house {number:03d} in the long street", "a-serial-line-with-a-long-name"
    return {"id": f"electricity-meter-{number:03d}", "name": name, "link": link, "unit": "000012345678", "state": "ok",
            "sc": None, "note": None, "ok": 1, "err": 0, "rtt_ms": 1.0, "t": 0, **more}  # fmt: skip


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_healthy_device_takes_one_line_of_any_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    devices = [_device(number) for number in range(1, 9)]
    devices += [_device(9, state="down", sc="BadTimeout", note="no answer within 0.5 s; look at its wires")]
    status_command._show(
        {
            "agent": "gw-01", "site": "hq", "epoch": "E", "t": 1000, "acquisitions": 1, "values": 1, "links": {},
            "process": {"uptime_s": 1.0, "rss_mb": 1, "cpu_s": 1}, "devices": devices,
            "spool": {"msgs": 0, "bytes": 0, "oldest": None},
            "uplink": {"connected": True, "alarms": {}, "probing": None},
        }
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    header = next(line for line in lines if line.startswith("device "))
    assert "state" in header
    assert "failed" in header
    assert all(len(line.rstrip()) <= columns for line in lines)
    for number in range(1, 9):
        assert sum(f"electricity-meter-{number:03d}" in line for line in lines) == 1
        assert sum(f"house {number:03d}" in line for line in lines) <= 1
    assert lines.index(header) + 9 < len(lines)
    assert "9 devices, 8 ok, 1 down (electricity-meter-009)" in " ".join(" ".join(lines).split())
