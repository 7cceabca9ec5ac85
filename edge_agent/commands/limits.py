"""From a value that somebody asks for to the raw value that is written: labels, limits, the exact inverse of `conversion`. Pure.

What cannot be written exactly is refused, never rounded: except where the device keeps another unit than the vocabulary, whose
steps seldom meet; there the nearest step is taken and told. Values are in the vocabulary's unit.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from device_profiles.control import Input, Write
from device_profiles.errors import CommandRefused
from device_profiles.findings import did_you_mean, shown
from device_profiles.reading import Raw, Value
from device_profiles.schema import TYPE_REGISTERS, WHOLE_TYPES, Point
from drivers.base import Layout
from edge_agent.conversion import Converter
from edge_agent.polling.learned import learned_point, published_unit

LOWEST_PRIORITY = 16
HIGHEST_PRIORITY = 8
"""1 to 7 are life safety, the minimum on and off time and what people set by hand (ASHRAE 135-2020, 19.2): never ours."""
_F32_DIGITS = 1e-6
"""Relative: a float32 is published with 7 significant digits."""
_WORDS = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A value as it was asked for, and as it will be written."""

    value: Value
    """What the point will show, in the vocabulary's unit."""
    raw: Raw
    unit: str | None = None
    label: str | None = None
    """The text of an enumeration's ordinal."""
    tolerance: float = 0.0
    """Largest difference at which a read-back still is this value."""


def on_device(point: Point, layout: Layout | None) -> Point:
    """The point with what the device itself says of it. Raises CommandRefused for a unit of another kind."""
    learned = learned_point(point, layout)
    if learned.misfit is not None:
        raise CommandRefused(
            learned.misfit, code="precondition", where=point.id, next_step="correct the unit in profile or device"
        )
    return (
        learned.point if learned.unit == learned.point.unit else learned.point.model_copy(update={"unit": learned.unit})
    )


def encode(point: Point, value: Any, converter: Converter, *, where: str = "") -> Wanted:
    """The raw value for a value of a point (`on_device`). Raises CommandRefused `out_of_range`.

    `value`: a number in the vocabulary's unit; for a boolean also on, off, true, false; for an enumeration its ordinal or label.
    """
    where = where or point.id
    if converter.shape == "text":
        return Wanted(_text(value, where), value)
    if converter.shape == "bool":
        state = _boolean(point, value, where)
        raw: Raw = state if point.type == "bool" else int(state)
        return Wanted(state, raw, label=(point.labels or {}).get(int(state)))
    if converter.shape == "enum":
        ordinal = _ordinal(point, value, where)
        if not math.isfinite(ordinal) or converter.value(ordinal)[0] is None:
            raise _refused(f"{shown(value)} stands for no value on this device", where, "choose another")
        return Wanted(ordinal, ordinal, label=(point.labels or {}).get(ordinal))
    wanted = _number(point, value, converter, where)
    _within_limits(point, wanted, where)
    return wanted


def _number(point: Point, value: Any, converter: Converter, where: str) -> Wanted:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refused(f"{shown(value)} is no number", where, f"give a number in {published_unit(point) or '1'}")
    if converter.problem is not None or not converter.slope:
        raise CommandRefused(
            "the scale of this point is not known", code="precondition", where=where, next_step="read the device first"
        )
    unit = published_unit(point)
    exact = (Fraction(repr(value)) - converter.intercept) / converter.slope
    raw = _nearest_raw(point, exact, where, shown(value))
    seen, _ = converter.value(raw)
    if seen is None or isinstance(seen, str):
        raise _refused(f"{value:g} would be the raw value {raw}, which this device sends for no value", where, "")
    step = resolution(point, converter, value)
    given = point.write.tolerance if point.write is not None else None
    is_converted = bool(point.unit and unit and point.unit != unit)
    bearable = max(given or 0.0, step / 2 if is_converted else 0.0) * (1 + 1e-9)
    if not math.isclose(seen, value, rel_tol=_F32_DIGITS if point.type == "f32" else 1e-12, abs_tol=bearable):
        raise _refused(
            f"{value:g} cannot be written exactly: the step is {step:g} {unit or ''}".rstrip(),
            where,
            f"give {seen:.12g} or another multiple of the step",
        )
    return Wanted(seen, raw, unit, tolerance=given if given is not None else step * 0.51)


def _nearest_raw(point: Point, exact: Fraction, where: str, said: str) -> Raw:
    """The raw value nearest to an exact one, of the point's type. Raises CommandRefused when the type does not hold it."""
    if point.type in WHOLE_TYPES:
        raw = math.floor(exact + Fraction(1, 2))
        low, high = raw_span(point)
        if not low <= raw <= high:
            raise _refused(f"{said} would be the raw value {raw}, and a {point.type} holds {low} to {high}", where, "")
        return raw
    try:
        number = exact.numerator / exact.denominator
        if point.type == "f32":
            number = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _refused(f"{said} is too large for a {point.type}", where, "")
    return number


def raw_span(point: Point) -> tuple[int, int]:
    """(lowest, highest) raw value of a whole-number type, or of its bits."""
    if point.bit_range is not None:
        first, last = point.bit_range
        return 0, 2 ** (last - first + 1) - 1
    bits = 16 * TYPE_REGISTERS[point.type]
    if point.type.startswith("bcd"):
        return 0, 10 ** (bits // 4) - 1
    if point.type.startswith("sm"):
        return -(2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1
    if point.type.startswith("s"):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def resolution(point: Point, converter: Converter, value: float) -> float:
    """The step of the published value near `value`."""
    if point.type in WHOLE_TYPES:
        return float(abs(converter.slope))
    return abs(value) * (_F32_DIGITS if point.type == "f32" else 1e-12)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise _refused(f"{shown(value)} is no text", where, "give printable text")
    return value


def _boolean(point: Point, value: Any, where: str) -> bool:
    if isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1)):
        return bool(value)
    if isinstance(value, str):
        known = {**_WORDS, **{text.lower(): bool(ordinal) for ordinal, text in (point.labels or {}).items()}}
        state = known.get(value.strip().lower())
        if state is not None:
            return state
    raise _refused(f"{shown(value)} is neither on nor off", where, "give true or false")


def _ordinal(point: Point, value: Any, where: str) -> int:
    labels = point.labels
    if isinstance(value, str):
        for ordinal, text in (labels or {}).items():
            if text.lower() == value.strip().lower():
                return ordinal
        step = did_you_mean(value, labels.values()) if labels else "give its number: this point has no labels"
        raise _refused(f"no label {shown(value)}", where, step)
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:  # NaN and infinity, too
        raise _refused(f"{shown(value)} is no ordinal", where, "give a label or its number")
    ordinal = int(value)
    if labels is not None and ordinal not in labels:
        listed = ", ".join(f"{number} {text}" for number, text in list(labels.items())[:24])
        raise _refused(f"{ordinal} is none of its values", where, f"there are {listed}")
    if point.type in WHOLE_TYPES:
        low, high = raw_span(point)
        if not low <= ordinal <= high:
            raise _refused(f"{ordinal} does not fit into a {point.type}", where, f"give {low} to {high}")
    return ordinal


def limits(point: Point) -> tuple[float | None, float | None]:
    """(lowest, highest) value that may be written: the profile's `write`, else the point's own limits."""
    write = point.write or Write()
    return (point.min if write.min is None else write.min), (point.max if write.max is None else write.max)


def _within_limits(point: Point, wanted: Wanted, where: str) -> None:
    low, high = limits(point)
    value = wanted.value
    assert not isinstance(value, str)
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"{'-' if low is None else f'{low:g}'} to {'-' if high is None else f'{high:g}'} {wanted.unit or ''}"
        raise _refused(f"{value:g} is outside {bounds.rstrip()}", where, "choose a value inside the limits")


def check_step(point: Point, wanted: Wanted, before: Value | None, *, where: str = "") -> None:
    """Refuses a change that is larger than the profile allows in one command; `before` was read just now."""
    step = point.write.step if point.write is not None else None
    if step is None or not isinstance(wanted.value, int | float):
        return
    where = where or point.id
    if before is None or isinstance(before, str):
        raise CommandRefused(
            f"a change of at most {step:g} needs the present value, and there is none",
            code="precondition",
            where=where,
            next_step="see with plantroom read why the point is not good",
        )
    if abs(wanted.value - before) > step * (1 + 1e-9):
        raise _refused(
            f"from {before:g} to {wanted.value:g} is more than {step:g} at once", where, "go there in several steps"
        )


def check_hold(point: Point, hold_s: Any, *, where: str = "") -> float | None:
    """The seconds of a hold, or None. Raises CommandRefused for one that the profile does not allow, or demands."""
    where = where or point.id
    write = point.write or Write()
    if hold_s is None:
        if write.hold_max is not None:
            raise _refused(
                f"this point is only held for a time, at most {write.hold_max:g} s", where, "give hold_s (--hold)"
            )
        return None
    if isinstance(hold_s, bool) or not isinstance(hold_s, int | float) or not 0 < hold_s < math.inf:
        raise _refused(f"a hold of {shown(hold_s)}", where, "give seconds above 0")
    if write.hold_max is not None and hold_s > write.hold_max:
        raise _refused(f"a hold of {hold_s:g} s is longer than {write.hold_max:g} s", where, "hold it for less")
    if not write.idempotent:
        raise _refused("a pulse is not held", where, "leave out hold_s")
    return float(hold_s)


def check_priority(point: Point, priority: Any, *, where: str = "") -> int | None:
    """The priority of a write: what was asked for, never above the profile's; else the profile's (None: there are none)."""
    own = point.write.priority if point.write is not None else None
    if priority is None:
        return own
    highest = own or HIGHEST_PRIORITY
    if isinstance(priority, bool) or not isinstance(priority, int) or not highest <= priority <= LOWEST_PRIORITY:
        raise _refused(
            f"priority {shown(priority)} is not allowed here",
            where or point.id,
            f"give {highest} to {LOWEST_PRIORITY}, or leave it out" if highest < LOWEST_PRIORITY else "leave it out",
        )
    return priority


def matches(wanted: Wanted, seen: Value | None) -> bool:
    """Whether what was read back is what was wanted."""
    if seen is None:
        return False
    value = wanted.value
    if isinstance(value, str) or isinstance(seen, str) or isinstance(value, bool):
        return seen == value
    return math.isclose(seen, value, rel_tol=_F32_DIGITS, abs_tol=wanted.tolerance)


def is_same(expected: Any, seen: Value | None, point: Point) -> bool:
    """Whether a precondition holds: `expected` as somebody gave it (a label, too), `seen` as it was read."""
    if seen is None:
        return False
    if isinstance(expected, str) and not isinstance(seen, str):
        for ordinal, text in (point.labels or {}).items():
            if text.lower() == expected.strip().lower():
                return ordinal == seen
        return isinstance(seen, bool) and _WORDS.get(expected.strip().lower()) is seen
    if isinstance(expected, str) or isinstance(seen, str) or not isinstance(expected, int | float):
        return bool(expected == seen)
    return math.isclose(expected, seen, rel_tol=_F32_DIGITS, abs_tol=1e-9)


def arguments(inputs: Mapping[str, Input], given: Mapping[str, Any], *, where: str) -> dict[str, Raw]:
    """The arguments of an operation, defaults filled in. Raises CommandRefused `out_of_range`."""
    for name in given.keys() - inputs.keys():
        raise _refused(f"it takes no {shown(name)}", where, did_you_mean(name, inputs))
    return {name: _argument(name, wanted, given.get(name, wanted.default), where) for name, wanted in inputs.items()}


def _argument(name: str, wanted: Input, value: Any, where: str) -> Raw:
    kinds: dict[str, Any] = {"num": int | float, "bool": bool, "text": str}
    if value is None:
        raise _refused(f"{name} is missing", where, f"give {name}")
    if not isinstance(value, kinds[wanted.type]) or (wanted.type == "num" and isinstance(value, bool)):
        raise _refused(f"{name} is {shown(value)}, not of type {wanted.type}", where, "correct it")
    if wanted.type == "num":
        low = -math.inf if wanted.min is None else wanted.min
        high = math.inf if wanted.max is None else wanted.max
        if not low <= value <= high:
            raise _refused(f"{name} {value:g} is outside {low:g} to {high:g}", where, "choose a value inside")
    result: Raw = value
    return result


def ratios(configured: Mapping[str, float]) -> dict[str, Decimal]:
    """Ratios of the configuration as the converter takes them."""
    return {name: Decimal(repr(value)) for name, value in configured.items()}


def _refused(what: str, where: str, next_step: str) -> CommandRefused:
    return CommandRefused(what, code="out_of_range", where=where, next_step=next_step)
