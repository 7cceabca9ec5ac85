"""CRC-16/MODBUS of any part of a buffer in constant time, so that a frame may be looked for at every byte of a stream. Pure.

A CRC is linear: what stands before a part adds what it leaves in the register, carried on over the part. So the registers behind
each byte of the buffer are enough, and tables of what a register becomes after so many bytes of zeros.
"""

from __future__ import annotations

from functools import cache

from .codec import CRC_TABLE

_FIRST = 0xFFFF


class WindowCrc:
    """Checks parts of a buffer, and of the next one."""

    def __init__(self) -> None:
        self._data: bytes | None = None
        self._registers: list[int] = []
        """Behind so many bytes of the buffer, begun with 0."""

    def holds(self, data: bytes, first: int, last: int) -> bool:
        """True when the last two bytes of data[first:last] are the CRC of those before, low byte first."""
        if data is not self._data:
            self._data = data
            self._registers = _registers(data)
        low, high = _carried(last - first)
        before = self._registers[first] ^ _FIRST
        return self._registers[last] == low[before & 0xFF] ^ high[before >> 8]


def _registers(data: bytes) -> list[int]:
    registers = [0]
    crc = 0
    table = CRC_TABLE
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
        registers.append(crc)
    return registers


Tables = tuple[tuple[int, ...], tuple[int, ...]]


@cache
def _carried(count: int) -> Tables:
    """(by low byte, by high byte) what a register becomes after `count` bytes of zeros."""
    if not count:
        return tuple(range(256)), tuple(high << 8 for high in range(256))
    low, high = _carried(count - 1)  # at most as deep as a frame is long
    return _one_on(low), _one_on(high)


def _one_on(registers: tuple[int, ...]) -> tuple[int, ...]:
    return tuple((crc >> 8) ^ CRC_TABLE[crc & 0xFF] for crc in registers)
