"""What is taken from an M-Bus readout: records by what they mean. One readout serves all points of a device. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from device_profiles.errors import ConfigError
from device_profiles.reading import PointFault, Raw
from device_profiles.schema import Mbus, Point
from device_profiles.units import conversion
from drivers.base import Batch, Layout, LinkConfig

from .answer import Answer, Record

_REQUEST = 5
_REPLY = 128
"""Bytes of a usual answer; how long one is shows only when it is there."""
HEADER = {"header_status": "status", "header_access": "access"}


@dataclass(frozen=True, slots=True)
class Ask:
    """The records that are wanted, and the unit in which each is to be given."""

    wanted: tuple[Mbus, ...]
    units: tuple[str | None, ...] = ()
    bits: tuple[tuple[int, int] | None, ...] = ()
    """(first, last) bit of a word of states, bit 0 the least significant; None for the whole value."""

    def take(self, answers: Sequence[Answer]) -> list[Raw | PointFault]:
        """The values in their order."""
        found = Found(answers)
        none = (None,) * len(self.wanted)
        each = zip(self.wanted, self.units or none, self.bits or none, strict=True)
        return [_within(_taken(found.of(address), unit, address), bits, address) for address, unit, bits in each]


class Found:
    """The records of a readout by what they mean."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._records: dict[tuple[str, str, int, int, int], list[Record]] = {}
        self._header = next((answer.header for answer in answers if answer.header is not None), None)
        for record in (record for answer in answers for record in answer.records):
            key = (record.quantity, record.function, record.storage, record.tariff, record.subunit)
            self._records.setdefault(key, []).append(record)

    def of(self, address: Mbus) -> Record | None:
        """The record that an address means; None when the device did not send it."""
        if address.mbus in HEADER:
            if self._header is None:
                return None
            return Record(address.mbus, int(getattr(self._header, HEADER[address.mbus])))
        key = (address.mbus, address.function, address.storage, address.tariff, address.subunit)
        records = self._records.get(key, [])
        if address.vib is not None:
            records = [record for record in records if record.vib.hex().upper() == address.vib]
        return records[address.nth - 1] if len(records) >= address.nth else None


def _taken(record: Record | None, unit: str | None, address: Mbus) -> Raw | PointFault:
    if record is None:
        return PointFault("BadNodeIdUnknown", f"the device sent no {address.reference}")
    if record.value is None:
        return PointFault(record.status or "BadNoData", f"the device has no value for {address.reference}")
    if unit is None or record.unit in (None, unit) or isinstance(record.value, str):
        return record.value
    try:
        found = conversion(str(record.unit), unit)
    except (KeyError, ValueError):
        what = f"{address.reference} came in {record.unit}, and was in {unit} before"
        return PointFault("BadConfigurationError", what)
    return float(found.apply(Decimal(repr(record.value))))


def _within(value: Raw | PointFault, bits: tuple[int, int] | None, address: Mbus) -> Raw | PointFault:
    if bits is None or isinstance(value, PointFault):
        return value
    if not isinstance(value, int) or value < 0:
        return PointFault("BadTypeMismatch", f"{address.reference} is no word of bits")
    first, last = bits
    return value >> first & (1 << last - first + 1) - 1


def plan(points: Sequence[Point], layout: Layout | None, link: LinkConfig) -> tuple[Batch, ...]:
    """One batch of everything. Raises ConfigError for a point without an address."""
    addresses = tuple(_addresses(points, link))
    if not addresses:
        return ()
    units: Mapping[str, str] = (layout or {}).get("units", {})
    wanted = Ask(addresses, tuple(units.get(point.id) for point in points), tuple(point.bit_range for point in points))
    reply = (layout or {}).get("reply_bytes", _REPLY)
    return (Batch(tuple(point.id for point in points), _REQUEST, reply, wanted),)


def _addresses(points: Sequence[Point], link: LinkConfig) -> Iterator[Mbus]:
    for point in points:
        if not isinstance(point.address, Mbus):
            raise ConfigError(f"{point.id} has no M-Bus address", where=link.id, next_step="add mbus:")
        yield point.address


def reset_of(options: Mapping[str, str]) -> bytes | None:
    """What an application reset before each readout carries: option `application_reset`, `none`, `plain` (no bytes) or two
    hexadecimal digits of the standard's subcodes (EN 13757-3, 7.2: 00 all, 10 user data, 50 instantaneous values). Raises
    ConfigError.
    """
    text = options.get("application_reset", "none")
    if text in ("none", "plain"):
        return None if text == "none" else b""
    if re.fullmatch("[0-9A-Fa-f]{2}", text) is None:
        what = f"option application_reset: {text!r} is neither none, plain, nor two hexadecimal digits"
        raise ConfigError(what, next_step="correct the profile")
    return bytes.fromhex(text)


def known_units(points: Sequence[Point], answers: Sequence[Answer]) -> dict[str, str]:
    """The unit in which each point came."""
    found = Found(answers)
    units: dict[str, str] = {}
    for point in points:
        record = found.of(point.address) if isinstance(point.address, Mbus) else None
        if record is not None and record.unit is not None and record.value is not None:
            units[point.id] = record.unit
    return units
