"""What a device's own words (`Layout["units"]`, `["labels"]`, `["identity"]`) make of its points and of itself. Pure.

The device's word counts for the unit in which it gives a value; a unit of another kind is a mistake in profile or device, and the
point is bad until somebody looks. For labels the profile's word counts, because people wrote it for the platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from device_profiles.schema import Point
from device_profiles.units import UNITS, conversion
from device_profiles.vocabulary import vocabulary
from drivers.base import Layout

NO_UNIT = "1"
"""What devices say for want of anything better (BACnet `no-units`): it tells nothing about a point that has a unit."""
IDENTITY = ("vendor", "model", "serial")
"""Facts that another device has otherwise; a firmware changes without the device."""
_LONGEST_LABEL = 64


@dataclass(frozen=True, slots=True)
class Learned:
    """A point as its device gives it."""

    point: Point
    """With labels, and with a unit where neither profile nor vocabulary has one, from the device."""
    unit: str | None
    """The UCUM unit of `raw * scale + offset`; None = the one in which the point is published."""
    misfit: str | None = None
    """Why the unit of the device cannot be that of the point."""


def learned_point(point: Point, layout: Layout | None) -> Learned:
    """What the device said of a point, put to the profile's point."""
    if not layout:
        return Learned(point, point.unit)
    labels = None
    if point.labels is None and point.type not in (
        "str",
        "bool",
    ):  # a boolean stays one, however its device calls its states
        labels = _labels(layout.get("labels", {}).get(point.id))
    unit = layout.get("units", {}).get(point.id)
    target = published_unit(point)
    more: dict[str, Any] = {} if labels is None else {"labels": labels}
    if unit not in UNITS or (unit == NO_UNIT and target is not None):
        unit = point.unit
    elif target is None:
        more["unit"] = unit
    known = point.model_copy(update=more) if more else point
    if unit and target and unit != target:
        try:
            conversion(unit, target)
        except (KeyError, ValueError) as error:
            return Learned(known, point.unit, f"the device gives {unit!r} where {target!r} is meant ({error})")
    return Learned(known, unit)


def published_unit(point: Point) -> str | None:
    """The UCUM unit in which the point leaves: the vocabulary's where it knows the point or the quantity."""
    known = vocabulary()
    defined = known.point(point.id)
    if defined is not None and defined.unit is not None:
        return defined.unit
    quantity = known.quantities.get(point.quantity) if point.quantity else None
    return quantity.unit if quantity is not None else point.unit


def identity_of(layout: Layout | None) -> dict[str, str]:
    """Vendor, model and serial number as far as the device said them."""
    facts = (layout or {}).get("identity", {})
    return {name: str(facts[name]) for name in IDENTITY if facts.get(name)} if isinstance(facts, Mapping) else {}


def _labels(labels: object) -> dict[int, str] | None:
    """Texts by ordinal; JSON has made text of the ordinals of a kept layout."""
    if not isinstance(labels, Mapping) or not labels:
        return None
    return {int(ordinal): str(text)[:_LONGEST_LABEL] for ordinal, text in labels.items()}
