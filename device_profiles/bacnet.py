"""Names and numbers of BACnet that profiles, drivers and people share: object types, and the type of a value each one holds.

Source: ANSI/ASHRAE 135-2020, clause 21 (BACnetObjectType) and clause 12 (the datatype of Present_Value).
"""

from __future__ import annotations

import re

OBJECT_TYPES: dict[str, int] = {
    "analog-input": 0, "analog-output": 1, "analog-value": 2, "binary-input": 3, "binary-output": 4, "binary-value": 5,
    "calendar": 6, "command": 7, "device": 8, "event-enrollment": 9, "file": 10, "group": 11, "loop": 12,
    "multi-state-input": 13, "multi-state-output": 14, "notification-class": 15, "program": 16, "schedule": 17,
    "averaging": 18, "multi-state-value": 19, "trend-log": 20, "life-safety-point": 21, "life-safety-zone": 22,
    "accumulator": 23, "pulse-converter": 24, "event-log": 25, "global-group": 26, "trend-log-multiple": 27,
    "load-control": 28, "structured-view": 29, "access-door": 30, "timer": 31, "access-credential": 32,
    "access-point": 33, "access-rights": 34, "access-user": 35, "access-zone": 36, "credential-data-input": 37,
    "bitstring-value": 39, "characterstring-value": 40, "date-pattern-value": 41, "date-value": 42,
    "datetime-pattern-value": 43, "datetime-value": 44, "integer-value": 45, "large-analog-value": 46,
    "octetstring-value": 47, "positive-integer-value": 48, "time-pattern-value": 49, "time-value": 50,
    "notification-forwarder": 51, "alert-enrollment": 52, "channel": 53, "lighting-output": 54,
    "binary-lighting-output": 55, "network-port": 56, "elevator-group": 57, "escalator": 58, "lift": 59, "staging": 60,
}  # fmt: skip
"""Standard object types by the name of the standard. A maker's own type is its number, 128 to 1023."""

OBJECT_NAMES: dict[int, str] = {number: name for name, number in OBJECT_TYPES.items()}

ABBREVIATIONS: dict[str, str] = {
    "ai": "analog-input", "ao": "analog-output", "av": "analog-value", "bi": "binary-input", "bo": "binary-output",
    "bv": "binary-value", "mi": "multi-state-input", "msi": "multi-state-input", "mo": "multi-state-output",
    "mso": "multi-state-output", "mv": "multi-state-value", "msv": "multi-state-value", "acc": "accumulator",
    "lav": "large-analog-value", "iv": "integer-value", "piv": "positive-integer-value", "csv": "characterstring-value",
    "sch": "schedule", "cal": "calendar", "tl": "trend-log", "lp": "loop", "dev": "device", "pc": "pulse-converter",
}  # fmt: skip

VALUE_TYPES: dict[str, str] = {
    "analog-input": "f32", "analog-output": "f32", "analog-value": "f32", "loop": "f32", "averaging": "f32",
    "pulse-converter": "f32", "lighting-output": "f32", "large-analog-value": "f64", "binary-input": "bool",
    "binary-output": "bool", "binary-value": "bool", "binary-lighting-output": "u32", "multi-state-input": "u32",
    "multi-state-output": "u32", "multi-state-value": "u32", "accumulator": "u32", "positive-integer-value": "u32",
    "integer-value": "s32", "characterstring-value": "str", "life-safety-point": "u32", "life-safety-zone": "u32",
    "access-door": "u32", "calendar": "bool", "lift": "u32", "escalator": "u32",
}  # fmt: skip
"""The point type of an object's present value, where it has one that a reading can carry."""

COMMANDABLE: frozenset[str] = frozenset(
    {
        "analog-output", "binary-output", "multi-state-output", "access-door", "lighting-output", "binary-lighting-output",
    }
)  # fmt: skip
"""Objects that always have a priority array. Value objects may have one: the device says."""

MAX_INSTANCE = 4_194_302
"""4194303 stands for "any" and is no device's instance (clause 20.2.14)."""

_TEXT = re.compile(r"([A-Za-z-]+|[0-9]{1,4})[:, ]([0-9]{1,7})")


def parse_object(text: str) -> tuple[str, int]:
    """`analog-input:3`, `AI:3` or `130:7` as (type, instance); an own type is its number as text. Raises ValueError."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:40]!r} is no BACnet object; write it as analog-input:3 or AI:3")
    kind, instance = match[1].lower(), int(match[2])
    if kind.isdecimal():
        kind = OBJECT_NAMES.get(int(kind), str(int(kind)))
        if kind.isdecimal() and not 0 <= int(kind) <= 1023:
            raise ValueError(f"object type {kind} is not within 0 to 1023")
    else:
        kind = ABBREVIATIONS.get(kind, kind)
        if kind not in OBJECT_TYPES:
            raise ValueError(f"{kind[:40]!r} is no BACnet object type; a maker's own type is written as its number")
    if instance > MAX_INSTANCE:
        raise ValueError(f"instance {instance} is above {MAX_INSTANCE}")
    return kind, instance


def object_number(kind: str) -> int:
    """The number of an object type as `parse_object` gives it."""
    return int(kind) if kind.isdecimal() else OBJECT_TYPES[kind]
