"""CJ/T 188 meters as they really are: water, gas and heat meters of makers who disagree about the order of things.

Written from the standard's tables without a look at the drivers. Source: CJ/T 188-2004, section 7 and annex A.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from firmware_sim.slaves import Spoil, whole

_CURRENT, _VALVE, _ADDRESS = 0x901F, 0xA017, 0x810A
_KWH, _M3, _KW, _M3H = 0x05, 0x2C, 0x17, 0x35


def digits(number: int, size: int) -> bytes:
    """`size` bytes of decimal digits, the lowest first; a counter that is full begins again."""
    return bytes.fromhex(f"{number % 100**size:0{2 * size}d}")[::-1]


@dataclass
class CjtMeter:
    """One meter. `number` has 14 digits, the maker's code first; `kind` is T: 10 cold water, 20 heat, 30 gas."""

    number: str
    kind: int = 0x10
    low_first: bool = False
    """The identifier as 1F 90."""
    unit_first: bool = False
    century_first: bool = False
    """The time from its highest byte on."""
    unit: int = _M3
    wake: int = 3
    turnaround_s: float = 0.04
    mute: bool = False
    spoil: Spoil = whole
    volume: Callable[[], float] = lambda: 1234.56
    """m3 now."""
    energy: Callable[[], float] = lambda: 56_789.01
    settled: float = 1000.0
    power_kw: float = 12.34
    flow: float = 1.2345
    supply_c: float = 65.43
    return_c: float = 40.21
    hours: int = 4321
    now: str = "20261122204500"
    valve: int = 0
    """00 open, 01 closed, 03 faulty."""
    battery_low: bool = False
    is_silent_about_serial: bool = False
    """Its errors carry a status only."""
    is_strict: bool = False
    """It keeps silent on what it does not know."""
    asked: list[tuple[int, bytes]] = field(default_factory=list)

    def reply(self, request: bytes) -> bytes | None:
        """The answer to a request that is for it, with wake-up bytes."""
        frame = request.lstrip(b"\xfe")
        if len(frame) < 13 or frame[0] != 0x68 or frame[-1] != 0x16 or len(frame) != 13 + frame[10]:
            return None
        if sum(frame[:-2]) % 256 != frame[-2]:
            return None
        kind, address, control, data = frame[1], frame[2:9], frame[9], frame[11:-2]
        own = bytes.fromhex(self.number)[::-1]
        if kind not in (0xAA, self.kind) or any(
            one not in (0xAA, other) for one, other in zip(address, own, strict=True)
        ):
            return None
        self.asked.append((control, data))
        body = self._answer(control, data)
        if body is None and self.is_strict:
            return None
        if body is None:
            status = self._status() if self.is_silent_about_serial else data[2:3] + self._status()
            return self._frame(control | 0xC0, status[:1] if self.is_silent_about_serial else status)
        return self._frame(control | 0x80, body)

    def _frame(self, control: int, body: bytes) -> bytes:
        head = bytes((0x68, self.kind)) + bytes.fromhex(self.number)[::-1] + bytes((control, len(body))) + body
        return b"\xfe" * self.wake + head + bytes((sum(head) % 256, 0x16))

    def _answer(self, control: int, data: bytes) -> bytes | None:
        if len(data) < 3:
            return None
        item = int.from_bytes(data[:2], "little" if self.low_first else "big")
        if control == 0x03:
            return data[:3] if item == _ADDRESS or item == 0x0A81 else None
        if control == 0x01 and item == _CURRENT:
            return data[:3] + (self._heat() if 0x20 <= self.kind < 0x30 else self._volumes())
        if control == 0x01 and item in range(0xD120, 0xD12C):
            return data[:3] + self._value(self.settled, self.unit)
        if control == 0x04 and item == _VALVE and data[3:4] in (b"\x55", b"\x99"):
            self.valve = 0 if data[3] == 0x55 else 1
            return data[:3] + self._status()
        return None

    def _volumes(self) -> bytes:
        scale = 1000 if self.unit == 0x29 else 1
        return (
            self._value(self.volume() * scale, self.unit) + self._value(self.settled * scale, self.unit)
            + self._time() + self._status()
        )  # fmt: skip

    def _heat(self) -> bytes:
        scale = 1 / 277.778 if self.unit == 0x11 else 1
        unit = self.unit if self.unit in (0x11, 0x08) else _KWH
        return b"".join((
            self._value(self.settled * scale, unit), self._value(self.energy() * scale, unit), self._value(self.power_kw, _KW),
            self._value(self.flow, _M3H, places=4), self._value(self.volume(), _M3),
            digits(round(self.supply_c * 100), 3), digits(round(self.return_c * 100), 3), digits(self.hours, 3),
            self._time(), self._status(),
        ))  # fmt: skip

    def _value(self, value: float, unit: int, places: int = 2) -> bytes:
        number = digits(round(value * 10**places), 4)
        return bytes((unit,)) + number if self.unit_first else number + bytes((unit,))

    def _time(self) -> bytes:
        raw = bytes.fromhex(self.now)
        return raw if self.century_first else raw[::-1]

    def _status(self) -> bytes:
        return bytes((self.valve | self.battery_low << 2, 0))
