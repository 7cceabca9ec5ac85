"""One planned request: its octets, and what the octets that answer it mean for its points. No I/O.

An answer of a known shape is taken by its template; every other is decoded tag by tag and, where it is whole, becomes the new
template.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from device_profiles.errors import DeviceMismatch
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Point

from . import template, values
from .codec import (
    READ_MULTIPLE,
    READ_PROPERTY,
    Ref,
    Result,
    decode_read_ack,
    decode_read_multiple_ack,
    encode_read,
    encode_read_multiple,
)
from .quality import FAULT
from .tags import Bits

_PLAIN = frozenset({"f32", "f64"})
_LEARN_FIRST, _LEARN_EVERY = 4, 16
"""Answers that do not fit the template make a new one: the first few always, then every so often, because their values change
length all the time."""


class Request:
    """`refs` are the properties in the order asked; `places` holds for each point the index of its value, and of its object's
    status-flags or -1. `layout` is what the request was planned with."""

    def __init__(
        self,
        points: tuple[Point, ...],
        refs: tuple[Ref, ...],
        places: tuple[tuple[int, int], ...],
        layout: Mapping[str, Any],
    ) -> None:
        self.points = points
        self.refs = refs
        self.places = places
        self.layout = layout
        self.is_single = len(refs) == 1
        self.service = READ_PROPERTY if self.is_single else READ_MULTIPLE
        self.payload = encode_read(refs[0]) if self.is_single else encode_read_multiple(refs)
        self.is_new = True
        """No session has read it yet."""
        self._template: template.Template | None = None
        self._shapes = 0
        self._values = _getter([value for value, _ in places])
        flags = sorted({flag for _, flag in places if flag >= 0})
        self._flags = _getter(flags) if flags else None
        self._all_plain = all(point.type in _PLAIN for point in points)

    def quick(self, answer: bytes) -> Sequence[Raw | PointFault] | None:
        """The points' values where the answer has the known shape and no status flag is set; None otherwise."""
        known = self._template
        if known is None:
            return None
        unpacked = known.unpack(answer)
        if unpacked is None or (self._flags is not None and any(self._flags(unpacked))):
            return None
        found: Sequence[Raw] = self._values(unpacked)
        if self._all_plain:
            return found if math.isfinite(sum(found)) else None  # type: ignore[arg-type]  # numbers, as the shape has no text
        return [values.shaped(point, value) for point, value in zip(self.points, found, strict=True)]

    def decode(self, answer: bytes) -> list[Result]:
        """The results in the order of `refs`. Raises BacnetError; DeviceMismatch for an answer to another question."""
        if self.is_single:
            results = [decode_read_ack(answer)]
        else:
            results = decode_read_multiple_ack(answer)
        if [result.ref for result in results] != list(self.refs):
            raise DeviceMismatch(
                f"an answer about {len(results)} properties that are not the {len(self.refs)} asked for",
                next_step="look at the frames with --trace",
            )
        if not self.is_single:
            self._shapes += 1
            if self._shapes <= _LEARN_FIRST or self._shapes % _LEARN_EVERY == 0:
                self._template = None if self._has_bits(results) else template.learn(answer, self.refs)
        return results

    def _has_bits(self, results: Sequence[Result]) -> bool:
        """True when a point's own value is a bit string, which a template takes as an octet."""
        return any(isinstance(element.value, Bits) for at, _ in self.places for element in results[at].elements)

    def faulty(self, results: Sequence[Result]) -> list[Ref]:
        """The status flags among the results that say fault: their objects' reliability is wanted."""
        flags = sorted({flag for _, flag in self.places if flag >= 0})
        return [self.refs[flag] for flag in flags if values.flags_of(results[flag]) & FAULT]

    def readings(
        self, results: Sequence[Result], reliability: Mapping[tuple[int, int], int | None]
    ) -> list[Raw | Sample | PointFault]:
        """The points' values. `reliability` by object, where it was read."""
        found: list[Raw | Sample | PointFault] = []
        for point, (at, flag) in zip(self.points, self.places, strict=True):
            result = results[at]
            if result.error is not None:
                found.append(values.fault_of(result.error))
                continue
            flags = values.flags_of(results[flag]) if flag >= 0 else 0
            raw = values.raw_of(point, result.elements)
            found.append(values.with_quality(raw, flags, reliability.get((result.ref.kind, result.ref.instance))))
        return found


def _getter(places: Sequence[int]) -> Any:
    """A function that picks these places of a tuple, always as a tuple."""
    if len(places) == 1:
        return lambda unpacked: (unpacked[places[0]],)
    step = places[1] - places[0]
    if step > 0 and list(places) == list(range(places[0], places[-1] + 1, step)):
        return itemgetter(slice(places[0], places[-1] + 1, step))
    return itemgetter(*places)
