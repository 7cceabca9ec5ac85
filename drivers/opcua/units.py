"""Engineering units of OPC UA (EUInformation, OPC 10000-8, 5.6.3) as UCUM codes. Data only.

A unit id is the UNECE Recommendation 20 common code as a number: its characters, first to last, as bytes of a big-endian integer.
Source: unverified for each code against Rec. 20 rev. 17; those of CONTRACT.md section 12 are checked by test.
"""

from __future__ import annotations

UNECE_NAMESPACE = "http://www.opcfoundation.org/UA/units/un/cefact"

_BY_CODE = {
    "CEL": "Cel", "FAH": "[degF]", "KEL": "K",
    "KWH": "kW.h", "MWH": "MW.h", "WHR": "W.h", "JOU": "J", "KJO": "kJ", "3B": "MJ", "GV": "GJ",
    "KWT": "kW", "WTT": "W", "MAW": "MW",
    "KVR": "kV.A{reactive}", "D44": "V.A{reactive}", "KVA": "kV.A", "D46": "V.A",
    "P1": "%", "59": "[ppm]", "61": "[ppb]", "C62": "1",
    "PAL": "Pa", "KPA": "kPa", "A97": "hPa", "MPA": "MPa", "BAR": "bar", "MBR": "mbar",
    "MQH": "m3/h", "MQS": "m3/s", "G51": "L/s", "E32": "L/h", "L2": "L/min", "2L": "[ft_i]3/min",
    "MTQ": "m3", "LTR": "L", "KGM": "kg", "KGS": "kg/s", "E93": "kg/h",
    "VLT": "V", "KVT": "kV", "2Z": "mV", "AMP": "A", "4K": "mA", "HTZ": "Hz", "OHM": "Ohm", "DD": "deg",
    "LUX": "lx", "D54": "W/m2", "RPM": "/min", "MTS": "m/s", "MTR": "m", "CMT": "cm", "MMT": "mm",
    "SEC": "s", "MIN": "min", "HUR": "h", "DAY": "d", "GQ": "ug/m3",
}  # fmt: skip


def unece_id(code: str) -> int:
    """The unit id of a UNECE common code."""
    return int.from_bytes(code.encode("ascii"), "big")


UNITS: dict[int, str] = {unece_id(code): unit for code, unit in _BY_CODE.items()}
_BY_SIGN = {
    "°C": "Cel", "°F": "[degF]", "K": "K", "kWh": "kW.h", "MWh": "MW.h", "kW": "kW", "W": "W", "MW": "MW",
    "kvar": "kV.A{reactive}", "kVA": "kV.A", "%": "%", "%RH": "%", "% r.F.": "%", "ppm": "[ppm]", "Pa": "Pa", "kPa": "kPa",
    "bar": "bar", "mbar": "mbar",
    "m³/h": "m3/h", "m3/h": "m3/h", "l/s": "L/s", "L/s": "L/s", "l/h": "L/h", "m³": "m3", "l": "L", "V": "V", "A": "A",
    "Hz": "Hz", "lx": "lx", "W/m²": "W/m2", "rpm": "/min",
    "1/min": "/min", "m/s": "m/s", "m": "m", "s": "s", "min": "min", "h": "h",
}  # fmt: skip


def ucum(unit_id: int, sign: str) -> str | None:
    """The UCUM code of a unit id, else of the text that people see; None for a unit that the house does not know."""
    return UNITS.get(unit_id) or _BY_SIGN.get(sign.strip())
