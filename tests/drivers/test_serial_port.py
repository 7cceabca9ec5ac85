"""drivers.serial_port and serial_line on a real pseudo terminal: opening, locking, losing, and who may use the line when."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest
import serial
from modbus_slave import Slave, honest_rtu, pty_server, rtu_tcp_server

from device_profiles.errors import LinkLost, LinkRefused
from drivers.base import LinkConfig
from drivers.serial_line import Line, LineOwner
from drivers.serial_port import holder_of, open_port

REQUEST = bytes.fromhex("010300000002c40b")


def line_on(path: str, **keys: Any) -> LinkConfig:
    return LinkConfig("rs485-1", "serial", path=path, baud=115200, timeout_s=0.5, **keys)


def refusal(link: LinkConfig) -> str:
    with pytest.raises(LinkRefused) as caught:
        open_port(link)
    assert caught.value.next_step
    assert caught.value.where == "rs485-1"
    return str(caught.value)


def test_a_port_in_use_names_who_uses_it() -> None:
    with pty_server(honest_rtu(Slave())) as (path, _):
        port = open_port(line_on(path))
        try:
            said = refusal(line_on(path))
            assert f"{path} is in use by PID {os.getpid()} (" in said
            assert holder_of(path) in said
        finally:
            port.close()
        open_port(line_on(path)).close()


def test_a_port_that_does_not_exist_names_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Found:
        device, description = "/dev/ttyUSB7", "FT232R"

    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [Found()])
    assert "there is no port /dev/ttyUSB3; there are /dev/ttyUSB7 (FT232R)" in refusal(line_on("/dev/ttyUSB3"))
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    assert "this machine has no serial port" in refusal(line_on("/dev/ttyUSB3"))


def test_what_is_no_port_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert "is no serial port" in refusal(line_on(str(file)))


def test_a_missing_permission_names_the_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(**_: Any) -> None:
        raise serial.SerialException(errno.EACCES, "could not open port")

    monkeypatch.setattr("serial.Serial", refuse)
    said = refusal(line_on(str(tmp_path)))
    assert f"no permission for {tmp_path} (it belongs to " in said
    assert "usermod -aG dialout" in said


def test_a_speed_that_the_port_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise ValueError("Failed to set custom baud rate")

    monkeypatch.setattr("serial.Serial", refuse)
    assert "/dev/ttyS9 does not take 115200 8E1" in refusal(line_on("/dev/ttyS9", parity="E"))


async def ask(owner: LineOwner) -> bytes:
    def work(line: Line) -> bytes:
        line.settle()
        line.send(REQUEST)
        return line.receive(lambda data: data if len(data) == 9 else 9 - len(data), 9, 0.5)

    return await owner.call(work)


async def test_requests_are_served_in_the_order_they_came() -> None:
    served: list[int] = []
    with pty_server(honest_rtu(Slave())) as (path, _):
        owner = LineOwner(line_on(path))
        await owner.open()

        async def one(number: int) -> None:
            await ask(owner)
            served.append(number)

        await asyncio.gather(*(one(number) for number in range(10)))
        await owner.close()
    assert served == list(range(10))
    assert owner.counts.requests == owner.counts.replies == 10


async def test_closing_ends_a_waiting_request_and_frees_the_port() -> None:
    with pty_server(lambda frame: []) as (path, _):
        owner = LineOwner(LinkConfig("rs485-1", "serial", path=path, baud=115200, timeout_s=20))

        def wait(line: Line) -> bytes:
            line.send(REQUEST)
            return line.receive(lambda data: 9, 9, 20)

        await owner.open()
        waiting = [asyncio.create_task(owner.call(wait)) for _ in range(3)]
        while owner.counts.requests == 0:
            await asyncio.sleep(0.001)
        async with asyncio.timeout(5):
            await owner.close()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(outcome, Exception) for outcome in outcomes)
        with pytest.raises(LinkLost):
            await ask(owner)
        open_port(line_on(path)).close()


async def test_cancelling_one_caller_does_not_disturb_the_next() -> None:
    with pty_server(honest_rtu(Slave())) as (path, _):
        owner = LineOwner(line_on(path))
        await owner.open()
        for _ in range(20):
            first, second = (asyncio.create_task(ask(owner)) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            assert len(await second) == 9
            with pytest.raises(asyncio.CancelledError):
                await first
        await owner.close()


async def test_an_unplugged_adapter_is_a_lost_link_with_the_ports_name() -> None:
    with pty_server(honest_rtu(Slave())) as (path, unplug):
        owner = LineOwner(line_on(path))
        await owner.open()
        await ask(owner)
        unplug()
        with pytest.raises(LinkLost) as caught:
            await ask(owner)
        assert path in str(caught.value)
        assert "by-id" in str(caught.value)
        await owner.close()


async def test_a_serial_server_is_a_line_like_any_other() -> None:
    async with rtu_tcp_server(honest_rtu(Slave())) as port:
        owner = LineOwner(LinkConfig("server-1", "rtu+tcp", host="127.0.0.1", port=port, baud=115200))
        await owner.open()
        assert (await ask(owner)).hex().startswith("010304")
        await owner.close()
