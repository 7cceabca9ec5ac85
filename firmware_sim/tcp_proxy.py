"""A TCP proxy that treats connections as bad networks do: late, in crumbs, slow, cut, or silent.

Knows nothing of what passes. The treatment can change at any moment and holds for connections that exist. Tests drive it as an
object in their event loop, people by `plantroom sim proxy`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from dataclasses import dataclass
from types import TracebackType

_MAX_HELD = 1_048_576
"""Bytes on their way in one direction before the proxy stops reading: a network's buffers are not endless either."""


@dataclass(slots=True)
class Treatment:
    """What is done to every connection. Change the fields at any time."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    """Added to the latency, uniformly from -jitter to +jitter; order is kept, as TCP keeps it."""
    slice_bytes: int = 0
    """At most so many bytes in one segment; 0 = as they came."""
    bytes_per_s: float = 0.0
    """Bandwidth of each direction of each connection; 0 = unlimited."""
    blackhole_up: bool = False
    """What the client sends is swallowed: no reset, no FIN."""
    blackhole_down: bool = False
    """What the server sends is swallowed."""
    close_after: int = 0
    """Close a connection (FIN both ways) once so many bytes of the client have passed."""
    reset_after: int = 0
    """Reset it (RST both ways) instead."""
    refuse: bool = False
    """New connections are reset at once."""


class _Side(asyncio.Protocol):
    """One end of a connection: the client's, or ours towards the server."""

    transport: asyncio.Transport

    def __init__(self, pair: _Pair, out: _Flow) -> None:
        self._pair, self._out = pair, out
        self.into: _Flow | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._out.push(data)

    def eof_received(self) -> bool:
        self._out.push(b"")
        return True  # stay open the other way

    def pause_writing(self) -> None:
        if self.into is not None:
            self.into.hold(True)

    def resume_writing(self) -> None:
        if self.into is not None:
            self.into.hold(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pair.lost(self._out, reset=exc is not None)


class _Flow:
    """One direction of a connection: bytes wait for their time, then go out in segments. b"" is the end (FIN)."""

    def __init__(self, pair: _Pair, *, up: bool) -> None:
        self._pair, self._up = pair, up
        self._treatment = pair.proxy.treatment
        self._loop = asyncio.get_running_loop()
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._timer: asyncio.Handle | None = None
        self._waiting = False
        self.source: _Side | None = None
        self.sink: _Side | None = None
        self.passed = 0
        self.swallowed = 0
        self.ended = False

    @property
    def is_blackhole(self) -> bool:
        return self._treatment.blackhole_up if self._up else self._treatment.blackhole_down

    def push(self, data: bytes) -> None:
        if self.is_blackhole:
            self.swallowed += max(len(data), 1)
            return
        wait = self._treatment.latency_s + self._pair.proxy.rng.uniform(-1, 1) * self._treatment.jitter_s
        due = self._loop.time() + max(wait, 0.0)
        if self._held:
            due = max(due, self._held[-1][0])
        self._held.append((due, data))
        self._held_bytes += len(data)
        if self._held_bytes > _MAX_HELD and self.source is not None:
            self.source.transport.pause_reading()
        self._schedule()

    def hold(self, on: bool) -> None:
        """The sink's own buffer is full, or no longer."""
        self._waiting = on
        if not on:
            self._schedule()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._held.clear()

    def _schedule(self, not_before: float = 0.0) -> None:
        if self._timer is None and self._held and self.sink is not None and not self._waiting:
            at = max(self._held[0][0], not_before)
            late = at <= self._loop.time()
            self._timer = self._loop.call_soon(self._send) if late else self._loop.call_at(at, self._send)

    def _send(self) -> None:
        self._timer = None
        if not self._held or self.sink is None or self.sink.transport.is_closing():
            return None
        due, data = self._held.popleft()
        if self.is_blackhole:
            self.swallowed += max(len(data), 1)
            return self._schedule()
        segment, rest = self._cut(data)
        if rest:
            self._held.appendleft((due, rest))
        if segment:
            self.sink.transport.write(segment)
        else:
            self.sink.transport.write_eof()
            self.ended = True
            self._pair.finish()
        self.passed += len(segment)
        self._held_bytes -= len(segment)
        if self._held_bytes <= _MAX_HELD // 2 and self.source is not None:
            with contextlib.suppress(RuntimeError):  # the source is closing
                self.source.transport.resume_reading()
        if self._up and self._pair.is_spent(self.passed):
            return None
        rate = self._treatment.bytes_per_s
        return self._schedule(self._loop.time() + len(segment) / rate if rate else 0.0)

    def _cut(self, data: bytes) -> tuple[bytes, bytes]:
        size = self._treatment.slice_bytes
        if not size and self._treatment.bytes_per_s:
            size = max(int(self._treatment.bytes_per_s / 20), 1)  # 50 ms worth
        return (data[:size], data[size:]) if size else (data, b"")


class _Pair:
    """A client's connection and the one to the server."""

    def __init__(self, proxy: TcpProxy) -> None:
        self.proxy = proxy
        self.up, self.down = _Flow(self, up=True), _Flow(self, up=False)
        self.client = _Side(self, self.up)
        self.server = _Side(self, self.down)
        self.client.into, self.server.into = self.down, self.up

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self.server, *self.proxy.target)
        except OSError:
            self.reset()
            return
        self.up.source, self.up.sink = self.client, self.server
        self.down.source, self.down.sink = self.server, self.client
        if self.client.transport.is_closing():
            self.server.transport.close()
        self.up.hold(False)

    def finish(self) -> None:
        """Closes both ends once each has said that it sends no more."""
        if self.up.ended and self.down.ended:
            for side in self.sides:
                side.transport.close()

    def is_spent(self, passed: int) -> bool:
        """Ends the connection where its bytes are used up."""
        treatment = self.proxy.treatment
        if treatment.reset_after and passed >= treatment.reset_after:
            self.reset()
            return True
        if treatment.close_after and passed >= treatment.close_after:
            for side in self.sides:
                side.transport.close()
            return True
        return False

    @property
    def sides(self) -> tuple[_Side, ...]:
        return tuple(side for side in (self.client, self.server) if hasattr(side, "transport"))

    def reset(self) -> None:
        for side in self.sides:
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                side.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            side.transport.abort()

    def lost(self, flow: _Flow, *, reset: bool) -> None:
        """One end is gone; the other learns it, unless its news is swallowed."""
        if flow.is_blackhole:
            flow.swallowed += 1
            return
        if reset:
            self.reset()
        elif flow.sink is not None:
            flow.sink.transport.close()
        flow.stop()
        if all(side.transport.is_closing() for side in self.sides):
            self.proxy.pairs.discard(self)


class TcpProxy:
    """`async with TcpProxy("127.0.0.1", 1883) as proxy:` and the client connects to 127.0.0.1:`proxy.port`."""

    def __init__(
        self, host: str, target_port: int, *, port: int = 0, treatment: Treatment | None = None, seed: int = 0
    ) -> None:
        self.target = (host, target_port)
        self.port = port
        self.treatment = treatment or Treatment()
        self.rng = random.Random(seed)
        self.accepted = 0
        self.pairs: set[_Pair] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Raises OSError where the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self.cut()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> TcpProxy:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _accept(self) -> asyncio.Protocol:
        self.accepted += 1
        if self.treatment.refuse:
            return _Refused()
        pair = _Pair(self)
        self.pairs.add(pair)
        task = asyncio.get_running_loop().create_task(pair.connect(), name="proxy-connect")
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return pair.client

    def blackhole(self, on: bool = True) -> None:
        """Both ways silent with the connections open (half-open TCP). Switched off, the connections that lost bytes are reset."""
        self.treatment.blackhole_up = self.treatment.blackhole_down = on
        if not on:
            for pair in tuple(self.pairs):
                if pair.up.swallowed or pair.down.swallowed:
                    pair.reset()
                    self.pairs.discard(pair)

    def cut(self) -> None:
        """Resets every connection that exists."""
        for pair in tuple(self.pairs):
            pair.reset()
        self.pairs.clear()


class _Refused(asyncio.Protocol):
    """A connection that is reset as soon as it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
