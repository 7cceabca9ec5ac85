"""A slave of the conformance suite: it holds n in the record of storage number n."""

from __future__ import annotations

from collections.abc import Callable, Container

from device_profiles.schema import Point
from firmware_sim.mbus import MbusSlave, Record
from firmware_sim.slaves import SlaveLine
from firmware_sim.wire import Wire

_THERE = (*range(22), *range(50, 72), 119, 120, 121, 200)
"""What the suite asks for."""


def numbered_slave(refused: Container[tuple[int, int]], moody: Callable[..., list[bytes]]) -> SlaveLine[MbusSlave]:
    """A line with one slave of primary address 1."""

    def records() -> list[Record]:
        return [(_head(at), at.to_bytes(2, "little")) for at in _THERE if (3, at) not in refused]

    def spoil(frame: bytes) -> list[tuple[float, bytes]]:
        if len(frame) == 1:
            return [(0.0, piece) for piece in moody(frame, b"\xa2", b"\x00")]
        foreign = frame[4:5] + b"\x07" + frame[6:-2]
        wrong = frame[:4] + foreign + bytes((sum(foreign) % 256, 0x16))
        return [(0.0, piece) for piece in moody(frame, wrong, frame[:-2] + bytes((frame[-2] ^ 0x5A,)) + frame[-1:])]

    slave = MbusSlave("12345678", records, primary=1, per_telegram=25, turnaround_s=0.0005, spoil=spoil)
    return SlaveLine([slave], Wire(115200))


def _head(storage: int) -> bytes:
    """DIF of 16 bits with a storage number, and VIF FD 08 (access number: a number without a unit)."""
    extensions = []
    rest = storage >> 1
    while rest:
        extensions.append(rest & 0x0F)
        rest >>= 4
    octets = [0x02 | (storage & 1) << 6, *extensions]
    return bytes(each | (0x80 if at < len(octets) - 1 else 0) for at, each in enumerate(octets)) + b"\xfd\x08"


def numbered_records(*regs: int) -> list[Point]:
    return [
        Point.model_validate({"id": f"r{reg}", "type": "f64", "mbus": "access_number", "storage": reg}) for reg in regs
    ]
