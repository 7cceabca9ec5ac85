"""A UHPPOTE door controller: doors with relays and contacts, cards, a memory of records, and a listener that it tells them to.

Own code over UDP, laid out after the messages that the uhppoted project publishes; shares nothing with the driver.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

NOTHING = b"\0"
CAPACITY = 100_000
"""Records that a board keeps; the oldest goes when another comes."""


@dataclass(slots=True)
class SimRecord:
    """One record; `door` from 1, `direction` 1 in and 2 out."""

    index: int
    kind: int
    granted: bool
    door: int
    direction: int
    card: int
    at: datetime
    reason: int


@dataclass(slots=True)
class SimDoor:
    """A door: its relay is drawn for `delay_s` when it is unlocked."""

    mode: int = 3
    delay_s: int = 5
    is_open: bool = False
    unlocked: bool = False
    button: bool = False


@dataclass(slots=True)
class Faults:
    """What is wrong with it: how many of the next answers are not sent, are sent late, or garbled."""

    mute: int = 0
    late: int = 0
    late_s: float = 0.2
    foreign: int = 0
    short: int = 0


class Board:
    """The board itself, without a socket: `answer` takes a datagram and gives the answer, or None."""

    def __init__(self, serial: int, *, doors: int = 4, now: Callable[[], datetime], version: int = 0x0892) -> None:
        self.serial = serial
        self.version = version
        self.now = now
        self.clock_off = timedelta(0)
        self.doors = {number: SimDoor() for number in range(1, doors + 1)}
        self.cards: dict[int, set[int]] = {}
        """Card number to the doors that it opens."""
        self.memory: dict[int, SimRecord] = {}
        self.newest = 0
        self.listener = ("0.0.0.0", 0)
        self.mark = 0
        self.faults = Faults()
        self.tell: Callable[[bytes], None] = lambda datagram: None
        """Sends an event to the listener."""

    @property
    def clock(self) -> datetime:
        return (self.now() + self.clock_off).replace(microsecond=0)

    def swipe(self, card: int, door: int = 1, direction: int = 1) -> bool:
        """Somebody holds a card to a reader. True when the door opens."""
        granted = door in self.cards.get(card, set()) and self.doors[door].mode != 2
        if granted:
            self.doors[door].unlocked = True
        reason = 1 if granted else 11 if self.doors[door].mode == 2 else 6
        self.record(1, granted, door, direction, card, reason)
        return granted

    def push(self, door: int = 1) -> None:
        """Somebody presses the exit button."""
        self.doors[door].unlocked = True
        self.record(2, True, door, 1, 0, 20)

    def move(self, door: int, is_open: bool) -> None:
        """The door moves. Opened while it was locked, it is forced."""
        state = self.doors[door]
        forced = is_open and not state.unlocked and state.mode != 1
        state.is_open = is_open
        if forced:
            self.record(3, False, door, 1, 0, 38)
        else:
            self.record(2, True, door, 1, 0, 23 if is_open else 24)
        if not is_open:
            state.unlocked = False

    def record(self, kind: int, granted: bool, door: int, direction: int, card: int, reason: int) -> SimRecord:
        """Keeps a record and tells it."""
        self.newest += 1
        made = SimRecord(self.newest, kind, granted, door, direction, card, self.clock, reason)
        self.memory[self.newest] = made
        self.memory.pop(self.newest - CAPACITY, None)
        if self.listener != ("0.0.0.0", 0):
            self.tell(self._status())
        return made

    def clear(self) -> None:
        """The memory is gone, and the next record is number 1."""
        self.memory.clear()
        self.newest = 0

    def answer(self, datagram: bytes) -> bytes | None:
        """What it says to a request; None for what is not for it."""
        if len(datagram) != 64 or datagram[0] != 0x17:
            return None
        function, serial = datagram[1], struct.unpack_from("<I", datagram, 4)[0]
        if serial != self.serial and not (function == 0x94 and serial == 0):
            return None
        handler = self._handlers().get(function)
        return None if handler is None else handler(datagram)

    def _handlers(self) -> dict[int, Callable[[bytes], bytes | None]]:
        return {
            0x20: lambda request: self._status(), 0x30: self._set_time, 0x32: lambda request: self._time(0x32),
            0x40: self._open_door, 0x58: lambda request: self._made(0x58, struct.pack("<I", len(self.cards))),
            0x80: self._set_door, 0x82: self._get_door, 0x90: self._set_listener, 0x92: self._get_listener,
            0x94: lambda request: self._device(), 0xB0: self._get_event, 0xB2: self._set_mark,
            0xB4: lambda request: self._made(0xB4, struct.pack("<I", self.mark)),
        }  # fmt: skip

    def _made(self, function: int, body: bytes = b"") -> bytes:
        return struct.pack("<BBHI", 0x17, function, 0, self.serial) + body.ljust(56, NOTHING)

    def _device(self) -> bytes:
        body = bytes((192, 168, 1, 100, 255, 255, 255, 0, 192, 168, 1, 1, 0x00, 0x66, 0x19, 0x39, 0x55, 0x2D))
        return self._made(0x94, body + struct.pack(">H", self.version) + bytes.fromhex("20181105"))

    def _status(self) -> bytes:
        body = bytearray(56)
        last = self.memory.get(self.newest)
        if last is not None:
            body[0:20] = self._record_body(last)
        for number, door in self.doors.items():
            body[19 + number] = door.is_open
            body[23 + number] = door.button
            body[41] |= door.unlocked << (number - 1)
        clock = self.clock.strftime("%y%m%d%H%M%S")
        body[29:32] = bytes.fromhex(clock[6:])
        body[43:46] = bytes.fromhex(clock[:6])
        return self._made(0x20, bytes(body))

    def _record_body(self, record: SimRecord) -> bytes:
        head = struct.pack(
            "<IBBBBI", record.index, record.kind, record.granted, record.door, record.direction, record.card
        )
        return head + bytes.fromhex(record.at.strftime("%Y%m%d%H%M%S")) + bytes((record.reason,))

    def _get_event(self, request: bytes) -> bytes:
        asked: int = struct.unpack_from("<I", request, 8)[0]
        oldest = min(self.memory, default=0) if len(self.memory) < 200 else max(1, self.newest - CAPACITY + 1)
        index = {0: oldest, 0xFFFFFFFF: self.newest}.get(asked, asked)
        found = self.memory.get(index)
        if found is not None:
            return self._made(0xB0, self._record_body(found))
        if index and index <= self.newest:
            return self._made(0xB0, struct.pack("<IB", index, 0xFF))
        return self._made(0xB0)

    def _set_mark(self, request: bytes) -> bytes:
        index, magic = struct.unpack_from("<II", request, 8)
        changed = magic == 0x55AAAA55 and index != self.mark
        if changed:
            self.mark = index
        return self._made(0xB2, bytes((changed,)))

    def _time(self, function: int) -> bytes:
        return self._made(function, bytes.fromhex(self.clock.strftime("%Y%m%d%H%M%S")))

    def _set_time(self, request: bytes) -> bytes:
        told = datetime.strptime(request[8:15].hex(), "%Y%m%d%H%M%S")  # noqa: DTZ007 (a board knows no zone)
        self.clock_off = told - self.now()
        return self._time(0x30)

    def _open_door(self, request: bytes) -> bytes:
        number = request[8]
        door = self.doors.get(number)
        if door is None or door.mode == 2:
            return self._made(0x40, NOTHING)
        door.unlocked = True
        self.record(2, True, number, 1, 0, 44)
        return self._made(0x40, b"\1")

    def _get_door(self, request: bytes) -> bytes:
        door = self.doors.get(request[8])
        return self._made(0x82, bytes((request[8], door.mode, door.delay_s) if door else (request[8], 0, 0)))

    def _set_door(self, request: bytes) -> bytes:
        number, mode, delay = request[8:11]
        door = self.doors.get(number)
        if door is not None and 1 <= mode <= 3:
            door.mode, door.delay_s, door.unlocked = mode, delay, mode == 1
        return self._made(0x80, bytes((number, door.mode, door.delay_s) if door else (number, 0, 0)))

    def _get_listener(self, request: bytes) -> bytes:
        host, port = self.listener
        return self._made(0x92, socket.inet_aton(host) + struct.pack("<H", port))

    def _set_listener(self, request: bytes) -> bytes:
        self.listener = socket.inet_ntoa(request[8:12]), struct.unpack_from("<H", request, 12)[0]
        return self._made(0x90, b"\1")


@dataclass
class _Wire(asyncio.DatagramProtocol):
    boards: list[Board]
    transport: asyncio.DatagramTransport | None = None
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        wire = self.transport = cast("asyncio.DatagramTransport", transport)
        for board in self.boards:
            board.tell = lambda datagram, board=board: wire.sendto(datagram, board.listener)  # type: ignore[misc]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for board in self.boards:
            reply = board.answer(data)
            if reply is not None:
                self._send(board, reply, addr)

    def _send(self, board: Board, reply: bytes, addr: tuple[str, int]) -> None:
        assert self.transport is not None
        faults = board.faults
        if faults.mute:
            faults.mute -= 1
        elif faults.late:
            faults.late -= 1
            loop = asyncio.get_running_loop()
            self.timers.append(loop.call_later(faults.late_s, self.transport.sendto, reply, addr))
        elif faults.foreign:
            faults.foreign -= 1
            self.transport.sendto(reply[:4] + struct.pack("<I", board.serial + 1) + reply[8:], addr)
        elif faults.short:
            faults.short -= 1
            self.transport.sendto(reply[:63], addr)
        else:
            self.transport.sendto(reply, addr)


class UhppoteSim:
    """Boards behind one UDP port of this machine: `async with UhppoteSim([board]) as sim: sim.address`."""

    def __init__(self, boards: list[Board], *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.boards = boards
        self.host, self.port = host, port
        self._wire: _Wire | None = None

    @property
    def address(self) -> str:
        """As `at:` of a device wants it."""
        return f"{self.host}:{self.port}"

    async def __aenter__(self) -> UhppoteSim:
        loop = asyncio.get_running_loop()
        transport, self._wire = await loop.create_datagram_endpoint(
            lambda: _Wire(self.boards), local_addr=(self.host, self.port)
        )
        self.port = transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._wire is not None and self._wire.transport is not None:
            for timer in self._wire.timers:
                timer.cancel()
            self._wire.transport.abort()
