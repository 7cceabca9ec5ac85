"""What a value information field says: the quantity, the unit and the power of ten. Tables only.

Source: EN 13757-3:2018, section 6.3 (tables 10 primary, 12 FDh, 14 FBh).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

PLAIN, BITS, DATE, TEXT, HEX, SECRET = "number", "bits", "date", "text", "hex", "secret"


@dataclass(frozen=True, slots=True)
class Meaning:
    """`value = raw * factor * 10**exponent + plus` in `unit` (UCUM). `kind`: number, bits for one that has no sign, date, text,
    hex for what stays bytes, secret for what is shown to nobody. A `fault` is why there is no value.
    """

    quantity: str
    unit: str | None = None
    exponent: int = 0
    factor: int = 1
    kind: str = PLAIN
    fault: str = ""
    plus: Decimal = Decimal(0)


SECONDS = (1, 60, 3600, 86400)

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
    0x7A: Meaning("bus_address", "1", kind=BITS),
    0x7E: Meaning("any"),
}

_FD: tuple[tuple[int, int, Meaning], ...] = (
    (0x00, 4, Meaning("credit", None, -3)),
    (0x04, 4, Meaning("debit", None, -3)),
    (0x28, 1, Meaning("storage_interval", "mo")),
    (0x29, 1, Meaning("storage_interval", "a")),
    (0x38, 1, Meaning("tariff_period", "mo")),
    (0x39, 1, Meaning("tariff_period", "a")),
    (0x40, 16, Meaning("voltage", "V", -9)),
    (0x50, 16, Meaning("current", "A", -12)),
)
_FD_TIMES: tuple[tuple[int, str, tuple[int, ...]], ...] = (
    (0x24, "storage_interval", SECONDS),
    (0x2C, "since_readout_time", SECONDS),
    (0x31, "tariff_time", SECONDS[1:]),
    (0x34, "tariff_period", SECONDS),
    (0x3C, "transmission_period", SECONDS),
    (0x68, "since_cumulation_time", SECONDS[2:]),
    (0x6C, "battery_operating_time", SECONDS[2:]),
)
"""First code, name, and the seconds of one unit of it and of the codes behind it."""
_FD_SINGLE: dict[int, Meaning] = {
    0x08: Meaning("access_number", "1", kind=BITS),
    0x09: Meaning("medium", "1", kind=BITS),
    0x0A: Meaning("manufacturer_code", kind=TEXT),
    0x0B: Meaning("parameter_set", kind=TEXT),
    0x0C: Meaning("model", kind=TEXT),
    0x0D: Meaning("hardware_version", kind=TEXT),
    0x0E: Meaning("firmware_version", kind=TEXT),
    0x0F: Meaning("software_version", kind=TEXT),
    0x10: Meaning("customer_location", kind=TEXT),
    0x11: Meaning("customer", kind=TEXT),
    0x12: Meaning("access_code_user", kind=SECRET),
    0x13: Meaning("access_code_operator", kind=SECRET),
    0x14: Meaning("access_code_system_operator", kind=SECRET),
    0x15: Meaning("access_code_developer", kind=SECRET),
    0x16: Meaning("password", kind=SECRET),
    0x17: Meaning("error_flags", "1", kind=BITS),
    0x18: Meaning("error_mask", "1", kind=BITS),
    0x19: Meaning("security_key", kind=SECRET),
    0x1A: Meaning("digital_output", "1", kind=BITS),
    0x1B: Meaning("digital_input", "1", kind=BITS),
    0x1C: Meaning("baud_rate", "Bd", kind=BITS),
    0x1D: Meaning("response_delay", "{bit times}", kind=BITS),
    0x1E: Meaning("retries", "1", kind=BITS),
    0x1F: Meaning("remote_control", "1", kind=BITS),
    0x20: Meaning("first_storage_number", "1", kind=BITS),
    0x21: Meaning("last_storage_number", "1", kind=BITS),
    0x22: Meaning("storage_block_size", "1", kind=BITS),
    0x23: Meaning("tariff_descriptor", kind=HEX),
    0x2A: Meaning("operator_data", kind=HEX),
    0x2B: Meaning("second_of_minute", "s"),
    0x30: Meaning("tariff_start", kind=DATE),
    0x3A: Meaning("dimensionless", "1"),
    0x3B: Meaning("wireless_container", kind=HEX),
    0x60: Meaning("reset_counter", "1", kind=BITS),
    0x61: Meaning("cumulation_counter", "1", kind=BITS),
    0x62: Meaning("control_signal", "1", kind=BITS),
    0x63: Meaning("day_of_week", "1", kind=BITS),
    0x64: Meaning("week_number", "1", kind=BITS),
    0x65: Meaning("day_change_time", kind=DATE),
    0x66: Meaning("parameter_activation", "1", kind=BITS),
    0x67: Meaning("special_supplier", kind=HEX),
    0x70: Meaning("battery_change", kind=DATE),
    0x71: Meaning("radio_level", "dB[mW]"),
    0x72: Meaning("daylight_saving", kind=HEX),
    0x73: Meaning("listening_window", kind=HEX),
    0x74: Meaning("battery_time", "d"),
    0x75: Meaning("stop_counter", "1", kind=BITS),
    0x76: Meaning("manufacturer_container", kind=HEX),
}
_FD_YEARS = {0x6A: Meaning("since_cumulation_time", "mo"), 0x6B: Meaning("since_cumulation_time", "a"),
             0x6E: Meaning("battery_operating_time", "mo"), 0x6F: Meaning("battery_operating_time", "a")}  # fmt: skip

SECOND: dict[int, Meaning] = {
    0x00: Meaning("application", "1", kind=BITS),
    0x02: Meaning("battery_time", "mo"),
    0x03: Meaning("battery_time", "a"),
}
"""Behind FDh FDh."""

_FB: tuple[tuple[int, int, Meaning], ...] = (
    (0x00, 2, Meaning("energy", "MW.h", -1)),
    (0x02, 2, Meaning("reactive_energy", "kV.A.h{reactive}", 0)),
    (0x04, 2, Meaning("apparent_energy", "kV.A.h", 0)),
    (0x06, 2, Meaning("coefficient_of_performance", "1", -1)),
    (0x08, 2, Meaning("energy", "GJ", -1)),
    (0x0C, 4, Meaning("energy", "Mcal_th", -1)),
    (0x10, 2, Meaning("volume", "m3", 2)),
    (0x14, 4, Meaning("reactive_power", "kV.A{reactive}", -3)),
    (0x18, 2, Meaning("mass", "kg", 5)),
    (0x1A, 2, Meaning("relative_humidity", "%", -1)),
    (0x20, 1, Meaning("volume", "[cft_i]", 0)),
    (0x21, 1, Meaning("volume", "[cft_i]", -1)),
    (0x22, 2, Meaning("volume", "[gal_us]", -1)),
    (0x24, 1, Meaning("flow", "[gal_us]/min", -3)),
    (0x25, 1, Meaning("flow", "[gal_us]/min", 0)),
    (0x26, 1, Meaning("flow", "[gal_us]/h", 0)),
    (0x28, 2, Meaning("power", "MW", -1)),
    (0x2A, 1, Meaning("voltage_angle", "deg", -1)),
    (0x2B, 1, Meaning("current_angle", "deg", -1)),
    (0x2C, 4, Meaning("frequency", "Hz", -3)),
    (0x30, 2, Meaning("power", "GJ/h", -1)),
    (0x34, 4, Meaning("apparent_power", "kV.A", -3)),
    (0x58, 4, Meaning("supply_temperature", "[degF]", -3)),
    (0x5C, 4, Meaning("return_temperature", "[degF]", -3)),
    (0x60, 4, Meaning("temperature_difference", "[degF]{difference}", -3)),
    (0x64, 4, Meaning("external_temperature", "[degF]", -3)),
    (0x70, 4, Meaning("temperature_limit", "[degF]", -3)),
    (0x74, 4, Meaning("temperature_limit", "Cel", -3)),
    (0x78, 8, Meaning("power_cumulated_max", "W", -3)),
)


def primary(code: int) -> Meaning | None:
    """The meaning of a primary VIF without its extension bit; None where the standard has none."""
    for first, name in _TIMES:
        if first <= code < first + 4:
            return Meaning(name, "s", factor=SECONDS[code - first])
    return _PRIMARY_SINGLE.get(code) or _ranged(_PRIMARY, code)


def extended(table: int, code: int) -> Meaning | None:
    """The meaning of the code behind FDh or FBh."""
    if table != 0xFD:
        return _ranged(_FB, code)
    for first, name, seconds in _FD_TIMES:
        if first <= code < first + len(seconds):
            return Meaning(name, "s", factor=seconds[code - first])
    return _FD_YEARS.get(code) or _FD_SINGLE.get(code) or _ranged(_FD, code)


def _ranged(table: tuple[tuple[int, int, Meaning], ...], code: int) -> Meaning | None:
    for first, count, meaning in table:
        if first <= code < first + count:
            return replace(meaning, exponent=meaning.exponent + code - first)
    return None
