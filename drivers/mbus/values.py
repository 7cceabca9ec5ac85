"""The bytes of one M-Bus record as a number, a text, or a date. Pure.

A nibble that is no digit, a day that is none, and what the meter itself calls invalid give no value.
Source: EN 13757-3:2018, annex A (data types A to M) and section 6.2 (variable length).
"""

from __future__ import annotations

import struct
from datetime import date
from decimal import Decimal

from drivers import bcd

from .vif import BITS, DATE, HEX, SECRET, TEXT, Meaning

INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 6: 6, 7: 8}
DIGITS = {9: 1, 10: 2, 11: 3, 12: 4, 14: 6}
EMPTY, REAL, SELECTION, VARIABLE, SPECIAL = 0, 5, 8, 13, 15
"""Data fields of a DIF: bytes of whole numbers and of decimal digits by code, and the others."""
_TEXT_END, _NEGATIVE, _BINARY, _LONG = 0xC0, 0xD0, 0xE0, 0xF0
"""First length bytes of a variable field: text below, then digits, negative digits, a number, a long number."""
_MOST_NUMBER = 8

Value = float | int | str | None


def size(data: bytes, at: int, field: int) -> tuple[int | None, int]:
    """(bytes of the value, where they begin); (None, at) when the length does not exist or is not there."""
    if field in INTEGERS:
        return INTEGERS[field], at
    if field in DIGITS:
        return DIGITS[field], at
    if field == REAL:
        return 4, at
    if field != VARIABLE:
        return 0, at
    if at >= len(data):
        return None, at
    length = data[at]
    if length < _TEXT_END:
        return length, at + 1
    if length < _LONG:
        return length & 0x0F, at + 1
    if length < 0xF5:
        return 4 * (length - 0xEC), at + 1
    return {0xF5: 48, 0xF6: 64}.get(length), at + 1


def value_of(field: int, length: int, raw: bytes, meaning: Meaning) -> tuple[Value, str]:
    """(value, status) of a record's bytes, lowest first; `length` is the length byte of a variable one."""
    if meaning.fault or meaning.kind == SECRET:
        return None, meaning.fault or "BadNotReadable"
    if field in (EMPTY, SELECTION):
        return None, "BadNoData"
    is_text = field == VARIABLE and length < _TEXT_END
    if meaning.kind == DATE and not is_text:
        never = meaning.unit is not None and not any(raw)  # the moment of something that has not happened is all zeros
        return (scaled(Decimal(0), meaning), "") if never else _date(raw if field in INTEGERS else b"")
    if meaning.kind == HEX or (field == VARIABLE and length >= _BINARY and len(raw) > _MOST_NUMBER):
        return raw.hex(), ""
    if is_text:
        return raw[::-1].decode("latin-1").strip("\0 "), ""
    if meaning.kind == TEXT and (field in DIGITS or field == VARIABLE):
        text = bcd.digits(raw)
        return (text, "") if text is not None else (raw[::-1].hex(), "UncertainDataSubNormal")
    if field == REAL:
        return _real(raw, meaning)
    if field in INTEGERS or (field == VARIABLE and length >= _BINARY):
        return scaled(Decimal(int.from_bytes(raw, "little", signed=meaning.kind != BITS)), meaning), ""
    digits = _decimal(raw, is_negative=field == VARIABLE and length >= _NEGATIVE)
    if digits is None:
        return None, "BadSensorFailure" if bcd.is_absent(raw) else "BadDecodingError"
    return scaled(digits, meaning), ""


def scaled(number: Decimal, meaning: Meaning) -> float | int:
    """The number with factor and power of ten."""
    result = (number * meaning.factor).scaleb(meaning.exponent) + meaning.plus
    return int(result) if result == result.to_integral_value() and meaning.exponent >= 0 else float(result)


def _real(raw: bytes, meaning: Meaning) -> tuple[Value, str]:
    """In the fewest digits that mean the same 32 bits."""
    number = struct.unpack("<f", raw)[0]
    if number != number or number in (float("inf"), float("-inf")):
        return None, "BadSensorFailure"
    shortest = next(text for n in range(6, 10) if struct.pack("<f", float(text := f"{number:.{n}g}")) == raw or n == 9)
    return scaled(Decimal(shortest), meaning), ""


def _decimal(raw: bytes, *, is_negative: bool) -> Decimal | None:
    """BCD; F as the highest digit is a minus sign (type A)."""
    if raw and raw[-1] >> 4 == 0xF:
        raw, is_negative = raw[:-1] + bytes((raw[-1] & 0x0F,)), True
    number = bcd.number(raw, 0) if raw else None
    return -number if number is not None and is_negative else number


def _date(raw: bytes) -> tuple[str | None, str]:
    """A date (type G, 2 bytes), a time (J, 3), or both (F, 4; I, 6) as text, in the meter's own time.

    "Every hour" or "every year" is no moment, and gives no value.
    """
    if len(raw) not in (2, 3, 4, 6):
        return None, "BadDecodingError"
    is_invalid = (len(raw) == 4 and raw[0] & 0x80) or (len(raw) == 6 and raw[1] & 0x80)
    clock = (
        {2: None, 3: _clock(*raw[2::-1]), 4: _clock(raw[1], raw[0]), 6: _clock(*raw[2::-1])}[len(raw)] if raw else None
    )
    day = {2: raw[0:2], 3: b"", 4: raw[2:4], 6: raw[3:5]}[len(raw)]
    century = raw[1] >> 5 & 3 if len(raw) == 4 else 0
    calendar = _day(day[0], day[1], century) if day else ""
    if is_invalid or calendar is None or (clock is None and len(raw) != 2):
        return None, "BadSensorFailure"
    return "T".join(part for part in (calendar, clock) if part), ""


def _clock(hour: int, minute: int, second: int | None = None) -> str | None:
    hour, minute = hour & 0x1F, minute & 0x3F
    if hour > 23 or minute > 59 or (second is not None and second & 0x3F > 59):
        return None
    return f"{hour:02d}:{minute:02d}" + ("" if second is None else f":{second & 0x3F:02d}")


def _day(low: int, high: int, century: int) -> str | None:
    """Years 0 to 80 without a century are those of 2000 on, as old meters have them."""
    year = low >> 5 | (high & 0xF0) >> 1
    if year > 99:
        return None
    year += 1900 + 100 * century if century or year > 80 else 2000
    try:
        return date(year, high & 0x0F, low & 0x1F).isoformat()
    except ValueError:
        return None
