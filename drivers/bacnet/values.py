"""BACnet values as the raw values of points. Pure.

What a point cannot carry is a PointFault that says why: a NaN is no number, text that cannot be decoded is no text, an array has
no single value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from device_profiles.bacnet import OBJECT_NAMES
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import WHOLE_TYPES, Point

from . import names, quality, tags
from .codec import Element, Result

NOT_A_NUMBER = PointFault("BadSensorFailure", "the device gives NaN or infinity")
_NO_VALUE = PointFault("BadNoData", "the device gives NULL")


def raw_of(point: Point, elements: Sequence[Element]) -> Raw | PointFault:
    """The raw value of a property's elements, as the point's type wants it."""
    if len(elements) != 1:
        if point.type == "str" and elements:
            return ", ".join(text_of(element) for element in elements)
        return PointFault("BadTypeMismatch", f"{len(elements)} values where one is wanted: give `index`, or type str")
    element = elements[0]
    if element.form != tags.APPLICATION:
        return text_of(element) if point.type == "str" else PointFault("BadTypeMismatch", "a constructed value")
    return shaped(point, element.value)


def shaped(point: Point, value: object) -> Raw | PointFault:
    """A primitive value, as the point's type wants it."""
    if value is None:
        return _NO_VALUE
    if isinstance(value, tags.Undecodable):
        return PointFault("BadDecodingError", value.reason)
    if point.type == "str":
        return _text(value)
    if isinstance(value, tags.Bits):
        return sum(1 << at for at, bit in enumerate(value.bits) if bit)
    if not isinstance(value, bool | int | float):
        return PointFault("BadTypeMismatch", f"{_text(value)[:40]!r} is no number")
    if isinstance(value, float) and not math.isfinite(value):
        return NOT_A_NUMBER
    if point.type == "bool":
        return bool(value)
    if point.type in WHOLE_TYPES and isinstance(value, float):
        return int(value) if value.is_integer() else PointFault("BadTypeMismatch", f"{value:g} is no whole number")
    return value


def text_of(element: Element) -> str:
    """Any element as text for people."""
    if element.form == tags.CONSTRUCTED:
        return "{" + ", ".join(text_of(inner) for inner in element.value) + "}"  # type: ignore[union-attr, arg-type]
    return _text(element.value)


def _text(value: object) -> str:
    if isinstance(value, tags.ObjectId):
        return f"{OBJECT_NAMES.get(value.kind, value.kind)}:{value.instance}"
    if isinstance(value, tags.Bits):
        return "".join("1" if bit else "0" for bit in value.bits)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tags.Undecodable):
        return f"({value.reason})"
    return "null" if value is None else f"{value:.7g}" if isinstance(value, float) else str(value)


def fault_of(error: tuple[int, int]) -> PointFault:
    """What a device's refusal of one property means for its point."""
    return PointFault(names.error_status(error[1]), names.error_text(*error))


def flags_of(result: Result | None) -> int:
    """The octet of status flags that a result holds; 0 where it holds none."""
    value = result.elements[0].value if result is not None and len(result.elements) == 1 else None
    return quality.octet(value.bits) if isinstance(value, tags.Bits) else 0


def with_quality(value: Raw | PointFault, flags: int, reliability: int | None) -> Raw | Sample | PointFault:
    """The value with what the object says of it. A bad status takes the value away."""
    if not flags or isinstance(value, PointFault):
        return value
    status, words = quality.quality(flags, reliability)
    if status.startswith("Bad"):
        return Sample(None, status, flags=words)
    return value if status == quality.GOOD and not words else Sample(value, status, flags=words)
