"""Which properties go into which request: as many as one answer of the device holds. Pure.

An answer that fits one APDU costs one datagram; a segmented one costs as many as several requests, and bacpypes3's work beside,
so segmentation is left to what does not fit otherwise. With each present value goes its object's status-flags. What the layout
knows: `max_apdu`, `octets` (a smaller limit that was found out), `rpm` (False: one property a request), `objects` (names found),
`no_flags` (objects without status-flags), `refused` (points whose presence made the device refuse a whole request).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from device_profiles.address import Bacnet
from device_profiles.bacnet import object_number, parse_object
from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.base import Batch

from . import names
from .codec import Ref
from .request import Request

MAX_APDU = 1476
_DEFAULT_APDU = 480
_HEAD = 5
"""Octets of an answer's APDU head, and one to spare."""
_OBJECT, _PROPERTY, _INDEX = 7, 5, 3
"""Octets of an object's identifier and tags, of a property's, of an array index."""
_VALUE = {"str": 50, "f32": 5, "f64": 10, "bool": 2, "u16": 3, "s16": 3}
_REQUEST_HEAD, _NETWORK = 10, 42
PRESENT_VALUE, STATUS_FLAGS = names.PROPERTIES["present-value"], names.PROPERTIES["status-flags"]
_FLAGS_OCTETS = _PROPERTY + 3
_WITHOUT_FLAGS = frozenset({6, 7, 8, 10, 15, 16, 17})
"""Object types that have no status-flags, or a present value that they say nothing of: calendar, command, device, ..."""


def plan(points: Sequence[Point], layout: Mapping[str, Any] | None) -> tuple[Batch, ...]:
    """Batches, objects together. Raises ConfigError for a point that can never be read."""
    known = layout or {}
    located: list[tuple[Ref, Point]] = []
    absent: list[str] = []
    for point in points:
        ref = ref_of(point, known)
        if ref is None:
            absent.append(point.id)
        else:
            located.append((ref, point))
    located.sort(key=lambda pair: (*pair[0][:3], -1 if pair[0].index is None else pair[0].index))
    refused = frozenset(known.get("refused", ()))
    sound = [pair for pair in located if pair[1].id not in refused]
    suspects = [pair for pair in located if pair[1].id in refused]
    batches = [_batch(group, known) for group in _groups(sound, known)]
    batches += [_batch([pair], known, suspect=True) for pair in suspects]
    if absent:
        batches.append(Batch(tuple(absent), suspect=True))
    return tuple(batches)


def ref_of(point: Point, layout: Mapping[str, Any]) -> Ref | None:
    """The numbers of a point's property; None when its name was not found on the device. Raises ConfigError."""
    address = point.address
    if not isinstance(address, Bacnet):
        raise ConfigError(
            "this is no BACnet address",
            where=point.id,
            next_step="give object: analog-input:3, or address: {name: ...}",
        )
    number = names.property_number(address.prop)
    if number is None:
        raise ConfigError(
            f"property {address.prop!r} is unknown", where=point.id,
            next_step="write it as the standard does (present-value), or give its number",
        )  # fmt: skip
    text = address.object or layout.get("objects", {}).get(address.name)
    if text is None:
        return None
    kind, instance = parse_object(text)
    return Ref(object_number(kind), instance, number, address.index)


def _groups(located: Sequence[tuple[Ref, Point]], known: Mapping[str, Any]) -> Iterable[list[tuple[Ref, Point]]]:
    """Parts whose answers fit the device's limit by estimate."""
    limit = octets_of(known)
    single = known.get("rpm") is False
    no_flags = frozenset(known.get("no_flags", ()))
    group: list[tuple[Ref, Point]] = []
    size = _HEAD
    before: tuple[int, int] | None = None
    for ref, point in located:
        cost = _PROPERTY + (_INDEX if ref.index is not None else 0) + _VALUE.get(point.type, 5)
        if ref[:2] != before:
            cost += _OBJECT
        if has_flags(ref, no_flags):
            cost += _FLAGS_OCTETS
        if group and (size + cost > limit or (single and ref[:2] != before)):
            yield group
            group, size = [], _HEAD
            cost += _OBJECT if ref[:2] == before else 0
        group.append((ref, point))
        size += cost
        before = ref[0], ref[1]
    if group:
        yield group


def octets_of(known: Mapping[str, Any]) -> int:
    """Octets that an answer may take: what was found out, or what the device said."""
    said = min(int(known.get("max_apdu", _DEFAULT_APDU)), MAX_APDU)
    return max(50, min(int(known.get("octets", said)), said))


def has_flags(ref: Ref, no_flags: frozenset[str]) -> bool:
    """True for a value whose object says something of it."""
    return ref.prop == PRESENT_VALUE and ref.kind not in _WITHOUT_FLAGS and object_key(ref) not in no_flags


def object_key(ref: Ref) -> str:
    """An object as the layout writes it: `0:3`."""
    return f"{ref.kind}:{ref.instance}"


def _batch(group: Sequence[tuple[Ref, Point]], known: Mapping[str, Any], *, suspect: bool = False) -> Batch:
    no_flags = frozenset(known.get("no_flags", ()))
    refs: list[Ref] = []
    at: dict[Ref, int] = {}
    for ref, _ in group:
        wanted = (ref, Ref(ref.kind, ref.instance, STATUS_FLAGS)) if has_flags(ref, no_flags) else (ref,)
        for one in wanted:
            if one not in at:
                at[one] = len(refs)
                refs.append(one)
    places = [(at[ref], at.get(Ref(ref.kind, ref.instance, STATUS_FLAGS), -1)) for ref, _ in group]
    values = [
        place if has_flags(ref, no_flags) else (place[0], -1) for place, (ref, _) in zip(places, group, strict=True)
    ]
    request = Request(tuple(point for _, point in group), tuple(refs), tuple(values), known)
    return Batch(
        points=tuple(point.id for _, point in group),
        request_bytes=_NETWORK + _REQUEST_HEAD + len(request.payload),
        reply_bytes=_NETWORK + _HEAD + sum(_PROPERTY + 5 for _ in refs) + _OBJECT * len({ref[:2] for ref in refs}),
        plan=request,
        suspect=suspect,
    )
