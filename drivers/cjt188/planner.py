"""Which data identifiers to ask a CJ/T 188 meter for, and what is taken from the answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from device_profiles.errors import ConfigError
from device_profiles.reading import PointFault, Raw
from device_profiles.schema import Cjt188, Point
from device_profiles.units import conversion
from drivers.base import Batch, Layout, LinkConfig
from drivers.frames import Value

from . import frame, items

_REPLY_DATA = {items.CURRENT: 46}
_WAKE = 4
_OPTIONS = {
    "identifier": ("auto", "high_first", "low_first"),
    "unit": ("behind", "before"),
    "time": ("low_first", "high_first"),
}
"""Options of a profile that say how its maker writes; the first value holds where none is given."""
IDENTIFIER_ORDERS = ("high_first", "low_first")
"""The usual one first."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One read of an identifier: the fields that are wanted, and the unit in which each is to be given."""

    di: int
    fields: tuple[str, ...]
    units: tuple[str | None, ...] = ()
    bits: tuple[tuple[int, int] | None, ...] = ()
    """(first, last) bit of a word of states, bit 0 the least significant; None for the whole value."""

    def take(self, values: Mapping[str, Value]) -> list[Raw | PointFault]:
        """The fields in their order; a field in another unit than the layout's is converted."""
        none = (None,) * len(self.fields)
        each = zip(self.fields, self.units or none, self.bits or none, strict=True)
        return [_within(_taken(name, unit, values.get(name)), bits, name) for name, unit, bits in each]


def _taken(name: str, unit: str | None, value: Value | None) -> Raw | PointFault:
    if value is None:
        return PointFault("BadNodeIdUnknown", f"the meter's answer has no {name}")
    if value.value is None:
        return PointFault(value.status or "BadNoData", f"the meter has no value for {name}")
    if unit is None or value.unit in (None, unit) or not isinstance(value.value, int | float):
        return value.value
    try:
        found = conversion(str(value.unit), unit)
    except (KeyError, ValueError):
        return PointFault("BadConfigurationError", f"{name} came in {value.unit}, and was in {unit} before")
    return float(found.apply(Decimal(repr(value.value))))


def _within(value: Raw | PointFault, bits: tuple[int, int] | None, name: str) -> Raw | PointFault:
    if bits is None or isinstance(value, PointFault):
        return value
    if not isinstance(value, int) or value < 0:
        return PointFault("BadTypeMismatch", f"{name} is no word of bits")
    first, last = bits
    return value >> first & (1 << last - first + 1) - 1


def plan(points: Sequence[Point], layout: Layout | None, link: LinkConfig) -> tuple[Batch, ...]:
    """A batch an identifier, in the order of the points. Raises ConfigError for a point without an address."""
    units: Mapping[str, str] = (layout or {}).get("units", {})
    groups: dict[int, list[tuple[Point, Cjt188]]] = {}
    for point in points:
        if not isinstance(point.address, Cjt188):
            raise ConfigError(f"{point.id} has no CJ/T 188 address", where=link.id, next_step="add cjt188:")
        groups.setdefault(point.address.data_id, []).append((point, point.address))
    request = _WAKE + frame.HEAD + 3 + 2
    return tuple(
        Batch(
            points=tuple(point.id for point, _ in group),
            request_bytes=request,
            reply_bytes=request + _REPLY_DATA.get(di, 24),
            plan=Ask(
                di,
                tuple(address.cjt188 for _, address in group),
                tuple(units.get(point.id) for point, _ in group),
                tuple(point.bit_range for point, _ in group),
            ),
        )
        for di, group in groups.items()
    )


def shape_of(options: Mapping[str, str]) -> items.Shape:
    """How the maker writes, by the device's options. Raises ConfigError for a word that is none."""
    for name, words in _OPTIONS.items():
        if options.get(name, words[0]) not in words:
            raise ConfigError(
                f"option {name}: {options[name]!r} is none of {', '.join(words)}", next_step="correct the profile"
            )
    return items.Shape(
        identifier_high_first=options.get("identifier") != "low_first",
        unit_first=options.get("unit") == "before",
        time_high_first=options.get("time") == "high_first",
    )


def kind_of(options: Mapping[str, str]) -> int:
    """The type of meter that is asked for (T): option `meter_type`, two hexadecimal digits; AA asks any. Raises ConfigError."""
    text = options.get("meter_type", "AA")
    try:
        kind = int(text, 16)
    except ValueError:
        kind = -1
    if not (0x10 <= kind <= 0x4F or kind == frame.ANY_TYPE):
        raise ConfigError(f"option meter_type: {text!r} is no type of meter", next_step="give 10 to 4F, or AA for any")
    return kind


def known_units(asks: Sequence[tuple[Batch, Mapping[str, Value]]]) -> dict[str, str]:
    """The unit in which each point came."""
    found: dict[str, str] = {}
    for batch, values in asks:
        for point, name in zip(batch.points, batch.plan.fields, strict=True):
            value = values.get(name)
            if value is not None and value.unit is not None and value.value is not None:
                found[point] = value.unit
    return found


def bare(batch: Batch) -> Batch:
    """The batch without units, as a meter is read the first time."""
    return replace(batch, plan=replace(batch.plan, units=()))
