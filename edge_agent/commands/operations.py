"""What this agent can be asked to do: the arguments of each operation as structs, and their JSON Schemas for `up/caps`.

Source: CONTRACT.md section 6. Operations that are not here are refused as `unsupported`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

import msgspec

from device_profiles.control import OPERATIONS
from device_profiles.errors import CommandRefused
from edge_agent.model import Device

Scalar = float | int | bool | str


class _Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of one operation; nothing else may be among them."""


class PointWrite(_Arguments, frozen=True):
    """`val` in the vocabulary's unit; an enumeration also by its label. `prio` 8 to 16, never above the profile's own."""

    p: str
    val: Scalar
    prio: int | None = None
    hold_s: float | None = None


class PointRelease(_Arguments, frozen=True):
    """Ends a hold early."""

    p: str
    prio: int | None = None


class PointRead(_Arguments, frozen=True):
    """Reads a point from its device now."""

    p: str


class DeviceCall(_Arguments, frozen=True):
    """`call`: an operation of the device's profile; may be left out where the profile has only one for the command's `op`."""

    call: str | None = None
    inputs: dict[str, Scalar] = {}


class Nothing(_Arguments, frozen=True):
    """No arguments."""


OF_POINTS: Mapping[str, type[_Arguments]] = {
    "point.write": PointWrite,
    "point.release": PointRelease,
    "point.read": PointRead,
}
OF_AGENT: Mapping[str, type[_Arguments]] = {"meta.republish": Nothing, "agent.restart": Nothing}
OF_DEVICES = frozenset(get_args(OPERATIONS))
"""Carried out as the device's profile says."""

_A = TypeVar("_A", bound=_Arguments)


def arguments(kind: type[_A], given: Mapping[str, Any]) -> _A:
    """The arguments of a command. Raises CommandRefused `out_of_range`."""
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise CommandRefused(
            f"its arguments are wrong: {error}",
            code="out_of_range",
            where="command",
            next_step="see ops in the agent's caps",
        ) from error


def schemas(devices: Iterable[Device]) -> dict[str, dict[str, Any]]:
    """The JSON Schema of the arguments of every operation that this agent carries out on these devices."""
    known: dict[str, type[_Arguments]] = {**OF_POINTS, **OF_AGENT}
    known |= {operation.op: DeviceCall for device in devices for operation in device.profile.operations}
    return {name: _schema(kind) for name, kind in sorted(known.items())}


def _schema(kind: type[_Arguments]) -> dict[str, Any]:
    (schema,) = msgspec.json.schema_components([kind])[1].values()
    return {name: value for name, value in schema.items() if name not in ("title", "description")}
