"""Writes one property and says what then stands: the value's type by object and property, the priority, the slots.

Knows no limits, no unit and no hold. A write goes out once: where it is not known whether the device took it, the error is a
DeviceTimeout, and nobody here sends it again. Priorities are 8 to 16; 1 to 7 belong to life safety and to the minimum on and off
times. Source: ANSI/ASHRAE 135-2020, clauses 15.9 (WriteProperty), 19.2 (command prioritization) and 12 (datatypes).
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from device_profiles.bacnet import COMMANDABLE, OBJECT_NAMES
from device_profiles.errors import ConfigError, DeviceError, DeviceRefused, DeviceTimeout
from device_profiles.reading import Raw
from device_profiles.schema import Point

from . import codec, names, tags
from .client import BacnetClient, Peer
from .codec import Element, Ref, Result

PRESENT_VALUE, PRIORITY_ARRAY, RELINQUISH_DEFAULT = 85, 87, 104
UNKNOWN_PROPERTY = 32
"""Error code: what an object without a priority array says of it."""
PRIORITIES = range(8, 17)
_SLOTS = 16

_OF_OBJECT: dict[str, int] = {
    **dict.fromkeys(("analog-input", "analog-output", "analog-value", "loop", "lighting-output"), tags.REAL),
    **dict.fromkeys(("binary-input", "binary-output", "binary-value"), tags.ENUMERATED),
    **dict.fromkeys(("binary-lighting-output", "access-door", "life-safety-point", "life-safety-zone"), tags.ENUMERATED),
    **dict.fromkeys(("multi-state-input", "multi-state-output", "multi-state-value", "accumulator"), tags.UNSIGNED),
    "pulse-converter": tags.REAL, "large-analog-value": tags.DOUBLE, "integer-value": tags.SIGNED,
    "positive-integer-value": tags.UNSIGNED, "characterstring-value": tags.TEXT, "command": tags.UNSIGNED,
}  # fmt: skip
"""The application type of Present_Value and Relinquish_Default."""
_OF_PROPERTY: dict[str, int] = {
    **dict.fromkeys(("out-of-service", "enable", "event-detection-enable", "log-enable"), tags.BOOLEAN),
    **dict.fromkeys(("object-name", "description", "location", "active-text", "inactive-text", "state-text"), tags.TEXT),
    **dict.fromkeys(("units", "polarity", "reliability", "notify-type", "system-status", "mode"), tags.ENUMERATED),
    **dict.fromkeys(
        (
            "cov-increment", "high-limit", "low-limit", "deadband", "setpoint", "proportional-constant", "resolution",
            "integral-constant", "derivative-constant", "bias", "maximum-output", "minimum-output", "max-pres-value",
            "min-pres-value", "default-ramp-rate", "default-step-increment",
        ),
        tags.REAL,
    ),
    **dict.fromkeys(
        (
            "time-delay", "notification-class", "update-interval", "minimum-on-time", "minimum-off-time", "log-interval",
            "elapsed-active-time", "change-of-state-count", "priority-for-writing", "cov-period", "default-fade-time",
        ),
        tags.UNSIGNED,
    ),
}  # fmt: skip
_OF_POINT = {"f32": tags.REAL, "f64": tags.DOUBLE, "bool": tags.BOOLEAN, "str": tags.TEXT}
_SIGNED_TYPES = ("s16", "s32", "s64")
_MOST = {"unsigned": 2**32 - 1, "text": 1000}

_STEPS = {
    "write-access-denied": "look whether the object is out of service, in hand mode, or read-only by the maker's manual",
    "value-out-of-range": "see min-pres-value and max-pres-value of the object, or the number of its states",
    "invalid-data-type": "check the object's type in the profile",
    "unknown-object": "check the object in the profile against the device's object list (plantroom scan bacnet --objects)",
    "unknown-property": "check the property in the profile",
    "no-space-to-write-property": "write a shorter value",
}
_UNDECIDED = {3, 8, 9, 10, 0}
"""Abort reasons after which nobody knows whether the value was taken; the others end a request before it is carried out."""


class Slots(NamedTuple):
    """A priority array. `held_by` is the highest slot (1 is highest) that holds a value; `ours` what stands in our own."""

    held_by: int | None
    ours: Raw | None


def encode(point: Point, ref: Ref, value: Raw | None, priority: int | None) -> bytes:
    """The parameters of the WriteProperty request; `value` None releases the slot. Pure. Raises ConfigError."""
    kind = OBJECT_NAMES.get(ref.kind, str(ref.kind))
    _check_priority(point, kind, ref, value, priority)
    content = b"\x00" if value is None else codec.encode_value(*_typed(point, kind, ref, value))
    index = b"" if ref.index is None else tags.tag(2, tags.unsigned(ref.index))
    return b"".join(
        (
            tags.tag(0, tags.object_octets(ref.kind, ref.instance)),
            tags.tag(1, tags.unsigned(ref.prop)),
            index,
            tags.opening(3) + content + tags.closing(3),
            b"" if priority is None else tags.tag(4, tags.unsigned(priority)),
        )
    )


def wording(point: Point, ref: Ref, value: Raw | None, priority: int | None) -> str:
    """What would be sent, in BACnet's own words: `WriteProperty analog-value:3 present-value = REAL 21.5, priority 13`."""
    encode(point, ref, value, priority)
    kind = OBJECT_NAMES.get(ref.kind, str(ref.kind))
    index = "" if ref.index is None else f"[{ref.index}]"
    slot = "" if priority is None else f", priority {priority}"
    if value is None:
        shown = "NULL"
    else:
        number, typed = _typed(point, kind, ref, value)
        shown = f"{_TYPE_NAMES[number]} {typed:g}" if isinstance(typed, float) else f"{_TYPE_NAMES[number]} {typed!r}"
    return f"WriteProperty {kind}:{ref.instance} {names.property_name(ref.prop)}{index} = {shown}{slot}"


_TYPE_NAMES = {
    tags.REAL: "REAL", tags.DOUBLE: "Double", tags.UNSIGNED: "Unsigned", tags.SIGNED: "INTEGER", tags.BOOLEAN: "BOOLEAN",
    tags.ENUMERATED: "ENUMERATED", tags.TEXT: "CharacterString",
}  # fmt: skip


def _check_priority(point: Point, kind: str, ref: Ref, value: Raw | None, priority: int | None) -> None:
    if priority is not None and priority not in PRIORITIES:
        raise ConfigError(
            f"priority {priority} is not ours to write", where=point.id, next_step="give write.priority 8 to 16"
        )
    if ref.prop == PRESENT_VALUE:
        if priority is None:
            raise ConfigError(
                f"{kind} is written with a priority",
                where=point.id,
                next_step="give write.priority 8 to 16 in the profile",
            )
    elif priority is not None and kind not in COMMANDABLE and not ref.kind >= 128:
        raise ConfigError(
            f"{names.property_name(ref.prop)} has no priorities", where=point.id, next_step="leave out the priority"
        )
    elif value is None:
        raise ConfigError(
            f"{names.property_name(ref.prop)} cannot be released", where=point.id, next_step="write a value instead"
        )


def _typed(point: Point, kind: str, ref: Ref, value: Raw) -> tuple[int, tags.Primitive]:
    """The application type and the value as that type. Raises ConfigError for a value that it cannot hold."""
    prop = names.property_name(ref.prop)
    number = _OF_OBJECT.get(kind) if ref.prop in (PRESENT_VALUE, RELINQUISH_DEFAULT) else _OF_PROPERTY.get(prop)
    if number is None:
        number = _OF_POINT.get(point.type, tags.SIGNED if point.type in _SIGNED_TYPES else tags.UNSIGNED)
    if number == tags.TEXT:
        text = value if isinstance(value, str) else ""
        if not isinstance(value, str) or len(text) > _MOST["text"] or not _is_utf8(text):
            raise _wrong(point, value, f"a text of at most {_MOST['text']} characters")
        return number, text
    if isinstance(value, str) or not math.isfinite(value):
        raise _wrong(point, value, "a number")
    if number in (tags.REAL, tags.DOUBLE):
        return number, _real(point, float(value)) if number == tags.REAL else float(value)
    if value != int(value):
        raise _wrong(point, value, "a whole number")
    whole = int(value)
    if number == tags.BOOLEAN or (
        number == tags.ENUMERATED and kind.startswith("binary-") and ref.prop == PRESENT_VALUE
    ):
        most = 5 if kind == "binary-lighting-output" else 1
        if not 0 <= whole <= most:
            raise _wrong(point, value, f"0 to {most}")
        return number, bool(whole) if number == tags.BOOLEAN else whole
    low, high = (-(2**31), 2**31 - 1) if number == tags.SIGNED else (0, _MOST["unsigned"])
    if kind.startswith("multi-state") and ref.prop == PRESENT_VALUE:
        low = 1
    if not low <= whole <= high:
        raise _wrong(point, value, f"{low} to {high}")
    return number, whole


def _is_utf8(text: str) -> bool:
    """False for half a pair of surrogates, which JSON can say and UTF-8 cannot."""
    return all(not 0xD800 <= ord(character) <= 0xDFFF for character in text)


def _real(point: Point, value: float) -> float:
    try:
        return float(struct.unpack(">f", struct.pack(">f", value))[0])
    except OverflowError:
        raise _wrong(point, value, "what a single precision number can hold") from None


def _wrong(point: Point, value: Raw, wanted: str) -> ConfigError:
    return ConfigError(f"{value!r} is not {wanted}", where=point.id, next_step="write another value")


async def write(
    client: BacnetClient, peer: Peer, point: Point, ref: Ref, value: Raw | None, *, priority: int | None
) -> None:
    """Writes, once. Raises ConfigError, DeviceRefused for what the device refused; DeviceTimeout, DeviceMismatch or LinkError
    when it is not known whether the device took it.
    """
    payload = encode(point, ref, value, priority)
    where = f"device {peer.instance} at {peer.address}, {point.id}"
    try:
        await client.confirmed(peer, codec.WRITE_PROPERTY, payload)
    except DeviceRefused as error:
        if error.code - names.ABORTED in _UNDECIDED:
            raise DeviceTimeout(
                f"it is not known whether it was written: {error.what}", where=where, next_step="read it back"
            ) from error
        step = _STEPS.get(names.ERROR_CODES.get(error.code, ""), error.next_step)
        raise DeviceRefused(error.what, code=error.code, status=error.status, where=where, next_step=step) from error
    except DeviceTimeout as error:
        raise DeviceTimeout(
            f"it is not known whether it was written: {error.what}", where=where, next_step="read it back"
        ) from error
    except DeviceError as error:
        error.where = error.where or where
        raise


def slots_of(result: Result, priority: int | None) -> Slots | None:
    """What a priority array says; None for an error, or what is no array of 16 slots."""
    if result.error is not None or len(result.elements) != _SLOTS:
        return None
    filled = [at for at, element in enumerate(result.elements, 1) if not _is_null(element)]
    ours = None
    if priority in filled:
        assert priority is not None
        ours = _raw(result.elements[priority - 1])
    return Slots(filled[0] if filled else None, ours)


def _is_null(element: Element) -> bool:
    return element.form == tags.APPLICATION and element.number == tags.NULL


def _raw(element: Element) -> Raw | None:
    """A slot's value; one that is constructed (a date, a colour) has none that a point could hold."""
    value = element.value
    if (
        element.form == tags.CONSTRUCTED
        and isinstance(value, tuple)
        and len(value) == 1
        and isinstance(value[0], Element)
    ):
        return _raw(value[0])  # a constructed-value: the maker wrapped it
    if isinstance(value, bool | int | float | str):
        return value
    return None
