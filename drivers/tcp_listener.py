"""Raw TCP where devices dial in: one stream a device, told apart by its address. Knows no device's protocol.

A device that dials in again ends its former stream: the old one is most often half open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from device_profiles.errors import DeviceTimeout

from .accepting import Acceptor, Connection
from .admission import Admission, host_of, plain
from .base import Address, LinkConfig, Trace, WireCount

MOST_BUFFERED = 64 << 10
"""Bytes of one stream that wait for their reader; more stay with the device."""
_WRITE_S = 5.0


class Stream(Connection):
    """The connection of one device."""

    def __init__(self, host: str, arrived: Callable[[Stream], None], counts: WireCount, trace: Trace | None) -> None:
        super().__init__(host)
        self.device = ""
        """Its id, or "" for one that nobody expects."""
        self._arrived = arrived
        self._counts = counts
        self._trace = trace
        self._buffer = bytearray()
        self._more = asyncio.Event()
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._is_paused = False

    @property
    def is_open(self) -> bool:
        """It can still be written to."""
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._arrived(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._more.set()
        self._can_write.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._counts.bytes_in += len(data)
        if self._trace is not None:
            self._trace("<", data, self.device or self.host)
        self._buffer += data
        self._more.set()
        if len(self._buffer) >= MOST_BUFFERED and self.transport is not None:
            self._is_paused = True
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    async def read(self) -> bytes:
        """What has come, at least one byte; b"" when the stream has ended. Waits as long as it takes: put a time limit around."""
        while not self._buffer:
            if self.transport is None:
                return b""
            self._more.clear()
            await self._more.wait()
        data = bytes(self._buffer)
        self._buffer.clear()
        if self._is_paused and self.transport is not None:
            self._is_paused = False
            self.transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Sends. Raises DeviceTimeout when the device takes nothing, or is gone."""
        try:
            async with asyncio.timeout(_WRITE_S):
                await self._can_write.wait()
        except TimeoutError:
            self.abort()
        if self.transport is None or self.transport.is_closing():
            raise DeviceTimeout(
                "its connection has ended", where=self.device or self.host, next_step="it dials in again"
            )
        if self._trace is not None:
            self._trace(">", data, self.device or self.host)
        self._counts.bytes_out += len(data)
        self.transport.write(data)


class TcpListener:
    """The open port. `arrived` is called with each new stream of an expected device, before it is read."""

    def __init__(self, link: LinkConfig, arrived: Callable[[Stream], None], trace: Trace | None = None) -> None:
        self.link = link
        self.counts = WireCount()
        self.admission = Admission(link, self.counts, per_address=4)
        self._arrived = arrived
        self._devices: dict[str, str] = {}
        """Host to device."""
        self._streams: dict[str, Stream] = {}
        self._acceptor = Acceptor(link, self.admission, lambda host: Stream(host, self._greet, self.counts, trace))

    @property
    def own(self) -> tuple[str, int]:
        """Address and port where we listen."""
        return self._acceptor.own

    def expect(self, device: Address) -> None:
        """This device may dial in from its address (`at`). Raises DeviceError for an address that is a name."""
        self.admission.expect(device)
        if device.at:
            self._devices[plain(host_of(device.at))] = device.device or str(device.unit)

    def forget(self, device: Address) -> None:
        """It is expected no more, and its stream ends."""
        self.admission.forget(device)
        name = device.device or str(device.unit)
        self._devices = {host: each for host, each in self._devices.items() if each != name}
        if (stream := self._streams.pop(name, None)) is not None:
            stream.abort()

    def stream(self, device: Address) -> Stream | None:
        """The open stream of a device; None when it has not dialled in."""
        stream = self._streams.get(device.device or str(device.unit))
        return stream if stream is not None and stream.is_open else None

    def check(self) -> None:
        """Raises LinkLost when nobody is let in any more."""
        self._acceptor.check()

    async def open(self) -> None:
        """Raises LinkRefused, ConfigError."""
        await self._acceptor.open()

    async def close(self) -> None:
        await self._acceptor.close()

    def _greet(self, stream: Stream) -> None:
        device = self._devices.get(stream.host, "")
        if not device:
            self.admission.stranger(stream.host, stream.host)
            stream.abort()
            return
        if (former := self._streams.get(device)) is not None:
            former.abort()
        stream.device = device
        self._streams[device] = stream
        self._arrived(stream)


@asynccontextmanager
async def open_tcp_listener(
    link: LinkConfig, arrived: Callable[[Stream], None], trace: Trace | None = None
) -> AsyncIterator[TcpListener]:
    """Listens, and ends at the end. Raises LinkRefused, ConfigError."""
    listener = TcpListener(link, arrived, trace)
    await listener.open()
    try:
        yield listener
    finally:
        await listener.close()
