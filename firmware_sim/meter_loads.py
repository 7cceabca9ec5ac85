"""Load records of a simulated DL/T 645-2007 meter: what it wrote down every quarter of an hour, in the shape of annex B.

    A0 A0 n YYMMDDhhmm [U I f] AA [P Q] AA [power factor] AA [energies] AA [quadrants] AA [demand] AA CS E5

Written from the standard without a look at the drivers. Source: DL/T 645-2007, annex A.7 and annex B.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from firmware_sim.meters import bcd
from firmware_sim.registers import Value

EARLIEST, FROM, LATEST = 0, 1, 2
"""DI0: which records are asked for."""


@dataclass
class Loads:
    """The records of one meter. `seen` gives what it measured at a time of the world (`worlds.ThreePhase.snapshot`)."""

    seen: Callable[[float], Mapping[str, Value]]
    offset_s: float
    """What the meter's local clock is ahead of the world's time."""
    every_s: int = 900
    classes: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    """Those that it is set to record."""
    only_exact: bool = False
    """Answers only for the very minute that is asked for."""
    damaged: frozenset[float] = frozenset()
    """Local times whose records it holds for damaged."""

    def answer(self, di: int, rest: bytes, began_s: float, now_s: float) -> bytes | None:
        """The records asked for; empty where there are none, None for a class that does not exist."""
        number, which = di >> 16 & 0xFF, di & 0xFF
        if number > 6 or di & 0xFF00 or which > LATEST or not rest or (which == FROM and len(rest) != 6):
            return None
        if number and number not in self.classes:
            return b""
        first = -(-(began_s + self.offset_s) // self.every_s) * self.every_s
        last = (now_s + self.offset_s) // self.every_s * self.every_s
        blocks = int(rest[:1].hex())
        begin = {EARLIEST: first, LATEST: last}.get(which)
        if begin is None:
            asked = float(calendar.timegm(time.strptime(rest[:0:-1].hex(), "%y%m%d%H%M")))
            if self.only_exact and (asked % self.every_s or asked < first):
                return b""
            begin = max(first, -(-asked // self.every_s) * self.every_s)
        times = [begin + n * self.every_s for n in range(blocks) if begin + n * self.every_s <= last]
        return b"".join(self._record(at, number) for at in times)

    def _record(self, local_s: float, number: int) -> bytes:
        content = self._contents(self.seen(local_s - self.offset_s))
        kept = {each for each in self.classes if number in (0, each)}
        stamp = bytes.fromhex(time.strftime("%y%m%d%H%M", time.gmtime(local_s)))[::-1]
        body = stamp + b"".join((content[each] if each in kept else b"") + b"\xaa" for each in range(1, 7))
        mark = b"\xe0\xe0" if local_s in self.damaged else b"\xa0\xa0"
        whole = mark + bytes((len(body),)) + body
        return whole + bytes((sum(whole) & 0xFF, 0xE5))

    def _contents(self, seen: Mapping[str, Value]) -> dict[int, bytes]:
        def told(key: str, factor: int, size: int) -> bytes:
            return bcd(round(float(seen.get(key) or 0) * factor), size)

        lines = ("", "1", "2", "3")
        energies = told("kwh_import", 100, 4) + told("kwh_export", 100, 4) + bytes(8)
        return {
            1: b"".join(told(f"u{n}", 10, 2) for n in lines[1:])
            + b"".join(told(f"i_signed{n}", 1000, 3) for n in lines[1:])
            + told("frequency", 100, 2),
            2: b"".join(told(f"kw{n}", 10_000, 3) for n in lines) + bytes(12),
            3: b"".join(told(f"pf{n}", 1000, 2) for n in lines),
            4: energies,
            5: bytes(16),
            6: told("kw", 10_000, 3) + bytes(3),
        }
