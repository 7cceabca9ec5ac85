"""Which question brings which points, and what an answer says of a point. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from device_profiles.errors import ConfigError
from device_profiles.reading import PointFault, Raw
from device_profiles.schema import Point, StringsField
from device_profiles.strings_codec import Heard, Language
from drivers.base import Batch


@dataclass(frozen=True, slots=True)
class Ask:
    """One question and the points that its answer holds; None: what was heard without being asked."""

    request: str | None
    points: tuple[Point, ...]


def plan(points: Sequence[Point]) -> tuple[Batch, ...]:
    """One batch a request, and one for all that is only heard. Raises ConfigError for a point that is no field."""
    asked: dict[str | None, list[Point]] = {}
    for point in points:
        if not isinstance(point.address, StringsField):
            raise ConfigError(f"{point.id} says no frame", next_step="add frame: and field:, or tally: heard")
        asked.setdefault(point.address.ask, []).append(point)
    return tuple(
        Batch(tuple(point.id for point in group), plan=Ask(request, tuple(group))) for request, group in asked.items()
    )


def measured(batches: Sequence[Batch], language: Language) -> tuple[Batch, ...]:
    """Those that are asked for, with their fewest bytes. What is only heard costs the line nothing."""
    asked = [batch for batch in batches if batch.plan.request is not None]
    sizes = [language.sizes(batch.plan.request) for batch in asked]
    return tuple(
        replace(batch, request_bytes=request, reply_bytes=reply)
        for batch, (request, reply) in zip(asked, sizes, strict=True)
    )


def value_of(point: Point, heard: Heard) -> Raw | PointFault:
    """The point's raw value in a frame; a PointFault where the frame is another one, or says it in no number."""
    address = point.address
    assert isinstance(address, StringsField)
    if heard.frame != address.frame or address.field not in heard.values:
        return PointFault("BadNoData", f"the device answered {heard.frame}")
    value = heard.values[address.field]
    if point.type == "str":
        return str(value)
    if isinstance(value, str):
        return PointFault("BadTypeMismatch", f"{address.frame}.{address.field} is text")
    if point.bit_range is not None and isinstance(value, int):
        first, last = point.bit_range
        value = value >> first & (1 << last - first + 1) - 1
    return bool(value) if point.type == "bool" else value
