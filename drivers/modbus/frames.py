"""Modbus frames in a stream, RTU and TCP, without knowing what was asked.

RTU has no start byte: a frame is where a unit, a known function, its length and its CRC fit together; a 16-bit CRC lets one in
65,536 wrong ones pass. Whether a frame asks or answers follows from its length.
Source: MODBUS Application Protocol V1.1b3 (section 6), MODBUS over Serial Line V1.02 (2.5.1), MODBUS Messaging on TCP/IP V1.0b.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from drivers.frames import MORE, NOTHING, Frame, Matched, Part, Reject, Scanner, Value

from . import codec
from .window_crc import WindowCrc

_READS = frozenset({1, 2, 3, 4})
_BITS = frozenset({1, 2})
_MULTIPLE = frozenset({15, 16})
_FIXED = {5: 5, 6: 5, 22: 7}
"""PDU size of requests that the good reply repeats."""
_LONGEST_RTU = 256
_LONGEST_TCP = 260
_TELLING = 12
"""In the first bytes of a frame stands how long it is; a device identification tells it on its way."""
_STATUS, _DIAGNOSTICS, _COUNTER, _LOG, _SERVER, _FILE_READ, _FILE_WRITE, _READ_WRITE, _FIFO, _DEVICE = (
    7, 8, 11, 12, 17, 20, 21, 23, 24, 43,
)  # fmt: skip
_KNOWN = frozenset({*_READS, *_FIXED, *_MULTIPLE, _STATUS, _DIAGNOSTICS, _COUNTER, _LOG, _SERVER, _FILE_READ, _FILE_WRITE,
                    _READ_WRITE, _FIFO, _DEVICE})  # fmt: skip
_FUNCTIONS = bytes(sorted(_KNOWN | {one | 0x80 for one in _KNOWN}))
_RTU_START = re.compile(rb"[\x00-\xf7][" + re.escape(_FUNCTIONS) + rb"]")
_OBJECTS = ("vendor_name", "product_code", "revision", "vendor_url", "product_name", "model_name", "application_name")
"""Of read device identification (43/14), by object id."""
_TCP_START = re.compile(rb"(?s:..)\x00\x00\x00[\x02-\xfe]")


class RtuDecoder:
    """`drivers.frames.FrameDecoder` for RTU. Input that is one frame with a wrong CRC is told as that."""

    def __init__(self) -> None:
        self._crc = WindowCrc()
        self._scanner = Scanner(self._match, _RTU_START, width=2, longest=_LONGEST_RTU, size=_size_rtu)
        self._first = bytearray()
        self._size = 0
        self._is_any = False

    def feed(self, data: bytes) -> Iterator[Frame | Reject]:
        """See FrameDecoder."""
        self._size += len(data)
        self._first += data[: _LONGEST_RTU + 1 - len(self._first)]
        for found in self._scanner.feed(data):
            self._is_any = True
            yield found

    def end(self) -> Iterator[Frame | Reject]:
        """See FrameDecoder."""
        rest = list(self._scanner.end())
        whole = bytes(self._first)
        is_one = not self._is_any and self._size == len(whole) and not any(isinstance(one, Frame) for one in rest)
        if is_one and len(whole) >= 4 and (len(whole) - 2) in {size + 1 for size in _pdu_sizes(whole[1:])}:
            right, is_there = codec.crc16(whole[:-2]).to_bytes(2, "little"), whole[-2:]
            yield Reject(0, whole, "checksum", right.hex(), is_there.hex(), "the CRC is wrong")
            return
        yield from rest

    def _match(self, data: bytes, at: int) -> Matched:
        left = min(len(data) - at, _LONGEST_RTU)
        sizes = _pdu_sizes(data[at + 1 : at + (left if data[at + 1] == _DEVICE else _TELLING)])
        for size in sizes:
            end = size + 3
            if end <= left and self._crc.holds(data, at, at + end):
                raw = data[at : at + end]
                return _frame(at, raw, 1, f"unit {raw[0]}", raw[1:-2], crc=True)
        return MORE if sizes and left < max(8, max(sizes) + 3) else NOTHING


class TcpDecoder(Scanner):
    """`drivers.frames.FrameDecoder` for one direction of a Modbus TCP connection."""

    def __init__(self) -> None:
        super().__init__(_match_tcp, _TCP_START, width=6, longest=_LONGEST_TCP, size=_size_tcp)


def _pdu_sizes(pdu: bytes) -> tuple[int, ...]:
    """The sizes that a PDU beginning like this can have. () for an unknown function.

    A size that depends on a byte that is not there yet is left out.
    """
    function = pdu[0]
    if function & 0x80:
        return (2,) if function & 0x7F in _KNOWN else ()
    if function in _FIXED:
        return (_FIXED[function],)
    if function in _READS:
        ask = (5,) if len(pdu) < 5 or _is_span(function, pdu) else ()
        return (*ask, 2 + pdu[1]) if len(pdu) > 1 and _is_read_size(function, pdu[1]) else ask
    if function in _MULTIPLE:
        return (5, 6 + pdu[5]) if len(pdu) > 5 and 0 < pdu[5] <= 246 else (5,)
    if function == _DEVICE and len(pdu) > 1 and pdu[1] == 14:
        size = codec.identity_size(pdu)
        return (4,) if size is None else (4, size)
    return _rare_sizes(function, pdu)


def _rare_sizes(function: int, pdu: bytes) -> tuple[int, ...]:
    """Of functions that a master of readings does not use: serial line diagnostics, file records, queues."""
    counted = (2 + pdu[1],) if len(pdu) > 1 and pdu[1] else ()
    if function == _STATUS:
        return 1, 2
    if function == _COUNTER:
        return 1, 5
    if function == _DIAGNOSTICS:
        return (5,)
    if function in (_LOG, _SERVER):
        return (1, *counted)
    if function in (_FILE_READ, _FILE_WRITE):
        return counted
    if function == _READ_WRITE:
        return (*counted, 10 + pdu[9]) if len(pdu) > 9 and pdu[9] else counted
    if function == _FIFO:
        return (3, 3 + int.from_bytes(pdu[1:3])) if len(pdu) > 2 and 2 <= int.from_bytes(pdu[1:3]) <= 64 else (3,)
    return ()


def _is_read_size(function: int, count: int) -> bool:
    return 0 < count <= 250 and (function in _BITS or count % 2 == 0)


def _size_rtu(data: bytes, at: int) -> int | None:
    """The shortest that a frame that begins like this can be, where the bytes at hand are too few for it."""
    got = len(data) - at
    return min((size + 3 for size in _pdu_sizes(data[at + 1 : at + _LONGEST_RTU]) if size + 3 > got), default=None)


def _size_tcp(data: bytes, at: int) -> int | None:
    return 6 + int.from_bytes(data[at + 4 : at + 6]) if len(data) - at >= 6 else None


def _match_tcp(data: bytes, at: int) -> Matched:
    if len(data) - at < 8:
        return MORE
    tid, protocol, length, unit = struct.unpack_from(">HHHB", data, at)
    if protocol != 0 or not 2 <= length <= 254:
        return NOTHING
    if len(data) - at < 6 + length:
        return MORE
    raw = data[at : at + 6 + length]
    pdu = raw[7:]
    if not pdu[0] & 0x7F:
        return Reject(at, raw, "function", got=f"{pdu[0]:02x}", detail=f"{pdu[0]:02X}H is no function")
    if pdu[0] & 0x7F in _KNOWN and len(pdu) not in _pdu_sizes(pdu):
        return Reject(
            at, raw, "length", got=str(len(pdu)), detail=f"no PDU of function {pdu[0]} is {len(pdu)} bytes long"
        )
    return _frame(at, raw, 7, f"unit {unit}", pdu, tid=tid)


def _frame(
    at: int, raw: bytes, start: int, address: str, pdu: bytes, *, crc: bool = False, tid: int | None = None
) -> Frame:
    parts = [Part(start - 1, start, "unit", address)]
    if tid is not None:
        parts = [Part(0, 2, "transaction", str(tid)), Part(2, 4, "protocol", "0"), Part(4, 6, "length"), *parts]
    values, facts, said = _pdu(pdu)
    parts += [Part(start + part.start, start + part.end, part.name, part.text) for part in said]
    if crc:
        parts.append(Part(len(raw) - 2, len(raw), "crc", "right"))
    if tid is not None:
        facts = {"tid": tid, **facts}
    control = f"{pdu[0]:02X}"
    return Frame(at, raw, address.removeprefix("unit "), control, values, facts, tuple(parts))


def _pdu(pdu: bytes) -> tuple[tuple[Value, ...], dict[str, object], list[Part]]:
    """(values, facts, parts) of a PDU whose length fits."""
    function = pdu[0]
    parts = [Part(0, 1, "function", str(function & 0x7F))]
    if function & 0x80:
        name, status = codec.EXCEPTIONS.get(pdu[1], ("unknown", "BadUnexpectedError"))
        return (), {"exception": pdu[1], "name": name, "status": status}, [*parts, Part(1, 2, "exception", name)]
    if function in _READS and not (len(pdu) == 5 and _is_span(function, pdu)):
        parts += [Part(1, 2, "bytes", str(pdu[1])), Part(2, len(pdu), "data", pdu[2:].hex(" "))]
        return _data(function, 0, pdu[2:]), {"is": "reply"}, parts
    if function in _READS:
        first, count = struct.unpack_from(">HH", pdu, 1)
        parts += [Part(1, 3, "first", str(first)), Part(3, 5, "count", str(count))]
        return (), {"is": "request", "first": first, "count": count}, parts
    if function in _FIXED:
        reg, word = struct.unpack_from(">HH", pdu, 1)
        parts += [Part(1, 3, "register", str(reg)), Part(3, 5, "value", f"0x{word:04x}")]
        value = Value(f"{'coil' if function == 5 else 'r'}{reg}", word == 0xFF00 if function == 5 else word)
        if function == codec.MASK_WRITE:
            parts.append(Part(5, 7, "or", pdu[5:7].hex()))
            return (), {"register": reg, "and": word, "or": int.from_bytes(pdu[5:7], "big")}, parts
        return (value,), {}, parts
    if function in _MULTIPLE:
        first, count = struct.unpack_from(">HH", pdu, 1)
        parts += [Part(1, 3, "first", str(first)), Part(3, 5, "count", str(count))]
        facts: dict[str, object] = {"is": "reply" if len(pdu) == 5 else "request", "first": first, "count": count}
        if len(pdu) == 5:
            return (), facts, parts
        parts += [Part(5, 6, "bytes", str(pdu[5])), Part(6, len(pdu), "data", pdu[6:].hex(" "))]
        return _data(1 if function == 15 else 3, first, pdu[6:])[:count], facts, parts
    if len(pdu) > 1:
        parts.append(Part(1, len(pdu), "data", pdu[1:].hex(" ")))
    return *_rare(function, pdu), parts


def _rare(function: int, pdu: bytes) -> tuple[tuple[Value, ...], dict[str, object]]:
    """(values, facts) of what is not read or written every day."""
    if function == _READ_WRITE and len(pdu) > 10 and len(pdu) == 10 + pdu[9]:
        first, count, written, many = struct.unpack_from(">HHHH", pdu, 1)
        facts = {"is": "request", "first": first, "count": count, "written": written, "written_count": many}
        return _data(3, written, pdu[10:]), facts
    if function == _READ_WRITE:
        return _data(3, 0, pdu[2:]), {"is": "reply"}
    if function == _FIFO:
        return (_data(3, 0, pdu[5:]), {"is": "reply"}) if len(pdu) > 3 else ((), {"first": int.from_bytes(pdu[1:3])})
    if function == _STATUS and len(pdu) == 2:
        return (Value("status", pdu[1]),), {"is": "reply"}
    if function == _COUNTER and len(pdu) == 5:
        return (Value("events", int.from_bytes(pdu[3:5])),), {"is": "reply", "status": pdu[1:3].hex()}
    if function == _DIAGNOSTICS and len(pdu) == 5:
        return (), {"subfunction": int.from_bytes(pdu[1:3]), "data": pdu[3:5].hex()}
    if function == _DEVICE and pdu[1:2] == b"\x0e":
        return _identity(pdu) if len(pdu) > 7 else ((), {"is": "request"})
    return (), {"is": "request"} if len(pdu) == 1 else {}


def _identity(pdu: bytes) -> tuple[tuple[Value, ...], dict[str, object]]:
    values: list[Value] = []
    at = 7
    while at + 2 <= len(pdu):
        number, size = pdu[at], pdu[at + 1]
        name = _OBJECTS[number] if number < len(_OBJECTS) else f"object_{number:02x}"
        values.append(Value(f"{name}_text", pdu[at + 2 : at + 2 + size].decode("utf-8", "replace")))
        at += 2 + size
    return tuple(values), {"is": "reply", "more": bool(pdu[4])}


def _is_span(function: int, pdu: bytes) -> bool:
    """Five bytes that ask; a reply of three bytes of coils looks alike, and is the rarer one."""
    count = int.from_bytes(pdu[3:5], "big")
    return 1 <= count <= (codec.MAX_BITS if function in _BITS else codec.MAX_REGISTERS)


def _data(function: int, first: int, data: bytes) -> tuple[Value, ...]:
    if function in _BITS:
        return tuple(
            Value(f"coil{first + 8 * at + bit}", bool(byte >> bit & 1))
            for at, byte in enumerate(data)
            for bit in range(8)
        )
    words = struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2])
    return tuple(Value(f"r{first + at}", word) for at, word in enumerate(words))
