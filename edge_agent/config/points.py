"""How each point of a device is read here: the plan of agent.yaml put over the profile's points. Pure.

Order of precedence: the point's entry in agent.yaml, the device's entry, the profile, the vocabulary (already filled in by
the library). Which points there are is decided by `device_profiles.resolve`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from device_profiles.library import HEARTBEAT_S
from device_profiles.schema import Point, Profile
from edge_agent.config.schema import PointEntry

Overrides = Mapping[str, PointEntry | Literal[False]]


def planned(
    points: Sequence[Point], profile: Profile, overrides: Overrides, poll: float | None, heartbeat: float | None
) -> tuple[Point, ...]:
    """The points with this site's periods, marks, limits and deadbands.

    A point that is left out (`false`) but needed by another, as its scale factor, stays as an internal one.
    """
    wanted = {point.id for point in points if not point.internal and overrides.get(point.id) is not False}
    needed = _dependencies(point for point in points if point.id in wanted)
    result: list[Point] = []
    for point in points:
        own = overrides.get(point.id)
        if point.id in wanted:
            result.append(_read_as(point, own or PointEntry(), profile, poll, heartbeat))
        elif point.id in needed:
            result.append(point.model_copy(update={"internal": True, "poll": poll or point.poll or profile.poll}))
    return tuple(result)


def _dependencies(points: Iterable[Point]) -> set[str]:
    return {point.scale_from.point for point in points if point.scale_from is not None}


def _read_as(point: Point, own: PointEntry, profile: Profile, poll: float | None, heartbeat: float | None) -> Point:
    """An own `poll` replaces a mark and an own `align` a period, unless both are said; the device's `poll` is for the points
    that are not read at marks."""
    align = own.align if own.align is not None or own.poll is not None else point.align
    period = own.poll
    if period is None and align is None:
        period = poll or point.poll or profile.poll
    elif period is None and own.align is None:
        period = point.poll
    update: dict[str, Any] = {
        "align": align,
        "poll": period,
        "heartbeat": own.heartbeat or heartbeat or point.heartbeat or HEARTBEAT_S,
    }
    for name in ("deadband", "min", "max"):
        if (value := getattr(own, name)) is not None:
            update[name] = value
    return point.model_copy(update=update)
