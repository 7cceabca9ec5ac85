"""A TCP proxy that does to a connection what bad networks do. No privileges, loopback only."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self


class TcpProxy:
    """`async with TcpProxy(port) as proxy: proxy.port`. The attributes may be changed while it runs.

    latency_s: a callable asked for each chunk. slice_bytes: forwarded in pieces of so many bytes. rate: bytes a second.
    is_black_hole: swallow everything both ways and accept nothing new, without closing. cut_after: reset the connection
    once so many bytes went up.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.latency_s: Callable[[], float] = lambda: 0.0
        self.slice_bytes = 0
        self.rate = 0
        self.is_black_hole = False
        self.cut_after = 0
        self.connections = 0
        self.cuts = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.reset()

    def reset(self) -> None:
        """Send RST on every connection, in the middle of whatever is going on."""
        for writer in list(self._writers):
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._writers.clear()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        if self.is_black_hole:
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(up_writer)
        for source, sink, is_up in ((reader, up_writer, True), (up_reader, writer, False)):
            task = asyncio.create_task(self._pump(source, sink, is_up=is_up))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_up: bool) -> None:
        carried = 0
        try:
            while data := await source.read(16384):
                if self.is_black_hole:
                    continue
                if (wait := self.latency_s()) > 0:
                    await asyncio.sleep(wait)
                if is_up and self.cut_after and carried + len(data) >= self.cut_after:
                    sink.write(data[: self.cut_after - carried])
                    self.cuts += 1
                    self.reset()
                    return
                carried += len(data)
                await self._forward(sink, data)
        except OSError:
            pass
        finally:
            if not self.is_black_hole:
                sink.close()

    async def _forward(self, sink: asyncio.StreamWriter, data: bytes) -> None:
        step = self.slice_bytes or len(data)
        for at in range(0, len(data), step):
            sink.write(data[at : at + step])
            await sink.drain()
            if self.slice_bytes:
                await asyncio.sleep(0)
            if self.rate:
                await asyncio.sleep(step / self.rate)
