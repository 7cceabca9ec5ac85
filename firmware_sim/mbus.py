"""M-Bus slaves as they really are: primary and secondary addresses, frame count bit, answers in several telegrams.

Written from the standard's tables without a look at the drivers. Source: EN 13757-2:2018, section 5; EN 13757-3:2018, sections 5,
6 and 11.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from firmware_sim.slaves import Spoil, whole

Record = tuple[bytes, bytes]
"""(DIF, VIF and their extensions; data)."""


def bcd(number: int, size: int) -> bytes:
    """`size` bytes of decimal digits, the lowest first."""
    return bytes.fromhex(f"{number % 100**size:0{2 * size}d}")[::-1]


def heat_meter(energy_kwh: Callable[[], float] = lambda: 12_345.0) -> Callable[[], Sequence[Record]]:
    """Records of a heat meter: energy, volume, power, flow, two temperatures, last year's energy, hours."""

    def records() -> list[Record]:
        return [
            (b"\x0c\x06", bcd(round(energy_kwh()), 4)),
            (b"\x0c\x14", bcd(456_789, 4)),
            (b"\x0b\x2d", bcd(123, 3)),
            (b"\x0b\x3b", bcd(1_234, 3)),
            (b"\x0a\x5a", bcd(654, 2)),
            (b"\x0a\x5e", bcd(402, 2)),
            (b"\x4c\x06", bcd(11_000, 4)),
            (b"\x0b\x26", bcd(4_321, 3)),
        ]

    return records


def water_meter(litres: Callable[[], float] = lambda: 98_765.0) -> Callable[[], Sequence[Record]]:
    """Records of a water meter: volume in litres, as a whole number of 32 bits, and its flow."""
    return lambda: [(b"\x04\x13", round(litres()).to_bytes(4, "little")), (b"\x02\x3b", (250).to_bytes(2, "little"))]


@dataclass
class MbusSlave:
    """One slave. `id` has 8 digits; `maker` three letters; `medium` as in the standard's table (07 water, 04 heat, 02
    electricity).
    """

    id: str
    records: Callable[[], Sequence[Record]]
    primary: int = 0
    maker: str = "SIM"
    version: int = 1
    medium: int = 0x04
    per_telegram: int = 99
    """Records in one telegram; the others follow in further ones."""
    status: int = 0
    refuses: int | None = None
    """Application error instead of an answer."""
    turnaround_s: float = 0.03
    mute: bool = False
    spoil: Spoil = whole
    asked: list[bytes] = field(default_factory=list)
    _selected: bool = False
    _telegram: int = 0
    _fcb: int | None = None
    _last: bytes = b""
    _access: int = 0

    def reply(self, request: bytes) -> bytes | None:
        """The answer to a request that is for it."""
        if len(request) == 5 and request[0] == 0x10 and request[4] == 0x16 and sum(request[1:3]) % 256 == request[3]:
            return self._short(request[1], request[2], request)
        is_long = len(request) >= 9 and request[0] == request[3] == 0x68 and len(request) == request[1] + 6
        if is_long and sum(request[4:-2]) % 256 == request[-2] and request[-1] == 0x16:
            return self._long(request[4], request[5], request[6], request[7:-2], request)
        return None

    def _is_for_me(self, address: int) -> bool:
        return address in (self.primary, 254) or (address == 253 and self._selected)

    def _short(self, control: int, address: int, request: bytes) -> bytes | None:
        if address == 255 and control == 0x40:
            self._forget()
        if address == 253 and control == 0x40:
            self._selected = False
            return None
        if not self._is_for_me(address):
            return None
        self.asked.append(request)
        if control == 0x40:
            self._forget()
            return b"\xe5"
        if control & 0xDF != 0x5B:
            return b"\xe5" if control & 0xDF == 0x5A else None
        if self.refuses is not None:
            return self._frame(0x08, bytes((0x70, self.refuses)))
        fcb = control >> 5 & 1
        if fcb == self._fcb and self._last:
            return self._last
        self._telegram = 0 if self._fcb is None else self._telegram
        self._fcb = fcb
        self._last = self._telegram_bytes()
        return self._last

    def _long(self, control: int, address: int, ci: int, data: bytes, request: bytes) -> bytes | None:
        if ci == 0x52 and address == 253 and control & 0xDF == 0x53 and len(data) == 8:
            self._selected = self._is_selected(data)
            self._forget()
            return b"\xe5" if self._selected else None
        if self._is_for_me(address) and control & 0xDF == 0x53:
            self.asked.append(request)
            if ci == 0x50:
                self._telegram = 0
            return b"\xe5"
        return None

    def _forget(self) -> None:
        self._fcb, self._telegram, self._last = None, 0, b""

    def _is_selected(self, data: bytes) -> bool:
        own = self._address()
        pairs = zip(data[:4].hex(), own[:4].hex(), strict=True)
        return all(one in ("f", other) for one, other in pairs) and all(
            given in (b"\xff" * len(given), mine)
            for given, mine in ((data[4:6], own[4:6]), (data[6:7], own[6:7]), (data[7:8], own[7:8]))
        )

    def _address(self) -> bytes:
        code = 0
        for letter in self.maker:
            code = code << 5 | ord(letter) - 64
        return bcd(int(self.id), 4) + code.to_bytes(2, "little") + bytes((self.version, self.medium))

    def _telegram_bytes(self) -> bytes:
        records = list(self.records())
        at = self._telegram * self.per_telegram
        part = records[at : at + self.per_telegram]
        has_more = at + self.per_telegram < len(records)
        self._telegram = self._telegram + 1 if has_more else 0
        self._access = (self._access + 1) & 0xFF
        body = b"\x72" + self._address() + bytes((self._access, self.status, 0, 0))
        body += b"".join(field + data for field, data in part) + (b"\x1f" if has_more else b"")
        return self._frame(0x08, body)

    def _frame(self, control: int, body: bytes) -> bytes:
        content = bytes((control, self.primary)) + body
        return bytes((0x68, len(content), len(content), 0x68)) + content + bytes((sum(content) % 256, 0x16))
