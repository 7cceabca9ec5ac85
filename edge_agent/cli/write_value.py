"""Values as people type them: `21.5`, `70 degF`, `auto`, `on`, `10min`. Pure; what a point takes the command path checks."""

from __future__ import annotations

import re
from decimal import Decimal

from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from device_profiles.units import UNITS, conversion, suggest_unit, unit_named
from device_profiles.values import seconds
from device_profiles.vocabulary import vocabulary
from edge_agent.conversion import published_unit

_NUMBER = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*(.*)")
_MOST_DIGITS = 12


def value_of(text: str, point_id: str, point: Point | None) -> float | int | str:
    """A number in the vocabulary's unit, or the text as it is (labels, on, off). `point` is None where only its id is known.

    Raises ConfigError for a unit that is unknown, or of another kind than the point's.
    """
    text = text.strip()
    defined = vocabulary().point(point_id)
    is_text = point.type == "str" if point is not None else defined is not None and defined.type == "text"
    match = _NUMBER.fullmatch(text)
    if is_text or match is None or (point is not None and text in (point.labels or {}).values()):
        return text
    if match[2].startswith(","):
        raise ConfigError(
            f"{text[:40]!r} is no number", where=point_id, next_step=f"write {text.replace(',', '.')[:40]}"
        )
    number, said = match[1], match[2].strip()
    unit = published_unit(point) if point is not None else defined.unit if defined is not None else None
    if said:
        return _converted(number, said, unit, point_id, is_known=point is not None or defined is not None)
    exact = Decimal(number)
    return int(exact) if exact == exact.to_integral_value() and abs(exact) < 2**63 else float(exact)


def _converted(number: str, said: str, unit: str | None, point_id: str, *, is_known: bool) -> float:
    code = unit_named(said)
    if code is None:
        near = suggest_unit(said)
        hint = f'did you mean "{near}"?' if near else "leave it out, or give a UCUM code"
        raise ConfigError(f'the unit "{said[:40]}" is unknown', where=point_id, next_step=hint)
    if unit is None:
        step = "leave out the unit" if is_known else "give the number alone, or --config so that its unit is known"
        raise ConfigError(f"no unit is known of {point_id}", where=point_id, next_step=step)
    if UNITS[code].kind != UNITS[unit].kind:
        raise ConfigError(
            f"{said} is {UNITS[code].kind}, and {point_id} is in {unit}", where=point_id, next_step=f"give it in {unit}"
        )
    return float(f"{conversion(code, unit).apply(Decimal(number)):.{_MOST_DIGITS}g}")


def seconds_of(text: str | None) -> float | None:
    """`600`, `10min`, `1h` in seconds. Raises ConfigError."""
    if text is None:
        return None
    try:
        given = seconds(text if re.search("[a-z]", text) else float(text))
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no duration", where="--hold", next_step="write seconds, or a number with s, min, h or d"
        ) from error
    return float(given)
