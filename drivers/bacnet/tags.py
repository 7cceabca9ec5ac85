"""BACnet tags and application values, bytes to Python and back. Pure: no sockets, no clock.

Source: ANSI/ASHRAE 135-2020, clause 20.2 (encoding of primitive data). Every fault of the bytes is a BacnetError that says
where; nothing reads past the end of its octets, recurses deeper than MAX_DEPTH, or takes more than linear time.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MAX_DEPTH = 32
"""Most constructed tags within each other; the deepest structure of the standard has 9."""

NULL, BOOLEAN, UNSIGNED, SIGNED, REAL, DOUBLE, OCTETS, TEXT, BITS, ENUMERATED, DATE, TIME, OBJECT = range(13)
"""Application tag numbers (clause 20.2.1.4)."""

APPLICATION, CONTEXT, CONSTRUCTED = range(3)
"""What an element is: a value of a known type, octets whose type the context says, or elements within a pair of tags."""

_REAL, _DOUBLE = struct.Struct(">f"), struct.Struct(">d")
_CHARACTER_SETS = {0: "utf-8", 3: "utf-32-be", 4: "utf-16-be", 5: "iso-8859-1"}
_CODE_PAGES = {437: "cp437", 850: "cp850", 932: "cp932", 936: "gbk", 949: "cp949", 950: "big5", 1252: "cp1252"}
_MOST_INTEGER_OCTETS = 8


class BacnetError(ValueError):
    """The bytes are not what the standard allows."""


class ObjectId(NamedTuple):
    """An object by the numbers of its type (0 to 1023) and instance (0 to 4194303)."""

    kind: int
    instance: int


class Bits(NamedTuple):
    """A bit string; `bits[0]` is the first bit of the standard's list."""

    bits: tuple[bool, ...]


class Date(NamedTuple):
    """Year, month, day, day of week (1 = Monday). 255 in a place stands for "any"; the year is whole (2026), 255 for any."""

    year: int
    month: int
    day: int
    weekday: int

    def __str__(self) -> str:
        year = "*" if self.year == 255 else f"{self.year:04d}"
        return f"{year}-{_two(self.month)}-{_two(self.day)}"


class Time(NamedTuple):
    """Hour, minute, second, hundredths; 255 in a place stands for "any"."""

    hour: int
    minute: int
    second: int
    hundredths: int

    def __str__(self) -> str:
        return f"{_two(self.hour)}:{_two(self.minute)}:{_two(self.second)}"


class Undecodable(NamedTuple):
    """A character string that is not what its character set says, or whose set nobody knows."""

    reason: str


Primitive = None | bool | int | float | str | bytes | Bits | Date | Time | ObjectId | Undecodable


class Element(NamedTuple):
    """One tagged element. `number` is the application type or the context number; `value` is decoded (APPLICATION), the octets
    as they are (CONTEXT), or the elements within (CONSTRUCTED)."""

    form: int
    number: int
    value: Primitive | tuple[Element, ...]


class Tag(NamedTuple):
    """A tag's head. `size` is the octets of its content; for a boolean of the application class it is the value itself."""

    number: int
    is_context: bool
    is_opening: bool
    is_closing: bool
    size: int
    at: int
    """Where its content begins."""


def _two(number: int) -> str:
    return "*" if number == 255 else f"{number:02d}"


def read_tag(data: bytes, at: int, end: int) -> Tag:
    """The tag at `at`. Raises BacnetError when its head or content does not fit before `end`."""
    start = at
    try:
        octet = data[at]
        at += 1
        number, is_context, size = octet >> 4, bool(octet & 8), octet & 7
        if number == 15:
            number = data[at]
            at += 1
        if is_context and size >= 6:
            if at > end:
                raise BacnetError(f"a tag at octet {start} does not fit")
            return Tag(number, True, size == 6, size == 7, 0, at)
        if size == 5:
            size = data[at]
            at += 1
            if size == 254:
                size = int.from_bytes(data[at : at + 2])
                at += 2
            elif size == 255:
                size = int.from_bytes(data[at : at + 4])
                at += 4
        elif size > 5:
            raise BacnetError(f"length code {size} of an application tag at octet {start} is reserved")
    except IndexError:
        raise BacnetError(f"a tag at octet {start} is cut off") from None
    content = 0 if number == BOOLEAN and not is_context else size
    if at + content > end:
        raise BacnetError(f"a tag at octet {start} says {content} octets where {max(0, end - at)} follow")
    return Tag(number, is_context, False, False, size, at)


def read_elements(data: bytes, at: int, end: int, *, closing: int | None = None) -> tuple[tuple[Element, ...], int]:
    """The elements from `at` up to `end`, or up to and with the closing tag of number `closing`; and where that ended."""
    stack: list[tuple[int, list[Element]]] = []
    elements: list[Element] = []
    while at < end:
        tag = read_tag(data, at, end)
        at = tag.at
        if tag.is_opening:
            if len(stack) >= MAX_DEPTH:
                raise BacnetError(f"tags are nested deeper than {MAX_DEPTH} at octet {at}")
            stack.append((tag.number, elements))
            elements = []
        elif tag.is_closing:
            if stack:
                number, outer = stack.pop()
                if number != tag.number:
                    raise BacnetError(f"closing tag {tag.number} at octet {at} where {number} was open")
                outer.append(Element(CONSTRUCTED, number, tuple(elements)))
                elements = outer
            elif tag.number == closing:
                return tuple(elements), at
            else:
                raise BacnetError(f"closing tag {tag.number} at octet {at} that nothing opened")
        elif tag.is_context:
            at += tag.size
            elements.append(Element(CONTEXT, tag.number, data[tag.at : at]))
        else:
            value = read_primitive(tag.number, data, tag.at, tag.size)
            at += 0 if tag.number == BOOLEAN else tag.size
            elements.append(Element(APPLICATION, tag.number, value))
    if stack or closing is not None:
        raise BacnetError("an opening tag is never closed")
    return tuple(elements), at


def read_primitive(number: int, data: bytes, at: int, size: int) -> Primitive:
    """The value of an application type whose content is `size` octets at `at`. Raises BacnetError."""
    content = data[at : at + size]
    if number == REAL and size == 4:
        return float(_REAL.unpack(content)[0])
    if number in (UNSIGNED, ENUMERATED) and 1 <= size <= _MOST_INTEGER_OCTETS:
        return int.from_bytes(content)
    if number == SIGNED and 1 <= size <= _MOST_INTEGER_OCTETS:
        return int.from_bytes(content, signed=True)
    if number == BOOLEAN and size <= 1:
        return size == 1
    if number == NULL and size == 0:
        return None
    if number == DOUBLE and size == 8:
        return float(_DOUBLE.unpack(content)[0])
    if number == BITS and size >= 1:
        return read_bits(content)
    if number == OBJECT and size == 4:
        return read_object(content)
    if number == TEXT and size >= 1:
        return read_text(content)
    if number == OCTETS:
        return bytes(content)
    if number == DATE and size == 4:
        year = content[0]
        return Date(255 if year == 255 else 1900 + year, content[1], content[2], content[3])
    if number == TIME and size == 4:
        return Time(*content)
    raise BacnetError(f"{size} octets at octet {at} are no value of application type {number}")


def read_unsigned(content: bytes) -> int:
    """An unsigned or enumerated value from octets of a context tag. Raises BacnetError."""
    if not 1 <= len(content) <= _MOST_INTEGER_OCTETS:
        raise BacnetError(f"{len(content)} octets are no unsigned number")
    return int.from_bytes(content)


def read_object(content: bytes) -> ObjectId:
    """An object identifier: 10 bits of type, 22 of instance. Raises BacnetError."""
    if len(content) != 4:
        raise BacnetError(f"{len(content)} octets are no object identifier")
    number = int.from_bytes(content)
    return ObjectId(number >> 22, number & 0x3FFFFF)


def read_bits(content: bytes) -> Bits:
    """A bit string: the first octet says how many bits of the last one are unused. Raises BacnetError."""
    unused = content[0] if content else 8
    count = 8 * (len(content) - 1) - unused
    if unused > 7 or count < 0:
        raise BacnetError(f"{content[:8].hex()} is no bit string")
    return Bits(tuple(bool(content[1 + at // 8] & (0x80 >> at % 8)) for at in range(count)))


def read_text(content: bytes) -> str | Undecodable:
    """A character string: its first octet names the character set (clause 20.2.9)."""
    kind, octets = content[0], content[1:]
    name = _CHARACTER_SETS.get(kind)
    if kind == 1 and len(octets) >= 2:
        name = _CODE_PAGES.get(int.from_bytes(octets[:2]))
        octets = octets[2:]
    if name is None:
        return Undecodable(f"character set {kind} is unknown")
    try:
        return octets.decode(name)
    except UnicodeDecodeError as error:
        return Undecodable(f"octet {error.start} is no {name}: {error.reason}")


# Writing.


def tag(number: int, content: bytes, *, context: bool = True) -> bytes:
    """A tag with its content. `number` is 0 to 14."""
    size = len(content)
    head = number << 4 | (8 if context else 0)
    if size < 5:
        return bytes((head | size,)) + content
    if size < 254:
        return bytes((head | 5, size)) + content
    if size < 65536:
        return bytes((head | 5, 254)) + size.to_bytes(2) + content
    return bytes((head | 5, 255)) + size.to_bytes(4) + content


def opening(number: int) -> bytes:
    """An opening tag."""
    return bytes((number << 4 | 0x0E,))


def closing(number: int) -> bytes:
    """A closing tag."""
    return bytes((number << 4 | 0x0F,))


def unsigned(number: int) -> bytes:
    """The fewest octets that hold it. Raises BacnetError for a negative number."""
    if number < 0:
        raise BacnetError(f"{number} is negative")
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8))


def signed(number: int) -> bytes:
    """The fewest octets that hold it in two's complement."""
    magnitude = number if number >= 0 else ~number
    return number.to_bytes(magnitude.bit_length() // 8 + 1, signed=True)


def object_octets(kind: int, instance: int) -> bytes:
    """An object identifier. Raises BacnetError for what does not fit."""
    if not (0 <= kind <= 1023 and 0 <= instance <= 0x3FFFFF):
        raise BacnetError(f"object {kind}:{instance} is out of range")
    return (kind << 22 | instance).to_bytes(4)


def encode_value(number: int, value: Primitive) -> bytes:
    """A value under the application tag of its type. Raises BacnetError for a value that the type cannot hold."""
    if number == BOOLEAN:
        return b"\x11" if value else b"\x10"
    try:
        return tag(number, _content(number, value), context=False)
    except (TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
        raise BacnetError(f"{value!r} is no value of application type {number} ({error})") from error


def _content(number: int, value: Primitive) -> bytes:
    if number == NULL and value is None:
        return b""
    if number in (UNSIGNED, ENUMERATED) and isinstance(value, int):
        return unsigned(value)
    if number == SIGNED and isinstance(value, int):
        return signed(value)
    if number == REAL and isinstance(value, int | float):
        return _REAL.pack(value)
    if number == DOUBLE and isinstance(value, int | float):
        return _DOUBLE.pack(value)
    if number == TEXT and isinstance(value, str):
        return b"\0" + value.encode()
    if number == OCTETS and isinstance(value, bytes):
        return value
    if number == BITS and isinstance(value, Bits):
        packed = bytearray((len(value.bits) + 7) // 8)
        for at, bit in enumerate(value.bits):
            packed[at // 8] |= (0x80 >> at % 8) if bit else 0
        return bytes((-len(value.bits) % 8,)) + bytes(packed)
    if number == DATE and isinstance(value, Date):
        return bytes((255 if value.year == 255 else value.year - 1900, *value[1:]))
    if number == TIME and isinstance(value, Time):
        return bytes(value)
    if number == OBJECT and isinstance(value, ObjectId):
        return object_octets(*value)
    raise BacnetError("wrong type of value")
