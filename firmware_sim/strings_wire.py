"""The wires of simulated devices that speak in strings: a pseudo terminal paced at its baud rate, a TCP server or client, UDP.

A device is a `Talker`: it hears bytes and says bytes. The wire counts both, so that a test sees who spoke. Loopback only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from collections import deque
from pathlib import Path
from typing import Protocol

KINDS = ("serial", "tcp", "tcp-listen", "udp")
"""How the agent reaches it: `tcp` it dials us, `tcp-listen` we dial it, `udp` we send datagrams to it."""


class Talker(Protocol):
    """A device on a wire."""

    def heard(self, data: bytes) -> None:
        """Bytes of the other side, as they came."""
        ...

    def plug(self, wire: StringsWire) -> None:
        """The wire that it speaks on from now."""
        ...


class StringsWire:
    """One device on one wire: `async with StringsWire(talker, "serial", baud=9600) as wire: wire.path`.

    `port` of `tcp` and `udp` is our own (0 takes a free one); of `tcp-listen` and `udp` `to` is the agent's.
    """

    def __init__(
        self,
        talker: Talker,
        kind: str = "serial",
        *,
        baud: int = 9600,
        port: int = 0,
        to: int = 0,
        link: Path | None = None,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
        self.talker = talker
        self.kind = kind
        self.baud = baud
        self.port = port
        self.to = to
        self.path = ""
        self.bytes_heard = 0
        """Of the other side: a device that is only listened to hears none."""
        self.bytes_said = 0
        self.connections = 0
        self._link = link
        self._master = self._slave = -1
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._queue: deque[bytes] = deque()
        self._task: asyncio.Task[None] | None = None
        self._dialling: asyncio.Task[None] | None = None
        talker.plug(self)

    async def __aenter__(self) -> StringsWire:
        loop = asyncio.get_running_loop()
        if self.kind == "serial":
            self.plug()
        elif self.kind == "tcp":
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]
        elif self.kind == "tcp-listen":
            self._dialling = loop.create_task(self._dial(), name="sim-strings-dial")
        else:
            self._udp, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self), local_addr=("127.0.0.1", self.port)
            )
            self.port = self._udp.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._task, self._dialling):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.close()
        if self._udp is not None:
            self._udp.close()
        self.unplug()

    def plug(self) -> None:
        """Plugs the adapter of a serial wire in."""
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        if self._link is not None:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self.path)
            self.path = str(self._link)
        asyncio.get_running_loop().add_reader(self._master, self._ready)

    def unplug(self) -> None:
        """Pulls the adapter of a serial wire out."""
        if self._master < 0:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1

    def say(self, data: bytes) -> None:
        """Puts bytes on the wire; a serial one takes its time for them."""
        self.bytes_said += len(data)
        if self.kind == "serial":
            self._queue.append(data)
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._pace(), name="sim-strings-pace")
        elif self._udp is not None:
            self._udp.sendto(data, ("127.0.0.1", self.to))
        else:
            for writer in self._writers:
                writer.write(data)

    def drop(self) -> None:
        """Closes all connections."""
        for writer in tuple(self._writers):
            writer.close()

    def take(self, data: bytes) -> None:
        """Bytes of the other side."""
        self.bytes_heard += len(data)
        self.talker.heard(data)

    def _ready(self) -> None:
        with contextlib.suppress(OSError):
            self.take(os.read(self._master, 4096))

    async def _pace(self) -> None:
        while self._queue:
            data = self._queue.popleft()
            for at in range(0, len(data), 16):
                part = data[at : at + 16]
                await asyncio.sleep(10 * len(part) / self.baud)
                if self._master >= 0:
                    with contextlib.suppress(OSError):
                        os.write(self._master, part)

    async def _dial(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.to)
                await self._serve(reader, writer)
            await asyncio.sleep(0.05)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        try:
            while data := await reader.read(4096):
                self.take(data)
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, wire: StringsWire) -> None:
        self._wire = wire

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._wire.to = addr[1]
        self._wire.take(data)
