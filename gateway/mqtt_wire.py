"""An asyncio transport that sorts MQTT packets: PUBLISH and PUBACK to the connection, all others to paho.

It owns framing and buffering: one read and one write a turn of the loop, whatever the number of packets. To paho it has the
shape of a non-blocking socket. TLS, DNS and flow control are the transport's.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Protocol, cast

from gateway.mqtt_packets import PUBACK, PUBLISH, frame_length

_HIGH_WATER = 1024 * 1024


class Listener(Protocol):
    """What a connection does with what comes over its wire."""

    def on_publish(self, flags: int, body: bytes) -> None: ...
    def on_puback(self, body: bytes) -> None: ...
    def on_session_packet(self) -> None:
        """A whole packet for paho waits in `recv`."""

    def on_lost(self, exc: BaseException | None) -> None: ...


class Wire(asyncio.Protocol):
    """`write` and `flush` for the hot packets; `recv`, `send`, `close` for paho.

    Raises `Malformed` out of `data_received`; the transport then closes and tells `on_lost`.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._held = 0
        self._need = 0
        self._for_paho = b""
        self._out: list[bytes | bytearray] = []
        self._is_flush_due = False
        self.is_paused = False
        self.last_received = time.monotonic()

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        self.last_received = time.monotonic()
        self._parts.append(data)
        self._held += len(data)
        # Joined only when a packet can be complete: a packet that arrives byte by byte is not copied at each of them.
        if self._held >= self._need:
            self._sort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._transport = None
        self._listener.on_lost(exc)

    def _sort(self) -> None:
        """Hand out every complete packet, until paused."""
        self._need = 0
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        size = len(data)
        at = 0
        listener = self._listener
        while at < size and not self.is_paused:
            frame = frame_length(data, at)
            if frame is None:
                break
            head, length = frame
            if at + length > size:
                self._need = length
                break
            first = data[at]
            body_at, at = at + head, at + length
            if first >> 4 == PUBLISH:
                listener.on_publish(first & 0x0F, data[body_at:at])
            elif first >> 4 == PUBACK:
                listener.on_puback(data[body_at:at])
            else:
                self._for_paho = data[body_at - head : at]
                listener.on_session_packet()
        self._parts = [data[at:]] if at < size else []
        self._held = size - at

    # The connection's side

    def write(self, packet: bytes | bytearray) -> None:
        """Send with everything else of this turn of the loop. Packets for a lost transport are dropped."""
        self._out.append(packet)
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Hand everything written to the transport in one piece."""
        self._is_flush_due = False
        if self._out and self._transport is not None:
            self._transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
        self._out.clear()

    def pause(self) -> None:
        """Hand out no more packets and stop reading: the peer feels it through TCP's window."""
        self.is_paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self.is_paused:
            return
        self.is_paused = False
        if self._transport is not None:
            self._transport.resume_reading()
            self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        is_sound = False
        try:
            if self._held and not self.is_paused:
                self._sort()
            is_sound = True
        finally:
            # An error in here is not in the transport's hands, as one in data_received is.
            if not is_sound:
                self.abort()

    def abort(self) -> None:
        """Close at once; what was not yet sent is gone."""
        if self._transport is not None:
            self._transport.abort()

    def give_up_after(self, seconds: float) -> None:
        """Let the kernel end the connection when sent bytes stay unacknowledged for so long (RFC 5482; Linux)."""
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        raw = None if self._transport is None else self._transport.get_extra_info("socket")
        if option is not None and raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))

    # paho's side: its SocketLike

    def recv(self, buffer_size: int) -> bytes:
        if not self._for_paho:
            raise BlockingIOError
        data, self._for_paho = self._for_paho[:buffer_size], self._for_paho[buffer_size:]
        return data

    def send(self, buffer: bytes | bytearray) -> int:
        if self._transport is None:
            raise ConnectionError("the connection is closed")
        self.write(buffer)
        return len(buffer)

    def close(self) -> None:
        """Send what is buffered, then close."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def fileno(self) -> int:
        """There is none to select on: the transport's loop does that."""
        return -1

    def setblocking(self, flag: bool) -> None:
        """A transport never blocks."""
