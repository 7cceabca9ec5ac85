"""Interlocks: what must be so, on a fresh and good value, before something is written or carried out.

A point of the same device is read now. Of another device the last value counts if it is young enough, and it is read now if not:
one that reports its changes is not heard for as long as nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from device_profiles.control import Interlock
from device_profiles.errors import CommandRefused
from device_profiles.reading import PointFault, Severity, Value, severity_of
from device_profiles.schema import Point
from edge_agent.commands import limits
from edge_agent.commands.look import Target, converter_of, meaning, read_now


@dataclass(frozen=True, slots=True)
class Held:
    """One interlock as it stood when it was looked at."""

    interlock: Interlock
    value: Value | None
    age_s: float
    holds: bool


async def check_interlocks(target: Target, interlocks: Sequence[Interlock]) -> tuple[Held, ...]:
    """Looks at each. Raises CommandRefused `blocked` for the first that does not hold, or whose value is not fresh and good."""
    held: list[Held] = []
    for interlock in interlocks:
        device_id, _, point_id = interlock.point.rpartition("/")
        value, age_s, status = None, 0.0, "BadNoData"
        point = target.other(point_id) if device_id in ("", target.device.id) else None
        if point is not None:
            heard = await read_now(target, [point])
            value, status = meaning(await converter_of(target, point), heard.get(point.id, PointFault("BadNoData")))
        else:
            other = target.elsewhere(device_id, point_id)
            point = other.point if other is not None else None
            found = target.fresh(device_id or target.device.id, point_id)
            if found is None or found[1] > interlock.max_age:
                found = await _read(other) or found
            if found is not None:
                value, age_s, status = found
        one = Held(interlock, value, age_s, _holds(interlock, point, value, age_s, status))
        held.append(one)
        if not one.holds:
            raise CommandRefused(
                _blocked(one, status), code="blocked", where=target.where, next_step=interlock.text or "see to it first"
            )
    return tuple(held)


async def _read(other: Target | None) -> tuple[Value | None, float, str] | None:
    """What another device says now; None when it cannot be asked or does not answer."""
    if other is None:
        return None
    try:
        heard = await read_now(other, [other.point])
        converter = await converter_of(other, other.point)
    except CommandRefused:
        return None
    value, status = meaning(converter, heard.get(other.point.id, PointFault("BadNoData")))
    return value, 0.0, status


def _holds(interlock: Interlock, point: Point | None, value: Value | None, age_s: float, status: str) -> bool:
    is_good = not status or severity_of(status) is Severity.GOOD
    if value is None or not is_good or age_s > interlock.max_age:
        return False
    if interlock.equals is not None:
        expected = interlock.equals
        is_equal = limits.is_same(expected, value, point) if point is not None else value == expected
        if not is_equal:
            return False
    if interlock.low is None and interlock.high is None:
        return True
    if isinstance(value, str):
        return False
    low = float("-inf") if interlock.low is None else interlock.low
    high = float("inf") if interlock.high is None else interlock.high
    return low <= value <= high


def _blocked(held: Held, status: str) -> str:
    interlock = held.interlock
    if held.value is None:
        return f"{interlock.point} has no good value ({status})"
    if held.age_s > interlock.max_age:
        return f"{interlock.point} was read {held.age_s:.0f} s ago, and {interlock.max_age:g} s are allowed"
    wanted = [
        *([f"be {interlock.equals!r}"] if interlock.equals is not None else []),
        *([f"be at least {interlock.low:g}"] if interlock.low is not None else []),
        *([f"be at most {interlock.high:g}"] if interlock.high is not None else []),
    ]
    return f"{interlock.point} is {held.value!r}, and must {' and '.join(wanted)}"
