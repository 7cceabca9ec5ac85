"""The demo campus runs, is described truly, and obeys orders; and the commands that start it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firmware_sim.cli import app
from firmware_sim.control import reply_to
from firmware_sim.devices import MODELS
from firmware_sim.fleet import CAMPUS, Fleet
from firmware_sim.framing import rtu_frame, tcp_frame


def test_the_campus_is_what_the_demo_promises():
    placed = [device for place in CAMPUS for device in place.devices]
    assert len(placed) >= 12
    assert {device.model for device in placed} <= set(MODELS)
    assert len({device.id for device in placed}) == len(placed)
    on_pty = next(place for place in CAMPUS if place.kind == "serial")
    assert len(on_pty.devices) >= 4
    assert on_pty.baud == 9600
    for place in CAMPUS:
        units = [device.unit for device in place.devices]
        assert len(set(units)) == len(units)


async def test_every_tcp_device_of_the_campus_answers_where_the_description_says(tmp_path: Path):
    async with asyncio.timeout(10), Fleet(directory=tmp_path, seed=4) as fleet:
        fleet.write_description(tmp_path / "campus.json")
        told = json.loads((tmp_path / "campus.json").read_text())["devices"]
        assert len(told) == sum(len(place.devices) for place in CAMPUS)
        for device in told:
            scheme, _, rest = device["link"].partition("://")
            pdu = b"\x03\x00\x00\x00\x01"
            if scheme in ("tcp", "rtu+tcp"):
                host, _, port = rest.partition("?")[0].partition(":")
                reader, writer = await asyncio.open_connection(host, int(port))
                rtu = scheme == "rtu+tcp"
                writer.write(rtu_frame(device["unit"], pdu) if rtu else tcp_frame(1, device["unit"], pdu))
                head = await reader.readexactly(2 if rtu else 8)
                writer.close()
                assert head[0 if rtu else 6] == device["unit"]
                assert head[-1] & 0x7F == 3
            else:
                path = device["link"].removeprefix("serial:").partition("?")[0]
                assert Path(path).is_symlink()
        requests = fleet.stats()["requests"]
        assert all(requests[device["id"]] == 1 for device in told if not device["link"].startswith("serial"))
    assert not (tmp_path / "rs485-1").exists()


async def _order(fleet: Fleet, **order: object) -> dict[str, object]:
    answer = json.loads(await asyncio.to_thread(reply_to, fleet, json.dumps(order)))
    assert isinstance(answer, dict)
    return answer


async def test_orders():
    async with asyncio.timeout(10), Fleet() as fleet:
        assert (await _order(fleet, op="fault", device="floor-1", kind="late", delay_s=2))["ok"]
        assert [fault.kind for fault in fleet.device("floor-1")[1].faults.active] == ["late"]
        assert (await _order(fleet, op="fault", device="incomer-1", kind="absent", quantity="kw"))["ok"]
        assert fleet.device("incomer-1")[1].faults.tampering.absent == {"kw"}
        assert (await _order(fleet, op="heal"))["ok"]
        assert not fleet.device("floor-1")[1].faults.active
        assert not fleet.device("incomer-1")[1].faults.tampering.absent
        values = await _order(fleet, op="values", device="incomer-1")
        assert values["values"]["kw"] > 0  # type: ignore[index]
        assert (await _order(fleet, op="describe"))["devices"]
        assert (await _order(fleet, op="unplug", link="rs485-1"))["ok"]
        assert (await _order(fleet, op="plug", link="rs485-1"))["ok"]
        assert (await _order(fleet, op="deaf", link="incomer", on=True))["ok"]


@pytest.mark.parametrize(
    ("order", "word"),
    [
        ({"op": "fault", "device": "floor-9", "kind": "late"}, "floor-1"),
        ({"op": "fault", "device": "floor-1", "kind": "lte"}, "late"),
        ({"op": "drop", "link": "rs485-1"}, "no TCP connections"),
        ({"op": "unplug", "link": "incomer"}, "no serial line"),
        ({"op": "plug", "link": "nowhere"}, "rs485-1"),
        ({"op": "dance"}, "unknown op"),
        ([], "JSON object"),
    ],
)
async def test_an_order_that_cannot_be_obeyed_says_why(order: object, word: str):
    async with asyncio.timeout(10), Fleet() as fleet:
        answer = json.loads(await asyncio.to_thread(reply_to, fleet, json.dumps(order)))
        assert not answer["ok"]
        assert word in answer["error"]


def test_the_demo_command_tells_obeys_and_ends_with_its_input(tmp_path: Path):
    command = [sys.executable, "-m", "edge_agent.cli", "sim", "demo", "--json", "--dir", str(tmp_path / "sim")]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    described = json.loads(process.stdout.readline())
    assert described == json.loads((tmp_path / "sim" / "campus.json").read_text())
    process.stdin.write('{"op": "stats"}\n')
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["lines"]["rs485-1"]["broken_gaps"] == 0
    rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest, errors) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["device", "sdm", "--tcp", "0"], 2, "eastron-sdm630"),
        (["device", "eastron-sdm630"], 2, "exactly one"),
        (["device", "eastron-sdm630", "--tcp", "0", "--pty"], 2, "exactly one"),
        (["device", "eastron-sdm630", "--pty", "--unit", "1-300"], 2, "1..247"),
        (["device", "eastron-sdm630", "--pty", "--unit", "1,x"], 2, "range"),
        (["device", "eastron-sdm630", "--tcp", "0", "--fault", "lte"], 2, "unknown fault"),
        (["demo", "--fault", "floor-9=late"], 2, "floor-9"),
        (["demo", "--fault", "floor-1=lte"], 2, "unknown fault"),
        (["device", "eastron-sdm630", "--pty", "--link", "/nowhere/line"], 1, "Choose another"),
        (["proxy", "localhost"], 2, "HOST:PORT"),
        (["list", "--json"], 0, "chint-dtsu666"),
        (["faults"], 0, "wrong_transaction"),
    ],
)
def test_commands_that_end_at_once(arguments: list[str], code: int, words: str):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code
    assert words in " ".join(result.output.split())


def test_a_port_that_is_taken_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(app, ["device", "eastron-sdm630", "--tcp", str(taken.getsockname()[1])])
    assert result.exit_code == 1
    assert "Choose another port" in result.output
