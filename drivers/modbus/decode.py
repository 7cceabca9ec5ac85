"""Register bytes to raw values: one decoder is compiled a block of points, so that a reply is one `struct.unpack`.

It undoes type and word order and nothing else; scale, sentinels and meaning are the normaliser's (NaN and 0x8000 pass as they
are). What cannot be a number (a nibble above 9 in BCD, text that is not in its encoding) is a PointFault, never a guess.
Word orders are named by where the bytes of the value ABCD are on the wire: ABCD high word first, CDAB low word first, BADC and
DCBA with the bytes in each word swapped; 64-bit values the same way over four words. Bits count from the least significant.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from math import lcm

from device_profiles.reading import PointFault, Raw
from device_profiles.schema import Modbus, Point

Decoded = Sequence[Raw | PointFault]
Decoder = Callable[[bytes], Decoded]
"""Data bytes of a reply (exactly the block asked for) to values, in the order of the points."""

_CODE = {
    "u16": "H", "u32": "I", "u64": "Q", "s16": "h", "s32": "i", "s64": "q", "f32": "f", "f64": "d",
    "bcd16": "H", "bcd32": "I", "bcd64": "Q", "sm16": "H", "sm32": "I", "bool": "H",
}  # fmt: skip
_UNSIGNED = {1: "H", 2: "I", 4: "Q"}
_Finish = Callable[[Sequence[Raw]], Raw | PointFault]


def byte_order(registers: int, word_order: str | None) -> tuple[int, ...]:
    """Where the bytes of a value, most significant first, lie among its bytes on the wire."""
    words = list(range(registers))
    order = word_order or "ABCD"
    if order in ("CDAB", "DCBA"):
        words.reverse()
    swapped = order in ("BADC", "DCBA")
    return tuple(2 * word + (byte ^ swapped) for word in words for byte in (0, 1))


def compile_registers(points: Sequence[Point], places: Sequence[Sequence[int]], first: int) -> Decoder:
    """A decoder for points in a block that begins at register `first`.

    `places` holds the register of each point; a point with `parts` has one a part. One unpack for the whole block: bytes are
    brought into order by one `bytes.translate`, where the block is not in order already.
    """
    codes: list[str] = []
    order: list[int] = []
    finishes: list[tuple[slice, _Finish | None]] = []
    for point, regs in zip(points, places, strict=True):
        begin = len(codes)
        for reg in regs:
            codes.append(_code(point))
            order += [2 * (reg - first) + at for at in byte_order(point.registers, point.word_order)]
        finishes.append((slice(begin, len(codes)), _finish(point)))
    unpack = _unpacker(codes, order)
    if all(finish is None for _, finish in finishes):
        return unpack
    return _finisher(unpack, finishes)


def compile_bits(places: Sequence[int], first: int) -> Decoder:
    """A decoder for coils or discrete inputs in a block that begins at `first`: the first is bit 0 of the first byte."""
    shifts = tuple(place - first for place in places)

    def decode(data: bytes) -> Decoded:
        bits = int.from_bytes(data, "little")
        return [bits >> shift & 1 == 1 for shift in shifts]

    return decode


def _code(point: Point) -> str:
    if point.type == "str":
        return f"{2 * point.registers}s"
    return _UNSIGNED[point.registers] if point.bit_range else _CODE[point.type]


def _unpacker(codes: Sequence[str], order: Sequence[int]) -> Callable[[bytes], tuple[Raw, ...]]:
    straight = _straight(codes, order)
    if straight is not None:
        return straight.unpack_from
    packed = struct.Struct(">" + "".join(codes))
    if len(order) == 0 or max(order) < 256:
        # A permutation by one C call: each byte of `moves` is looked up in the reply, which serves as the table.
        moves = bytes(order)
        return lambda data: packed.unpack(moves.translate(data.ljust(256)))
    return lambda data: packed.unpack(bytes([data[at] for at in order]))


def _straight(codes: Sequence[str], order: Sequence[int]) -> struct.Struct | None:
    """One struct over the bytes as they come, holes as pad bytes; None where bytes must change places."""
    layout = ""
    at = done = 0
    for code in codes:
        size = struct.calcsize(">" + code)
        start = order[at] if size else done
        if start < done or list(order[at : at + size]) != list(range(start, start + size)):
            return None
        layout += f"{start - done}x" * (start > done) + code
        done, at = start + size, at + size
    return struct.Struct(">" + layout)


def _finisher(unpack: Callable[[bytes], tuple[Raw, ...]], finishes: Sequence[tuple[slice, _Finish | None]]) -> Decoder:
    if all(where.stop - where.start == 1 for where, _ in finishes):
        special = [(where.start, finish) for where, finish in finishes if finish is not None]

        def decode_some(data: bytes) -> Decoded:
            values: list[Raw | PointFault] = list(unpack(data))
            for at, finish in special:
                values[at] = finish(values[at : at + 1])  # type: ignore[arg-type]
            return values

        return decode_some

    def decode(data: bytes) -> Decoded:
        values = unpack(data)
        return [values[where.start] if finish is None else finish(values[where]) for where, finish in finishes]

    return decode


def _finish(point: Point) -> _Finish | None:
    """What is left to do after the unpack; None where nothing is."""
    one = _finish_one(point)
    if point.parts:
        return _sum(point, one)
    if one is None:
        return None
    return lambda values: one(values[0])


def _finish_one(point: Point) -> Callable[[Raw], Raw | PointFault] | None:
    kind = point.type
    if point.bit_range is not None:
        low, high = point.bit_range
        mask = (1 << (high - low + 1)) - 1
        if kind == "bool":
            return lambda word: int(word) >> low & mask != 0
        return lambda word: int(word) >> low & mask
    if kind.startswith("bcd"):
        digits = 4 * point.registers
        return lambda word: _bcd(int(word), digits)
    if kind.startswith("sm"):
        sign = 1 << (16 * point.registers - 1)
        return lambda word: -(int(word) & (sign - 1)) if int(word) & sign else int(word)
    if kind == "bool":
        return lambda word: word != 0
    if kind == "str":
        encoding = point.encoding
        return lambda raw: _text(raw, encoding)
    return None


def _bcd(word: int, digits: int) -> int | PointFault:
    text = f"{word:0{digits}x}"
    if not text.isdecimal():
        return PointFault("BadDecodingError", f"0x{text} is not BCD")
    return int(text)


def _text(raw: object, encoding: str) -> str | PointFault:
    """Text up to the first NUL, without the blanks or 0xFF bytes that fill it up."""
    data = bytes(raw).partition(b"\0")[0].rstrip(b"\xff") if isinstance(raw, bytes) else b""
    try:
        text = data.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        return PointFault("BadDecodingError", f"{data[:16].hex(' ')} is not {encoding}: {error}")
    return text.strip()


def _sum(point: Point, one: Callable[[Raw], Raw | PointFault] | None) -> _Finish:
    """The exact sum of parts, each with its scale: whole where the scales are, else rounded once to a float."""
    ratios = [part.scale.as_integer_ratio() for part in point.parts]
    divisor = lcm(*(below for _, below in ratios))
    factors = [above * (divisor // below) for above, below in ratios]

    def total(values: Sequence[Raw]) -> Raw | PointFault:
        whole: int = 0
        fraction: float = 0.0
        for value, factor in zip(values, factors, strict=True):
            number = value if one is None else one(value)
            if isinstance(number, PointFault):
                return number
            if isinstance(number, float):
                fraction += number * factor
            else:
                whole += int(number) * factor
        if fraction:
            return (whole + fraction) / divisor
        return whole if divisor == 1 else whole / divisor

    return total


def place_of(point: Point) -> tuple[int, ...]:
    """The registers where a point with a plain address begins: one, or one a part. Raises ValueError for SunSpec ones."""
    if point.parts:
        return tuple(part.reg for part in point.parts)
    if not isinstance(point.address, Modbus) or point.address.reg is None:
        raise ValueError(f"{point.id} has no register of its own")
    return (point.address.reg,)
