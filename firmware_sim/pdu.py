"""What a Modbus device answers to a request PDU. Pure over the device it is given; never raises.

Source: MODBUS Application Protocol V1.1b3 sections 6.1 to 6.6, 6.11, 6.12, 6.16, 6.21 and 7 (the order in which a server checks:
function, count, address, execution).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Protocol

from firmware_sim.registers import COIL, DISCRETE, HOLDING, INPUT

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 1, 2, 3, 4
ACKNOWLEDGE, BUSY, GATEWAY_NO_PATH, GATEWAY_NO_ANSWER = 5, 6, 0x0A, 0x0B

_TABLE_OF = {1: COIL, 2: DISCRETE, 3: HOLDING, 4: INPUT}


class Server(Protocol):
    """What answering needs of a device. Reads return None, writes an exception code, where the device refuses."""

    functions: frozenset[int]
    max_registers: int
    max_bits: int

    def read_registers(self, table: str, address: int, count: int) -> bytes | None: ...
    def read_bits(self, table: str, address: int, count: int) -> Sequence[bool] | None: ...
    def write_registers(self, address: int, values: Sequence[int]) -> int: ...
    def write_coils(self, address: int, values: Sequence[bool]) -> int: ...
    def identification(self) -> dict[int, bytes]: ...


def exception(function: int, code: int) -> bytes:
    return bytes((function | 0x80, code))


def pack_bits(bits: Sequence[bool]) -> bytes:
    """First bit in the lowest bit of the first byte."""
    packed = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        packed[index >> 3] |= bool(bit) << (index & 7)
    return bytes(packed)


def unpack_bits(packed: bytes, count: int) -> list[bool]:
    return [bool(packed[index >> 3] >> (index & 7) & 1) for index in range(count)]


def answer(server: Server, pdu: bytes) -> bytes:
    """The reply PDU, an exception where the device refuses."""
    function = pdu[0]
    if function not in server.functions:
        return exception(function, ILLEGAL_FUNCTION)
    if function in (3, 4):
        return _read_registers(server, pdu)
    if function in (1, 2):
        return _read_bits(server, pdu)
    if function in (5, 6):
        return _write_one(server, pdu)
    if function in (15, 16):
        return _write_many(server, pdu)
    if function == 22:
        return _mask_write(server, pdu)
    if function == 43:
        return _identify(server, pdu)
    return exception(function, ILLEGAL_FUNCTION)


def _read_registers(server: Server, pdu: bytes) -> bytes:
    function = pdu[0]
    if len(pdu) != 5:
        return exception(function, ILLEGAL_VALUE)
    address, count = struct.unpack_from(">HH", pdu, 1)
    if not 1 <= count <= server.max_registers:
        return exception(function, ILLEGAL_VALUE)
    data = server.read_registers(_TABLE_OF[function], address, count) if address + count <= 0x10000 else None
    if data is None:
        return exception(function, ILLEGAL_ADDRESS)
    return bytes((function, len(data))) + data


def _read_bits(server: Server, pdu: bytes) -> bytes:
    function = pdu[0]
    if len(pdu) != 5:
        return exception(function, ILLEGAL_VALUE)
    address, count = struct.unpack_from(">HH", pdu, 1)
    if not 1 <= count <= server.max_bits:
        return exception(function, ILLEGAL_VALUE)
    bits = server.read_bits(_TABLE_OF[function], address, count)
    if bits is None:
        return exception(function, ILLEGAL_ADDRESS)
    packed = pack_bits(bits)
    return bytes((function, len(packed))) + packed


def _write_one(server: Server, pdu: bytes) -> bytes:
    function = pdu[0]
    if len(pdu) != 5:
        return exception(function, ILLEGAL_VALUE)
    address, value = struct.unpack_from(">HH", pdu, 1)
    if function == 5 and value not in (0x0000, 0xFF00):
        return exception(function, ILLEGAL_VALUE)
    code = server.write_coils(address, [value == 0xFF00]) if function == 5 else server.write_registers(address, [value])
    return exception(function, code) if code else pdu


def _write_many(server: Server, pdu: bytes) -> bytes:
    function = pdu[0]
    if len(pdu) < 7:
        return exception(function, ILLEGAL_VALUE)
    address, count, size = struct.unpack_from(">HHB", pdu, 1)
    data = pdu[6:]
    if function == 16:
        if not 1 <= count <= 123 or size != 2 * count or len(data) != size:
            return exception(function, ILLEGAL_VALUE)
        code = server.write_registers(address, struct.unpack(f">{count}H", data))
    else:
        if not 1 <= count <= 1968 or size != (count + 7) // 8 or len(data) != size:
            return exception(function, ILLEGAL_VALUE)
        code = server.write_coils(address, unpack_bits(data, count))
    return exception(function, code) if code else pdu[:5]


def _mask_write(server: Server, pdu: bytes) -> bytes:
    """Result = (current AND and_mask) OR (or_mask AND NOT and_mask)."""
    if len(pdu) != 7:
        return exception(22, ILLEGAL_VALUE)
    address, and_mask, or_mask = struct.unpack_from(">HHH", pdu, 1)
    current = server.read_registers(HOLDING, address, 1)
    if current is None:
        return exception(22, ILLEGAL_ADDRESS)
    value = int.from_bytes(current, "big") & and_mask | or_mask & ~and_mask & 0xFFFF
    code = server.write_registers(address, [value])
    return exception(22, code) if code else pdu


def _identify(server: Server, pdu: bytes) -> bytes:
    """43/14: all objects in one reply (they are short), or the one that was asked for."""
    if len(pdu) != 4 or pdu[1] != 14:
        return exception(43, ILLEGAL_VALUE if len(pdu) >= 2 and pdu[1] == 14 else ILLEGAL_FUNCTION)
    read_code, wanted = pdu[2], pdu[3]
    objects = server.identification()
    conformity = 0x82 if max(objects) > 2 else 0x81
    if read_code == 4:
        if wanted not in objects:
            return exception(43, ILLEGAL_ADDRESS)
        chosen = {wanted: objects[wanted]}
    elif read_code in (1, 2):
        last = 2 if read_code == 1 else 0x7F
        chosen = {key: objects[key] for key in sorted(objects) if wanted <= key <= last}
        if not chosen:  # an unknown object id begins again at the first one
            chosen = {key: objects[key] for key in sorted(objects) if key <= last}
    else:
        return exception(43, ILLEGAL_VALUE)
    body = b"".join(bytes((key, len(text))) + text for key, text in chosen.items())
    return bytes((43, 14, read_code, conformity, 0, 0, len(chosen))) + body
