"""Virtual devices of agent.yaml: what is computed from other devices' points, checked for references, units and cycles. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from device_profiles.findings import did_you_mean, shown
from device_profiles.library import HEARTBEAT_S, filled
from device_profiles.problems import Problems
from device_profiles.schema import Point, Profile, Source, Virtual
from device_profiles.vocabulary import vocabulary
from device_profiles.yamlfile import KeyPath
from edge_agent.config.schema import VirtualEntry, VirtualPoint
from edge_agent.model import Device

PROTOCOL = "virtual"


Known = dict[str, dict[str, Point]]
"""Published points by device and id."""


def read_virtual(
    entries: Sequence[tuple[KeyPath, VirtualEntry]], polled: Iterable[Device], problems: Problems, *, complete: bool
) -> list[Device]:
    """The virtual devices. `complete` False, because some devices were refused, keeps quiet about unknown ones and gives none."""
    if not entries:
        return []
    before = problems.count
    known: Known = {device.id: {point.id: point for point in device.points if not point.internal} for device in polled}
    devices: list[Device] = []
    for path, entry in entries:
        device = _device(entry, path, problems)
        if device is not None:
            devices.append(device)
            known[device.id] = {point.id: point for point in device.points}
    for path, entry in entries:
        for point_id, point in entry.points.items():
            _check_terms(entry.id, point_id, point, (*path, "points", point_id), known, problems, complete=complete)
    order = _in_order(entries, problems)
    if problems.count > before or not complete:
        return []
    by_id = {entry.id: (path, entry) for path, entry in entries}
    for device_id, point_id in order:
        path, entry = by_id[device_id]
        _plan(device_id, point_id, entry, (*path, "points", point_id), known, problems)
    return [_with_points(device, tuple(known[device.id].values())) for device in devices]


def _device(entry: VirtualEntry, path: KeyPath, problems: Problems) -> Device | None:
    words = vocabulary()
    before = problems.count
    if entry.class_ not in words.classes:
        problems.unknown((*path, "class"), "class", entry.class_, tuple(words.classes))
    for point_id in entry.points:
        if words.quantity_of(point_id) is None:
            numbers = [name for name, known in words.points.items() if known.quantity]
            what = f"{shown(point_id)} is no number of the vocabulary"
            problems.add((*path, "points", point_id), what, did_you_mean(point_id, numbers[:5000], otherwise="like"))
    if problems.count > before:
        return None
    system = words.classes[entry.class_][0]
    profile = filled(
        Profile.model_validate(
            {
                "profile": PROTOCOL,
                "version": 1,
                "class": entry.class_,
                "system": system,
                "products": ("computed from other devices",),
                "protocol": PROTOCOL,
                "points": tuple(_point(point_id, point, entry) for point_id, point in entry.points.items()),
                "source": Source(title="agent.yaml"),
            }
        )
    )
    return Device(
        id=entry.id,
        name=entry.name or entry.id,
        link="",
        unit="",
        protocol=PROTOCOL,
        profile=profile,
        points=profile.points,
        cls=profile.class_,
        system=system,
        space=entry.space,
        parent=entry.parent,
        asset=entry.asset,
        serial=entry.serial,
        codes=entry.codes,
        ext=entry.ext,
        disabled=entry.disabled,
    )


def _point(point_id: str, own: VirtualPoint, entry: VirtualEntry) -> Point:
    return Point(
        id=point_id,
        address=Virtual(plus=own.plus, minus=own.minus),
        type="f64",
        poll=own.poll or entry.poll,
        align=own.align,
        deadband=own.deadband,
        heartbeat=own.heartbeat or entry.heartbeat or HEARTBEAT_S,
        min=own.min,
        max=own.max,
        counter=False if own.minus else None,
    )


def _check_terms(
    device_id: str,
    point_id: str,
    point: VirtualPoint,
    path: KeyPath,
    known: Mapping[str, Mapping[str, Point]],
    problems: Problems,
    *,
    complete: bool,
) -> None:
    quantity = vocabulary().quantity_of(point_id)
    seen: set[str] = set()
    for side in ("plus", "minus"):
        for index, term in enumerate(getattr(point, side)):
            at: KeyPath = (*path, side, index)
            other, _, name = term.partition("/")
            if term in seen:
                problems.add(at, f"{shown(term)} is here twice", "remove one")
            seen.add(term)
            if not name:
                problems.add(at, f"{shown(term)} names no point", "write device/point")
            elif other not in known:
                if complete:
                    problems.unknown(at, "device", other, tuple(known))
            elif name not in known[other]:
                problems.unknown(at, f"{other} publishes no point", name, tuple(known[other]))
            elif quantity is not None and known[other][name].quantity != quantity.id:
                what = (
                    f"{term} is {known[other][name].quantity or 'no number'}, {device_id}/{point_id} is {quantity.id}"
                )
                problems.add(at, what, "add up only what is of one kind")


def _in_order(entries: Sequence[tuple[KeyPath, VirtualEntry]], problems: Problems) -> list[tuple[str, str]]:
    """(device, point) of every virtual point, each after those that it is computed from. A point that depends on itself, over
    however many steps, is a problem. Iterative: the chain may be long."""
    terms: dict[str, tuple[str, ...]] = {}
    paths: dict[str, KeyPath] = {}
    for path, entry in entries:
        for point_id, point in entry.points.items():
            terms[f"{entry.id}/{point_id}"] = (*point.plus, *point.minus)
            paths[f"{entry.id}/{point_id}"] = (*path, "points", point_id)
    done: dict[str, None] = {}
    for start in terms:
        way: dict[str, None] = {}
        stack = [(start, False)]
        while stack:
            name, is_leaving = stack.pop()
            if is_leaving:
                way.popitem()
                done[name] = None
            elif name in way:
                names = list(way)
                circle = " -> ".join((*names[names.index(name) :], name))
                problems.add(paths[name], f"it depends on itself: {circle[:400]}", "take one of them out")
                return []
            elif name in terms and name not in done:
                way[name] = None
                stack.append((name, True))
                stack += [(term, False) for term in terms[name]]
    return [(device, point) for device, _, point in (name.partition("/") for name in done)]


def _plan(device_id: str, point_id: str, entry: VirtualEntry, path: KeyPath, known: Known, problems: Problems) -> None:
    """When the point is computed: as written; otherwise at the marks of its terms, or as often as the slowest of them is read.

    A sum for a mark needs every term read for that mark.
    """
    own = entry.points[point_id]
    terms = {term: known[term.partition("/")[0]][term.partition("/")[2]] for term in (*own.plus, *own.minus)}
    poll = own.poll or entry.poll
    align = own.align
    if align is not None:
        for name, term in terms.items():
            if term.align is None or align % term.align:
                at = f"every {term.align} s" if term.align else "at no marks"
                what = f"marks every {align} s need {name} at each of them, and it is read {at}"
                problems.add((*path, "align"), what, f"give {name} align: {align}, or this point poll instead of align")
    elif poll is None:
        marks = {term.align for term in terms.values()}
        slowest = max((mark for mark in marks if mark is not None), default=0)
        if None not in marks and all(slowest % (mark or 1) == 0 for mark in marks):
            align = slowest
        else:
            poll = max(float(term.poll or term.align or 0) for term in terms.values())
    known[device_id][point_id] = known[device_id][point_id].model_copy(update={"poll": poll, "align": align})


def _with_points(device: Device, points: tuple[Point, ...]) -> Device:
    return replace(device, points=points, profile=device.profile.model_copy(update={"points": points}))
