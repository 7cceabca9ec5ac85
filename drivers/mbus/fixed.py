"""The fixed data structure of old meters: two counters. Pure. Source: EN 1434-3:2015, fixed data structure and its units."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from drivers import bcd

from .answer import MEDIA, Answer, Header, Record
from .values import scaled
from .vif import Meaning

_SAME_STORED = 0x3E
"""Of the second counter: unit of the first, value of the last settlement."""
_IS_BINARY, _IS_STORED = 0x01, 0x02
"""Bits of the status: how the counters are written, and that they are those of a fixed date."""
_SIXES: tuple[tuple[int, str, str, int], ...] = (
    (0x02, "energy", "W.h", 0), (0x05, "energy", "kW.h", 0), (0x08, "energy", "MW.h", 0), (0x0B, "energy", "kJ", 0),
    (0x0E, "energy", "MJ", 0), (0x11, "energy", "GJ", 0), (0x14, "power", "W", 0), (0x17, "power", "kW", 0),
    (0x1A, "power", "MW", 0), (0x1D, "power", "kJ/h", 0), (0x20, "power", "MJ/h", 0), (0x23, "power", "GJ/h", 0),
    (0x26, "volume", "m3", -6), (0x29, "volume", "m3", -3), (0x2C, "volume", "m3", 0), (0x2F, "flow", "m3/h", -6),
    (0x32, "flow", "m3/h", -3), (0x35, "flow", "m3/h", 0),
)  # fmt: skip
"""Code of the unit; the two behind it are ten and a hundred times as much."""
_UNITS: Mapping[int, tuple[str, str | None, int]] = {
    code + more: (quantity, unit, exponent + more) for code, quantity, unit, exponent in _SIXES for more in range(3)
} | {0x38: ("temperature", "Cel", -3), 0x39: ("heat_cost_units", "1", 0), 0x3F: ("dimensionless", "1", 0)}
_MEDIA = {0x0A: "gas", 0x0B: "heat, return", 0x0C: "hot water", 0x0D: "water", 0x0E: "heat cost"}
"""Those of the second mode; the others are as everywhere."""


def decode(data: bytes, *, is_high_first: bool) -> Answer:
    """The 16 bytes of the structure."""
    order = slice(None) if is_high_first else slice(None, None, -1)
    status = data[5]
    medium = data[6] >> 6 | (data[7] >> 6) << 2
    name = _MEDIA.get(medium) or MEDIA.get(medium, f"medium {medium:02X}")
    header = Header(data[0:4][order].hex().upper(), "", 0, name, data[4], status)
    records = tuple(_counter(data, place, data[8 + 4 * place : 12 + 4 * place][order], status) for place in range(2))
    return Answer(header, records)


def _counter(data: bytes, place: int, raw: bytes, status: int) -> Record:
    """One counter; `raw` is its highest byte first."""
    code, first = data[6 + place] & 0x3F, data[6] & 0x3F
    is_stored = bool(place) and code == _SAME_STORED
    code = first if is_stored else code
    quantity, unit, exponent = _UNITS.get(code, (f"unit_{code:02x}", None, 0))
    count = Decimal(int.from_bytes(raw, signed=True)) if status & _IS_BINARY else bcd.number(raw[::-1], 0)
    value = None if count is None else scaled(count, Meaning(quantity, unit, exponent))
    return Record(
        quantity, value, unit, "" if value is not None else "BadDecodingError",
        storage=int(is_stored or bool(status & _IS_STORED)), subunit=0 if is_stored else place,
    )  # fmt: skip
