"""Simulated devices on TCP: Modbus TCP, one device or a gateway with many units, and serial servers that pass RTU bytes.

Requests of one gateway are served one after the other, as its RS-485 side would; a reply takes the device's turnaround and,
behind a line, the time its bytes need there.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Iterable
from types import TracebackType

from firmware_sim.device import Device
from firmware_sim.faults import Emission
from firmware_sim.framing import BadStream, Request, rtu_parts, take_tcp
from firmware_sim.pdu import GATEWAY_NO_ANSWER, exception
from firmware_sim.wire import Wire

_MAX_QUEUED = 4096
"""Pieces of replies that wait for their time on one connection; a client that asks on and on beyond that is dropped."""


class Station:
    """The devices behind one listening port, and the one place where they are asked one by one.

    `any_unit`: a device that answers whatever unit is asked for, as most meters with their own network port do. `wire`: the
    RS-485 line behind a gateway, whose time every byte costs. `unknown`: exception code for units that are not there (a
    gateway says 0x0B), None for silence.
    """

    def __init__(
        self,
        devices: Iterable[Device],
        *,
        any_unit: bool = False,
        wire: Wire | None = None,
        unknown: int | None = GATEWAY_NO_ANSWER,
    ) -> None:
        self.devices = {device.unit: device for device in devices}
        self._only = next(iter(self.devices.values())) if any_unit and len(self.devices) == 1 else None
        self._wire = wire
        self._unknown = unknown
        self._free_at = 0.0

    def serve(self, request: Request, now: float) -> tuple[float, Emission]:
        """(seconds until the reply begins, what is sent). Time on the inner line is booked, so that requests queue."""
        if request.unit == 0 and request.transaction is None:  # broadcast: everybody obeys, nobody answers
            for listener in self.devices.values():
                listener.answer(request.pdu)
            return 0.0, Emission()
        device = self.devices.get(request.unit) or self._only
        if device is None:
            if self._unknown is None:
                return 0.0, Emission()
            return 0.0, Emission(((0.0, request.frame(exception(request.pdu[0], self._unknown))),))
        reply = device.answer(request.pdu)
        emission = device.faults.emit(request, reply)
        busy = device.model.turnaround_s
        if self._wire is not None:
            busy += self._wire.exchange_s(len(request.pdu) + 3, len(reply) + 3)
        begins = max(now, self._free_at)
        self._free_at = begins + busy
        return self._free_at - now, emission


class _Connection(asyncio.Protocol):
    """One client. `rtu` frames arrive over a serial server: their end is known by CRC, because TCP has no silence."""

    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._deaf = False
        self._timers: deque[asyncio.TimerHandle] = deque()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections.add(self)
        self._server.accepted += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        for timer in self._timers:
            timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._deaf or self._server.deaf:
            return
        self._buffer += data
        try:
            while not self._deaf and (request := self._take()) is not None:
                self._serve(request)
        except BadStream:
            self._transport.close()

    def _take(self) -> Request | None:
        if not self._server.rtu:
            return take_tcp(self._buffer)
        return take_rtu(self._buffer)

    def _serve(self, request: Request) -> None:
        loop = asyncio.get_running_loop()
        delay, emission = self._server.station.serve(request, loop.time())
        while self._timers and (self._timers[0].cancelled() or self._timers[0].when() <= loop.time()):
            self._timers.popleft()
        if len(self._timers) >= _MAX_QUEUED:
            self._transport.close()
            return
        if emission.deaf:
            self._deaf = True
        last = delay
        for after, data in emission.parts:
            last = delay + after
            self._timers.append(loop.call_later(last, self._send, data))
        if emission.close:
            self._timers.append(loop.call_later(last, self.reset))

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def reset(self) -> None:
        """Drops the connection with a RST, as a device does that lost its power."""
        sock = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def take_rtu(buffer: bytearray) -> Request | None:
    """Cuts the first request with a right CRC off a byte stream; noise before it goes with it. None while there is none."""
    for start in range(len(buffer)):
        length = _rtu_length(buffer, start)
        if length is None or len(buffer) - start < length:
            continue
        parts = rtu_parts(bytes(buffer[start : start + length]))
        if parts is not None:
            del buffer[: start + length]
            return Request(*parts)
    if len(buffer) > 512:
        buffer.clear()
    return None


def _rtu_length(buffer: bytearray, start: int) -> int | None:
    """Length of a request frame by its function code, as far as it can be known yet; None for a function no request has."""
    if len(buffer) - start < 2:
        return 8
    function = buffer[start + 1]
    if function in (1, 2, 3, 4, 5, 6):
        return 8
    if function in (15, 16):
        return 9 + buffer[start + 6] if len(buffer) - start > 6 else 9
    if function == 43:
        return 7
    return None


class TcpServer:
    """A listening socket on loopback. `async with TcpServer(station) as server: server.port`."""

    def __init__(self, station: Station, *, host: str = "127.0.0.1", port: int = 0, rtu: bool = False) -> None:
        self.station, self.rtu = station, rtu
        self.host, self.port = host, port
        self.connections: set[_Connection] = set()
        self.accepted = 0
        self.deaf = False
        """True: connections are accepted and nothing is ever answered (a hung device)."""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Raises OSError where the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for connection in tuple(self.connections):
                connection.reset()
            await self._server.wait_closed()
            self._server = None

    def drop_connections(self) -> None:
        for connection in tuple(self.connections):
            connection.reset()

    async def __aenter__(self) -> TcpServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
