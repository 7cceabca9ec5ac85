"""A DL/T 645 meter that lives: it counts a building's load, keeps frozen values, has a clock, a relay and passwords.

Its readings come from a world of `worlds.py`, so that power and energy agree and what it froze is what it had counted then.
Source: DL/T 645-2007, section 7 (write, broadcast time, freeze, control) and annex A (tables A.1, A.3, A.5, A.6); -1997, annex A.
"""

from __future__ import annotations

import calendar
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from firmware_sim.clock import Now
from firmware_sim.meter_loads import Loads
from firmware_sim.meters import Meter, bcd
from firmware_sim.worlds import ThreePhase

WRITE, TIME, FREEZE, CONTROL = 0x14, 0x08, 0x16, 0x1C
TRIP, CLOSE, CLOSE_NOW, ALARM, ALARM_OFF, KEEP, KEEP_OFF = 0x1A, 0x1B, 0x1C, 0x2A, 0x2B, 0x3A, 0x3B
OTHER_ERROR, NO_DATA, NO_RIGHT = 0x01, 0x02, 0x04
_HOUR_S, _DAY_S = 3600, 86_400
_KEPT = {0x0504: (_HOUR_S, 254), 0x0506: (_DAY_S, 62)}
"""What is frozen by itself: (every so many seconds, records kept)."""
_VARIABLES = {
    0x0201: ("u", "", 10, 2),
    0x0202: ("i_signed", "", 1000, 3),
    0x0203: ("kw", "kw", 10_000, 3),
    0x0204: ("kvar", "kvar", 10_000, 3),
    0x0205: ("kva", "kva", 10_000, 3),
    0x0206: ("pf", "pf", 1000, 2),
    0x0207: ("angle", "", 10, 2),
    0x0208: ("thd_u", "", 100, 2),
    0x0209: ("thd_i", "", 100, 2),
}
"""DI3 and DI2: what the world calls the phases and the total, digits behind the point as a factor, bytes."""
_OF_LOAD = ("i_signed", "kw", "kvar", "kva", "pf")
_MEASURED = {
    0x00000000: ("kwh_net", 100, 4),
    0x00030000: ("kvarh_import", 100, 4),
    0x00040000: ("kvarh_export", 100, 4),
    0x00050000: ("kvarh_import", 100, 4),
    0x01010000: ("kw_demand_max", 10_000, 3),
    0x02800001: ("i_n", 1000, 3),
    0x02800002: ("frequency", 100, 2),
    0x02800004: ("kw_demand", 10_000, 3),
}
_MEASURED_1997 = {
    0x9110: ("kvarh_import", 100, 4),
    0x9120: ("kvarh_export", 100, 4),
    0xA010: ("kw_demand_max", 10_000, 3),
    0xB630: ("kw", 10_000, 3),
    0xB631: ("kw1", 10_000, 3),
    0xB632: ("kw2", 10_000, 3),
    0xB633: ("kw3", 10_000, 3),
    0xB640: ("kvar", 100, 2),
    0xB650: ("pf", 1000, 2),
}
_NOTHING_COUNTED = (0x00060000, 0x00070000, 0x00080000)


@dataclass
class CountingMeter:
    """The life behind one Meter: `CountingMeter("000012345678").meter()` stands on a MeterLine.

    `now` is the time of the world in Unix seconds; the meter's own clock runs `skew_s` beside it, in local time.
    """

    number: str
    edition: str = "2007"
    now: Now = time.time
    utc_offset_s: float = 0.0
    skew_s: float = 0.0
    password: str = "02000000"
    """Class, and six digits."""
    programmable: bool = True
    """False: nothing is written, as with the seal on the programming button."""
    phases: int = 3
    rated_kw: float = 20.0
    began_s: float = 0.0
    """Nothing was frozen before."""
    keeps_loads: bool = True
    relay_open: bool = False
    sticky_relay: bool = False
    """The relay stays as it is, whatever it is told."""
    alarm: bool = False
    kept_on: bool = False
    """Told not to trip."""
    parameters: dict[int, bytes] = field(default_factory=lambda: {0x04000103: bcd(15, 1), 0x04000302: bcd(5, 1)})
    frozen_s: list[float] = field(default_factory=list)
    """When it was told to freeze, newest first."""
    set_on: int = -1
    """Day of the last broadcast time that it took."""

    def __post_init__(self) -> None:
        self.world = ThreePhase(
            zlib.crc32(self.number.encode()), rated_kw=self.rated_kw, utc_offset_s=self.utc_offset_s
        )
        self.loads = Loads(self.world.snapshot, self.utc_offset_s)

    def meter(self) -> Meter:
        """The meter on its line."""
        holds = self._holds_2007 if self.edition == "2007" else self._holds_1997
        return Meter(self.number, holds, self.edition, obeys=self._obey, loads=self._loads)

    def _loads(self, di: int, rest: bytes) -> bytes | None:
        self.loads.offset_s = self.utc_offset_s + self.skew_s
        return self.loads.answer(di, rest, self.began_s, self.now()) if self.keeps_loads else None

    # Reading.

    def _local_s(self) -> float:
        return self.now() + self.skew_s + self.utc_offset_s

    def _holds_2007(self, di: int) -> bytes | None:
        if di in self.parameters:
            return self.parameters[di]
        if 0x04000A02 <= di <= 0x04000A07:
            return bcd(self.loads.every_s // 60, 2)
        high, low = di >> 16, di & 0xFFFF
        if di >> 24 == 0x05:
            return self._frozen(high, low >> 8, low & 0xFF)
        if high in (0x0001, 0x0002):
            return _piece(self._tariffs(high, self.now()), low, 4, 0)
        if high in _VARIABLES:
            return self._variable(*_VARIABLES[high], low)
        return self._single(di)

    def _variable(self, name: str, total: str, factor: int, size: int, low: int) -> bytes | None:
        seen = self.world.snapshot(self.now())
        share = 0.0 if self.relay_open and name in _OF_LOAD else 1.0
        keys = [*([total] if total else []), *(f"{name}{n}" for n in range(1, self.phases + 1))]
        values = [bcd(round(float(seen[key] or 0) * share * factor), size) for key in keys]
        return _piece(values, low, size, 0 if total else 1)

    def _single(self, di: int) -> bytes | None:
        local = time.gmtime(self._local_s())
        if di == 0x04000101:
            return bytes.fromhex(time.strftime("%y%m%d", local) + f"{(local.tm_wday + 1) % 7:02d}")[::-1]
        if di == 0x04000102:
            return bytes.fromhex(time.strftime("%H%M%S", local))[::-1]
        if di in (0x04000401, 0x04000402):
            return bytes.fromhex(self.number)[::-1]
        if di == 0x04000503:
            word = (0x08 if self.programmable else 0) | (0x50 if self.relay_open else 0) | (0x80 if self.alarm else 0)
            return word.to_bytes(2, "little")
        if di == 0x02800007:
            return bcd(312, 2)
        if di in _MEASURED:
            key, factor, size = _MEASURED[di]
            value = bcd(round(float(self.world.snapshot(self.now())[key] or 0) * factor), size)
            return value + bcd(2601151030, 5) if di == 0x01010000 else value
        return bytes(4) if di in _NOTHING_COUNTED else None

    def _tariffs(self, high: int, at_s: float) -> list[bytes]:
        """Total and four tariffs, each a share of it."""
        name = "kwh_import" if high & 0xFF == 0x01 else "kwh_export"
        total = int(float(self.world.snapshot(at_s)[name] or 0) * 100)
        parts = [total // 10, total * 4 // 10, total * 3 // 10]
        return [bcd(one, 4) for one in (total, *parts, total - sum(parts))]

    def _frozen(self, kind: int, what: int, number: int) -> bytes | None:
        if number == 0:
            return None
        if kind == 0x0501:
            times = self.frozen_s[:3]
        else:
            every, most = _KEPT.get(kind, (_DAY_S, 0))
            last = self._local_s() // every * every - self.utc_offset_s - self.skew_s
            times = [last - n * every for n in range(min(number, most)) if last - n * every >= self.began_s]
        if number > len(times):
            return bytes(5 if what == 0 else 4) if kind in _KEPT and number <= _KEPT[kind][1] else None
        at_s = times[number - 1]
        if what == 0:
            local = time.gmtime(at_s + self.skew_s + self.utc_offset_s)
            return bytes.fromhex(time.strftime("%y%m%d%H%M", local))[::-1]
        if what not in (1, 2):
            return None
        energies = self._tariffs(what, at_s)
        return energies[0] if kind == 0x0504 else b"".join(energies)

    def _holds_1997(self, di: int) -> bytes | None:
        seen = self.world.snapshot(self.now())
        local = time.gmtime(self._local_s())
        if di in range(0x9010, 0x9015) or di in range(0x9020, 0x9025):
            return self._tariffs(0x0001 if di < 0x9020 else 0x0002, self.now())[di & 0x0F]
        if di in (0x901F, 0x902F):
            return b"".join(self._tariffs(0x0001 if di == 0x901F else 0x0002, self.now()))
        if 0xB611 <= di < 0xB611 + self.phases:
            return bcd(round(float(seen[f"u{di & 0x0F}"] or 0)), 2)
        if 0xB621 <= di < 0xB621 + self.phases:
            return bcd(round(float(seen[f"i{di & 0x0F}"] or 0) * 100), 2)
        if di in _MEASURED_1997:
            key, factor, size = _MEASURED_1997[di]
            return bcd(round(abs(float(seen[key] or 0)) * factor), size)
        texts = {
            0xC010: time.strftime("%y%m%d", local) + f"{(local.tm_wday + 1) % 7:02d}",
            0xC011: time.strftime("%H%M%S", local),
            0xC032: self.number,
        }
        return bytes.fromhex(texts[di])[::-1] if di in texts else None

    # Obeying.

    def _obey(self, control: int, data: bytes, is_broadcast: bool) -> tuple[int, bytes] | None:
        acts: dict[int, Callable[[bytes], int]] = {
            TIME: self._take_time, FREEZE: self._freeze, WRITE: self._write, CONTROL: self._switch,
        }  # fmt: skip
        if self.edition != "2007":
            acts = {TIME: self._take_time}
        error = acts[control](data) if control in acts else OTHER_ERROR
        if is_broadcast or control == TIME:
            return None
        return (control | 0xC0, bytes((error,))) if error else (control | 0x80, b"")

    def _take_time(self, data: bytes) -> int:
        told = _local_time("%y%m%d%H%M%S", data)
        local = self._local_s()
        if told is None or abs(told - local) > 300 or local // _DAY_S == self.set_on:
            return OTHER_ERROR
        self.skew_s += told - local
        self.set_on = int(local // _DAY_S)
        return 0

    def _freeze(self, data: bytes) -> int:
        if data != b"\x99\x99\x99\x99":
            return OTHER_ERROR
        self.frozen_s.insert(0, self.now())
        return 0

    def _knows(self, rights: bytes) -> bool:
        """Class, then the six digits, lowest first."""
        return rights[:1].hex() + rights[3:0:-1].hex() == self.password

    def _write(self, data: bytes) -> int:
        if len(data) < 12 or not self._knows(data[4:8]):
            return NO_RIGHT
        di, value = int.from_bytes(data[:4], "little"), data[12:]
        if not self.programmable:
            return NO_RIGHT
        if len(self.parameters.get(di, b"")) != len(value):
            return NO_DATA
        self.parameters[di] = value
        return 0

    def _switch(self, data: bytes) -> int:
        if len(data) != 16 or not self._knows(data[:4]):
            return NO_RIGHT
        until = _local_time("%y%m%d%H%M%S", data[10:])
        if until is None or until < self._local_s() or (data[8] == TRIP and self.kept_on):
            return OTHER_ERROR
        if data[8] in (TRIP, CLOSE, CLOSE_NOW) and not self.sticky_relay:
            self.relay_open = data[8] == TRIP
        elif data[8] in (ALARM, ALARM_OFF):
            self.alarm = data[8] == ALARM
        elif data[8] in (KEEP, KEEP_OFF):
            self.kept_on = data[8] == KEEP
        elif not self.sticky_relay:
            return OTHER_ERROR
        return 0


def _piece(values: list[bytes], low: int, size: int, first: int) -> bytes | None:
    """One value by DI1, or all of them where it is FF."""
    if low & 0xFF:
        return None
    which = low >> 8
    if which == 0xFF:
        return b"".join(values)
    return values[which - first] if 0 <= which - first < len(values) else None


def _local_time(shape: str, data: bytes) -> float | None:
    """Local seconds of digits that travel lowest first."""
    try:
        return float(calendar.timegm(time.strptime(data[::-1].hex(), shape)))
    except ValueError:
        return None
