"""plantroom read, watch and scan against a device that shares no code with them; they and write load where Unix is not."""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli import invoke

sys.path.append(str(Path(__file__).parents[1] / "drivers"))
from modbus_slave import Slave, honest, honest_rtu, pty_server, rtu_tcp_server, tcp_server


@contextmanager
def served(
    slave: Slave, server: Callable[[Any], Any] = tcp_server, script: Callable[[Slave], Any] = honest
) -> Iterator[int]:
    """A server in a loop of its own: the commands under test have theirs."""
    ports: list[int] = []
    ready, done = threading.Event(), None

    async def serve() -> None:
        nonlocal done
        done = asyncio.Event()
        async with server(script(slave)) as port:
            ports.append(port)
            loops.append(asyncio.get_running_loop())
            ready.set()
            await done.wait()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0]
    finally:
        assert done is not None
        loops[0].call_soon_threadsafe(done.set)
        thread.join(10)


def sdm630(**more: Any) -> Slave:
    """Floats in the input table: 229.5 V on L1, 50.1 Hz, 81.25 kW."""
    slave = Slave(**more)
    for reg, value in ((0, 229.5), (2, 230.0), (52, 81250.0), (70, 50.1)):
        high, low = struct.unpack(">2H", struct.pack(">f", value))
        slave.words |= {(4, reg): high, (4, reg + 1): low}
    for reg in range(400):
        slave.words.setdefault((4, reg), 0)
    return slave


def plantroom(*argv: str) -> int:
    return invoke(list(argv))


def test_a_profile_needs_no_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    with served(sdm630()) as port:
        code = plantroom(
            "read", "--link", f"tcp://127.0.0.1:{port}", "--unit", "1", "--profile", "eastron-sdm630", "--json"
        )
    document = json.loads(capsys.readouterr().out)
    rows = {row["id"]: row for row in document["points"]}
    assert code == 0
    assert document["profile"].startswith("eastron-sdm630@")
    assert (rows["voltage_l1"]["value"], rows["voltage_l1"]["unit"], rows["voltage_l1"]["status"]) == (
        229.5,
        "V",
        "Good",
    )
    assert (rows["power_active"]["value"], rows["power_active"]["unit"]) == (81.25, "kW")
    assert rows["frequency"]["value"] == 50.1
    assert all(row["ms"] > 0 for row in rows.values())


def test_a_table_for_people_has_value_unit_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    with served(sdm630()) as port:
        code = plantroom("read", "--link", f"tcp://127.0.0.1:{port}", "-p", "eastron-sdm630", "--point", "power_active")
    said = capsys.readouterr().out
    assert code == 0
    assert "power_active" in said
    assert "81.25" in said
    assert "kW" in said
    assert "voltage_l1" not in said


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (["--fc", "3", "--reg", "0x10", "--count", "3"], {"r16": 16, "r17": 17, "r18": 18}),
        (["--fc", "4", "--reg", "52", "--count", "2", "--type", "f32"], {"r52": 81250.0}),
        (
            ["--fc", "3", "--reg", "1", "--count", "4", "--type", "u32", "--word-order", "CDAB"],
            {"r1": 0x20001, "r3": 0x40003},
        ),
        (["--fc", "1", "--reg", "0", "--count", "3"], {"r0": False, "r1": True, "r2": False}),
        (["--fc", "3", "--reg", "0", "--count", "300"], {f"r{n}": n for n in range(300)}),
    ],
)
def test_raw_registers(options: list[str], values: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with served(sdm630()) as port:
        assert plantroom("read", "--link", f"tcp://127.0.0.1:{port}", *options, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["points"]
    assert {row["id"]: row["value"] for row in rows} == values


def test_a_serial_server_and_a_serial_port(capsys: pytest.CaptureFixture[str]) -> None:
    raw = ("--fc", "3", "--reg", "7", "--json")
    with served(Slave(), rtu_tcp_server, honest_rtu) as port:
        assert plantroom("read", "--link", f"rtu+tcp://127.0.0.1:{port}?baud=115200", *raw) == 0
    assert json.loads(capsys.readouterr().out)["points"][0]["value"] == 7
    with pty_server(honest_rtu(Slave())) as (path, _):
        assert plantroom("read", "--link", f"serial:{path}?baud=115200&parity=N", *raw) == 0
    assert json.loads(capsys.readouterr().out)["points"][0]["value"] == 7


def test_a_refused_point_is_told_in_its_row_and_by_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with served(Slave(refused={(3, 2): 2})) as port:
        assert plantroom("read", "--link", f"tcp://127.0.0.1:{port}", "--fc", "3", "--count", "4", "--json") == 1
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)["points"]}
    assert rows["r2"]["status"] == "BadNodeIdUnknown"
    assert "illegal data address" in rows["r2"]["error"]
    assert [rows[name]["value"] for name in ("r0", "r1", "r2", "r3")] == [0, 1, None, 3]


def test_frames_are_shown_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with served(Slave()) as port:
        plantroom("read", "--link", f"tcp://127.0.0.1:{port}", "--fc", "3", "--trace", "--json")
    heard = capsys.readouterr()
    assert "read 1 holding registers from 0" in heard.err
    json.loads(heard.out)


def test_a_silent_device_and_a_closed_port_are_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with served(Slave(frozenset({1}))) as port:
        link = f"tcp://127.0.0.1:{port}"
        assert plantroom("read", "--link", link, "--unit", "9", "--fc", "3", "--timeout", "0.05") == 1
        assert f"{link}, unit 9: no answer within 0.05 s" in capsys.readouterr().err
    assert plantroom("read", "--link", link, "--fc", "3") == 1
    said = capsys.readouterr().err
    assert "connection refused" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["--fc", "3"], 2, "--link is missing"),
        (["--link", "tcp://h"], 2, "either --profile"),
        (["--link", "tcp://h", "--fc", "3", "--profile", "x"], 2, "either --profile"),
        (["--link", "tcp://h", "--fc", "7"], 1, "function code 7 does not read"),
        (["--link", "tcp://h", "--fc", "3", "--reg", "x"], 2, "no number"),
        (["--link", "tcp://h", "--fc", "3", "--type", "f31"], 2, "known are"),
        (["--link", "tcp://h", "--fc", "3", "--count", "3", "--type", "f32"], 1, "multiple of 2"),
        (["--link", "tcp://h", "--fc", "3", "--unit", "0"], 2, "1 to 247"),
        (["--link", "telnet://h", "--fc", "3"], 1, "unknown kind of link"),
        (["--link", "tcp://h", "--profile", "eastron-sdm63"], 1, "did you mean"),
        (["--link", "tcp://h", "--profile", "acrel-dtsd1352", "--param", "xt=4"], 1, "no parameter 'xt'"),
        (["meter-01"], 2, "belong together"),
        (["--link", "serial:/dev/no-such-port", "--fc", "3"], 1, "there is no port /dev/no-such-port"),
    ],
)
def test_what_is_asked_wrongly_is_said(
    argv: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plantroom("read", *argv) == code
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())


AGENT = """
agent: {{id: gw-01, site: hq, tz: Europe/Berlin}}
mqtt: {{url: "mqtt://127.0.0.1:1883"}}
links:
  hall-1: tcp://127.0.0.1:{port}
devices:
  - {{id: meter-01, link: hall-1, unit: 7, profile: eastron-sdm630}}
"""


def test_a_device_of_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "agent.yaml"
    with served(sdm630(units=frozenset({7}))) as port:
        file.write_text(AGENT.format(port=port))
        assert plantroom("read", "--config", str(file), "meter-01", "--json") == 0
        rows = {row["id"]: row["value"] for row in json.loads(capsys.readouterr().out)["points"]}
        assert rows["voltage_l1"] == 229.5
        assert plantroom("read", "--config", str(file), "meter-02") == 1
        assert "did you mean 'meter-01'" in capsys.readouterr().err


def test_watch_tells_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    class Counting(Slave):
        def word(self, function: int, reg: int) -> int:
            return len(self.asked) if reg == 1 else 40

    with served(Counting()) as port:
        link = f"tcp://127.0.0.1:{port}"
        assert plantroom("watch", "--link", link, "--fc", "3", "--count", "2", "-i", "0.05", "-n", "3", "--json") == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [document["changed"] for document in documents] == [[], ["r1"], ["r1"]]
    with served(Counting()) as port:
        link = f"tcp://127.0.0.1:{port}"
        assert plantroom("watch", "--link", link, "--fc", "3", "--count", "2", "-i", "0.05", "-n", "2") == 0
    assert "r1" in capsys.readouterr().out


def test_scan_finds_identifies_and_guesses(capsys: pytest.CaptureFixture[str]) -> None:
    with served(sdm630(units=frozenset({3, 8}))) as port:
        link = f"tcp://127.0.0.1:{port}"
        code = plantroom(
            "scan", "modbus", "--link", link, "--units", "1-9", "--timeout", "0.03", "--profile-guess", "--json"
        )
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [device["unit"] for device in document["devices"]] == [3, 8]
    for device in document["devices"]:
        assert device["identity"] == {"vendor": "ACME", "product_code": "X1", "revision": "1"}
        assert "eastron-sdm630" in device["profiles"]
        assert not device["every_unit"]


def test_scan_tells_a_peer_that_answers_to_every_number_once(capsys: pytest.CaptureFixture[str]) -> None:
    with served(Slave()) as port:
        code = plantroom("scan", "modbus", "--link", f"tcp://127.0.0.1:{port}", "--units", "1-9", "--json")
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [(device["unit"], device["every_unit"]) for device in document["devices"]] == [(1, True)]


def test_scan_that_finds_nothing_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    with served(Slave(frozenset())) as port:
        link = f"tcp://127.0.0.1:{port}"
        assert plantroom("scan", "modbus", "--link", link, "--units", "4,6", "--timeout", "0.02", "--json") == 1
    assert json.loads(capsys.readouterr().out)["devices"] == []


@pytest.mark.parametrize("units", ["0-5", "x", "5-1", "300", "1,,2"])
def test_units_are_checked(units: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert plantroom("scan", "modbus", "--link", "tcp://h", "--units", units) == 2
    assert "--units" in capsys.readouterr().err


def test_the_read_commands_load_where_unix_is_not() -> None:
    """As on Windows: no fcntl, termios, uvloop, pwd, grp, resource."""
    code = """
import sys
import serial, serial.tools.list_ports  # on Windows it brings a backend of its own
for name in ("fcntl", "termios", "uvloop", "pwd", "grp", "resource", "tty", "pty"):
    sys.modules[name] = None
import edge_agent.cli.read, edge_agent.cli.watch, edge_agent.cli.scan, edge_agent.cli.one_device
import edge_agent.cli.write, edge_agent.cli.write_way, edge_agent.commands.act
import drivers.modbus.driver, drivers.modbus.tcp, drivers.modbus.rtu, drivers.trace, drivers.fake
from drivers.base import parse_link
assert parse_link("serial:COM3?baud=9600").path == "COM3"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
