"""The points that one real device has: options set, instances counted out. Pure.

A profile says what a model of device can be; a device of it has its options set and, where one address space holds many
devices (the 24 circuits of a branch meter), is the head or one of the instances.
"""

from __future__ import annotations

from collections.abc import Mapping

from .address import PREFIX
from .errors import ProfileError
from .findings import did_you_mean, shown
from .schema import Bacnet, Instances, OpcUa, Point, Profile


def options_of(profile: Profile, given: Mapping[str, str]) -> dict[str, str]:
    """Every option of the profile with the value given or its default. Raises ProfileError for one that it lacks."""
    for name, value in given.items():
        option = profile.options.get(name)
        if option is None:
            step = did_you_mean(name, profile.options, otherwise="its options are")
            raise ProfileError(f"{profile.profile} has no option {shown(name)}", next_step=step)
        if value not in option.values:
            step = did_you_mean(value, option.values, otherwise="use one of")
            raise ProfileError(f"{name} cannot be {shown(value)}", next_step=step)
    return {name: given.get(name, option.default) for name, option in profile.options.items()}


def points_of(
    profile: Profile, options: Mapping[str, str] | None = None, *, instance: int | None = None
) -> tuple[Point, ...]:
    """The points of a device with these options; of its n-th instance (from 1), or without a number of its head.

    Internal points go along with those that need them. Raises ProfileError for an option or an instance it lacks.
    """
    chosen = options_of(profile, options or {})
    points = tuple(point for point in profile.points if point.only is None or _holds(point.only, chosen))
    if profile.instances is None:
        if instance is not None:
            raise ProfileError(f"{profile.profile} is one device", next_step="remove instances")
        return points
    repeats = _repeating(profile.instances, points)
    if instance is None:
        return _with_internal([point for point in points if point.id not in repeats and not point.internal], points)
    if not 1 <= instance <= profile.instances.count:
        raise ProfileError(
            f"{profile.profile} has no instance {instance}", next_step=f"use 1 to {profile.instances.count}"
        )
    own = _with_internal([point for point in points if point.id in repeats and not point.internal], points)
    step = (instance - 1) * profile.instances.stride
    return tuple(shifted(point, step) if point.id in repeats else point for point in own)


def needs_prefix(profile: Profile) -> bool:
    """True when a name, node or path of the profile holds `{prefix}`."""
    return any(
        isinstance(point.address, Bacnet | OpcUa) and PREFIX in (point.address.reference or "")
        for point in profile.points
    )


def prefixed(points: tuple[Point, ...], prefix: str | None) -> tuple[Point, ...]:
    """The points of the device whose names begin with `prefix`."""
    if prefix is None:
        return points
    return tuple(
        point.model_copy(update={"address": point.address.prefixed(prefix)})
        if isinstance(point.address, Bacnet | OpcUa)
        else point
        for point in points
    )


def instance_id(instances: Instances, device: str, number: int) -> str:
    """`panel-1` and 7 make `panel-1-7`."""
    return instances.id.replace("{device}", device).replace("{n}", str(number))


def shifted(point: Point, registers: int) -> Point:
    """The point `registers` further on."""
    parts = tuple(part.model_copy(update={"reg": part.reg + registers}) for part in point.parts)
    address = point.address if isinstance(point.address, dict) else point.address.shifted(registers)
    return point.model_copy(update={"address": address, "parts": parts})


def _holds(only: str, options: Mapping[str, str]) -> bool:
    name, _, value = only.partition("=")
    return options.get(name) == value


def _repeating(instances: Instances, points: tuple[Point, ...]) -> frozenset[str]:
    return frozenset(instances.points or (point.id for point in points))


def _with_internal(chosen: list[Point], points: tuple[Point, ...]) -> tuple[Point, ...]:
    needed = {point.scale_from.point for point in chosen if point.scale_from is not None}
    ids = {point.id for point in chosen} | needed
    return tuple(point for point in points if point.id in ids)
