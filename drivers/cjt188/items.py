"""What CJ/T 188 data identifiers hold: counters with their units, times and states of water, gas and heat meters. Pure.

Makers differ in the order of the identifier, of unit and value, and of the time: `Shape` says which way. What stands in a status
word beyond valve and battery is the maker's.
Source: CJ/T 188-2004 and -2018, annex A (data identifiers and formats) and section 7.4; several makers' manuals disagree in the
points named above.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from drivers import bcd
from drivers.frames import Value

CURRENT = 0x901F
"""The current values of a meter, and what it held at the last settlement."""

UNITS: dict[int, tuple[str, int]] = {
    0x01: ("J", 1), 0x02: ("W.h", 1), 0x05: ("kW.h", 1), 0x08: ("MW.h", 1), 0x0A: ("MW.h", 100), 0x0B: ("kJ", 1),
    0x0E: ("MJ", 1), 0x11: ("GJ", 1), 0x13: ("GJ", 100), 0x14: ("W", 1), 0x17: ("kW", 1), 0x1A: ("MW", 1),
    0x29: ("L", 1), 0x2C: ("m3", 1), 0x32: ("L/h", 1), 0x35: ("m3/h", 1),
}  # fmt: skip
"""Code of the unit behind a value: UCUM code, and what one of it counts."""

NAMES: dict[int, str] = {
    0x901F: "current values", 0x907F: "clock", 0x911F: "heat and cold", 0x8102: "prices", 0x8103: "settlement day",
    0x8104: "reading day", 0x8105: "credit", 0x8106: "key version", 0x810A: "address", 0xA010: "prices",
    0xA011: "settlement day", 0xA012: "reading day", 0xA013: "credit", 0xA014: "key", 0xA015: "time", 0xA016: "base",
    0xA017: "valve", 0xA018: "address", 0xA019: "factory",
}  # fmt: skip
_OLDEST = 1990
"""No meter's clock stood before this year."""
_KEY = 0xA014
"""What stands under it is shown to nobody."""
_HISTORY = range(0xD120, 0xD12C)
_ENERGY = frozenset({"J", "W.h", "kW.h", "MW.h", "kJ", "MJ", "GJ"})
_DAYS = {0x8103: "settlement_day", 0x8104: "reading_day", 0xA011: "settlement_day", 0xA012: "reading_day"}
_WATER, _HEAT = 19, 43
"""Bytes of the current values of a water or gas meter, and of a heat meter."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a maker writes it."""

    identifier_high_first: bool = True
    """90 1F on the wire; False: 1F 90."""
    unit_first: bool = False
    """The unit's code before its value."""
    time_high_first: bool = False
    """Century first; False: seconds first."""


def identifier(data: bytes) -> int | None:
    """The identifier at the begin of data, whichever way round it stands; None where there is none known."""
    if len(data) < 2:
        return None
    straight, turned = int.from_bytes(data[:2], "big"), int.from_bytes(data[:2], "little")
    return next((di for di in (straight, turned) if di in NAMES or di in _HISTORY), straight)


def request(di: int, serial: int, shape: Shape) -> bytes:
    """The data of a read: identifier and serial number of the frame."""
    return di.to_bytes(2, "big" if shape.identifier_high_first else "little") + bytes((serial & 0xFF,))


def decode(kind: str, di: int, data: bytes, shape: Shape) -> Iterator[Value]:
    """The values behind an identifier; `kind` as `frame.type_name`, `data` without identifier and serial number."""
    if di == CURRENT and kind == "heat" and len(data) >= _HEAT:
        yield from _heat(data, shape)
    elif di == CURRENT and len(data) >= _WATER:
        yield counter("volume", data[0:5], shape)
        yield counter("volume_settlement", data[5:10], shape)
        yield time_of(data[10:17], shape)
        yield from states(data[17:19])
    elif di in _HISTORY and len(data) >= 5:
        value = counter("", data[0:5], shape)
        is_heat = value.unit in _ENERGY if value.unit is not None else kind == "heat"
        months = di - _HISTORY.start + 1
        yield replace(value, id=f"{'heat_energy' if is_heat else 'volume'}_settlement_{months}")
    elif di == 0xA017 and data:
        valve = {0x55: True, 0x99: False}.get(data[0])
        yield Value("valve_open", valve, None, "" if valve is not None else "BadDecodingError")
        yield from states(data[1:3])
    elif di in (0x810A, 0xA018) and len(data) == 7:
        yield Value("address_text", data[::-1].hex().upper())
    elif di in (0x907F, 0xA015) and len(data) >= 7:
        yield time_of(data[:7], shape)
    elif di in _DAYS and data:
        yield _number(_DAYS[di], data[:1], 0, "d")
    elif di == 0x8102 and len(data) == 15:
        yield from _prices(data)
    elif di == 0x8105 and len(data) == 15:
        yield from _credit(data)
    elif data and di != _KEY:
        yield Value("undecoded", data.hex(), None, "UncertainDataSubNormal")


def _prices(data: bytes) -> Iterator[Value]:
    """Three prices, and up to which consumption the first two hold."""
    for step, at in enumerate((0, 6, 12), 1):
        yield _number(f"price_{step}", data[at : at + 3], 2)
        if step < 3:
            yield _number(f"price_{step}_limit", data[at + 3 : at + 6], 0)


def _credit(data: bytes) -> Iterator[Value]:
    """What was bought last and in all, and what is left, in the currency of the prices."""
    yield _number("purchase_count", data[0:1], 0)
    yield _number("purchase_last", data[1:5], 2)
    yield _number("purchase_total", data[5:9], 2)
    yield _number("credit", data[9:13], 2)
    yield from states(data[13:15])


def likely_shape(kind: str, di: int, data: bytes) -> Shape:
    """The maker's orders as the bytes themselves show them: the usual ones, unless only the others give units or a time that
    exist. For frames whose meter nobody knows; a configured meter has options.
    """
    usual = Shape()
    counters, clock = _places(kind, di, len(data))
    units = [data[at] for at in counters], [data[at + 4] for at in counters]
    is_first = bool(counters) and set(units[0]) <= UNITS.keys() and not set(units[1]) <= UNITS.keys()
    is_turned = False
    if clock is not None:
        raw = data[clock : clock + 7]
        is_turned = time_of(raw, usual).value is None and time_of(raw, Shape(time_high_first=True)).value is not None
    return Shape(unit_first=is_first, time_high_first=is_turned)


def _places(kind: str, di: int, size: int) -> tuple[tuple[int, ...], int | None]:
    """(where counters begin, where the time does)."""
    if di == CURRENT and kind == "heat" and size >= _HEAT:
        return (0, 5, 10, 15, 20), 34
    if di == CURRENT and size >= _WATER:
        return (0, 5), 10
    if di in _HISTORY and size >= 5:
        return (0,), None
    return (), 0 if di in (0x907F, 0xA015) and size >= 7 else None


def _heat(data: bytes, shape: Shape) -> Iterator[Value]:
    yield counter("heat_energy_settlement", data[0:5], shape)
    yield counter("heat_energy", data[5:10], shape)
    yield counter("heat_power", data[10:15], shape)
    yield counter("flow", data[15:20], shape, places=4)
    yield counter("volume", data[20:25], shape)
    yield _number("supply_water_temperature", data[25:28], 2, "Cel")
    yield _number("return_water_temperature", data[28:31], 2, "Cel")
    yield _number("operating_hours", data[31:34], 0, "h")
    yield time_of(data[34:41], shape)
    yield from states(data[41:43])


def counter(name: str, data: bytes, shape: Shape, *, places: int = 2) -> Value:
    """Four bytes BCD and the code of their unit, in the maker's order. A unit that is not known leaves no value."""
    code, digits = (data[0], data[1:5]) if shape.unit_first else (data[4], data[:4])
    if code not in UNITS:
        return Value(name, None, None, "BadDecodingError")
    unit, times = UNITS[code]
    return _number(name, digits, places, unit, times)


def _number(name: str, data: bytes, places: int, unit: str | None = None, times: int = 1) -> Value:
    number = bcd.number(data, places)
    if number is None:
        return Value(name, None, unit, "BadSensorFailure" if bcd.is_absent(data) else "BadDecodingError")
    return Value(name, float(number * times) if places else int(number) * times, unit)


def time_of(data: bytes, shape: Shape) -> Value:
    """Seven bytes BCD as `YYYY-MM-DDThh:mm:ss`, in the meter's own time; none for zeros, FF and what is no date."""
    text = data.hex() if shape.time_high_first else data[::-1].hex()
    if bcd.is_absent(data) or not any(data):
        return Value("time_text", None, None, "BadSensorFailure")
    try:
        moment = datetime.strptime(text, "%Y%m%d%H%M%S")  # noqa: DTZ007  the meter's own time
        if moment.year >= _OLDEST:
            return Value("time_text", moment.isoformat())
    except ValueError:
        pass
    return Value("time_text", None, None, "BadDecodingError")


def states(data: bytes) -> Iterator[Value]:
    """Valve and battery of the status word, and the word itself, of which the rest is the maker's."""
    if len(data) < 2:
        return
    valve = {0b00: True, 0b01: False}.get(data[0] & 0b11)
    yield Value("valve_open", valve, None, "" if valve is not None else "BadDeviceFailure")
    yield Value("battery_low", bool(data[0] & 0b100))
    yield Value("status_word", int.from_bytes(data, "little"))
