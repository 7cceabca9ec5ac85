"""Our driver writes into servers that nobody here wrote; mbpoll (libmodbus) reads what stands there then."""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import Any

import pytest
from modbus_servers import modbus_serial_server, needs_modbus_serial, point, pymodbus_server

from device_profiles.errors import DeviceRefused
from device_profiles.reading import Raw
from device_profiles.schema import Point
from drivers.base import Address, LinkConfig
from drivers.modbus.driver import ModbusDriver

pytestmark = pytest.mark.real

needs_mbpoll = pytest.mark.skipif(
    shutil.which("mbpoll") is None, reason="mbpoll is not installed (apt-get install mbpoll)"
)


def writable(reg: int, kind: str = "u16", table: str = "holding", **keys: Any) -> Point:
    return point(f"x{reg}", reg, table, kind, access="rw", **keys)


def multiple(reg: int, kind: str = "u16", table: str = "holding") -> Point:
    return writable(reg, kind, table, write={"function": "multiple"})


WRITES: list[tuple[Point, Raw]] = [
    (writable(1, "bool", "coil"), True), (multiple(2, "bool", "coil"), True), (writable(10), 513), (multiple(11), 514),
    (writable(20, "f32", word_order="CDAB"), 21.5), (writable(22, "s32"), -70_000), (writable(24, "bcd16"), 1234),
    (writable(26, "str", length=3), "AHU-1"), (writable(30, "s64"), -2),
]  # fmt: skip
"""Functions 5, 15, 6 and 16."""


async def mbpoll(port: int, unit: int, *arguments: str) -> list[float]:
    process = await asyncio.create_subprocess_exec(
        "mbpoll", "-0", "-1", "-p", str(port), "-a", str(unit), *arguments, "127.0.0.1",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(15):
        out, _ = await process.communicate()
    assert process.returncode == 0, out
    return [float(value) for value in re.findall(r"^\[\d+\]:\s+(\S+)", out.decode(), re.MULTILINE)]


async def write_all(link: LinkConfig, unit: int, writes: list[tuple[Point, Raw]]) -> None:
    async with ModbusDriver().open(link) as session:
        for one, value in writes:
            await session.write(Address(unit), one, value, None)
            assert (await session.standing(Address(unit), one, None)).value == value, one


async def check_with_mbpoll(port: int, unit: int) -> None:
    assert await mbpoll(port, unit, "-t", "0", "-r", "1", "-c", "2") == [1, 1]
    assert await mbpoll(port, unit, "-t", "4", "-r", "10", "-c", "2") == [513, 514]
    assert await mbpoll(port, unit, "-t", "4:float", "-r", "20") == [21.5]  # low word first, as libmodbus has it
    assert await mbpoll(port, unit, "-t", "4:int", "-B", "-r", "22") == [-70_000]
    assert await mbpoll(port, unit, "-t", "4", "-r", "24") == [0x1234]
    assert await mbpoll(port, unit, "-t", "4", "-r", "26", "-c", "3") == [0x4148, 0x552D, 0x3100]


@pytest.mark.parametrize(("kind", "framer"), [("tcp", "socket"), ("rtu+tcp", "rtu")])
async def test_into_a_pymodbus_server(kind: str, framer: str) -> None:
    bits = [(writable(40, bits="4..7"), 9), (writable(40, bits=0), 1)]  # function 22, which pymodbus knows
    async with pymodbus_server(framer) as port:
        link = LinkConfig("peer", kind, host="127.0.0.1", port=port, timeout_s=5)
        await write_all(link, 3, [*WRITES, *bits])
        async with ModbusDriver().open(link) as session:
            with pytest.raises(DeviceRefused) as refused:
                await session.write(Address(3), writable(5000), 1, None)
    assert refused.value.status == "BadNodeIdUnknown"


@needs_mbpoll
async def test_mbpoll_reads_from_pymodbus_what_we_wrote() -> None:
    async with pymodbus_server("socket") as port:
        await write_all(LinkConfig("peer", "tcp", host="127.0.0.1", port=port, timeout_s=5), 3, WRITES)
        await check_with_mbpoll(port, 3)


@needs_modbus_serial
async def test_into_modbus_serial_which_has_no_mask_write() -> None:
    bits = [(writable(40, bits="4..7"), 9), (writable(40, bits=0), 1), (writable(42, "u32", bits="12..19"), 0xAB)]
    async with modbus_serial_server("modbus_store.js") as link:
        await write_all(link, 5, [*WRITES, *bits])
        async with ModbusDriver().open(link) as session:
            await session.write(Address(5), writable(40, bits=0), 0, None)
            assert "FC 3 and 6" in session.rehearse(Address(5), writable(40, bits=0), 1, None), (
                "function 22 was refused"
            )
            with pytest.raises(DeviceRefused):
                await session.write(Address(5), writable(1000), 1, None)


@needs_mbpoll
@needs_modbus_serial
async def test_mbpoll_reads_from_modbus_serial_what_we_wrote() -> None:
    async with modbus_serial_server("modbus_store.js") as link:
        await write_all(link, 5, WRITES)
        await check_with_mbpoll(link.port, 5)
