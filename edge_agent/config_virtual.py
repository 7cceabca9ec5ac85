"""Virtual devices of agent.yaml: what is computed from other devices' points, checked for references, units and cycles. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from device_profiles.findings import did_you_mean, shown
from device_profiles.library import HEARTBEAT_S, filled
from device_profiles.schema import Point, Profile, Source, Virtual
from device_profiles.vocabulary import vocabulary
from device_profiles.yamlfile import KeyPath
from edge_agent.config_problems import Problems
from edge_agent.config_schema import VirtualEntry, VirtualPoint
from edge_agent.model import Device

PROTOCOL = "virtual"


def read_virtual(
    entries: Sequence[tuple[KeyPath, VirtualEntry]], polled: Iterable[Device], problems: Problems, *, complete: bool
) -> list[Device]:
    """The virtual devices. `complete` False keeps quiet about unknown devices: some of them were refused before."""
    if not entries:
        return []
    known = {device.id: {point.id: point for point in device.points if not point.internal} for device in polled}
    devices: list[Device] = []
    for path, entry in entries:
        device = _device(entry, path, problems)
        if device is not None:
            devices.append(device)
            known[device.id] = {point.id: point for point in device.points}
    for path, entry in entries:
        for point_id, point in entry.points.items():
            _check_terms(entry.id, point_id, point, (*path, "points", point_id), known, problems, complete=complete)
    _refuse_cycles(entries, problems)
    return [_aligned(device, known) for device in devices]


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


def _refuse_cycles(entries: Sequence[tuple[KeyPath, VirtualEntry]], problems: Problems) -> None:
    """A point must not depend on itself, over however many steps. Iterative: the chain may be long."""
    terms = {
        f"{entry.id}/{point_id}": (*point.plus, *point.minus)
        for _, entry in entries
        for point_id, point in entry.points.items()
    }
    paths = {
        f"{entry.id}/{point_id}": (*path, "points", point_id) for path, entry in entries for point_id in entry.points
    }
    done: set[str] = set()
    for start in terms:
        way: list[str] = []
        on_way: set[str] = set()
        stack = [(start, False)]
        while stack:
            name, is_leaving = stack.pop()
            if is_leaving:
                way.pop()
                on_way.discard(name)
                done.add(name)
            elif name in on_way:
                circle = " -> ".join((*way[way.index(name) :], name))
                problems.add(paths[name], f"it depends on itself: {circle[:400]}", "take one of them out")
                return
            elif name in terms and name not in done:
                way.append(name)
                on_way.add(name)
                stack.append((name, True))
                stack += [(term, False) for term in terms[name]]


def _aligned(device: Device, known: Mapping[str, Mapping[str, Point]]) -> Device:
    """Marks and periods that nobody gave come from the terms: a sum of quarter-hour readings is one of quarter hours."""
    points = tuple(_with_plan_of_terms(point, known) for point in device.points)
    return replace(device, points=points, profile=device.profile.model_copy(update={"points": points}))


def _with_plan_of_terms(point: Point, known: Mapping[str, Mapping[str, Point]]) -> Point:
    address = point.address
    if not isinstance(address, Virtual):
        return point
    terms = [
        known[device][name]
        for device, _, name in (term.partition("/") for term in (*address.plus, *address.minus))
        if name in known.get(device, {})
    ]
    aligns = {term.align for term in terms}
    if len(aligns) == 1 and None not in aligns:
        return point.model_copy(update={"align": aligns.pop()})
    return point
