"""What agent.yaml says of commands: whose are taken, and how far a site narrows what its profiles allow to write.

A site never widens a profile: neither by `write:` of a point nor by its `min` and `max`, which are for readings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from device_profiles.control import Write
from device_profiles.findings import shown
from device_profiles.problems import Problems
from device_profiles.schema import Point
from device_profiles.secrets import named_file
from device_profiles.yamlfile import KeyPath
from edge_agent.commands.policy import Key, Policy
from edge_agent.commands.signature import public_key_of
from edge_agent.config.schema import CommandsEntry, PointEntry, WriteEntry

_SMALLER = ("max", "step", "per_hour", "hold_max")
_LARGER = ("min", "min_interval", "priority")
_MAX_KEY_BYTES = 4096


def read_commands(entry: CommandsEntry, folder: Path, problems: Problems) -> Policy:
    """The policy; what is wrong with the key files is noted. Paths are relative to the configuration's folder."""
    keys: dict[str, Key] = {}
    for name, own in entry.keys.items():
        at: KeyPath = ("commands", "keys", name, "public_key_file")
        file = named_file(own.public_key_file, folder, at, problems)
        if file is None or not file.is_file():
            continue
        try:
            keys[name] = Key(
                public_key_of(file.read_bytes()[:_MAX_KEY_BYTES].decode("ascii", "replace")), own.operations
            )
        except OSError:
            continue  # `named_file` has said so
        except ValueError as error:
            step = "make one: openssl pkey -in key.pem -pubout (of openssl genpkey -algorithm ed25519)"
            problems.add(at, f"{shown(str(file))}: {error}", step)
    return Policy(entry.signatures, keys, entry.timeout)


def narrowed(
    points: Sequence[Point],
    of_profile: Mapping[str, Point],
    overrides: Mapping[str, PointEntry | Literal[False]],
    path: KeyPath,
    problems: Problems,
) -> tuple[Point, ...]:
    """The points with this site's rules for writing. What would widen the profile is noted."""
    return tuple(
        _point(point, of_profile.get(point.id, point), overrides.get(point.id), path, problems) for point in points
    )


def _point(
    point: Point, original: Point, own: PointEntry | Literal[False] | None, path: KeyPath, problems: Problems
) -> Point:
    if not isinstance(own, PointEntry) or (own.write is None and not point.is_writable):
        return point
    at: KeyPath = (*path, "points", point.id, "write")
    if own.write is False:
        return point.model_copy(update={"access": "r", "write": None}) if "r" in point.access else point
    if not point.is_writable:
        problems.add(at, f"its profile does not let {point.id} be written", "remove write")
        return point
    rules = point.write or Write()
    # The point's own limits may have been set for its readings here; for writing those of the profile hold.
    known: dict[str, Any] = {
        "min": original.min if rules.min is None else rules.min,
        "max": original.max if rules.max is None else rules.max,
    }
    if own.write is not None:
        known |= _rules(rules.model_copy(update=known), own.write, at, problems)
    return point.model_copy(update={"write": rules.model_copy(update=known)})


def _rules(rules: Write, own: WriteEntry, at: KeyPath, problems: Problems) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name in (*_SMALLER, *_LARGER):
        value, allowed = getattr(own, name), getattr(rules, name)
        if value is None:
            continue
        known[name] = value
        is_wider = allowed is not None and (value > allowed if name in _SMALLER else value < allowed)
        if is_wider:
            problems.add(
                (*at, name), f"{name} {value:g} is wider than the profile's {allowed:g}", "narrow it, or remove it"
            )
    low, high = known.get("min", rules.min), known.get("max", rules.max)
    if low is not None and high is not None and low > high:
        problems.add(at, f"min {low:g} is above max {high:g}", "leave something between them")
    if own.priority is not None and rules.priority is None:
        problems.add((*at, "priority"), "its profile knows no priorities", "remove it")
    if own.interlocks:
        known["interlocks"] = (*rules.interlocks, *own.interlocks)
    return known
