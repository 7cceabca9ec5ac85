"""Modbus frames: MBAP for TCP, address and CRC-16 for RTU. Pure.

Source: MODBUS Application Protocol V1.1b3 sections 4 and 5, MODBUS over Serial Line V1.02 sections 2.5 and 6.2.2, MODBUS
Messaging on TCP/IP V1.0b section 3.1.3. Written without a look at the drivers: two readings of the standard that agree.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_TABLE = _crc_table()
_MBAP = struct.Struct(">HHHB")


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS: reflected 0x8005, begins at 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc


def rtu_frame(unit: int, pdu: bytes) -> bytes:
    """Address, PDU, CRC low byte first."""
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def rtu_parts(frame: bytes) -> tuple[int, bytes] | None:
    """(unit, pdu), or None where length or CRC is wrong."""
    if not 4 <= len(frame) <= 256 or crc16(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
        return None
    return frame[0], frame[1:-2]


def tcp_frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    """MBAP header and PDU; protocol identifier 0, length counts the unit and the PDU."""
    return _MBAP.pack(transaction, 0, len(pdu) + 1, unit) + pdu


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came. `transaction` is None on a serial line."""

    unit: int
    pdu: bytes
    transaction: int | None = None

    def frame(self, pdu: bytes, *, unit: int | None = None, transaction_off: int = 0) -> bytes:
        """The reply's frame in the request's own framing; the options are for what faulty devices do."""
        to = self.unit if unit is None else unit
        if self.transaction is None:
            return rtu_frame(to, pdu)
        return tcp_frame((self.transaction + transaction_off) & 0xFFFF, to, pdu)


class BadStream(ValueError):
    """What came is not Modbus TCP; a device closes the connection."""


def take_tcp(buffer: bytearray) -> Request | None:
    """Cuts the first whole request off `buffer`; None while it is incomplete. Raises BadStream for a wrong header."""
    if len(buffer) < 8:
        return None
    transaction, protocol, length, unit = _MBAP.unpack_from(buffer)
    if protocol != 0 or not 2 <= length <= 254:
        raise BadStream(f"protocol {protocol}, length {length}")
    if len(buffer) < 6 + length:
        return None
    pdu = bytes(buffer[7 : 6 + length])
    del buffer[: 6 + length]
    return Request(unit, pdu, transaction)
