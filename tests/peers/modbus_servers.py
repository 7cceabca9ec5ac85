"""Modbus servers that nobody here wrote, for the driver's tests."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from device_profiles.schema import Point
from drivers.base import LinkConfig

NODE = Path(__file__).parent / "node"
needs_modbus_serial = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules" / "modbus-serial").is_dir(),
    reason="modbus-serial is not installed (bash tests/install_peers.sh)",
)


def point(name: str, reg: int, table: str = "holding", kind: str = "u16", **keys: object) -> Point:
    return Point.model_validate({"id": name, "address": {"table": table, "reg": reg}, "type": kind, **keys})


@asynccontextmanager
async def modbus_serial_server(script: str = "modbus_server.js") -> AsyncIterator[LinkConfig]:
    """The npm package modbus-serial as unit 5."""
    process = await asyncio.create_subprocess_exec(
        "node", str(NODE / script), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(20):
            port = int(await process.stdout.readline())
        yield LinkConfig("peer", "tcp", host="127.0.0.1", port=port, timeout_s=5)
    finally:
        process.stdin.close()
        await process.wait()


@asynccontextmanager
async def pymodbus_server(framer: str) -> AsyncIterator[int]:
    """pymodbus as unit 3, its frames by `socket` or `rtu`; gives its port."""
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.framer import FramerType
    from pymodbus.server import ModbusTcpServer

    words = list(struct.unpack(">4H", struct.pack(">fI", 229.5, 81_231_504)))
    device = ModbusDeviceContext(
        hr=ModbusSequentialDataBlock(1, [*words, 0x1234, 0x8005, *range(6, 60)]),
        ir=ModbusSequentialDataBlock(1, list(range(100, 160))),
        co=ModbusSequentialDataBlock(1, [True, False] * 20),
        di=ModbusSequentialDataBlock(1, [False, True] * 20),
    )
    server = ModbusTcpServer(
        ModbusServerContext(devices={3: device}, single=False), framer=FramerType(framer), address=("127.0.0.1", 0)
    )
    task = asyncio.create_task(server.serve_forever())
    try:
        async with asyncio.timeout(10):
            while server.transport is None:
                await asyncio.sleep(0.01)
        yield server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    finally:
        await server.shutdown()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
