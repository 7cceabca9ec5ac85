"""A DL/T 645 meter 000000000001 for tests that holds n under the identifier of "register" n, and fifty of them in a block."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager

from device_profiles.schema import Point
from firmware_sim.meters import Meter, MeterLine, bcd, build
from firmware_sim.wire import Wire

_HELD_BY_ALL = {0x04000401, 0xC032}
"""The meter's own number, in either edition."""


def _single(edition: str, reg: int) -> int:
    return 0xF0000000 | (reg // 50) << 16 | (reg % 50) << 8 if edition == "2007" else 0xE000 + reg


def _block(edition: str, reg: int) -> int:
    return 0xF000FF00 | (reg // 50) << 16 if edition == "2007" else 0xF000 + reg // 50


def numbered(edition: str, *regs: int) -> list[Point]:
    """Points `r0`, `r1`, ... of that meter."""
    return [
        Point.model_validate(
            {
                "id": f"r{reg}",
                "type": "s64",
                "address": {
                    "di": _single(edition, reg), "format": "XXXX", "block": _block(edition, reg), "item": reg % 50,
                },
            }
        )
        for reg in regs
    ]  # fmt: skip


@contextmanager
def numbered_meter(
    edition: str, refused: Container[tuple[int, int]], moody: Callable[[bytes, bytes, bytes], list[bytes]]
) -> Iterator[MeterLine]:
    """The meter on a fast line. `refused` holds (3, n) for what it lacks; `moody` chooses what goes out instead of a reply, of
    (the reply, one of another meter, one with a wrong sum)."""
    held = {_single(edition, reg): (reg,) for reg in range(300)}
    held |= {_block(edition, first): tuple(range(first, first + 50)) for first in range(0, 300, 50)}

    def holds(di: int) -> bytes | None:
        if di in _HELD_BY_ALL:
            return bcd(1, 6)
        regs = held.get(di)
        if regs is None or any((3, reg) in refused for reg in regs):
            return None
        return b"".join(bcd(reg, 2) for reg in regs)

    def spoil(reply: bytes) -> list[tuple[float, bytes]]:
        bare = reply.lstrip(b"\xfe")
        foreign = build(b"\x02" + bare[2:7], bare[8], bytes(max(len(bare) - 12, 0)))
        return [(0.0, sent) for sent in moody(reply, foreign, reply[:-2] + b"\0\x16")]

    meter = Meter("000000000001", holds, edition, turnaround_s=0.002, spoil=spoil)
    with MeterLine([meter], Wire(115200)) as line:
        yield line
