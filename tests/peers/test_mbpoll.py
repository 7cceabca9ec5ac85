"""mbpoll (libmodbus) reads and writes our simulated devices; tshark finds nothing to complain of in their frames.

Neither was written here: what they agree with is the standard, not our own reading of it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from firmware_sim.device import Device
from firmware_sim.devices import MODELS, build
from firmware_sim.framing import Request, rtu_frame, tcp_frame
from firmware_sim.line import SerialLine
from firmware_sim.tcp import Station, TcpServer
from firmware_sim.wire import Wire

needs_mbpoll = pytest.mark.skipif(
    shutil.which("mbpoll") is None, reason="mbpoll is not installed (apt-get install mbpoll)"
)
needs_tshark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is not installed (apt-get install tshark)"
)

pytestmark = pytest.mark.real

MORNING_S = 1_780_045_200.0
"""A clock that stands still, so that what is read is what the snapshot says."""


def _device(slug: str, unit: int = 1) -> Device:
    return build(slug, id=f"{slug}-{unit}", unit=unit, seed=21, now=lambda: MORNING_S)


async def _mbpoll(*arguments: str) -> tuple[int, dict[int, float], str]:
    """(exit code, reference -> value, all it said)."""
    process = await asyncio.create_subprocess_exec(
        "mbpoll", "-0", "-1", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(15):
        out, _ = await process.communicate()
    said = out.decode()
    values = {int(place): float(value) for place, value in re.findall(r"^\[(\d+)\]:\s+(\S+)", said, re.MULTILINE)}
    assert process.returncode is not None
    return process.returncode, values, said


def _expected(device: Device, quantities: Sequence[str], scale: float = 1.0) -> list[float]:
    return [pytest.approx(float(device.snapshot[name] or 0) * scale, rel=1e-5) for name in quantities]


@needs_mbpoll
async def test_floats_over_tcp():
    device = _device("eastron-sdm630")
    async with TcpServer(Station([device], any_unit=True)) as server:
        code, values, said = await _mbpoll(
            "-p", str(server.port), "-t", "3:float", "-B", "-r", "0", "-c", "6", server.host
        )
    assert code == 0, said
    assert list(values) == [0, 2, 4, 6, 8, 10]
    assert list(values.values()) == _expected(device, ["u1", "u2", "u3", "i1", "i2", "i3"])


@needs_mbpoll
async def test_integers_low_word_first_behind_a_gateway():
    device = _device("carlo-gavazzi-em24", 7)
    async with TcpServer(Station([_device("abb-b23", 3), device])) as server:
        code, values, said = await _mbpoll(
            "-p", str(server.port), "-a", "7", "-t", "3:int", "-r", "0", "-c", "3", server.host
        )
        assert code == 0, said
        assert list(values.values()) == [round(float(device.snapshot[name] or 0) * 10) for name in ("u1", "u2", "u3")]
        code, _, said = await _mbpoll("-p", str(server.port), "-a", "9", "-t", "3", "-r", "0", server.host)
        assert code != 0
        assert "Target device failed to respond" in said


@needs_mbpoll
@pytest.mark.parametrize(("baud", "parity"), [(9600, "N"), (19200, "E")])
async def test_a_meter_on_a_line(baud: int, parity: str):
    device = _device("acrel-dtsd1352", 3)
    with SerialLine([_device("chint-dtsu666", 2), device], Wire(baud, parity)) as line:
        words = {"N": "none", "E": "even"}[parity]
        code, values, said = await _mbpoll(
            "-m", "rtu", "-b", str(baud), "-P", words, "-a", "3", "-t", "4", "-r", "97", "-c", "6", line.path
        )
    assert code == 0, said
    expected = [round(float(device.snapshot[f"u{phase}"] or 0) * 10) for phase in (1, 2, 3)]
    expected += [round(float(device.snapshot[f"i{phase}"] or 0) * 100 / 40) for phase in (1, 2, 3)]
    assert list(values.values()) == expected
    assert line.stats.bad_frames == 0


@needs_mbpoll
async def test_relays_and_inputs_are_read_and_written():
    board = _device("waveshare-relay-8ch-d")
    async with TcpServer(Station([board], any_unit=True)) as server:
        where = ("-p", str(server.port))
        assert (await _mbpoll(*where, "-t", "0", "-r", "2", server.host, "1"))[0] == 0  # function 5
        assert (await _mbpoll(*where, "-t", "0", "-r", "4", server.host, "1", "0", "1"))[0] == 0  # function 15
        _, coils, _ = await _mbpoll(*where, "-t", "0", "-r", "0", "-c", "8", server.host)
        _, inputs, _ = await _mbpoll(*where, "-t", "1", "-r", "0", "-c", "4", server.host)
    assert list(coils.values()) == [0, 0, 1, 0, 1, 0, 1, 0]
    assert list(inputs.values()) == [0, 0, 1, 0]


@needs_mbpoll
async def test_a_drive_takes_its_control_word_and_reference():
    drive = _device("abb-acs580")
    async with TcpServer(Station([drive], any_unit=True)) as server:
        where = ("-p", str(server.port), "-t", "4")
        assert (await _mbpoll(*where, "-r", "0", server.host, "1151", "10000"))[0] == 0  # function 16
        _, values, _ = await _mbpoll(*where, "-r", "0", "-c", "2", server.host)
        assert list(values.values()) == [1151, 10000]
        assert (await _mbpoll(*where, "-r", "1", server.host, "5000"))[0] == 0  # function 6
        code, _, said = await _mbpoll(*where, "-r", "3", server.host, "1")
        assert code != 0
        assert "Illegal data address" in said


@needs_mbpoll
@pytest.mark.parametrize(
    ("slug", "arguments", "complaint"),
    [
        ("socomec-diris", ("-t", "4", "-r", "100"), "Illegal data address"),
        ("chint-dtsu666", ("-t", "3", "-r", "0"), "Illegal function"),
        ("eastron-sdm630", ("-t", "3", "-r", "0", "-c", "90"), "Illegal data value"),
    ],
)
async def test_refusals_are_understood(slug: str, arguments: tuple[str, ...], complaint: str):
    async with TcpServer(Station([_device(slug)], any_unit=True)) as server:
        code, _, said = await _mbpoll("-p", str(server.port), *arguments, server.host)
    assert code != 0
    assert complaint in said


def _conversation(device: Device) -> list[tuple[Request, bytes]]:
    """Every function that the device knows, once, with its answer."""
    pdus = [struct.pack(">BHH", 3, 100, 4), struct.pack(">BHH", 4, 0, 2), bytes.fromhex("2B0E0100"), b"\x63\x00"]
    for function, table in ((3, "holding"), (4, "input")):
        cells = device.model.tables.get(table, ())[:4]
        pdus += [struct.pack(">BHH", function, cell.address, cell.kind.words) for cell in cells]
    if device.model.bits:
        pdus += [bytes.fromhex(text) for text in ("0100000008", "0200000008", "050002FF00", "0F000000080155")]
    if device.model.slug == "abb-acs580":
        pdus += [bytes.fromhex(text) for text in ("060001FF00", "10000000020404 7F1388".replace(" ", ""))]
    requests = [Request(device.unit, pdu, number) for number, pdu in enumerate(pdus, 1)]
    return [(request, device.answer(request.pdu)) for request in requests]


def _dissect(tmp_path: Path, frames: list[tuple[str, bytes]], protocol: str) -> str:
    """What tshark prints for each packet: protocol, function code, and any complaint. Direction I goes to the device."""
    text = "".join(
        f"{direction}\n" + "".join(f"{place:06x} {byte:02x}\n" for place, byte in enumerate(data))
        for direction, data in frames
    )
    capture = tmp_path / "frames.pcap"
    port = 502 if protocol == "mbtcp" else 1502  # tshark tells requests from replies by the registered port
    subprocess.run(
        ["text2pcap", "-q", "-D", "-T", f"40502,{port}", "-", str(capture)],
        input=text.encode(),
        check=True,
        capture_output=True,
    )
    fields = ["-e", "frame.protocols", "-e", "modbus.func_code", "-e", "_ws.malformed", "-e", "_ws.expert.message"]
    done = subprocess.run(
        ["tshark", "-r", str(capture), "-d", f"tcp.port=={port},{protocol}", "-T", "fields", *fields],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout


@needs_tshark
@pytest.mark.parametrize("protocol", ["mbtcp", "mbrtu"])
def test_tshark_complains_of_nothing(tmp_path: Path, protocol: str):
    frames: list[tuple[str, bytes]] = []
    for unit, slug in enumerate(MODELS, 1):
        for request, reply in _conversation(_device(slug, unit)):
            for direction, pdu in (("I", request.pdu), ("O", reply)):
                frame = tcp_frame(request.transaction or 0, unit, pdu) if protocol == "mbtcp" else rtu_frame(unit, pdu)
                frames.append((direction, frame))
    packets = _dissect(tmp_path, frames, protocol).splitlines()
    assert len(packets) == len(frames)
    complaints = [line for line in packets if len(line.split("\t")) < 2 or any(line.split("\t")[2:])]
    assert not complaints
    assert all("modbus" in line.split("\t")[0] for line in packets)
