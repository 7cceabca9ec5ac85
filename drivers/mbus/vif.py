"""What a value information field says: the quantity, the unit and the power of ten. Tables only.

Source: EN 13757-3:2018, section 6.3 (tables 10 primary, 12 FDh, 14 FBh, 15 combinable extensions).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

PLAIN, DATE, TEXT, HEX = "number", "date", "text", "hex"


@dataclass(frozen=True, slots=True)
class Meaning:
    """`value = raw * factor * 10**exponent` in `unit` (UCUM). `kind`: number, date, text, or hex for what stays bytes."""

    quantity: str
    unit: str | None = None
    exponent: int = 0
    factor: int = 1
    kind: str = PLAIN


_SECONDS = (1, 60, 3600, 86400)

_PRIMARY: tuple[tuple[int, int, Meaning], ...] = (
    (0x00, 8, Meaning("energy", "W.h", -3)),
    (0x08, 8, Meaning("energy", "J", 0)),
    (0x10, 8, Meaning("volume", "m3", -6)),
    (0x18, 8, Meaning("mass", "kg", -3)),
    (0x28, 8, Meaning("power", "W", -3)),
    (0x30, 8, Meaning("power", "J/h", 0)),
    (0x38, 8, Meaning("flow", "m3/h", -6)),
    (0x40, 8, Meaning("flow", "m3/min", -7)),
    (0x48, 8, Meaning("flow", "m3/s", -9)),
    (0x50, 8, Meaning("mass_flow", "kg/h", -3)),
    (0x58, 4, Meaning("supply_temperature", "Cel", -3)),
    (0x5C, 4, Meaning("return_temperature", "Cel", -3)),
    (0x60, 4, Meaning("temperature_difference", "K{difference}", -3)),
    (0x64, 4, Meaning("external_temperature", "Cel", -3)),
    (0x68, 4, Meaning("pressure", "bar", -3)),
)
"""First code, how many, and the meaning of the first; each further code is ten times as much."""

_TIMES: tuple[tuple[int, str], ...] = (
    (0x20, "on_time"),
    (0x24, "operating_time"),
    (0x70, "averaging_time"),
    (0x74, "actuality"),
)

_PRIMARY_SINGLE: dict[int, Meaning] = {
    0x6C: Meaning("date", kind=DATE),
    0x6D: Meaning("time", kind=DATE),
    0x6E: Meaning("heat_cost_units", "1"),
    0x78: Meaning("fabrication_number", kind=TEXT),
    0x79: Meaning("identification", kind=TEXT),
    0x7A: Meaning("bus_address", "1"),
    0x7E: Meaning("any", kind=HEX),
    0x7F: Meaning("manufacturer", kind=HEX),
}

_FD: tuple[tuple[int, int, Meaning], ...] = (
    (0x00, 4, Meaning("credit", None, -3)),
    (0x04, 4, Meaning("debit", None, -3)),
    (0x40, 16, Meaning("voltage", "V", -9)),
    (0x50, 16, Meaning("current", "A", -12)),
)
_FD_SINGLE: dict[int, Meaning] = {
    0x08: Meaning("access_number", "1"),
    0x09: Meaning("medium", "1"),
    0x0A: Meaning("manufacturer_code", kind=TEXT),
    0x0B: Meaning("parameter_set", kind=TEXT),
    0x0C: Meaning("model", kind=TEXT),
    0x0D: Meaning("hardware_version", kind=TEXT),
    0x0E: Meaning("firmware_version", kind=TEXT),
    0x0F: Meaning("software_version", kind=TEXT),
    0x10: Meaning("customer_location", kind=TEXT),
    0x11: Meaning("customer", kind=TEXT),
    0x17: Meaning("error_flags", "1"),
    0x18: Meaning("error_mask", "1"),
    0x1A: Meaning("digital_output", "1"),
    0x1B: Meaning("digital_input", "1"),
    0x1C: Meaning("baud_rate", "Bd"),
    0x3A: Meaning("dimensionless", "1"),
    0x60: Meaning("reset_counter", "1"),
    0x61: Meaning("cumulation_counter", "1"),
    0x67: Meaning("special_supplier", kind=HEX),
    0x74: Meaning("battery_time", "d"),
}

_FB: tuple[tuple[int, int, Meaning], ...] = (
    (0x00, 2, Meaning("energy", "MW.h", -1)),
    (0x02, 2, Meaning("reactive_energy", "kV.A.h{reactive}", 0)),
    (0x08, 2, Meaning("energy", "GJ", -1)),
    (0x10, 2, Meaning("volume", "m3", 2)),
    (0x14, 4, Meaning("reactive_power", "kV.A{reactive}", -3)),
    (0x18, 2, Meaning("mass", "t", 2)),
    (0x1A, 2, Meaning("relative_humidity", "%", -1)),
    (0x28, 2, Meaning("power", "MW", -1)),
    (0x30, 2, Meaning("power", "GJ/h", -1)),
    (0x74, 4, Meaning("temperature_limit", "Cel", -3)),
    (0x78, 8, Meaning("power_cumulated_max", "W", -3)),
)


def primary(code: int) -> Meaning | None:
    """The meaning of a primary VIF without its extension bit; None where the standard has none."""
    for first, name in _TIMES:
        if first <= code < first + 4:
            return Meaning(name, "s", factor=_SECONDS[code - first])
    return _PRIMARY_SINGLE.get(code) or _ranged(_PRIMARY, code)


def extended(table: int, code: int) -> Meaning | None:
    """The meaning of the code behind FDh or FBh."""
    if table == 0xFD:
        return _FD_SINGLE.get(code) or _ranged(_FD, code)
    return _ranged(_FB, code)


def combined(meaning: Meaning, code: int) -> Meaning:
    """The meaning with a combinable extension applied: a correction by a power of ten; others leave the number as it is."""
    if 0x70 <= code <= 0x77:
        return replace(meaning, exponent=meaning.exponent + (code & 7) - 6)
    if code == 0x7D:
        return replace(meaning, exponent=meaning.exponent + 3)
    return meaning


def _ranged(table: tuple[tuple[int, int, Meaning], ...], code: int) -> Meaning | None:
    for first, count, meaning in table:
        if first <= code < first + count:
            return replace(meaning, exponent=meaning.exponent + code - first)
    return None
