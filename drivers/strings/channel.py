"""The wires that carry strings, all alike: bytes out, and bytes in as they come. Each listens from the moment it is open.

Serial ports and serial servers are read by a thread of their own, the others by asyncio. Nothing is ever sent but by `send`, so
that a link whose devices have no requests stays silent. `peer` is the other side's host on links with many, "" elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from device_profiles.errors import ConfigError, DeviceTimeout, LinkError, LinkLost, LinkRefused, LinkTimeout
from drivers.base import Address, LinkConfig
from drivers.tcp_listener import Stream, TcpListener, open_tcp_listener
from drivers.udp_port import UdpPort, open_udp, place_of

Take = Callable[[str, bytes], None]
"""Called in the loop with (peer, what came); b"" says that what comes now is another connection, or another datagram."""
Lost = Callable[[LinkError], None]

_CHUNK = 4096
_AHEAD = 8
"""Chunks that a thread may be ahead of the loop."""


class Channel(Protocol):
    """An open wire."""

    async def send(self, data: bytes, device: Address) -> None:
        """Puts bytes on the wire, for this device. Raises LinkError; DeviceTimeout when it is not there."""
        ...

    def expect(self, device: Address) -> None:
        """From now on this device may speak to us. Raises ConfigError."""
        ...

    def is_there(self, device: Address) -> bool:
        """False where a device must dial in, and has not. Raises LinkLost."""
        ...


@asynccontextmanager
async def open_channel(link: LinkConfig, take: Take, lost: Lost) -> AsyncIterator[Channel]:
    """Opens the wire of a link. Raises LinkError."""
    if link.is_line:
        async with _line(link, take, lost) as line:
            yield line
    elif link.kind == "tcp":
        async with _tcp(link, take, lost) as stream:
            yield stream
    elif link.kind == "udp":
        async with _udp(link, take) as port:
            yield port
    else:
        async with _listening(link, take) as server:
            yield server


# -- serial lines -----------------------------------------------------------------------------------------------------


class _Line:
    def __init__(self, link: LinkConfig, take: Take, lost: Lost) -> None:
        from drivers.serial_port import open_port

        self._link = link
        self._port = open_port(link)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._take, self._lost = take, lost
        self._stopping = False
        self._ahead = threading.Semaphore(_AHEAD)
        self._thread = threading.Thread(target=self._read, name=f"strings-{link.id}", daemon=True)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread.start()

    def expect(self, device: Address) -> None:
        """Who is on the wire may speak."""

    def is_there(self, device: Address) -> bool:
        return True

    async def send(self, data: bytes, device: Address) -> None:
        await asyncio.to_thread(self._port.write, data)

    def close(self) -> None:
        self._stopping = True
        self._ahead.release()
        self._port.wake()
        if self._thread.ident is not None:
            self._thread.join(5.0)
        self._port.close()

    def _read(self) -> None:
        while not self._stopping:
            try:
                data = self._port.read(1.0)
            except LinkLost as error:
                self._tell(self._lost, error)
                return
            if data:
                self._ahead.acquire()
                self._tell(self._taken, data)

    def _taken(self, data: bytes) -> None:
        self._ahead.release()
        self._take("", data)

    def _tell(self, what: Callable[..., None], *args: object) -> None:
        assert self._loop is not None
        if not self._stopping:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(what, *args)


@asynccontextmanager
async def _line(link: LinkConfig, take: Take, lost: Lost) -> AsyncIterator[Channel]:
    opening = asyncio.ensure_future(asyncio.to_thread(_Line, link, take, lost))
    try:
        line = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unwanted)
        raise
    line.begin(asyncio.get_running_loop())
    try:
        yield line
    finally:
        await asyncio.shield(asyncio.to_thread(line.close))


def _close_unwanted(opening: asyncio.Future[_Line]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


# -- a socket that we dial --------------------------------------------------------------------------------------------


class _Stream:
    def __init__(self, writer: asyncio.StreamWriter, link: LinkConfig) -> None:
        self._writer = writer
        self._link = link

    def expect(self, device: Address) -> None:
        """Who is on the wire may speak."""

    def is_there(self, device: Address) -> bool:
        return True

    async def send(self, data: bytes, device: Address) -> None:
        await _put(self._writer, data, self._link)


async def _put(writer: asyncio.StreamWriter, data: bytes, link: LinkConfig) -> None:
    try:
        writer.write(data)
        async with asyncio.timeout(link.timeout_s):
            await writer.drain()
    except TimeoutError as error:
        step = "see whether the device hangs"
        raise LinkLost(
            f"nothing more could be sent within {link.timeout_s:g} s", where=link.where, next_step=step
        ) from error
    except OSError as error:
        raise _gone(link, error) from error


def _gone(link: LinkConfig, error: OSError | None) -> LinkLost:
    why = f" ({error.strerror or error})" if error else ""
    step = "it is opened again by itself; if this repeats, see how many connections the device allows"
    return LinkLost(f"the device closed the connection{why}", where=link.where, next_step=step)


@asynccontextmanager
async def _tcp(link: LinkConfig, take: Take, lost: Lost) -> AsyncIterator[Channel]:
    try:
        async with asyncio.timeout(link.connect_timeout_s):
            reader, writer = await asyncio.open_connection(link.host, link.port, limit=_CHUNK * 4)
    except TimeoutError as error:
        what = f"no connection within {link.connect_timeout_s:g} s"
        raise LinkTimeout(what, where=link.where, next_step="check the address and the network") from error
    except OSError as error:
        step = "check address and port; many devices allow one connection only"
        why = os.strerror(error.errno) if error.errno else str(error)
        raise LinkRefused(f"cannot connect: {why}", where=link.where, next_step=step) from error

    async def read() -> None:
        try:
            while data := await reader.read(_CHUNK):
                take("", data)
                await asyncio.sleep(0)
        except OSError as error:
            lost(_gone(link, error))
        else:
            lost(_gone(link, None))

    task = asyncio.get_running_loop().create_task(read(), name=f"strings-{link.id}")
    try:
        yield _Stream(writer, link)
    finally:
        task.cancel()
        writer.close()
        with suppress(asyncio.CancelledError):
            await task


# -- devices at addresses of their own --------------------------------------------------------------------------------


class _Datagrams:
    def __init__(self, port: UdpPort) -> None:
        self._port = port

    def expect(self, device: Address) -> None:
        self._port.admission.expect(device)

    def is_there(self, device: Address) -> bool:
        self._port.check()
        return True

    async def send(self, data: bytes, device: Address) -> None:
        if not device.at:
            raise ConfigError("it has no address to send to", where=device.device, next_step="add at: host:port")
        self._port.send(data, place_of(device.at, self._port.link.port, device.device))


@asynccontextmanager
async def _udp(link: LinkConfig, take: Take) -> AsyncIterator[Channel]:
    def received(data: bytes, peer: tuple[str, int]) -> None:
        take(peer[0], data)
        take(peer[0], b"")

    async with open_udp(link, received) as port:
        yield _Datagrams(port)


class _Dialled:
    def __init__(self, take: Take) -> None:
        self._take = take
        self._readers: set[asyncio.Task[None]] = set()
        self.listener: TcpListener | None = None

    def arrived(self, stream: Stream) -> None:
        """A device has dialled in."""
        task = asyncio.get_running_loop().create_task(self._read(stream), name=f"strings-{stream.host}")
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    def expect(self, device: Address) -> None:
        assert self.listener is not None
        self.listener.expect(device)

    def is_there(self, device: Address) -> bool:
        assert self.listener is not None
        self.listener.check()
        return self.listener.stream(device) is not None

    async def send(self, data: bytes, device: Address) -> None:
        assert self.listener is not None
        stream = self.listener.stream(device)
        if stream is None:
            raise DeviceTimeout("it has not dialled in", next_step="check the server address in the device's settings")
        await stream.write(data)

    async def end(self) -> None:
        for task in tuple(self._readers):
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    async def _read(self, stream: Stream) -> None:
        self._take(stream.host, b"")
        while data := await stream.read():
            for at in range(0, len(data), _CHUNK):
                self._take(stream.host, data[at : at + _CHUNK])
                await asyncio.sleep(0)


@asynccontextmanager
async def _listening(link: LinkConfig, take: Take) -> AsyncIterator[Channel]:
    dialled = _Dialled(take)
    async with open_tcp_listener(link, dialled.arrived) as dialled.listener:
        try:
            yield dialled
        finally:
            await dialled.end()
