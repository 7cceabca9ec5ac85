"""The user data of an M-Bus answer: header, records, values with unit and exponent undone. Pure and bounded.

A nibble that is no digit, a day that is none and a record that ends early give no number; what follows a broken record cannot be
found any more and is told as such. Source: EN 13757-3:2018, sections 5 (headers), 6 (records) and annex A (data types A to M),
EN 1434-3:2015 (fixed data structure).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from device_profiles.errors import DeviceMismatch
from drivers import bcd
from drivers.mbus import vif

MAX_EXTENSIONS = 10
FUNCTIONS = ("", "max", "min", "error")
VARIABLE, VARIABLE_SHORT, VARIABLE_BARE, FIXED = (0x72, 0x76), (0x7A,), (0x78,), (0x73, 0x77)
MEDIA: dict[int, str] = {
    0x00: "other", 0x01: "oil", 0x02: "electricity", 0x03: "gas", 0x04: "heat, return", 0x05: "steam", 0x06: "hot water",
    0x07: "water", 0x08: "heat cost", 0x09: "compressed air", 0x0A: "cooling, return", 0x0B: "cooling, supply",
    0x0C: "heat, supply", 0x0D: "heat and cooling", 0x0E: "bus", 0x0F: "unknown", 0x15: "hot water", 0x16: "cold water",
    0x17: "dual water", 0x18: "pressure", 0x19: "converter",
}  # fmt: skip
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 6: 6, 7: 8}
_DIGITS = {9: 1, 10: 2, 11: 3, 12: 4, 14: 6}
_REAL, _VARIABLE, _SPECIAL, _SELECTION, _EMPTY = 5, 13, 15, 8, 0
_SAME_STORED = 0x3E
"""Of the second counter: unit of the first, value of the last settlement."""
_MANUFACTURER, _MORE, _FILLER = 0x0F, 0x1F, 0x2F

_FIXED_UNITS: dict[int, tuple[str, str | None, int]] = {
    0x02: ("energy", "W.h", 0), 0x03: ("energy", "W.h", 1), 0x04: ("energy", "W.h", 2), 0x05: ("energy", "kW.h", 0),
    0x06: ("energy", "kW.h", 1), 0x07: ("energy", "kW.h", 2), 0x08: ("energy", "MW.h", 0), 0x09: ("energy", "MW.h", 1),
    0x0A: ("energy", "MW.h", 2), 0x0B: ("energy", "kJ", 0), 0x0C: ("energy", "kJ", 1), 0x0D: ("energy", "kJ", 2),
    0x0E: ("energy", "MJ", 0), 0x0F: ("energy", "MJ", 1), 0x10: ("energy", "MJ", 2), 0x11: ("energy", "GJ", 0),
    0x12: ("energy", "GJ", 1), 0x13: ("energy", "GJ", 2), 0x14: ("power", "W", 0), 0x15: ("power", "W", 1),
    0x16: ("power", "W", 2), 0x17: ("power", "kW", 0), 0x18: ("power", "kW", 1), 0x19: ("power", "kW", 2),
    0x1A: ("power", "MW", 0), 0x1B: ("power", "MW", 1), 0x1C: ("power", "MW", 2), 0x26: ("volume", "m3", -6),
    0x27: ("volume", "m3", -5), 0x28: ("volume", "m3", -4), 0x29: ("volume", "m3", -3), 0x2A: ("volume", "m3", -2),
    0x2B: ("volume", "m3", -1), 0x2C: ("volume", "m3", 0), 0x2D: ("volume", "m3", 1), 0x2E: ("volume", "m3", 2),
    0x2F: ("flow", "m3/h", -6), 0x30: ("flow", "m3/h", -5), 0x31: ("flow", "m3/h", -4), 0x32: ("flow", "m3/h", -3),
    0x33: ("flow", "m3/h", -2), 0x34: ("flow", "m3/h", -1), 0x35: ("flow", "m3/h", 0), 0x36: ("flow", "m3/h", 1),
    0x37: ("flow", "m3/h", 2), 0x38: ("temperature", "Cel", -3), 0x39: ("heat_cost_units", "1", 0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """Who answers. `id` is 8 digits, `maker` three letters."""

    id: str
    maker: str
    version: int
    medium: str
    access: int
    status: int
    secondary: str = ""
    """Identification, maker, version and medium in 16 hexadecimal digits, as a device is selected."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `value` None with a `status` where there is none to believe; `dib` and `vib` are its fields as they are."""

    quantity: str
    value: float | int | str | None
    unit: str | None = None
    status: str = ""
    function: str = ""
    storage: int = 0
    tariff: int = 0
    subunit: int = 0
    dib: bytes = b""
    vib: bytes = b""

    @property
    def id(self) -> str:
        """The quantity with what tells the record from others of it, in words."""
        text = f"{self.quantity}_{self.function}" if self.function else self.quantity
        for name, number in (("storage", self.storage), ("tariff", self.tariff), ("subunit", self.subunit)):
            text += f"_{name}_{number}" if number else ""
        return text


@dataclass(frozen=True, slots=True)
class Answer:
    """The content of one answer. `more`: the device has another telegram for this readout."""

    header: Header | None
    records: tuple[Record, ...]
    more: bool = False
    manufacturer: bytes = b""


def decode(ci: int, data: bytes) -> Answer:
    """What the user data behind a control information field say. Raises DeviceMismatch when they are no meter's answer."""
    if ci in VARIABLE and len(data) >= 12:
        return _variable(header(ci, data), data[12:])
    if ci in VARIABLE_SHORT and len(data) >= 4:
        return _variable(None, data[4:])
    if ci in VARIABLE_BARE:
        return _variable(None, data)
    if ci in FIXED and len(data) == 16:
        return _fixed(data, is_high_first=ci == FIXED[1])
    raise DeviceMismatch(f"{len(data)} bytes behind control information {ci:02X} are no answer of a meter")


def header(ci: int, data: bytes) -> Header | None:
    """The long header of a variable answer, lowest byte first; None where the answer has another or none."""
    if ci not in VARIABLE or len(data) < 12:
        return None
    code = int.from_bytes(data[4:6], "little")
    maker = "".join(chr((code >> shift & 0x1F) + 64) for shift in (10, 5, 0))
    medium = MEDIA.get(data[7], f"medium {data[7]:02X}")
    identification = data[3::-1].hex().upper()
    secondary = identification + data[5:3:-1].hex().upper() + data[6:8].hex().upper()
    return Header(identification, maker, data[6], medium, data[8], data[9], secondary)


def _variable(header: Header | None, data: bytes) -> Answer:
    found: list[Record] = []
    at = 0
    while at < len(data):
        if data[at] == _FILLER:
            at += 1
        elif data[at] in (_MANUFACTURER, _MORE):
            return Answer(header, tuple(found), data[at] == _MORE, data[at + 1 :])
        else:
            record, at = _record(data, at)
            if record is not None:
                found.append(record)
    return Answer(header, tuple(found))


def _record(data: bytes, first: int) -> tuple[Record | None, int]:
    """The record at `first` and the index behind it; behind all data when it is broken."""
    dib_end = _field_end(data, first)
    if dib_end is None:
        return Record("undecoded", None, None, "BadDecodingError", dib=data[first:]), len(data)
    field = data[first] & 0x0F
    storage, tariff, subunit = data[first] >> 6 & 1, 0, 0
    for place, extension in enumerate(data[first + 1 : dib_end]):
        storage |= (extension & 0x0F) << (1 + 4 * place)
        tariff |= (extension >> 4 & 3) << 2 * place
        subunit |= (extension >> 6 & 1) << place
    if field == _SPECIAL:
        return None, dib_end
    vib_end, meaning = _meaning(data, dib_end)
    if vib_end is None or meaning is None:
        return Record("undecoded", None, None, "BadDecodingError", dib=data[first:dib_end], vib=data[dib_end:]), len(
            data
        )
    size, start = _size(data, vib_end, field)
    dib, vib = data[first:dib_end], data[dib_end:vib_end]
    if size is None or start + size > len(data):
        return Record(meaning.quantity, None, meaning.unit, "BadDecodingError", dib=dib, vib=vib), len(data)
    value, status = (
        _value(field, data[vib_end], data[start : start + size], meaning)
        if field not in (_EMPTY, _SELECTION)
        else (None, "BadNoData")
    )
    function = FUNCTIONS[data[first] >> 4 & 3]
    record = Record(meaning.quantity, value, meaning.unit, status, function, storage, tariff, subunit, dib, vib)
    return record, start + size


def _field_end(data: bytes, first: int) -> int | None:
    """The index behind a field and its extensions; None when they do not end."""
    for end in range(first, min(first + 1 + MAX_EXTENSIONS, len(data))):
        if not data[end] & 0x80:
            return end + 1
    return None


def _meaning(data: bytes, first: int) -> tuple[int | None, vif.Meaning | None]:
    """(index behind the VIB, what it says); (None, None) when it is broken."""
    end = _field_end(data, first)
    if first >= len(data):
        return None, None
    code = data[first]
    at = first + 1
    text = ""
    if code & 0x7F == 0x7C:  # the unit in words, last letter first
        if at >= len(data) or at + 1 + data[at] > len(data):
            return None, None
        text = data[at + 1 : at + 1 + data[at]][::-1].decode("latin-1")
        at += 1 + data[at]
        end = (_field_end(data, at) if code & 0x80 else at) if at < len(data) or not code & 0x80 else None
    if end is None:
        return None, None
    extensions = data[at:end]
    if text:
        meaning: vif.Meaning | None = _worded(text)
    elif code in (0xFD, 0xFB) and extensions:
        meaning, extensions = vif.extended(code, extensions[0] & 0x7F), extensions[1:]
    else:
        meaning = vif.primary(code & 0x7F)
    meaning = meaning or vif.Meaning(f"vif_{data[first:end].hex()}", kind=vif.HEX)
    for extension in extensions:
        if extension & 0x7F == 0x7F:
            break  # what follows is the maker's own
        meaning = vif.combined(meaning, extension & 0x7F)
    return end, meaning


def _worded(text: str) -> vif.Meaning:
    known = {"%RH": vif.Meaning("relative_humidity", "%")}
    letters = "".join(letter.lower() if letter.isascii() and letter.isalnum() else "_" for letter in text).strip("_")
    return known.get(text, vif.Meaning(f"own_{letters or 'unit'}"[:40]))


def _size(data: bytes, at: int, field: int) -> tuple[int | None, int]:
    """(bytes of the value, where they begin); (None, at) when the length does not exist or is not there."""
    if field in _INTEGERS:
        return _INTEGERS[field], at
    if field in _DIGITS:
        return _DIGITS[field], at
    if field == _REAL:
        return 4, at
    if field != _VARIABLE:
        return 0, at
    if at >= len(data):
        return None, at
    length = data[at]
    if length < 0xC0:
        return length, at + 1
    return (length & 0x0F, at + 1) if length < 0xF0 else (None, at)


def _value(field: int, length: int, raw: bytes, meaning: vif.Meaning) -> tuple[float | int | str | None, str]:
    """(value, status) of a record's bytes; `length` is the length byte of a variable one."""
    if meaning.kind == vif.DATE:
        return _date(raw)
    if meaning.kind == vif.HEX:
        return raw.hex(), ""
    if field == _VARIABLE and length < 0xC0:
        return raw[::-1].decode("latin-1").strip("\0 "), ""
    if meaning.kind == vif.TEXT and (field in _DIGITS or field == _VARIABLE):
        text = bcd.digits(raw)
        return (text, "") if text is not None else (raw[::-1].hex(), "UncertainDataSubNormal")
    if field == _REAL:
        number = struct.unpack("<f", raw)[0]
        if number != number or number in (float("inf"), float("-inf")):
            return None, "BadSensorFailure"
        return _scaled(Decimal(f"{number:.7g}"), meaning), ""
    if field in _INTEGERS or (field == _VARIABLE and length >= 0xE0):
        return _scaled(Decimal(int.from_bytes(raw, "little", signed=True)), meaning), ""
    digits = _decimal(raw, is_negative=field == _VARIABLE and length >= 0xD0)
    if digits is None:
        return None, "BadSensorFailure" if bcd.is_absent(raw) else "BadDecodingError"
    return _scaled(digits, meaning), ""


def _decimal(raw: bytes, *, is_negative: bool) -> Decimal | None:
    """BCD; F as the highest digit is a minus sign (annex A, type A)."""
    if raw and raw[-1] >> 4 == 0xF:
        raw, is_negative = raw[:-1] + bytes((raw[-1] & 0x0F,)), True
    number = bcd.number(raw, 0)
    return -number if number is not None and is_negative else number


def _scaled(number: Decimal, meaning: vif.Meaning) -> float | int:
    scaled = (number * meaning.factor).scaleb(meaning.exponent)
    return int(scaled) if scaled == scaled.to_integral_value() and meaning.exponent >= 0 else float(scaled)


def _date(raw: bytes) -> tuple[str | None, str]:
    """A date (type G, 2 bytes) or a time (type F, 4 bytes; type I, 6 bytes) as text, in the meter's own time."""
    if len(raw) == 2:
        low, high, clock = raw[0], raw[1], ""
    elif len(raw) == 4:
        if raw[0] & 0x80:
            return None, "BadSensorFailure"  # the meter itself calls it invalid
        low, high, clock = raw[2], raw[3], f"T{raw[1] & 0x1F:02d}:{raw[0] & 0x3F:02d}"
    elif len(raw) == 6:
        low, high, clock = raw[3], raw[4], f"T{raw[2] & 0x1F:02d}:{raw[1] & 0x3F:02d}:{raw[0] & 0x3F:02d}"
    else:
        return None, "BadDecodingError"
    day, month, year = low & 0x1F, high & 0x0F, low >> 5 | (high & 0xF0) >> 1
    if not 1 <= day <= 31 or not 1 <= month <= 12 or year > 99:
        return None, "BadSensorFailure"
    return f"{2000 + year if year <= 80 else 1900 + year}-{month:02d}-{day:02d}{clock}", ""


def _fixed(data: bytes, *, is_high_first: bool) -> Answer:
    order = "big" if is_high_first else "little"
    number, status = data[0:4] if is_high_first else data[3::-1], data[5]
    medium = data[6] >> 6 | (data[7] >> 6) << 2
    header = Header(number.hex().upper(), "", 0, MEDIA.get(medium, f"medium {medium:02X}"), data[4], status)
    records = []
    for place in range(2):
        raw = data[8 + 4 * place : 12 + 4 * place]
        code = data[6 + place] & 0x3F
        is_stored = bool(place) and code == _SAME_STORED
        code = data[6] & 0x3F if is_stored else code
        quantity, unit, exponent = _FIXED_UNITS.get(code, (f"unit_{code:02x}", None, 0))
        if status & 0x01:
            count: Decimal | None = Decimal(int.from_bytes(raw, order))  # type: ignore[arg-type]
        else:
            count = bcd.number(raw[::-1] if is_high_first else raw, 0)
        value = None if count is None else _scaled(count, vif.Meaning(quantity, unit, exponent))
        fault = "" if value is not None else "BadDecodingError"
        subunit = 0 if is_stored else place
        records.append(Record(quantity, value, unit, fault, storage=int(is_stored), subunit=subunit))
    return Answer(header, tuple(records))


def rows(answer: Answer) -> Iterator[tuple[str, Record]]:
    """The records with ids that are all different: a second one of the same id gets `_2`."""
    seen: dict[str, int] = {}
    for record in answer.records:
        seen[record.id] = count = seen.get(record.id, 0) + 1
        yield (record.id if count == 1 else f"{record.id}_{count}"), record
