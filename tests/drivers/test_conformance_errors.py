"""What every driver makes of links that do not open, and of the exceptions of its library: errors of ours, and no others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import bacpypes3.errors
import pymodbus.exceptions
import pytest
import serial
from test_conformance import bacnet_world, tcp_world

from device_profiles.errors import DeviceError, LinkError, LinkRefused
from drivers.base import Address, HttpLink, LinkConfig
from drivers.registry import load_driver

UNREACHABLE = {
    "modbus tcp": LinkConfig("tcp-1", "tcp", host="127.0.0.1", port=1),
    "modbus serial": LinkConfig("rs485-1", "serial", path="/dev/no-such-port"),
    "modbus rtu+tcp": LinkConfig("server-1", "rtu+tcp", host="127.0.0.1", port=1),
    "bacnet": LinkConfig("bacnet-1", "bacnet", host="192.0.2.1/24", port=47808),
    "rest": LinkConfig("http-1", "http", host="127.0.0.1", port=1, http=HttpLink()),
    "isapi": LinkConfig("http-1", "http", host="127.0.0.1", port=1, http=HttpLink()),
}


@pytest.mark.parametrize("name", UNREACHABLE)
async def test_a_link_that_cannot_be_opened_says_why_and_what_to_do(name: str) -> None:
    with pytest.raises(LinkRefused) as caught:
        async with load_driver(name.split()[0]).open(UNREACHABLE[name]):
            pass
    assert caught.value.next_step
    assert UNREACHABLE[name].id in str(caught.value)


def subclasses(of: type[BaseException], module: str) -> list[type[BaseException]]:
    found = [one for child in of.__subclasses__() for one in (child, *subclasses(child, module))]
    return [one for one in found if one.__module__.startswith(module)]


@pytest.mark.parametrize(
    "kind", subclasses(pymodbus.exceptions.ModbusException, "pymodbus"), ids=lambda kind: kind.__name__
)
async def test_every_error_of_pymodbus_becomes_one_of_ours(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tcp_world() as world, world.driver.open(world.link) as session:
        monkeypatch.setattr("pymodbus.client.AsyncModbusTcpClient.execute", _raising(kind))
        with pytest.raises(DeviceError if kind is not pymodbus.exceptions.ConnectionException else LinkError):
            await session.read(Address(1), world.plan(1)[0])


@pytest.mark.parametrize(
    "kind",
    [serial.SerialException, *subclasses(serial.SerialException, "serial"), OSError, PermissionError, ValueError],
)
async def test_every_error_of_pyserial_becomes_one_of_ours(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise kind("no luck") if issubclass(kind, ValueError) or "NotOpen" not in kind.__name__ else kind()

    monkeypatch.setattr("serial.Serial", refuse)
    with pytest.raises(LinkRefused):
        async with load_driver("modbus").open(LinkConfig("rs485-1", "serial", path="/dev/ttyS0")):
            pass


OF_BACPYPES3 = [
    kind for kind in vars(bacpypes3.errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
]


@pytest.mark.parametrize("kind", OF_BACPYPES3, ids=lambda kind: kind.__name__)
async def test_every_error_of_bacpypes3_becomes_one_of_ours(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bacpypes3.appservice.ClientSSM.indication", _raising(kind))
    async with bacnet_world() as world, world.driver.open(world.link) as session:
        client = session.client  # type: ignore[attr-defined]
        peer = await client.resolve(1)
        with pytest.raises(DeviceError):
            await client.confirmed(peer, 15, bytes(2000))  # longer than an APDU: through bacpypes3
        assert await session.read(Address(1), world.plan(1)[0])


def _raising(kind: type[Exception]) -> Callable[..., Any]:
    async def execute(*_: Any, **__: Any) -> None:
        for words in (("no luck",), ("device", "other"), ()):
            with contextlib.suppress(TypeError):
                error = kind(*words)
                break
        raise error

    return execute
