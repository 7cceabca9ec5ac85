"""What must hold in a profile about writing: what `write` says must be possible, and what it names must be there. Pure.

A part of `rules`: it yields (path, what is wrong, next step). A write that cannot be checked or undone as the profile says is
refused when the profile is loaded, not when somebody writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .control import Interlock, Write
from .findings import did_you_mean, shown
from .schema import Bacnet, Modbus, Point, Profile
from .vocabulary import vocabulary
from .yamlfile import KeyPath

Rule = tuple[KeyPath, str, str]
"""(path into the profile, what is wrong with the observed value, next step)."""

_WITHOUT_OPERATIONS = frozenset({"virtual"})
_PASSAGES = frozenset({"gate", "door", "barrier"})
_FIRE = "fire_alarm"
_NEVER_IN_THE_WAY = frozenset({"gate.open", "gate.hold", "camera.snapshot", "time.sync"})


def write_rules(profile: Profile) -> Iterator[Rule]:
    """Every rule about writing that the profile breaks."""
    for index, point in enumerate(profile.points):
        path: KeyPath = ("points", index)
        if point.is_writable:
            yield from _way(point, path)
        if point.write is not None:
            yield from _bounds(point, point.write, (*path, "write"))
            yield from _undoing(point, point.write, (*path, "write"))
            yield from _readback(profile, point, point.write, (*path, "write"))
            yield from _interlocks(profile, point.write.interlocks, (*path, "write"))
    yield from _operations(profile)
    yield from _fire_release(profile)


def _way(point: Point, path: KeyPath) -> Iterator[Rule]:
    """The protocol can do it, and as `function` says."""
    function = point.write.function if point.write is not None else None
    priority = point.write.priority if point.write is not None else None
    if not isinstance(point.address, Modbus):
        if function is not None:
            yield (*path, "write", "function"), "function is for Modbus", "remove function"
        if isinstance(point.address, Bacnet):
            yield from _bacnet_way(point, point.address, priority, path)
        return
    if priority is not None:
        yield (*path, "write", "priority"), f"priority {priority} where Modbus has none", "remove priority"
    if point.parts:
        yield (*path, "access"), f"{point.id} is a sum of {len(point.parts)} registers", "remove access"
    if function == "single" and point.registers > 1 and point.address.table == "holding" and not point.bit_range:
        step = "remove function: a device may take one half of a value"
        yield (*path, "write", "function"), f"function 6 writes one register, {point.id} has {point.registers}", step


def _fire_release(profile: Profile) -> Iterator[Rule]:
    """Where a gate has its fire contact among its points, what is not opening waits for that contact to be at rest."""
    if profile.class_ not in _PASSAGES or all(point.id != _FIRE for point in profile.points):
        return
    step = f"add interlocks: [{{point: {_FIRE}, equals: false}}]"
    for index, operation in enumerate(profile.operations):
        if operation.op not in _NEVER_IN_THE_WAY and not _waits_for_fire(operation.interlocks):
            yield ("operations", index), f"{operation.id} may close the gate against its fire release", step
    for index, point in enumerate(profile.points):
        if point.is_writable and not _waits_for_fire(point.write.interlocks if point.write is not None else ()):
            yield ("points", index, "write"), f"{point.id} may close the gate against its fire release", step


def _waits_for_fire(interlocks: Sequence[Interlock]) -> bool:
    return any(each.point == _FIRE and each.equals in (False, 0) for each in interlocks)


def _bacnet_way(point: Point, address: Bacnet, priority: int | None, path: KeyPath) -> Iterator[Rule]:
    """Every BACnet write says which slot it takes; what a device measures is not written."""
    if priority is None:
        step = "add write: {priority: 10}, or another slot from 8 to 16"
        yield (*path, "write"), f"{point.id} can be written without a priority", step
    if address.kind is not None and address.kind.endswith("-input"):
        yield (*path, "access"), f"{address.reference} is an input and measures", "remove access"


def _bounds(point: Point, write: Write, path: KeyPath) -> Iterator[Rule]:
    """Limits stay within what the point can be, and are only there for numbers."""
    known = vocabulary().point(point.id)
    is_number = point.labels is None and point.type not in ("bool", "str") and (known is None or known.type == "num")
    for name in ("min", "max", "step", "tolerance"):
        value = getattr(write, name)
        if value is not None and not is_number:
            yield (*path, name), f"{point.id} is no number and has {name} {value:g}", f"remove {name}"
    low, high = point.min, point.max
    if write.min is not None and low is not None and write.min < low:
        yield (*path, "min"), f"min {write.min:g} is below the point's own {low:g}", f"give {low:g} or more"
    if write.max is not None and high is not None and write.max > high:
        yield (*path, "max"), f"max {write.max:g} is above the point's own {high:g}", f"give {high:g} or less"
    if write.step is not None and "r" not in point.access:
        yield (*path, "step"), "a step needs the present value, and the point is not read", "remove step"


def _undoing(point: Point, write: Write, path: KeyPath) -> Iterator[Rule]:
    """What ends a hold can be written."""
    if write.hold_max is not None and not write.idempotent:
        yield (*path, "hold_max"), "a pulse is not held", "remove hold_max, or idempotent: false"
    by_itself = write.priority is not None
    if write.hold_max is not None and write.release is None and "r" not in point.access and not by_itself:
        yield (*path, "hold_max"), "what stood before a hold cannot be read", "say in release what ends it"
    value = write.release
    if isinstance(value, str) and point.labels and value not in point.labels.values():
        yield (*path, "release"), f"no label {shown(value)}", did_you_mean(value, point.labels.values())
    elif isinstance(value, str) and not point.labels and point.type != "str":
        yield (*path, "release"), f"{shown(value)} is no value of {point.id}", "give a value"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low = write.min if write.min is not None else point.min
        high = write.max if write.max is not None else point.max
        if (low is not None and value < low) or (high is not None and value > high):
            yield (*path, "release"), f"release {value:g} is outside its own limits", "correct it or the limits"


def _readback(profile: Profile, point: Point, write: Write, path: KeyPath) -> Iterator[Rule]:
    if write.readback is None:
        return
    target = _point(profile, write.readback)
    if target is None:
        step = did_you_mean(write.readback, [other.id for other in profile.points])
        yield (*path, "readback"), f"{shown(write.readback)} is no point", step
    elif "r" not in target.access:
        yield (*path, "readback"), f"{target.id} is not read", "name a point that is"


def _interlocks(profile: Profile, interlocks: Sequence[Interlock], path: KeyPath) -> Iterator[Rule]:
    """A point of this device is there and read; other devices are known only to the site."""
    for index, interlock in enumerate(interlocks):
        at: KeyPath = (*path, "interlocks", index)
        if "/" in interlock.point:
            continue
        target = _point(profile, interlock.point)
        if target is None:
            step = did_you_mean(interlock.point, [other.id for other in profile.points])
            yield (*at, "point"), f"{shown(interlock.point)} is no point", step
        elif "r" not in target.access:
            yield (*at, "point"), f"{target.id} is not read", "name a point that is"
        elif isinstance(interlock.equals, str) and target.labels and interlock.equals not in target.labels.values():
            step = did_you_mean(interlock.equals, target.labels.values())
            yield (*at, "equals"), f"{target.id} has no label {shown(interlock.equals)}", step


def _operations(profile: Profile) -> Iterator[Rule]:
    seen: set[str] = set()
    for index, operation in enumerate(profile.operations):
        path: KeyPath = ("operations", index)
        if profile.protocol in _WITHOUT_OPERATIONS:
            yield path, f"{profile.protocol} devices have no operations", "make it a point with access: w"
        if operation.id in seen:
            yield (*path, "id"), f"{operation.id} is here twice", "remove one"
        seen.add(operation.id)
        yield from _interlocks(profile, operation.interlocks, path)


def _point(profile: Profile, point_id: str) -> Point | None:
    return next((point for point in profile.points if point.id == point_id), None)
