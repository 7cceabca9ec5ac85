"""What to subscribe for, and the requests that do: one subscription an object, or one a property where an increment is asked.

Pure. Source: ANSI/ASHRAE 135-2020, clauses 13.14 (SubscribeCOV) and 13.15 (SubscribeCOVProperty).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from device_profiles.bacnet import OBJECT_NAMES
from device_profiles.schema import Point
from drivers.base import Layout

from . import codec, tags
from .codec import Ref
from .notify import PRESENT_VALUE
from .planner import ref_of

BY_OBJECT, BY_PROPERTY = "cov", "cov-property"
"""The services by which a device is subscribed to, as `locate` names them."""
_ANALOG = frozenset({"analog-input", "analog-output", "analog-value", "large-analog-value", "loop", "integer-value",
                     "positive-integer-value", "accumulator", "pulse-converter", "lighting-output"})  # fmt: skip


def encode_subscribe(process: int, ref: Ref, *, is_confirmed: bool, lifetime_s: int) -> bytes:
    """SubscribeCOV-Request."""
    return encode_cancel(process, ref) + tags.tag(2, bytes((is_confirmed,))) + tags.tag(3, tags.unsigned(lifetime_s))


def encode_cancel(process: int, ref: Ref) -> bytes:
    """SubscribeCOV-Request that ends a subscription."""
    return tags.tag(0, tags.unsigned(process)) + tags.tag(1, tags.object_octets(ref.kind, ref.instance))


def encode_subscribe_property(
    process: int, ref: Ref, *, is_confirmed: bool, lifetime_s: int, increment: float | None
) -> bytes:
    """SubscribeCOVProperty-Request."""
    step = b"" if increment is None else tags.tag(5, codec.encode_value(tags.REAL, increment)[1:])
    subscribed = encode_subscribe(process, ref, is_confirmed=is_confirmed, lifetime_s=lifetime_s)
    return subscribed + _property(ref) + step


def encode_cancel_property(process: int, ref: Ref) -> bytes:
    """SubscribeCOVProperty-Request that ends a subscription."""
    return encode_cancel(process, ref) + _property(ref)


def _property(ref: Ref) -> bytes:
    index = b"" if ref.index is None else tags.tag(1, tags.unsigned(ref.index))
    return tags.opening(4) + tags.tag(0, tags.unsigned(ref.prop)) + index + tags.closing(4)


@dataclass(frozen=True, slots=True)
class Wish:
    """One subscription that points want. `by_property` with SubscribeCOVProperty."""

    ref: Ref
    by_property: bool
    increment: float | None = None

    @property
    def service(self) -> str:
        """What the device must have for it."""
        return BY_PROPERTY if self.by_property else BY_OBJECT

    @property
    def otherwise(self) -> Wish | None:
        """What to ask for where the device lacks that service: the object, whose increment is then the device's own."""
        is_value = self.ref.prop == PRESENT_VALUE and self.ref.index is None
        return Wish(self.ref, False) if self.by_property and is_value else None


def wishes_of(points: Sequence[Point], layout: Layout) -> dict[Wish, list[tuple[Point, Ref]]]:
    """What to subscribe for, and for which points; those that want it most first, as room may be short."""
    wishes: dict[Wish, list[tuple[Point, Ref]]] = {}
    for point in sorted(points, key=lambda one: (one.cov is None, one.poll or 60.0)):
        ref = None if point.cov is False or point.align is not None else ref_of(point, layout)
        if ref is None:
            continue
        asks = isinstance(point.cov, float | int) and not isinstance(point.cov, bool)
        increment = float(point.cov) if asks and OBJECT_NAMES.get(ref.kind) in _ANALOG else None  # type: ignore[arg-type]
        is_value = ref.prop == PRESENT_VALUE and ref.index is None
        if is_value or point.cov is not None:
            wish = Wish(ref, increment is not None or not is_value, increment)
            wishes.setdefault(wish, []).append((point, ref))
    return wishes
