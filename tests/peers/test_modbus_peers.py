"""Our Modbus driver against servers that nobody here wrote, and its frames before tshark."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from modbus_servers import modbus_serial_server, needs_modbus_serial, point, pymodbus_server

from device_profiles.errors import DeviceError
from device_profiles.reading import PointFault
from device_profiles.schema import Point
from drivers.base import Address, Limits, LinkConfig
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.session import ModbusSession

pytestmark = pytest.mark.real

needs_tshark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is not installed (apt-get install tshark)"
)


async def read(session: ModbusSession, link: LinkConfig, unit: int, *points: Point) -> dict[str, object]:
    values: dict[str, object] = {}
    for batch in ModbusDriver().plan(points, Limits(), None, link):
        values |= zip(batch.points, await session.read(Address(unit), batch), strict=True)
    return values


@needs_modbus_serial
async def test_every_table_of_modbus_serial() -> None:
    wanted = [
        point("h0", 0), point("h7", 7), point("wide", 20, kind="u32"), point("swapped", 20, kind="u32", word_order="CDAB"),
        point("i3", 3, "input"), point("c1", 1, "coil", "bool"), point("c2", 2, "coil", "bool"),
        point("d19", 19, "discrete", "bool"),
    ]  # fmt: skip
    async with modbus_serial_server() as link, ModbusDriver().open(link) as session:
        assert await read(session, link, 5, *wanted) == {
            "h0": 0, "h7": 7, "wide": (20 << 16) + 21, "swapped": (21 << 16) + 20,
            "i3": 4, "c1": True, "c2": False, "d19": True,
        }  # fmt: skip


@needs_modbus_serial
async def test_modbus_serial_says_who_it_is_and_refuses_what_it_lacks() -> None:
    async with modbus_serial_server() as link, ModbusDriver().open(link) as session:
        assert await session.identify(Address(5)) == {"vendor": "PeerMaker", "product_code": "PM-1", "revision": "2.0"}
        values = await read(session, link, 5, *(point(f"r{reg}", reg) for reg in range(990, 1003)))
        assert {name for name, value in values.items() if isinstance(value, PointFault)} == {"r1000", "r1001", "r1002"}
        assert [values[f"r{reg}"] for reg in range(990, 1000)] == list(range(990, 1000))


@pytest.mark.parametrize(("kind", "framer"), [("tcp", "socket"), ("rtu+tcp", "rtu")])
async def test_a_pymodbus_server(kind: str, framer: str) -> None:
    wanted = [
        point("voltage", 0, kind="f32"), point("energy", 2, kind="u32"), point("count", 4, kind="bcd16"),
        point("power", 5, kind="sm16"), point("far", 59), point("input", 7, "input"),
        point("coil", 2, "coil", "bool"), point("contact", 2, "discrete", "bool"), point("beyond", 70),
    ]  # fmt: skip
    async with pymodbus_server(framer) as port:
        link = LinkConfig("peer", kind, host="127.0.0.1", port=port, timeout_s=5)
        async with ModbusDriver().open(link) as session:
            values = await read(session, link, 3, *wanted)
    beyond = values.pop("beyond")
    assert isinstance(beyond, PointFault)
    assert beyond.status == "BadNodeIdUnknown"
    assert values == {
        "voltage": 229.5, "energy": 81_231_504, "count": 1234, "power": -5, "far": 59, "input": 107, "coil": True,
        "contact": False,
    }  # fmt: skip


@needs_tshark
@pytest.mark.parametrize(("kind", "framer", "protocol"), [("tcp", "socket", "mbtcp"), ("rtu+tcp", "rtu", "mbrtu")])
async def test_tshark_reads_our_frames_without_a_complaint(
    kind: str, framer: str, protocol: str, tmp_path: Path
) -> None:
    frames: list[tuple[bool, bytes]] = []
    async with pymodbus_server(framer) as port:
        link = LinkConfig("peer", kind, host="127.0.0.1", port=port, timeout_s=5)
        async with ModbusDriver().open(link, lambda way, frame, _: frames.append((way == ">", frame))) as session:
            await read(
                session, link, 3, point("a", 0, kind="f32"), point("b", 7, "input"), point("c", 2, "coil", "bool")
            )
            await read(session, link, 3, point("d", 2, "discrete", "bool"), point("gone", 5000))
            with contextlib.suppress(DeviceError):
                await session.identify(Address(3))
    capture = tmp_path / "frames.pcap"
    capture.write_bytes(_pcap(frames))
    said = await asyncio.to_thread(_tshark, capture, protocol)
    assert len(said) == len(frames)
    for line in said:
        _, malformed, expert, function, checksum = line.split("|")
        assert malformed == expert == "", line
        assert function, line
        assert protocol == "mbtcp" or checksum != "0", line


def _tshark(capture: Path, protocol: str) -> list[str]:
    fields = ["frame.number", "_ws.malformed", "_ws.expert.message", "modbus.func_code", "mbrtu.crc16.status"]
    command = ["tshark", "-r", str(capture), "-d", f"tcp.port==502,{protocol}", "-o", "mbrtu.crc_verification:TRUE"]
    command += ["-T", "fields", "-E", "separator=|", *(part for field in fields for part in ("-e", field))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def _pcap(frames: list[tuple[bool, bytes]]) -> bytes:
    """The frames as TCP segments between two hosts, raw IPv4, one millisecond apart."""
    packets = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)]
    sequence = {True: 1, False: 1}
    for at, (is_request, frame) in enumerate(frames):
        ports = (40000, 502) if is_request else (502, 40000)
        tcp = struct.pack(">HHIIBBHHH", *ports, sequence[is_request], sequence[not is_request], 0x50, 0x18, 8192, 0, 0)
        hosts = (b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02")
        source, target = hosts if is_request else hosts[::-1]
        length = 40 + len(frame)
        ip = struct.pack(">BBHHHBBH", 0x45, 0, length, at, 0, 64, 6, 0) + source + target
        packets.append(struct.pack("<IIII", 1_795_355_245, at * 1000, length, length) + ip + tcp + frame)
        sequence[is_request] += len(frame)
    return b"".join(packets)
