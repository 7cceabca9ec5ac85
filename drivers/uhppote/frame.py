"""Messages of UHPPOTE boards: 64 bytes each way, numbers with the lowest byte first, dates and times in BCD. Pure.

Source: uhppoted project, uhppote-core/messages (UT0311-L0x protocol as published there, versions 6.56 to 8.92), and its examples
in tests/captures. The maker publishes no document.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

SIZE = 64
START = 0x17
START_OLD_EVENT = 0x19
"""Boards of version 6.62 begin the events that they send by themselves with this."""
MAGIC = 0x55AAAA55
"""Goes with requests that are not to happen by accident."""
PORT = 60000
NEWEST = 0xFFFFFFFF
"""As the index of `GET_EVENT`: the newest record; 0 is the oldest."""


class Function(IntEnum):
    """The second byte."""

    GET_STATUS = 0x20
    SET_TIME = 0x30
    GET_TIME = 0x32
    OPEN_DOOR = 0x40
    GET_CARDS = 0x58
    SET_DOOR = 0x80
    GET_DOOR = 0x82
    RECORD_SPECIAL_EVENTS = 0x8E
    SET_LISTENER = 0x90
    GET_LISTENER = 0x92
    GET_DEVICE = 0x94
    GET_EVENT = 0xB0
    SET_EVENT_INDEX = 0xB2
    GET_EVENT_INDEX = 0xB4


class FrameError(ValueError):
    """A datagram that is no message of a board. The text says why."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A message: `body` is what follows the serial number, 56 bytes."""

    function: int
    serial: int
    body: bytes

    def number(self, offset: int) -> int:
        """32 bits at an offset of the whole message, as the documents count."""
        return int.from_bytes(self.body[offset - 8 : offset - 4], "little")

    def byte(self, offset: int) -> int:
        """8 bits at an offset of the whole message."""
        return self.body[offset - 8]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a board's memory. `kind` 1 is a card, 2 a door or button, 3 a warning, 255 overwritten, 0 none."""

    index: int
    kind: int
    granted: bool
    door: int
    direction: int
    card: int
    at: datetime | None
    """The board's own local time; None where it has none that is a time."""
    reason: int


@dataclass(frozen=True, slots=True)
class Status:
    """What `GET_STATUS` answers, and what a board sends by itself when something happens. Tuples have doors 1 to 4."""

    record: Record | None
    """The newest; None when there is none."""
    doors_open: tuple[bool, bool, bool, bool]
    buttons: tuple[bool, bool, bool, bool]
    relays: int
    """Bit 0 is door 1: the relay is drawn."""
    inputs: int
    error: int
    special: int
    clock: datetime | None
    """The board's own local time."""


def build(function: Function, serial: int, body: bytes = b"") -> bytes:
    """A request."""
    return struct.pack("<BBHI56s", START, function, 0, serial, body)


def parse(data: bytes) -> Frame:
    """Raises FrameError."""
    if len(data) != SIZE:
        raise FrameError(f"{len(data)} bytes where a message has {SIZE}")
    if data[0] != START and (data[0], data[1]) != (START_OLD_EVENT, Function.GET_STATUS):
        raise FrameError(f"begins with 0x{data[0]:02x} 0x{data[1]:02x}, not with 0x17")
    return Frame(data[1], int.from_bytes(data[4:8], "little"), bytes(data[8:]))


def status_of(frame: Frame) -> Status:
    """Raises FrameError for another function."""
    _expect(frame, Function.GET_STATUS)
    head, body = frame.body, b"\0" * 8 + frame.body
    return Status(
        record=_record(frame) if frame.number(8) else None,
        doors_open=(head[20] == 1, head[21] == 1, head[22] == 1, head[23] == 1),
        buttons=(head[24] == 1, head[25] == 1, head[26] == 1, head[27] == 1),
        relays=frame.byte(49),
        inputs=frame.byte(50),
        error=frame.byte(36),
        special=frame.byte(48),
        clock=bcd_time(b"\x20" + body[51:54] + body[37:40]),
    )


def record_of(frame: Frame) -> Record:
    """The answer to `GET_EVENT`. Raises FrameError for another function."""
    _expect(frame, Function.GET_EVENT)
    return _record(frame)


def _record(frame: Frame) -> Record:
    return Record(
        index=frame.number(8),
        kind=frame.byte(12),
        granted=frame.byte(13) == 1,
        door=frame.byte(14),
        direction=frame.byte(15),
        card=frame.number(16),
        at=bcd_time(frame.body[12:19]),
        reason=frame.byte(27),
    )


def facts_of(frame: Frame) -> dict[str, str]:
    """The answer to `GET_DEVICE` in words. Raises FrameError for another function."""
    _expect(frame, Function.GET_DEVICE)
    high, low = frame.byte(26), frame.byte(27)
    made = frame.body[20:24].hex()
    return {
        "vendor": "UHPPOTE",
        "serial": str(frame.serial),
        "firmware": f"{high:x}.{low:02x}",
        "made": f"{made[:4]}-{made[4:6]}-{made[6:]}",
        "address": str(ipaddress.IPv4Address(frame.body[0:4])),
        "mac": frame.body[12:18].hex(":"),
    }


def listener_of(frame: Frame) -> tuple[str, int, int]:
    """Address and port where a board sends its events, and the seconds after which it sends without one. Raises FrameError."""
    _expect(frame, Function.GET_LISTENER)
    return str(ipaddress.IPv4Address(frame.body[0:4])), int.from_bytes(frame.body[4:6], "little"), frame.body[6]


def listener_body(host: str, port: int, every_s: int = 0) -> bytes:
    """What `SET_LISTENER` takes. Raises ValueError for a host that is no IPv4 address."""
    return ipaddress.IPv4Address(host).packed + port.to_bytes(2, "little") + bytes((every_s,))


def bcd_time(digits: bytes) -> datetime | None:
    """YYYYMMDDhhmmss in BCD, 7 bytes; None for what is no time."""
    text = digits.hex()
    if len(text) != 14 or not text.isdecimal():
        return None
    try:
        return datetime(  # noqa: DTZ001 (the board's own local time)
            int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[8:10]), int(text[10:12]), int(text[12:])
        )
    except ValueError:
        return None


def time_bcd(at: datetime) -> bytes:
    """The same the other way."""
    return bytes.fromhex(at.strftime("%Y%m%d%H%M%S"))


def _expect(frame: Frame, function: Function) -> None:
    if frame.function != function:
        raise FrameError(f"function 0x{frame.function:02x} where 0x{function:02x} is due")
