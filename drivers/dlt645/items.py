"""What DL/T 645 data identifiers hold: values in order, each with its format, unit and sign. Pure tables and their decoding.

A format is the standard's own: `XXXXXX.XX` are eight digits, four bytes, two of them behind the point. A block identifier (FF in
one byte) holds the items of that byte one after the other, as many as the meter has.
Source: DL/T 645-2007, annex A (tables A.1 energy, A.2 demand, A.3 variables, A.4 events, A.5 parameters); DL/T 645-1997, annex A.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drivers import bcd
from drivers.frames import Value

BLOCK = 0xFF


@dataclass(frozen=True, slots=True)
class Item:
    """One value. `unit` is a UCUM code; `size` in bytes."""

    id: str
    format: str
    unit: str | None = None
    signed: bool = False

    @property
    def size(self) -> int:
        return (sum(letter not in "." for letter in self.format) + 1) // 2

    @property
    def places(self) -> int:
        return len(self.format.partition(".")[2])

    def decode(self, data: bytes) -> Value:
        """The value, or why there is none: what a meter fills in for an absent phase, or a nibble that is no digit."""
        if self.format[0] not in "X0":
            text = bcd.digits(data)
            return Value(self.id, text, None, "" if text is not None else "BadDecodingError")
        number = bcd.number(data, self.places, signed=self.signed)
        if number is None:
            return Value(self.id, None, self.unit, "BadSensorFailure" if bcd.is_absent(data) else "BadDecodingError")
        return Value(self.id, float(number) if self.places else int(number), self.unit)


_ENERGY = "XXXXXX.XX"
_ENERGIES: dict[int, tuple[str, str, bool]] = {
    0x00: ("energy_active", "kW.h", True),
    0x01: ("energy_active_import", "kW.h", False),
    0x02: ("energy_active_export", "kW.h", False),
    0x03: ("energy_reactive_combined_1", "kV.A.h{reactive}", True),
    0x04: ("energy_reactive_combined_2", "kV.A.h{reactive}", True),
    0x05: ("energy_reactive_quadrant_1", "kV.A.h{reactive}", False),
    0x06: ("energy_reactive_quadrant_2", "kV.A.h{reactive}", False),
    0x07: ("energy_reactive_quadrant_3", "kV.A.h{reactive}", False),
    0x08: ("energy_reactive_quadrant_4", "kV.A.h{reactive}", False),
    0x09: ("energy_apparent_import", "kV.A.h", False),
    0x0A: ("energy_apparent_export", "kV.A.h", False),
    0x15: ("energy_active_import_l1", "kW.h", False),
    0x16: ("energy_active_export_l1", "kW.h", False),
    0x29: ("energy_active_import_l2", "kW.h", False),
    0x2A: ("energy_active_export_l2", "kW.h", False),
    0x3D: ("energy_active_import_l3", "kW.h", False),
    0x3E: ("energy_active_export_l3", "kW.h", False),
}
"""DI2 of energies (DI3 = 00): id, unit, whether it can be negative."""

_DEMANDS: dict[int, tuple[str, str]] = {
    0x01: ("power_demand_import_max", "kW"),
    0x02: ("power_demand_export_max", "kW"),
    0x03: ("power_reactive_demand_1_max", "kV.A{reactive}"),
    0x04: ("power_reactive_demand_2_max", "kV.A{reactive}"),
}
"""DI2 of maximum demands (DI3 = 01), each followed by its time."""

_VARIABLES: dict[int, tuple[tuple[str, ...], str, str | None, bool]] = {
    0x01: (("voltage_l1", "voltage_l2", "voltage_l3"), "XXX.X", "V", False),
    0x02: (("current_l1", "current_l2", "current_l3"), "XXX.XXX", "A", True),
    0x03: (("power_active", "power_active_l1", "power_active_l2", "power_active_l3"), "XX.XXXX", "kW", True),
    0x04: (
        ("power_reactive", "power_reactive_l1", "power_reactive_l2", "power_reactive_l3"),
        "XX.XXXX",
        "kV.A{reactive}",
        True,
    ),
    0x05: (("power_apparent", "power_apparent_l1", "power_apparent_l2", "power_apparent_l3"), "XX.XXXX", "kV.A", True),
    0x06: (("power_factor", "power_factor_l1", "power_factor_l2", "power_factor_l3"), "X.XXX", "1", True),
    0x07: (("phase_angle_l1", "phase_angle_l2", "phase_angle_l3"), "XXX.X", "deg", False),
    0x08: (("voltage_thd_l1", "voltage_thd_l2", "voltage_thd_l3"), "XX.XX", "%", False),
    0x09: (("current_thd_l1", "current_thd_l2", "current_thd_l3"), "XX.XX", "%", False),
}
"""DI2 of variables (DI3 = 02): the items of DI1 in order. Totals stand at DI1 = 00 where there are four, phases from 01."""

_SINGLES: dict[int, Item] = {
    0x02800001: Item("current_n", "XXX.XXX", "A", signed=True),
    0x02800002: Item("frequency", "XX.XX", "Hz"),
    0x02800003: Item("power_active_average", "XX.XXXX", "kW", signed=True),
    0x02800004: Item("power_demand", "XX.XXXX", "kW", signed=True),
    0x02800005: Item("power_reactive_demand", "XX.XXXX", "kV.A{reactive}", signed=True),
    0x02800006: Item("power_apparent_demand", "XX.XXXX", "kV.A", signed=True),
    0x02800007: Item("device_temperature", "XXX.X", "Cel", signed=True),
    0x02800008: Item("clock_battery_voltage", "XX.XX", "V"),
    0x02800009: Item("readout_battery_voltage", "XX.XX", "V"),
    0x0280000A: Item("clock_battery_time", "XXXXXXXX", "min"),
    0x04000101: Item("date_text", "YYMMDDWW"),
    0x04000102: Item("time_text", "hhmmss"),
    0x04000401: Item("address_text", "NNNNNNNNNNNN"),
    0x04000402: Item("serial_text", "NNNNNNNNNNNN"),
    0x04000204: Item("tariffs", "XX"),
    0x05060001: Item("freeze_time_text", "YYMMDDhhmm"),
    0x00900100: Item("energy_remaining", _ENERGY, "kW.h"),
    0x00900101: Item("energy_overdrawn", _ENERGY, "kW.h"),
    0x00900200: Item("credit_remaining", _ENERGY),
    0x00900201: Item("credit_overdrawn", _ENERGY),
}

_1997: dict[int, tuple[str, str, str | None, bool]] = {
    0x9010: ("energy_active_import", _ENERGY, "kW.h", False),
    0x9020: ("energy_active_export", _ENERGY, "kW.h", False),
    0x9110: ("energy_reactive_import", _ENERGY, "kV.A.h{reactive}", False),
    0x9120: ("energy_reactive_export", _ENERGY, "kV.A.h{reactive}", False),
    0xB611: ("voltage_l1", "XXX", "V", False),
    0xB612: ("voltage_l2", "XXX", "V", False),
    0xB613: ("voltage_l3", "XXX", "V", False),
    0xB621: ("current_l1", "XX.XX", "A", False),
    0xB622: ("current_l2", "XX.XX", "A", False),
    0xB623: ("current_l3", "XX.XX", "A", False),
    0xB630: ("power_active", "XX.XXXX", "kW", False),
    0xB631: ("power_active_l1", "XX.XXXX", "kW", False),
    0xB632: ("power_active_l2", "XX.XXXX", "kW", False),
    0xB633: ("power_active_l3", "XX.XXXX", "kW", False),
    0xB640: ("power_reactive", "XX.XX", "kV.A{reactive}", False),
    0xB650: ("power_factor", "X.XXX", "1", False),
    0xC010: ("date_text", "YYMMDDWW", None, False),
    0xC011: ("time_text", "hhmmss", None, False),
    0xC032: ("serial_text", "NNNNNNNNNNNN", None, False),
}


def items_2007(di: int) -> tuple[Item, ...]:
    """The items behind a DL/T 645-2007 identifier (DI3 in the high byte), in their order; () for one not in the table.

    Of a block all items that the standard has are given; a meter sends as many as it has.
    """
    if di in _SINGLES:
        return (_SINGLES[di],)
    di3, di2, di1, di0 = di.to_bytes(4, "big")
    if di3 == 0x00 and di2 in _ENERGIES:
        name, unit, signed = _ENERGIES[di2]
        return tuple(
            Item(name + tariff + day, _ENERGY, unit, signed=signed) for day in _days(di0) for tariff in _tariffs(di1)
        )
    if di3 == 0x01 and di2 in _DEMANDS:
        name, unit = _DEMANDS[di2]
        return tuple(
            item
            for day in _days(di0)
            for tariff in _tariffs(di1)
            for item in (
                Item(name + tariff + day, "XX.XXXX", unit),
                Item(name + "_time_text" + tariff + day, "YYMMDDhhmm"),
            )
        )
    if di3 == 0x02 and di2 in _VARIABLES and di0 == 0:
        return _variables(di2, di1)
    if di3 == 0x04 and di2 == 0x00 and di1 == 0x05 and 1 <= di0 <= 7:
        return (Item(f"status_word_{di0}", "NNNN"),)
    return ()


def _variables(di2: int, di1: int) -> tuple[Item, ...]:
    names, shape, unit, signed = _VARIABLES[di2]
    first = 0 if len(names) == 4 else 1
    chosen = names if di1 == BLOCK else names[di1 - first : di1 - first + 1] if di1 >= first else ()
    return tuple(Item(name, shape, unit, signed=signed) for name in chosen)


def items_1997(di: int) -> tuple[Item, ...]:
    """The items behind a DL/T 645-1997 identifier; () for one not in the table. F in the last digit is a block."""
    if di & 0x0F == 0x0F:
        return tuple(item for low in range(15) for item in items_1997((di & 0xFFF0) + low))
    if di in _1997:
        name, shape, unit, signed = _1997[di]
        return (Item(name, shape, unit, signed=signed),)
    total = di & 0xFFF0
    if total in (0x9010, 0x9020, 0x9110, 0x9120) and 1 <= di & 0x0F <= 14:
        name, shape, unit, signed = _1997[total]
        return (Item(f"{name}_t{di & 0x0F}", shape, unit, signed=signed),)
    return ()


def decode(items: tuple[Item, ...], data: bytes) -> Iterator[Value]:
    """The values in `data`, as many items as it holds; what is left over is told as one undecoded value."""
    at = 0
    for item in items:
        if at + item.size > len(data):
            break
        yield item.decode(data[at : at + item.size])
        at += item.size
    if at < len(data):
        yield Value("undecoded", data[at:].hex(), None, "UncertainDataSubNormal" if at else "BadDecodingError")


def _tariffs(di1: int) -> Iterator[str]:
    if di1 == BLOCK:
        yield from ("" if number == 0 else f"_t{number}" for number in range(64))
    else:
        yield f"_t{di1}" if di1 else ""


def _days(di0: int) -> Iterator[str]:
    """Now, and the ends of the last twelve settlement periods."""
    if di0 == BLOCK:
        yield from ("" if number == 0 else f"_settlement_{number}" for number in range(13))
    else:
        yield f"_settlement_{di0}" if di0 else ""
