"""Simulated devices on real sockets: framing, gateways, serial servers, and connections that go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from firmware_sim.device import Device
from firmware_sim.devices import build
from firmware_sim.faults import make_fault
from firmware_sim.framing import Request, rtu_frame, tcp_frame
from firmware_sim.tcp import Station, TcpServer
from firmware_sim.wire import Wire

READ = bytes.fromhex("0300640002")
ANSWER = bytes.fromhex("030400640065")


def _device(unit: int = 1) -> Device:
    return build("address", id=f"d{unit}", unit=unit, seed=0, now=lambda: 1.78e9)


@asynccontextmanager
async def _client(server: TcpServer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        try:
            yield reader, writer
        finally:
            writer.close()


async def _ask(server: TcpServer, data: bytes, size: int) -> bytes:
    async with _client(server) as (reader, writer):
        writer.write(data)
        return await reader.readexactly(size)


async def test_a_device_of_its_own_answers_any_unit():
    async with TcpServer(Station([_device()], any_unit=True)) as server:
        for unit in (1, 255, 0):
            expected = tcp_frame(9, unit, ANSWER)
            assert await _ask(server, tcp_frame(9, unit, READ), len(expected)) == expected


async def test_a_gateway_knows_its_units_and_says_0b_for_the_others():
    async with TcpServer(Station([_device(3), _device(4)])) as server:
        data = tcp_frame(1, 3, READ) + tcp_frame(2, 9, READ) + tcp_frame(3, 4, READ)
        expected = [tcp_frame(1, 3, ANSWER), tcp_frame(2, 9, b"\x83\x0b"), tcp_frame(3, 4, ANSWER)]
        got = await _ask(server, data, sum(map(len, expected)))
        assert all(frame in got for frame in expected)
        assert [device.requests for device in server.station.devices.values()] == [1, 1]


async def test_requests_in_crumbs_and_in_one_piece():
    async with TcpServer(Station([_device()])) as server, _client(server) as (reader, writer):
        for byte in tcp_frame(5, 1, READ):
            writer.write(bytes((byte,)))
            await writer.drain()
        assert await reader.readexactly(13) == tcp_frame(5, 1, ANSWER)
        writer.write(tcp_frame(6, 1, READ) * 3)
        assert await reader.readexactly(39) == tcp_frame(6, 1, ANSWER) * 3


async def test_what_is_not_modbus_closes_the_connection():
    async with TcpServer(Station([_device()])) as server, _client(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""


async def test_rtu_over_tcp_is_silent_for_foreign_units_and_bad_crc():
    station = Station([_device(5)], wire=Wire(115200), unknown=None)
    async with TcpServer(station, rtu=True) as server, _client(server) as (reader, writer):
        writer.write(rtu_frame(6, READ) + rtu_frame(5, READ)[:-1] + b"\0" + rtu_frame(5, READ))
        expected = rtu_frame(5, ANSWER)
        assert await reader.readexactly(len(expected)) == expected
        assert station.devices[5].requests == 1


async def test_a_broadcast_is_obeyed_and_not_answered():
    relays = build("waveshare-relay-8ch-d", id="r", unit=1, seed=0, now=lambda: 1.78e9)
    async with TcpServer(Station([relays], unknown=None), rtu=True) as server, _client(server) as (reader, writer):
        writer.write(rtu_frame(0, bytes.fromhex("050001FF00")) + rtu_frame(1, bytes.fromhex("0100000008")))
        expected = rtu_frame(1, bytes.fromhex("010102"))
        assert await reader.readexactly(len(expected)) == expected


def test_a_gateways_line_serves_one_request_after_the_other():
    device = build("eastron-sdm630", id="d", unit=1, seed=0, now=lambda: 1.78e9)
    station = Station([device], wire=Wire(9600))
    request = Request(1, bytes.fromhex("0400000002"), 1)
    first, _ = station.serve(request, now=50.0)
    second, _ = station.serve(request, now=50.0)
    wire_s = Wire(9600).exchange_s(8, 9) + device.model.turnaround_s
    assert first == pytest.approx(wire_s)
    assert second == pytest.approx(2 * wire_s)


async def test_dropped_and_half_open_connections():
    device = _device()
    async with TcpServer(Station([device])) as server:
        device.faults.add(make_fault("drop", {"count": 1}))
        async with _client(server) as (reader, writer):
            writer.write(tcp_frame(1, 1, READ))
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
        device.faults.add(make_fault("half_open", {"count": 1}))
        async with _client(server) as (reader, writer):
            writer.write(tcp_frame(1, 1, READ) + tcp_frame(2, 1, READ))
            assert await _ask(server, tcp_frame(3, 1, READ), 13) == tcp_frame(3, 1, ANSWER)
            assert not reader._buffer  # type: ignore[attr-defined]
            assert device.requests == 3  # what came after the fault was never looked at
            server.drop_connections()
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)


async def test_a_partway_drop_sends_its_bytes_first():
    device = _device()
    device.faults.add(make_fault("drop_partway", {"size": 5}))
    async with TcpServer(Station([device])) as server, _client(server) as (reader, writer):
        writer.write(tcp_frame(1, 1, READ))
        assert await reader.readexactly(5) == tcp_frame(1, 1, ANSWER)[:5]
