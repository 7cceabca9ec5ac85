"""What extensions make of a value information field: a rate, a limit, a duration, a date, a phase, a fault. Tables only.

A number keeps the plain quantity's name only where it is that quantity. Source: EN 13757-3:2018, tables 15 (combinable
extensions), 16 (their extension FCh) and 18 (record errors).
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from .vif import BITS, DATE, PLAIN, SECONDS, Meaning

MAKERS_OWN = 0x7F
"""What follows this one is the maker's own."""
FURTHER = 0x7C
"""The next one is of another table."""

_PER: dict[int, tuple[str, str]] = {
    0x20: ("per_second", "s"), 0x21: ("per_minute", "min"), 0x22: ("per_hour", "h"), 0x23: ("per_day", "d"),
    0x24: ("per_week", "wk"), 0x25: ("per_month", "mo"), 0x26: ("per_year", "a"), 0x27: ("per_measurement", "{measurement}"),
    0x28: ("per_input_pulse_0", "{pulse}"), 0x29: ("per_input_pulse_1", "{pulse}"), 0x2A: ("per_output_pulse_0", "{pulse}"),
    0x2B: ("per_output_pulse_1", "{pulse}"), 0x2C: ("per_litre", "L"), 0x2D: ("per_m3", "m3"), 0x2E: ("per_kg", "kg"),
    0x2F: ("per_kelvin", "K"), 0x30: ("per_kwh", "(kW.h)"), 0x31: ("per_gj", "GJ"), 0x32: ("per_kw", "kW"),
    0x33: ("per_kelvin_litre", "(K.L)"), 0x34: ("per_volt", "V"), 0x35: ("per_ampere", "A"),
}  # fmt: skip
_TIMES = {0x36: ("times_second", "s"), 0x37: ("times_second_per_volt", "s/V"), 0x38: ("times_second_per_ampere", "s/A")}
_NON_METRIC = 0x3D
"""The value is in units of the standard's annex for English-speaking countries: it stays as it is, without a unit."""
_SAME_UNIT = {
    0x12: "average", 0x3A: "uncorrected", 0x3B: "positive", 0x3C: "negative", 0x3E: "at_base_conditions", 0x3F: "obis",
    0x40: "lower_limit", 0x48: "upper_limit", 0x68: "while_low", 0x69: "leakage", 0x6C: "while_high", 0x6D: "overflow",
    0x7E: "future",
}  # fmt: skip
_FAULTS = {0x15: "BadNoData", 0x16: "BadOutOfRange", 0x17: "BadOutOfRange", 0x18: "BadSensorFailure"}
_FURTHER = {
    0x01: "l1", 0x02: "l2", 0x03: "l3", 0x04: "n", 0x05: "l1_l2", 0x06: "l2_l3", 0x07: "l3_l1", 0x08: "quadrant_1",
    0x09: "quadrant_2", 0x0A: "quadrant_3", 0x0B: "quadrant_4", 0x0C: "net", 0x10: "absolute", 0x13: "to_meter",
    0x14: "from_meter",
}  # fmt: skip
_LIMITS, _ENDS, _TIMES_OF = ("low", "high"), ("begin", "end"), ("first", "last")


def combined(meaning: Meaning, codes: bytes) -> Meaning:
    """The meaning with its combinable extensions applied, in their order. What no table has leaves it as it is."""
    at = 0
    while at < len(codes):
        code = codes[at] & 0x7F
        if code == MAKERS_OWN:
            break
        if code == FURTHER and at + 1 < len(codes):
            at += 1
            meaning = _further(meaning, codes[at] & 0x7F)
        else:
            meaning = _one(meaning, code)
        at += 1
    return meaning


def _further(meaning: Meaning, code: int) -> Meaning:
    if code in (0x11, 0x12) and meaning.kind == PLAIN:
        return replace(meaning, kind=BITS)
    return _named(meaning, _FURTHER[code]) if code in _FURTHER else meaning


def _one(meaning: Meaning, code: int) -> Meaning:
    limit, end, place = _LIMITS[code >> 3 & 1], _ENDS[code & 1], _TIMES_OF[code >> 2 & 1]
    if code in _FAULTS:
        return replace(meaning, fault=_FAULTS[code])
    if 0x70 <= code <= 0x77:
        return replace(meaning, exponent=meaning.exponent + (code & 7) - 6)
    if code == 0x7D:
        return replace(meaning, exponent=meaning.exponent + 3)
    if code in _PER:
        name, unit = _PER[code]
        return replace(_named(meaning, name), unit=f"{meaning.unit or '1'}/{unit}")
    if code in _TIMES:
        name, unit = _TIMES[code]
        return replace(_named(meaning, name), unit=f"{meaning.unit or '1'}.{unit}")
    if code == _NON_METRIC:
        return Meaning(f"{meaning.quantity}_non_metric")
    if code in _SAME_UNIT:
        return _named(meaning, _SAME_UNIT[code])
    if code == 0x39:
        return replace(_named(meaning, "start"), kind=DATE)
    if code in (0x41, 0x49):
        return Meaning(f"{meaning.quantity}_{limit}_count", "1", kind=BITS)
    if 0x42 <= code <= 0x4F and code & 2:
        return replace(_named(meaning, f"{limit}_{place}_{end}"), kind=DATE)
    if 0x50 <= code <= 0x5F:
        return Meaning(f"{meaning.quantity}_{limit}_{place}_duration", "s", factor=SECONDS[code & 3])
    if 0x60 <= code <= 0x67:
        return Meaning(f"{meaning.quantity}_{place}_duration", "s", factor=SECONDS[code & 3])
    if code in (0x6A, 0x6B, 0x6E, 0x6F):
        return replace(_named(meaning, f"{place}_{end}"), kind=DATE)
    if 0x78 <= code <= 0x7B:
        return replace(meaning, plus=meaning.plus + Decimal(1).scaleb((code & 3) - 3))
    return meaning


def _named(meaning: Meaning, suffix: str) -> Meaning:
    return replace(meaning, quantity=f"{meaning.quantity}_{suffix}")
