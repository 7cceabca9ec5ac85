"""plantroom read and watch on BACnet and OPC UA, with and without a profile, against simulators that share no code."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import pytest

from edge_agent.cli import invoke
from edge_agent.cli.tables import Column, fitted
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.models import load_model
from firmware_sim.bacnet.server import BacnetServer

AHU = 1001


def plantroom(*argv: str) -> int:
    return invoke(list(argv))


@contextmanager
def in_a_loop_of_its_own(server: AbstractAsyncContextManager[Any]) -> Iterator[None]:
    """The command under test runs a loop itself."""
    ready, ends = threading.Event(), []

    async def serve() -> None:
        done = asyncio.Event()
        async with server:
            ends.append((asyncio.get_running_loop(), done))
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield
    finally:
        loop, done = ends[0]
        loop.call_soon_threadsafe(done.set)
        thread.join(10)


@pytest.fixture(scope="module")
def link() -> Iterator[str]:
    server = BacnetServer(BacnetDevice(load_model("bacnet-ahu"), id="ahu-1", now=time.time))
    with in_a_loop_of_its_own(server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        ours = probe.getsockname()[1]
        probe.close()
        yield "bacnet://127.0.0.1:{}?peers={}:{}".format(ours, *server.address)


def rows_of(capsys: Any) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in json.loads(capsys.readouterr().out)["points"]}


def test_a_bacnet_device_with_a_profile(link: str, capsys: Any) -> None:
    assert plantroom("read", "--link", link, "--unit", str(AHU), "--profile", "generic-bacnet-ahu", "--json") == 0
    rows = rows_of(capsys)
    assert rows["supply_air_pressure"]["unit"] == "Pa"
    assert rows["supply_fan_running"]["value"] is True


def test_bacnet_objects_without_a_profile(link: str, capsys: Any) -> None:
    objects = ("--object", "AI:1", "--object", "BO:1", "--object", "analog-input:99")
    assert plantroom("read", "--link", link, "--unit", str(AHU), *objects, "--json") == 1
    rows = rows_of(capsys)
    assert list(rows) == ["ai_1", "bo_1", "analog_input_99"]
    assert rows["ai_1"]["unit"] == "Cel"
    assert isinstance(rows["ai_1"]["value"], float)
    assert isinstance(rows["bo_1"]["value"], bool)
    assert rows["analog_input_99"]["status"] == "BadNodeIdUnknown"


def test_a_property_of_a_bacnet_object_and_the_traffic_in_words(link: str, capsys: Any) -> None:
    argv = ("--unit", str(AHU), "--object", "AI:1", "--property", "object-name", "--trace", "--json")
    assert plantroom("read", "--link", link, *argv) == 0
    heard = capsys.readouterr()
    assert isinstance(json.loads(heard.out)["points"][0]["value"], str)
    assert "Who-Is 1001 to 1001" in heard.err
    assert "ReadProperty answer: analog-input:1 object-name" in heard.err


def test_watch_takes_bacnet_objects(link: str, capsys: Any) -> None:
    argv = ("--unit", str(AHU), "--object", "AI:1", "-n", "2", "-i", "0.05", "--json")
    assert plantroom("watch", "--link", link, *argv) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_an_absent_bacnet_device_is_one_line(link: str, capsys: Any) -> None:
    argv = ("--unit", "77", "--object", "AI:1", "--timeout", "0.2")
    assert plantroom("read", "--link", link, *argv) == 1
    said = capsys.readouterr().err
    assert "device 77: no I-Am from instance 77" in said
    assert said.count("\n") == 1


BACNET = ("--link", "bacnet://127.0.0.1:1")
OPCUA = ("--link", "opc.tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ((*BACNET, "--object", "AI:1"), 2, "the device's BACnet instance"),
        ((*BACNET, "--object", "AI:1", "--unit", "4194303"), 2, "no BACnet device instance"),
        ((*BACNET, "--object", "AI:1", "--unit", "ahu"), 2, "no BACnet device instance"),
        ((*BACNET, "--object", "AI1", "--unit", "1"), 1, "write it like AI:3"),
        ((*BACNET, "--object", "AI:1", "--unit", "1", "--property", "presentvalue"), 2, "none of the standard's"),
        ((*BACNET, "--unit", "1"), 2, "--object AI:1"),
        ((*BACNET, "--fc", "3", "--unit", "1"), 1, "--fc is modbus, which a link of kind bacnet does not carry"),
        ((*BACNET, "--path", "X", "--unit", "1"), 1, "write --link as opc.tcp://192.168.1.30:4840"),
        (
            (*BACNET, "--profile", "eastron-sdm630", "--unit", "1"),
            1,
            "is modbus, which a link of kind bacnet does not carry",
        ),
        ((*BACNET, "--profile", "generic-bacnet-vav-prefixed", "--unit", "1"), 1, "needs a prefix"),
        ((*BACNET, "--profile", "generic-bacnet-vav", "--unit", "1", "--prefix", "A"), 1, "no {prefix}"),
        ((*OPCUA, "--path", "{prefix}/X"), 2, "write the whole node or path"),
        ((*OPCUA, "--path", "X"), 1, "127.0.0.1:1"),
        (("--link", "tcp://h", "--profile", "generic-bacnet-ahu"), 1, "write --link as bacnet://"),
        (("--link", "tcp://h:1", "--profile", "generic-osdp-reader", "--unit", "0"), 1, "write --link as serial:"),
        (("--link", "serial:x", "--profile", "uhppote-l04", "--unit", "9"), 1, "write --link as udp://"),
        (("--link", "/dev/ttyUSB0?baud=2400", "--fc", "3"), 1, "write serial:/dev/ttyUSB0?baud=2400"),
        (("--link", "COM3", "--fc", "3"), 1, "write serial:COM3"),
        (("--link", "192.168.1.9", "--fc", "3"), 1, "write tcp://192.168.1.9:502 (Modbus) or http://192.168.1.9"),
        (("--link", "192.168.1.9:4001", "--fc", "3"), 1, "rtu+tcp://192.168.1.9:4001 for a serial server"),
        (("--link", "tcp://h", "--profile", "sdm630"), 1, "did you mean 'eastron-sdm630'?"),
    ],
)
def test_what_is_asked_wrongly_is_said(argv: tuple[str, ...], code: int, words: str, capsys: Any) -> None:
    assert plantroom("read", *argv) == code
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_narrow_terminal_loses_what_matters_least() -> None:
    columns = (Column("point"), Column("value", right=True), Column("ms", spare=2), Column("where", spare=1))
    rows = [("supply_air_temperature", "17.6", "12", "analog-input:1")]
    tables: list[list[Any]] = [list(fitted(columns, rows, width=width).renderables) for width in (80, 47, 30)]
    shown = [[column.header for column in table[0].columns] for table in tables]
    assert shown == [["point", "value", "ms", "where"], ["point", "value", "where"], ["point", "value"]]
    assert "ms, where" in str(tables[2][1])
