"""A Modbus device for tests, with its own idea of the standard: it shares no code with the driver.

Register n of the holding table holds n, of the input table n + 1, unless `words` says otherwise. What is wrong with it is a
function from the right frames to those that are sent.
"""

from __future__ import annotations

import asyncio
import os
import pty
import select
import struct
import threading
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field


def checksum(data: bytes) -> bytes:
    """CRC-16/MODBUS bit by bit, as the standard draws it."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            carry = crc & 1
            crc >>= 1
            if carry:
                crc ^= 0xA001
    return bytes((crc & 0xFF, crc >> 8))


@dataclass
class Slave:
    """`refused` (function code, register) answers with exception 2; units not listed are silent."""

    units: frozenset[int] = frozenset(range(1, 248))
    words: dict[tuple[int, int], int] = field(default_factory=dict)
    refused: dict[tuple[int, int], int] = field(default_factory=dict)
    most: int = 125
    asked: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(unit, function code, register, count) of every read."""
    written: list[bytes] = field(default_factory=list)
    """The PDU of every write that was taken."""
    unknown: frozenset[int] = frozenset()
    """Function codes that it does not know."""

    def word(self, function: int, reg: int) -> int:
        return self.words.get((function, reg), (reg + (function == 4)) & 0xFFFF)

    def answer(self, unit: int, pdu: bytes) -> bytes | None:
        if unit not in self.units:
            return None
        function = pdu[0]
        if function in self.unknown:
            return bytes((function | 0x80, 1))
        if function in (5, 6, 15, 16, 22):
            return self.write(pdu)
        if function == 43:
            objects = b"\x00\x04ACME\x01\x02X1\x02\x011"
            return b"\x2b\x0e" + pdu[2:3] + b"\x01\x00\x00\x03" + objects if pdu[2] == 1 else b"\xab\x02"
        reg, count = struct.unpack(">HH", pdu[1:5])
        self.asked.append((unit, function, reg, count))
        for at in range(reg, reg + count):
            if (function, at) in self.refused:
                return bytes((function | 0x80, self.refused[function, at]))
        if function in (1, 2):
            bits = sum((self.word(function, reg + at) & 1) << at for at in range(count))
            data = bits.to_bytes((count + 7) // 8, "little")
        elif count > self.most:
            return bytes((function | 0x80, 3))
        else:
            data = b"".join(self.word(function, at).to_bytes(2, "big") for at in range(reg, reg + count))
        return bytes((function, len(data))) + data

    def write(self, pdu: bytes) -> bytes:
        function, reg, second = struct.unpack(">BHH", pdu[:5])
        table = 1 if function in (5, 15) else 3
        if function == 5:
            new = [second >> 15]
        elif function == 15:
            new = [pdu[6 + at // 8] >> at % 8 & 1 for at in range(second)]
        elif function == 16:
            new = list(struct.unpack(f">{second}H", pdu[6:]))
        elif function == 22:
            given = int.from_bytes(pdu[5:7], "big")
            new = [self.word(3, reg) & second | given & (second ^ 0xFFFF)]
        else:
            new = [second]
        for at in range(reg, reg + len(new)):
            if (function, at) in self.refused:
                return bytes((function | 0x80, self.refused[function, at]))
        self.words |= {(table, reg + at): value for at, value in enumerate(new)}
        self.written.append(pdu)
        return pdu[:5] if function in (15, 16) else pdu


def request_size(frame: bytes) -> int:
    """Bytes that an RTU request takes, as far as its begin tells."""
    if frame[1:2] in (b"\x0f", b"\x10"):
        return 9 + frame[6] if len(frame) > 6 else 9
    return {43: 7, 22: 10}.get(frame[1] if len(frame) > 1 else 0, 8)


TcpScript = Callable[[int, int, bytes], "list[bytes | None]"]
"""(transaction, unit, request PDU) -> bytes to send one after the other; None closes the connection."""


def tcp_reply(tid: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu


def honest(slave: Slave) -> TcpScript:
    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        answer = slave.answer(unit, pdu)
        return [] if answer is None else [tcp_reply(tid, unit, answer)]

    return script


@asynccontextmanager
async def tcp_server(script: TcpScript) -> AsyncIterator[int]:
    """Serves Modbus TCP on a free port of loopback."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            while True:
                tid, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                for piece in script(tid, unit, await reader.readexactly(length - 1)):
                    if piece is None:
                        writer.close()
                        return
                    writer.write(piece)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            writers.discard(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in list(writers):
            writer.close()
        await asyncio.sleep(0)


RtuScript = Callable[[bytes], "list[bytes]"]
"""Request frame -> bytes to send."""


def honest_rtu(slave: Slave) -> RtuScript:
    def script(frame: bytes) -> list[bytes]:
        assert checksum(frame[:-2]) == frame[-2:], f"the driver sent a wrong checksum: {frame.hex()}"
        answer = slave.answer(frame[0], frame[1:-2])
        if answer is None:
            return []
        body = frame[:1] + answer
        return [body + checksum(body)]

    return script


@asynccontextmanager
async def rtu_tcp_server(script: RtuScript, closers: list[Callable[[], None]] | None = None) -> AsyncIterator[int]:
    """Serves RTU frames over TCP on a free port of loopback.

    `closers` takes a function a connection that ends it.
    """
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        if closers is not None:
            closers.append(writer.close)
        try:
            while True:
                frame = await reader.readexactly(7)
                frame += await reader.readexactly(request_size(frame) - 7)
                for piece in script(frame):
                    writer.write(piece)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in list(writers):
            writer.close()
        await asyncio.sleep(0)


@contextmanager
def pty_server(script: RtuScript) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serves RTU on a pseudo terminal: its path, and a function that pulls the plug."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    os.close(slave)
    wake_read, wake_write = os.pipe()
    unplugged = threading.Event()

    def run() -> None:
        held = b""
        poller = select.poll()
        poller.register(master, select.POLLIN)
        poller.register(wake_read, select.POLLIN)
        while True:
            ready = dict(poller.poll())
            if wake_read in ready:
                return
            try:
                held += os.read(master, 256)
            except OSError:  # nobody has the other end open; look again when somebody may
                if wake_read in dict(poller_of(wake_read).poll(5)):
                    return
                continue
            while len(held) >= (size := request_size(held)):
                frame, held = held[:size], held[size:]
                for piece in script(frame):
                    os.write(master, piece)

    def unplug() -> None:
        if not unplugged.is_set():
            unplugged.set()
            os.write(wake_write, b"x")
            thread.join()
            os.close(master)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield path, unplug
    finally:
        unplug()
        os.close(wake_read)
        os.close(wake_write)


def poller_of(fd: int) -> select.poll:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return poller
