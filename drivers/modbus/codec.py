"""Modbus frames: requests are built, replies are checked; nothing here does I/O or knows what a value means.

A reply is data only when function code, byte count and length are exactly what the request asks for. Everything else is raised
as DeviceMismatch, an exception reply as DeviceRefused with the status of CONTRACT.md section 11. Registers count from 0.
Source: MODBUS Application Protocol V1.1b3 (section 6 function codes, 7 exceptions), MODBUS over Serial Line V1.02 (2.5.1
RTU framing, CRC), MODBUS Messaging on TCP/IP V1.0b (3.1.3 MBAP header).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from device_profiles.errors import ConfigError, DeviceMismatch, DeviceRefused

FUNCTION_OF: dict[str, int] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
"""The reading function code of each table."""

BIT_TABLES = frozenset({"coil", "discrete"})
MAX_REGISTERS = 125
MAX_BITS = 2000
MASK_WRITE = 22
WRITES = frozenset({5, 6, 15, 16, MASK_WRITE})
"""Function codes that change something; their good reply repeats the begin of the request."""
BROADCAST = 0
MAX_PDU = 253
VARIABLE = -1
"""`Request.reply_size` of a reply that tells its length itself."""

EXCEPTIONS: dict[int, tuple[str, str]] = {
    0x01: ("illegal function", "BadNotSupported"),
    0x02: ("illegal data address", "BadNodeIdUnknown"),
    0x03: ("illegal data value", "BadOutOfRange"),
    0x04: ("server device failure", "BadDeviceFailure"),
    0x05: ("acknowledge, still working on it", "UncertainLastUsableValue"),
    0x06: ("server device busy", "UncertainLastUsableValue"),
    0x08: ("memory parity error", "BadDeviceFailure"),
    0x0A: ("gateway path unavailable", "BadNoCommunication"),
    0x0B: ("gateway target device failed to respond", "BadNoCommunication"),
}
"""Exception code: what the standard calls it, and the OPC UA status it becomes."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request PDU, and the size in bytes of the good reply's PDU (VARIABLE when the reply says it itself)."""

    pdu: bytes
    reply_size: int

    @property
    def function(self) -> int:
        return self.pdu[0]


# -- requests ---------------------------------------------------------------------------------------------------------


def read_request(table: str, first: int, count: int) -> Request:
    """FC 1 to 4: `count` bits or registers from `first`. Raises ConfigError outside 1..2000 bits, 1..125 registers."""
    is_bits = table in BIT_TABLES
    most = MAX_BITS if is_bits else MAX_REGISTERS
    if not 1 <= count <= most or not 0 <= first <= 0x10000 - count:
        raise ConfigError(
            f"{count} from {first} is not a readable range of the {table} table",
            next_step=f"read 1 to {most} at once, within 0 to 65535",
        )
    size = (count + 7) // 8 if is_bits else 2 * count
    return Request(struct.pack(">BHH", FUNCTION_OF[table], first, count), 2 + size)


def write_coil(reg: int, on: bool) -> Request:
    """FC 5."""
    _check_span(reg, 1, 1)
    return Request(struct.pack(">BHH", 5, reg, 0xFF00 if on else 0), 5)


def write_register(reg: int, value: int) -> Request:
    """FC 6: `value` as the 16 bits on the wire."""
    _check_span(reg, 1, 1)
    _check_words([value])
    return Request(struct.pack(">BHH", 6, reg, value), 5)


def write_coils(first: int, bits: Sequence[bool]) -> Request:
    """FC 15: the first coil is the least significant bit of the first byte. At most 1968."""
    _check_span(first, len(bits), 1968)
    size = (len(bits) + 7) // 8
    packed = sum(bool(bit) << place for place, bit in enumerate(bits)).to_bytes(size, "little")
    return Request(struct.pack(">BHHB", 15, first, len(bits), size) + packed, 5)


def write_registers(first: int, words: Sequence[int]) -> Request:
    """FC 16: at most 123 registers."""
    _check_span(first, len(words), 123)
    _check_words(words)
    head = struct.pack(">BHHB", 16, first, len(words), 2 * len(words))
    return Request(head + struct.pack(f">{len(words)}H", *words), 5)


def mask_register(reg: int, keep: int, value: int) -> Request:
    """FC 22: the register becomes `(old AND keep) OR (value AND NOT keep)`, in the device itself."""
    _check_span(reg, 1, 1)
    _check_words([keep, value])
    return Request(struct.pack(">BHHH", MASK_WRITE, reg, keep, value), 7)


def identity_request(level: int = 1, first_object: int = 0) -> Request:
    """FC 43 / MEI type 14, read device identification: level 1 basic, 2 regular, 3 extended, 4 one object."""
    if not 1 <= level <= 4 or not 0 <= first_object <= 255:
        raise ConfigError(
            f"identification level {level}, object {first_object} do not exist", next_step="use level 1 to 4"
        )
    return Request(bytes((43, 14, level, first_object)), VARIABLE)


def _check_span(first: int, count: int, most: int) -> None:
    if not 1 <= count <= most or not 0 <= first <= 0x10000 - count:
        raise ConfigError(
            f"{count} from {first} cannot be written at once", next_step=f"write 1 to {most} within 0 to 65535"
        )


def _check_words(words: Sequence[int]) -> None:
    for word in words:
        if not 0 <= word <= 0xFFFF:
            raise ConfigError(
                f"{word} does not fit a register", next_step="give 0 to 65535, negative numbers as 65536 + n"
            )


def check_unit(unit: int | str) -> int:
    """The unit to ask. Raises ConfigError for the broadcast address, which nobody answers, and for what is no unit."""
    if isinstance(unit, str) or not 0 <= unit <= 255:
        raise ConfigError(f"unit {unit!r} is no Modbus unit", next_step="use 1 to 247 (255 on Modbus TCP)")
    if unit == BROADCAST:
        raise ConfigError(
            "unit 0 is the broadcast address, which no device answers", next_step="use 1 to 247, or 255 on Modbus TCP"
        )
    return unit


# -- replies ----------------------------------------------------------------------------------------------------------


def reply_data(request: Request, pdu: bytes) -> bytes:
    """The data of a good reply: register or coil bytes of FC 1 to 4, objects of FC 43, nothing for writes.

    Raises DeviceRefused for an exception reply and DeviceMismatch for anything that is not the answer to `request`.
    """
    if len(pdu) == request.reply_size and pdu[0] == request.pdu[0]:
        if pdu[0] <= 4:
            if pdu[1] == len(pdu) - 2:
                return pdu[2:]
            raise _mismatch(f"byte count {pdu[1]} where {len(pdu) - 2} bytes follow", pdu)
        if pdu == request.pdu[: request.reply_size]:
            return b""
        raise _mismatch("another address or value is confirmed than was written", pdu)
    raise _not_the_answer(request, pdu)


def _not_the_answer(request: Request, pdu: bytes) -> DeviceMismatch | DeviceRefused:
    if not pdu:
        return _mismatch("an empty reply", pdu)
    function = request.function
    if pdu[0] == function | 0x80:
        return refused(pdu[1]) if len(pdu) == 2 else _mismatch(f"an exception reply of {len(pdu)} bytes", pdu)
    if pdu[0] != function:
        return _mismatch(f"function code {pdu[0]} where {function} was asked", pdu)
    return _mismatch(f"a reply of {len(pdu)} bytes where {request.reply_size} are due", pdu)


def refused(code: int) -> DeviceRefused:
    """The error for an exception code; its status is that of CONTRACT.md section 11."""
    words, status = EXCEPTIONS.get(code, ("not in the standard", "BadCommunicationError"))
    steps = {
        0x01: "read another table, or see the device's manual for its function codes",
        0x02: "check the register numbers against the device's manual (they count from 0 here)",
        0x0A: "check the gateway's own configuration",
        0x0B: "check the device behind the gateway: power, wiring, unit number",
    }
    return DeviceRefused(f"exception {code} ({words})", code=code, status=status, next_step=steps.get(code, ""))


def _mismatch(what: str, pdu: bytes) -> DeviceMismatch:
    shown = pdu[:16].hex(" ") + (" ..." if len(pdu) > 16 else "")
    return DeviceMismatch(f"{what} ({shown or 'no bytes'})", next_step="look at the frames with --trace")


@dataclass(frozen=True, slots=True)
class Identity:
    """One reply of FC 43/14: objects by number, and the object to ask next (None = that was all)."""

    objects: dict[int, bytes]
    more_from: int | None


def parse_identity(request: Request, pdu: bytes) -> Identity:
    """Objects of a read device identification reply. Raises DeviceRefused, DeviceMismatch."""
    if len(pdu) < 2 or pdu[0] != 43:
        raise _not_the_answer(request, pdu)
    if len(pdu) < 7 or pdu[1] != 14 or pdu[2] != request.pdu[2]:
        raise _mismatch("not a device identification", pdu)
    size = identity_size(pdu)
    if size is None or size != len(pdu):
        raise _mismatch("objects do not fill the reply", pdu)
    objects: dict[int, bytes] = {}
    at = 7
    for _ in range(pdu[6]):
        objects[pdu[at]] = pdu[at + 2 : at + 2 + pdu[at + 1]]
        at += 2 + pdu[at + 1]
    more = pdu[5] if pdu[4] == 0xFF else None
    if more is not None and more <= request.pdu[3]:
        raise _mismatch(f"the next object {more} is not after {request.pdu[3]}", pdu)
    return Identity(objects, more)


def identity_size(pdu: bytes) -> int | None:
    """Bytes that a device identification PDU takes in all, as far as its begin tells; None = more bytes are needed."""
    if len(pdu) < 7:
        return None
    at = 7
    for _ in range(pdu[6]):
        if len(pdu) < at + 2:
            return None
        at += 2 + pdu[at + 1]
    return at


# -- frames -----------------------------------------------------------------------------------------------------------


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


CRC_TABLE = _crc_table()


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS: polynomial 0x8005 reflected, initial 0xFFFF; sent low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def rtu_frame(unit: int, pdu: bytes) -> bytes:
    """`unit pdu crc` as it goes over a serial line."""
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def rtu_holds(frame: bytes) -> bool:
    """True when the frame's CRC is right."""
    return len(frame) >= 4 and crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little")


def tcp_frame(tid: int, unit: int, pdu: bytes) -> bytes:
    """MBAP header (transaction, protocol 0, length, unit) and PDU."""
    return struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu


@dataclass(frozen=True, slots=True)
class TcpFrame:
    """One Modbus TCP message."""

    tid: int
    unit: int
    pdu: bytes


def split_tcp(data: bytes) -> tuple[list[TcpFrame], bytes]:
    """The complete messages at the begin of a stream, and the rest. Raises DeviceMismatch where no message can begin."""
    frames: list[TcpFrame] = []
    at = 0
    while len(data) - at >= 7:
        tid, protocol, length, unit = struct.unpack_from(">HHHB", data, at)
        if protocol != 0 or not 2 <= length <= MAX_PDU + 1:
            raise _mismatch(f"protocol {protocol}, length {length} in an MBAP header", data[at:])
        if len(data) - at < 6 + length:
            break
        frames.append(TcpFrame(tid, unit, data[at + 7 : at + 6 + length]))
        at += 6 + length
    return frames, data[at:]
