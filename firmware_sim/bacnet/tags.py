"""Tags and values of BACnet as bytes, both ways. Source: ANSI/ASHRAE 135-2020, clause 20.2. Knows no service."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

NULL, BOOLEAN, UNSIGNED, SIGNED, REAL, DOUBLE, OCTETS, TEXT, BITS, ENUMERATED, DATE, TIME, OBJECT = range(13)

Value = None | bool | int | float | str | bytes


class TagError(ValueError):
    """Bytes that are no valid tags, or not the ones that belong here."""


def _head(number: int, context: bool, size: int) -> bytes:
    first = (number << 4 if number < 15 else 0xF0) | (8 if context else 0)
    extra = b"" if number < 15 else bytes((number,))
    if size < 5:
        return bytes((first | size,)) + extra
    if size < 254:
        return bytes((first | 5,)) + extra + bytes((size,))
    if size < 65_536:
        return bytes((first | 5,)) + extra + b"\xfe" + size.to_bytes(2, "big")
    return bytes((first | 5,)) + extra + b"\xff" + size.to_bytes(4, "big")


def _minimal(number: int) -> bytes:
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")


def _text(text: str) -> bytes:
    return b"\0" + text.encode("utf-8")


def application(number: int, payload: bytes) -> bytes:
    return _head(number, False, len(payload)) + payload


def context(number: int, payload: bytes) -> bytes:
    return _head(number, True, len(payload)) + payload


def opening(number: int) -> bytes:
    return bytes((number << 4 | 0x0E,)) if number < 15 else bytes((0xFE, number))


def closing(number: int) -> bytes:
    return bytes((number << 4 | 0x0F,)) if number < 15 else bytes((0xFF, number))


def wrapped(number: int, content: bytes) -> bytes:
    return opening(number) + content + closing(number)


def null() -> bytes:
    return b"\0"


def boolean(on: bool) -> bytes:
    return b"\x11" if on else b"\x10"


def unsigned(number: int) -> bytes:
    return application(UNSIGNED, _minimal(number))


def signed(number: int) -> bytes:
    return application(SIGNED, number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, "big", signed=True))


def real(number: float) -> bytes:
    return b"\x44" + struct.pack(">f", number)


def enumerated(number: int) -> bytes:
    return application(ENUMERATED, _minimal(number))


def text(value: str) -> bytes:
    return application(TEXT, _text(value))


def bits(flags: Sequence[bool]) -> bytes:
    return application(BITS, bit_payload(flags))


def bit_payload(flags: Sequence[bool]) -> bytes:
    """Unused bits of the last octet, then the bits, the first one highest."""
    unused = -len(flags) % 8
    number = 0
    for flag in flags:
        number = number << 1 | bool(flag)
    return bytes((unused,)) + (number << unused).to_bytes((len(flags) + unused) // 8, "big")


def date(year: int, month: int, day: int, weekday: int) -> bytes:
    """255 = any; Monday is 1."""
    return application(DATE, bytes((255 if year == 255 else year - 1900, month, day, weekday)))


def time(hour: int, minute: int, second: int = 0, hundredths: int = 0) -> bytes:
    return application(TIME, bytes((hour, minute, second, hundredths)))


def object_identifier(number: int) -> bytes:
    return application(OBJECT, number.to_bytes(4, "big"))


def context_unsigned(tag: int, number: int) -> bytes:
    return context(tag, _minimal(number))


def context_object(tag: int, number: int) -> bytes:
    return context(tag, number.to_bytes(4, "big"))


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag and what it holds. `kind`: app, ctx, open, close. A boolean of application class has its value as `payload`."""

    number: int
    kind: str
    payload: bytes = b""


class Reader:
    """Takes tags from bytes, one after the other. Every method raises TagError."""

    MAX_DEPTH = 16

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    @property
    def is_done(self) -> bool:
        return self.at >= len(self.data)

    def peek(self) -> Tag | None:
        """The next tag without taking it; None at the end."""
        if self.is_done:
            return None
        at = self.at
        tag = self.take()
        self.at = at
        return tag

    def take(self) -> Tag:
        data, at = self.data, self.at
        try:
            first = data[at]
            at += 1
            number = first >> 4
            if number == 15:
                number = data[at]
                at += 1
            low = first & 7
            if first & 8 and low >= 6:
                self.at = at
                return Tag(number, "open" if low == 6 else "close")
            if not first & 8 and number == BOOLEAN:
                self.at = at
                return Tag(BOOLEAN, "app", bytes((low,)))
            size = low
            if low == 5:
                size = data[at]
                at += 1
                if size >= 254:
                    width = 2 if size == 254 else 4
                    size = int.from_bytes(data[at : at + width], "big")
                    at += width
            elif low > 5:
                raise TagError(f"length {low} of an application tag")
        except IndexError as error:
            raise TagError("the bytes end within a tag") from error
        if at + size > len(data):
            raise TagError("a tag is longer than what is left")
        self.at = at + size
        return Tag(number, "ctx" if first & 8 else "app", data[at : at + size])

    def expect(self, number: int, kind: str = "ctx") -> bytes:
        tag = self.take()
        if tag.number != number or tag.kind != kind:
            raise TagError(f"{tag.kind} tag {tag.number} where {kind} {number} belongs")
        return tag.payload

    def is_next(self, number: int, kind: str = "ctx") -> bool:
        tag = self.peek()
        return tag is not None and tag.number == number and tag.kind == kind

    def unsigned(self, number: int) -> int:
        payload = self.expect(number)
        if not 1 <= len(payload) <= 4:
            raise TagError(f"{len(payload)} octets of an unsigned number")
        return int.from_bytes(payload, "big")

    def optional(self, number: int) -> int | None:
        return self.unsigned(number) if self.is_next(number) else None

    def object(self, number: int) -> int:
        payload = self.expect(number)
        if len(payload) != 4:
            raise TagError(f"{len(payload)} octets of an object identifier")
        return int.from_bytes(payload, "big")

    def inside(self, number: int) -> bytes:
        """What stands between an opening tag and its closing one, and takes both."""
        self.expect(number, "open")
        start, depth = self.at, 1
        while True:
            end = self.at
            tag = self.take()
            depth += (tag.kind == "open") - (tag.kind == "close")
            if depth > self.MAX_DEPTH:
                raise TagError("tags are nested too deep")
            if depth == 0:
                if tag.number != number:
                    raise TagError(f"closing tag {tag.number} for opening tag {number}")
                return self.data[start:end]


def simple_value(tag: Tag) -> Value:
    """What one application tag says. Dates, times and bit strings stay bytes. Raises TagError."""
    payload, number = tag.payload, tag.number
    if tag.kind != "app":
        raise TagError("a value of context class")
    try:
        if number == NULL:
            return None
        if number == BOOLEAN:
            return payload != b"\0"
        if number in (UNSIGNED, ENUMERATED, OBJECT):
            return int.from_bytes(payload, "big")
        if number == SIGNED:
            return int.from_bytes(payload, "big", signed=True)
        if number == REAL:
            return float(struct.unpack(">f", payload)[0])
        if number == DOUBLE:
            return float(struct.unpack(">d", payload)[0])
        if number == TEXT:
            return payload[1:].decode("utf-8")
    except (struct.error, UnicodeDecodeError) as error:
        raise TagError(f"a value of type {number} with {len(payload)} octets: {error}") from error
    return payload
