"""The units of the house: UCUM codes as on the wire, with their UNECE and BACnet identities and exact conversions.

One table of our own and no run-time unit library (CONTRACT.md section 12); tests check every factor against pint.
Sources: UCUM 2.1; UNECE Recommendation 20 revision 17 (the OPC UA unit id is the code's bytes as one number,
OPC 10000-8, 5.6.3); ANSI/ASHRAE 135-2020 clause 21, BACnetEngineeringUnits.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit. `(value + zero) * factor` is the value in the base unit of its `kind`; units of one kind convert."""

    code: str
    kind: str
    factor: Fraction = Fraction(1)
    zero: Decimal = Decimal(0)
    unece: str | None = None
    bacnet: tuple[int, ...] = ()
    """BACnet unit numbers that mean it, the one to write first."""
    shown: str = ""
    """How people write it."""

    @property
    def opcua_id(self) -> int | None:
        """The OPC UA `unitId`: the UNECE code's bytes as one big-endian number."""
        return int.from_bytes(self.unece.encode("ascii")) if self.unece else None


@dataclass(frozen=True, slots=True)
class Conversion:
    """`(value + pre) * mul / div`. `mul` and `div` are whole numbers, so that 10**-k divides and nothing is rounded twice."""

    pre: Decimal
    mul: int
    div: int

    @property
    def is_identity(self) -> bool:
        """True when there is nothing to do."""
        return self.pre == 0 and self.mul == self.div

    def apply(self, value: Decimal) -> Decimal:
        """The value in the other unit."""
        return (value + self.pre) * self.mul / self.div

    def undo(self, value: Decimal) -> Decimal:
        """The way back, for writes."""
        return value * self.div / self.mul - self.pre


def _table() -> dict[str, Unit]:
    kilo, mega, giga, milli, micro = (Fraction(10) ** n for n in (3, 6, 9, -3, -6))
    hour, cubic_foot = Fraction(3600), Fraction("0.028316846592")
    psi, btu, foot = Fraction("6894.757293168"), Fraction("1055.05585262"), Fraction("0.3048")
    rows: list[Unit] = []

    def unit(
        code: str,
        kind: str,
        factor: Fraction | int = 1,
        unece: str | None = None,
        bacnet: int | tuple[int, ...] | None = None,
        shown: str = "",
        zero: str = "0",
    ) -> None:
        ids = () if bacnet is None else (bacnet,) if isinstance(bacnet, int) else bacnet
        rows.append(Unit(code, kind, Fraction(factor), Decimal(zero), unece, ids, shown or code))

    # electricity
    unit("V", "voltage", 1, "VLT", 5)
    unit("mV", "voltage", milli, "2Z", 124)
    unit("kV", "voltage", kilo, "KVT", 6)
    unit("A", "current", 1, "AMP", 3)
    unit("mA", "current", milli, "4K", 2)
    unit("kA", "current", kilo, "B22")
    unit("W", "power", 1, "WTT", 47)
    unit("mW", "power", milli, "C31", 132)
    unit("kW", "power", kilo, "KWT", 48)
    unit("MW", "power", mega, "MAW", 49)
    unit("J/h", "power", 1 / hour)
    unit("kJ/h", "power", kilo / hour)
    unit("MJ/h", "power", mega / hour)
    unit("GJ/h", "power", giga / hour)
    unit("[HP]", "power", Fraction("745.69987158227022"), "BHP", 51, "hp")
    unit("[Btu_IT]/h", "power", btu / hour, "2I", 50, "BTU/h")
    unit("k[Btu_IT]/h", "power", kilo * btu / hour, None, 157, "kBTU/h")
    unit("12.k[Btu_IT]/h", "power", 12 * kilo * btu / hour, None, 52, "ton of refrigeration")
    unit("V.A{reactive}", "reactive power", 1, "D44", 11, "var")
    unit("kV.A{reactive}", "reactive power", kilo, "KVR", 12, "kvar")
    unit("MV.A{reactive}", "reactive power", mega, "MAR", 13, "Mvar")
    unit("V.A", "apparent power", 1, "D46", 8, "VA")
    unit("kV.A", "apparent power", kilo, "KVA", 9, "kVA")
    unit("MV.A", "apparent power", mega, "MVA", 10, "MVA")
    unit("W.h", "energy", hour, "WHR", 18, "Wh")
    unit("kW.h", "energy", kilo * hour, "KWH", 19, "kWh")
    unit("MW.h", "energy", mega * hour, "MWH", 146, "MWh")
    unit("GW.h", "energy", giga * hour, "GWH", None, "GWh")
    unit("J", "energy", 1, "JOU", 16)
    unit("kJ", "energy", kilo, "KJO", 17)
    unit("MJ", "energy", mega, "3B", 126)
    unit("GJ", "energy", giga, "GV")
    unit("Mcal_th", "energy", 4184 * kilo, None, None, "Mcal")
    unit("[Btu_IT]", "energy", btu, "BTU", 20, "BTU")
    unit("V.A.h{reactive}", "reactive energy", 1, None, 242, "varh")
    unit("kV.A.h{reactive}", "reactive energy", kilo, "K3", 243, "kvarh")
    unit("MV.A.h{reactive}", "reactive energy", mega, "MAH", 244, "Mvarh")
    unit("V.A.h", "apparent energy", 1, None, 239, "VAh")
    unit("kV.A.h", "apparent energy", kilo, "C79", 240, "kVAh")
    unit("MV.A.h", "apparent energy", mega, None, 241, "MVAh")
    unit("Hz", "frequency", 1, "HTZ", 27)
    unit("mHz", "frequency", milli)
    unit("kHz", "frequency", kilo, "KHZ", 129)
    unit("Ohm", "resistance", 1, "OHM", 4, "Ω")
    unit("kOhm", "resistance", kilo, "B49", 122, "kΩ")
    unit("MOhm", "resistance", mega, "B75", 123, "MΩ")
    unit("A.h", "charge", 1, "AMH", None, "Ah")
    # heat, air, water
    unit("Cel", "temperature", 1, "CEL", 62, "°C", zero="273.15")
    unit("K", "temperature", 1, "KEL", 63)
    unit("[degF]", "temperature", Fraction(5, 9), "FAH", 64, "°F", zero="459.67")
    unit("K{difference}", "temperature difference", 1, "KEL", 121, "K")
    unit("[degF]{difference}", "temperature difference", Fraction(5, 9), "FAH", 120, "°F")
    unit("Pa", "pressure", 1, "PAL", 53)
    unit("hPa", "pressure", 100, "A97", 133)
    unit("kPa", "pressure", kilo, "KPA", 54)
    unit("MPa", "pressure", mega, "MPA")
    unit("mbar", "pressure", 100, "MBR", 134)
    unit("bar", "pressure", kilo * 100, "BAR", 55)
    unit("[psi]", "pressure", psi, "PS", 56, "psi")
    unit("[in_i'H2O]", "pressure", Fraction("249.08891"), "F78", 58, "inH2O")
    unit("mm[H2O]", "pressure", Fraction("9.80665"), "HP", 206, "mmH2O")
    unit("[in_i'Hg]", "pressure", Fraction("3386.3788"), "F79", 61, "inHg")
    unit("m3", "volume", 1, "MTQ", 80, "m³")
    unit("L", "volume", milli, "LTR", 82)
    unit("[cft_i]", "volume", cubic_foot, "FTQ", 79, "ft³")
    unit("[gal_us]", "volume", Fraction("0.003785411784"), "GLL", 83, "gal")
    unit("m3/h", "flow", 1 / hour, "MQH", 135, "m³/h")
    unit("m3/s", "flow", 1, "MQS", 85, "m³/s")
    unit("L/s", "flow", milli, "G51", 87)
    unit("L/min", "flow", milli / 60, "L2", 88)
    unit("L/h", "flow", milli / hour, "E32", 136)
    unit("[ft_i]3/min", "flow", cubic_foot / 60, "2L", 84, "cfm")
    unit("[gal_us]/min", "flow", Fraction("0.003785411784") / 60, "G2", 89, "gpm")
    unit("[gal_us]/h", "flow", Fraction("0.003785411784") / hour, "G50", None, "gal/h")
    unit("m3/min", "flow", Fraction(1, 60), "G53", 165, "m³/min")
    unit("[cft_i]/h", "flow", cubic_foot / hour, "2K", 191, "ft³/h")
    unit("kJ/kg", "enthalpy", kilo, "B42", (149, 125))
    unit("kg/h", "mass flow", 1, "E93", 44)
    unit("kg/s", "mass flow", hour, "KGS", 42)
    # air quality and light
    unit("[ppm]", "fraction", micro, "59", 96, "ppm")
    unit("[ppb]", "fraction", micro * milli, "61", 97, "ppb")
    unit("ug/m3", "concentration", 1, "GQ", 219, "µg/m³")
    unit("mg/m3", "concentration", kilo, "GP", 218, "mg/m³")
    unit("lx", "illuminance", 1, "LUX", 37)
    unit("klx", "illuminance", kilo, "KLX")
    unit("lm/[ft_i]2", "illuminance", 1 / foot**2, "P27", 38, "fc")
    unit("W/m2", "irradiance", 1, "D54", 35, "W/m²")
    unit("dB[SPL]", "sound level", 1, "2N", 199, "dB")
    # motion, time, numbers
    unit("/min", "rotation", 1, "RPM", 104, "rpm")
    unit("/s", "rotation", 60, "RPS", None, "rps")
    unit("N.m", "torque", 1, "NU", 160, "Nm")
    unit("m/s", "speed", 1, "MTS", 74)
    unit("km/h", "speed", Fraction(5, 18), "KMH", 75)
    unit("[ft_i]/min", "speed", foot / 60, "FR", 77, "ft/min")
    unit("[mi_i]/h", "speed", Fraction("0.44704"), "HM", 78, "mph")
    unit("m", "length", 1, "MTR", 31)
    unit("cm", "length", Fraction(1, 100), "CMT", 118)
    unit("mm", "length", milli, "MMT", 30)
    unit("[ft_i]", "length", foot, "FOT", 33, "ft")
    unit("[in_i]", "length", foot / 12, "INH", 32, "in")
    unit("kg", "mass", 1, "KGM", 39)
    unit("g", "mass", milli, "GRM", 195)
    unit("deg", "angle", 1, "DD", (90, 14), "°")
    unit("s", "time", 1, "SEC", 73)
    unit("ms", "time", milli, "C26", 159)
    unit("min", "time", 60, "MIN", 72)
    unit("h", "time", hour, "HUR", 71)
    unit("d", "time", hour * 24, "DAY", 70)
    unit("By", "data", 1, "AD", None, "B")
    unit("MBy", "data", mega, "4L", None, "MB")
    unit("GBy", "data", giga, "E34", None, "GB")
    unit("%", "ratio", Fraction(1, 100), "P1", (98, 29))
    unit("1", "ratio", 1, "C62", (95, 15), "")
    return {row.code: row for row in rows}


UNITS: dict[str, Unit] = _table()
"""Every unit by its UCUM code."""

_WRITTEN = {
    "kvar": "kV.A{reactive}", "var": "V.A{reactive}", "kvarh": "kV.A.h{reactive}", "varh": "V.A.h{reactive}",
    "kWh": "kW.h", "Wh": "W.h", "MWh": "MW.h", "kVA": "kV.A", "VA": "V.A", "kVAh": "kV.A.h", "VAh": "V.A.h",
    "°C": "Cel", "C": "Cel", "degC": "Cel", "°F": "[degF]", "ppm": "[ppm]", "ppb": "[ppb]", "rpm": "/min", "min-1": "/min",
    "cfm": "[ft_i]3/min", "m³/h": "m3/h", "m³": "m3", "l/s": "L/s", "µg/m3": "ug/m3", "%RH": "%", "lux": "lx", "Ω": "Ohm",
    "degF": "[degF]", "": "1", "psi": "[psi]", "Ah": "A.h", "hr": "h", "sec": "s",
}  # fmt: skip
_SHOWN = {row.shown: code for code, row in UNITS.items() if row.shown}


def unit_named(text: str) -> str | None:
    """The UCUM code that a text stands for without a doubt: the code itself, or a usual way to write it."""
    return text if text in UNITS else _WRITTEN.get(text) or _SHOWN.get(text)


def suggest_unit(text: str) -> str | None:
    """The UCUM code that someone who wrote `text` probably meant; None when nothing is near."""
    if text in _WRITTEN:
        return _WRITTEN[text]
    folded = {code.casefold(): code for code in UNITS}
    if text.casefold() in folded:
        return folded[text.casefold()]
    written = {name.casefold(): code for name, code in _WRITTEN.items()}
    if text.casefold() in written:
        return written[text.casefold()]
    close = difflib.get_close_matches(text, UNITS, n=1)
    return close[0] if close else None


@cache
def conversion(source: str, target: str) -> Conversion:
    """From one UCUM code to another of the same kind.

    Raises KeyError for a code that the table lacks, ValueError for two kinds, or where the exact form
    `(value + pre) * mul / div` does not exist (Celsius to Fahrenheit: ask for the other direction and `undo` it).
    """
    left, right = UNITS[source], UNITS[target]
    if left.kind != right.kind:
        raise ValueError(f"{source} is {left.kind}, {target} is {right.kind}")
    factor = left.factor / right.factor
    pre = Fraction(left.zero) - Fraction(right.zero) / factor
    exact = Decimal(pre.numerator) / Decimal(pre.denominator)
    if Fraction(exact) != pre:
        raise ValueError(f"{source} to {target} has no exact form; use conversion({target!r}, {source!r}).undo")
    return Conversion(exact, factor.numerator, factor.denominator)
