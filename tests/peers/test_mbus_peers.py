"""Our M-Bus slaves as a foreign master sees them: node-mbus, which is libmbus, over a serial server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from firmware_sim.mbus import MbusSlave, heat_meter, water_meter
from firmware_sim.slaves import SlaveLine
from firmware_sim.wire import Wire

PEER = Path(__file__).with_name("mbus")
NODE = shutil.which("node")
pytestmark = [
    pytest.mark.skipif(NODE is None, reason="Node.js is not installed"),
    pytest.mark.skipif(
        not (PEER / "node_modules/node-mbus/build/Release/mbus.node").is_file(),
        reason="node-mbus is not built (tests/install_peers.sh)",
    ),
]


@asynccontextmanager
async def serial_server(path: str) -> AsyncIterator[int]:
    """A TCP port that passes bytes to and from a terminal."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    loop = asyncio.get_running_loop()
    peers: set[asyncio.StreamWriter] = set()

    def from_line() -> None:
        data = os.read(fd, 4096)
        for peer in peers:
            peer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.add(writer)
        while data := await reader.read(4096):
            os.write(fd, data)
        peers.discard(writer)
        writer.close()

    loop.add_reader(fd, from_line)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.remove_reader(fd)
        server.close()
        os.close(fd)


@pytest.mark.timeout(60)
async def test_libmbus_reads_our_slaves() -> None:
    slaves = [
        MbusSlave("12345678", heat_meter(), primary=1, maker="KAM", turnaround_s=0.002),
        MbusSlave("87654321", water_meter(), primary=2, medium=0x07, per_telegram=1, turnaround_s=0.002),
    ]
    with SlaveLine(slaves, Wire(38400)) as line:
        async with serial_server(line.path) as port:
            assert NODE is not None
            peer = await asyncio.create_subprocess_exec(
                NODE, PEER / "master.js", "127.0.0.1", str(port), "1", "2", "12345678FFFFFFFF", "9",
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await peer.communicate()
    heat, water, selected, nobody, found = (json.loads(row) for row in out.splitlines())
    header = heat["data"]["SlaveInformation"]
    assert (header["Id"], header["Manufacturer"], header["Medium"]) == (12345678, "KAM", "Heat: Outlet")
    assert [record["Value"] for record in heat["data"]["DataRecord"]] == [
        12345, 456789, 123, 1234, 654, 402, 11000, 4321,
    ]  # fmt: skip
    assert [record["Value"] for record in water["data"]["DataRecord"]] == [98765, "", 250], (
        "two telegrams, the 1F between"
    )
    assert selected["data"]["SlaveInformation"]["Id"] == 12345678
    assert "error" in nobody
    assert sorted(address[:8] for address in found["scan"]) == ["12345678", "87654321"]
