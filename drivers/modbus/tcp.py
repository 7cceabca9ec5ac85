"""Modbus TCP through pymodbus, which brings the connection and the framing; what an answer is, is decided here.

pymodbus decodes register by register, builds a text of each reply whether it is logged or not, and accepts another function
code, fewer registers and a wrong byte count. So its decoder is replaced by one that keeps the bytes, and transaction, unit and
PDU are checked by us. (`client.register` with a class a function code would do for good replies; an exception reply without
its code byte makes pymodbus raise inside `data_received`, which drops the connection with a traceback: the decoder as a
whole has to be ours.) A late reply carries an old transaction id and is skipped, so no line has to be kept quiet.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.pdu import DecodePDU, ModbusPDU

from device_profiles.errors import DeviceMismatch, DeviceTimeout, LinkLost, LinkRefused, LinkTimeout
from drivers.base import LinkConfig, Trace, WireCount

from . import codec

_NEVER = 1 << 62


class _Raw(ModbusPDU):
    """A PDU as bytes, both ways."""

    def __init__(self, pdu: bytes, unit: int = 0) -> None:
        self.pdu = pdu
        self.function_code = pdu[0] if pdu else 0
        self.dev_id = unit
        self.transaction_id = 0
        self.retries = 0

    def encode(self) -> bytes:
        return self.pdu[1:]


class _KeepBytes(DecodePDU):
    def decode(self, frame: bytes) -> ModbusPDU:
        return _Raw(frame)


class TcpWire:
    """One connection; several units may be behind it (a gateway). Requests go one at a time, in order of arrival."""

    def __init__(self, link: LinkConfig, trace: Trace | None) -> None:
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # its log says what our errors say, once a request
        self.link = link
        self.counts = WireCount()
        self._lost: str | None = None
        self._busy = asyncio.Lock()
        self._client = AsyncModbusTcpClient(
            link.host,
            port=link.port,
            timeout=link.timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=_tracer(trace) if trace else None,
            trace_connect=self._connection_changed,
        )
        self._client.set_max_no_responses(_NEVER)
        self._client.ctx.framer.decoder = _KeepBytes(False)
        self._client.ctx.max_buffer_size = 4096  # several late replies may come in one piece

    async def connect(self) -> None:
        """Raises LinkTimeout, LinkRefused."""
        where = self.link.where
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.link.connect_timeout_s):
                transport, _ = await loop.create_connection(lambda: self._client.ctx, self.link.host, self.link.port)
        except TimeoutError as error:
            raise LinkTimeout(
                f"no connection within {self.link.connect_timeout_s:g} s",
                where=where,
                next_step="check the address, the cabling and that nothing between filters the port",
            ) from error
        except ConnectionRefusedError as error:
            raise LinkRefused(
                "connection refused",
                where=where,
                next_step="check the port, and that the device's Modbus TCP is switched on",
            ) from error
        except OSError as error:
            raise LinkRefused(
                f"cannot connect: {error.strerror or error}",
                where=where,
                next_step="check the host name and the network",
            ) from error
        _notice_dead_peers(transport.get_extra_info("socket"), self.link.timeout_s)

    async def ask(self, unit: int, request: codec.Request) -> bytes:
        """The data of the good reply. Raises DeviceTimeout, DeviceMismatch, DeviceRefused, LinkLost."""
        counts = self.counts
        async with self._busy:
            if self._lost is not None:
                raise self._loss()
            raw = _Raw(request.pdu, unit)
            counts.requests += 1
            counts.bytes_out += 7 + len(request.pdu)
            cancelled = _times_cancelled()
            try:
                reply: Any = await self._client.execute(False, raw)
            except ConnectionException as error:
                raise self._loss() from error
            except ModbusException as error:
                if self._lost is not None:
                    raise self._loss() from error
                counts.timeouts += 1
                raise DeviceTimeout(
                    f"no answer within {self.link.timeout_s:g} s",
                    next_step="check the unit number and the device's power",
                ) from error
        counts.replies += 1
        counts.bytes_in += 7 + len(reply.pdu)
        if _times_cancelled() > cancelled:
            raise asyncio.CancelledError  # wait_for of Python 3.11, in pymodbus, forgets it where the reply has just come
        if reply.transaction_id != raw.transaction_id or reply.dev_id != unit:
            raise DeviceMismatch(
                f"an answer of unit {reply.dev_id} to transaction {reply.transaction_id}, "
                f"where unit {unit} and transaction {raw.transaction_id} were asked",
                next_step="look at the frames with --trace",
            )
        if request.reply_size == codec.VARIABLE:
            return bytes(reply.pdu)
        return codec.reply_data(request, reply.pdu)

    def close(self) -> None:
        self._client.close()

    def _connection_changed(self, connected: bool) -> None:
        if connected:
            return
        self._lost = "the other side closed the connection"
        pending = self._client.ctx.response_future
        if not pending.done():
            pending.set_exception(ConnectionException(self._lost))

    def _loss(self) -> LinkLost:
        return LinkLost(
            self._lost or "the connection is gone",
            where=self.link.where,
            next_step="it is opened again by itself; if this repeats, see how many connections the device allows",
        )


def _times_cancelled() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _tracer(trace: Trace) -> Any:
    def packet(sending: bool, data: bytes) -> bytes:
        trace(">" if sending else "<", data, "")
        return data

    return packet


def _notice_dead_peers(connection: socket.socket | None, timeout_s: float) -> None:
    """Unacknowledged requests end the connection after a while, so that a cut cable is a lost link, not many dead devices."""
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        limit_ms = int(max(10.0, 5 * timeout_s) * 1000)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit_ms)


@asynccontextmanager
async def open_tcp(link: LinkConfig, trace: Trace | None) -> AsyncIterator[TcpWire]:
    """Connects, and closes at the end. Raises LinkError."""
    wire = TcpWire(link, trace)
    try:
        await wire.connect()
        yield wire
    finally:
        wire.close()
