"""The unit table against pint, against CONTRACT.md, and its conversions exact."""

from __future__ import annotations

import functools
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.units import UNITS, conversion, suggest_unit
from device_profiles.vocabulary import vocabulary

PINT = {
    "[HP]": "horsepower", "V.A{reactive}": "V*A", "kV.A{reactive}": "kV*A", "MV.A{reactive}": "MV*A", "V.A": "V*A",
    "kV.A": "kV*A", "MV.A": "MV*A", "W.h": "W*hour", "kW.h": "kW*hour", "MW.h": "MW*hour", "GW.h": "GW*hour",
    "V.A.h{reactive}": "V*A*hour", "kV.A.h{reactive}": "kV*A*hour", "MV.A.h{reactive}": "MV*A*hour", "V.A.h": "V*A*hour",
    "kV.A.h": "kV*A*hour", "MV.A.h": "MV*A*hour", "[Btu_IT]": "Btu", "A.h": "A*hour", "Cel": "degC", "K": "kelvin",
    "[degF]": "degF", "K{difference}": "delta_degC", "[degF]{difference}": "delta_degF", "[psi]": "psi",
    "[in_i'H2O]": "inch_H2O_4C", "[in_i'Hg]": "inch_Hg_32F", "m3": "m^3", "L": "liter", "[cft_i]": "foot^3",
    "[gal_us]": "gallon", "m3/h": "m^3/hour", "m3/s": "m^3/s", "L/s": "liter/s", "L/min": "liter/minute",
    "L/h": "liter/hour", "[ft_i]3/min": "foot^3/minute", "[gal_us]/min": "gallon/minute", "kg/h": "kg/hour",
    "[gal_us]/h": "gallon/hour", "J/h": "J/hour", "kJ/h": "kJ/hour", "MJ/h": "MJ/hour", "GJ/h": "GJ/hour", "Mcal_th": "4184*kJ",
    "[ppm]": "ppm", "[ppb]": "ppm/1000", "ug/m3": "microgram/m^3", "mg/m3": "milligram/m^3",
    "W/m2": "W/m^2", "/min": "1/minute", "/s": "1/s", "N.m": "N*m", "km/h": "km/hour", "min": "minute", "h": "hour", "d": "day",
    "%": "percent", "1": "dimensionless", "dB[SPL]": "dimensionless", "deg": "degree", "Ohm": "ohm", "kOhm": "kohm",
    "MOhm": "Mohm", "lx": "lux", "klx": "kilolux", "[Btu_IT]/h": "Btu/hour", "k[Btu_IT]/h": "1000*Btu/hour",
    "12.k[Btu_IT]/h": "ton_of_refrigeration", "mm[H2O]": "9.80665*pascal", "m3/min": "m^3/minute",
    "[cft_i]/h": "foot^3/hour", "lm/[ft_i]2": "lumen/foot^2", "[ft_i]/min": "foot/minute", "[mi_i]/h": "mile/hour",
    "[ft_i]": "foot", "[in_i]": "inch", "By": "byte", "MBy": "megabyte", "GBy": "gigabyte",
}  # fmt: skip
"""UCUM codes that pint writes differently."""
MEASURED = {"[HP]", "[Btu_IT]", "[Btu_IT]/h", "k[Btu_IT]/h", "12.k[Btu_IT]/h", "[psi]", "[in_i'H2O]", "[in_i'Hg]"}
"""UCUM defines them with fewer digits, or by a column of water at another temperature, than pint."""


@functools.cache
def registry() -> Any:
    """Pint's units: half a second to make, for the process that runs these tests only."""
    import pint

    return pint.UnitRegistry(non_int_type=Fraction, autoconvert_offset_to_baseunit=True)


def pint_base(code: str) -> tuple[Fraction, Fraction]:
    """(factor, zero) of a unit in pint's base units: (value + zero) * factor."""
    text = PINT.get(code, code)
    if code in ("Cel", "[degF]"):
        at_zero = registry().Quantity(Fraction(0), text).to("kelvin").magnitude
        at_one = registry().Quantity(Fraction(1), text).to("kelvin").magnitude
        return Fraction(at_one - at_zero), Fraction(at_zero) / Fraction(at_one - at_zero)
    return Fraction(registry().parse_expression(text).to_base_units().magnitude), Fraction(0)


@pytest.mark.parametrize("code", sorted(set(UNITS) - {"dB[SPL]"}))
def test_factors_agree_with_pint(code: str) -> None:
    unit = UNITS[code]
    base = next(other for other in UNITS.values() if other.kind == unit.kind)
    ours = unit.factor / base.factor
    (factor, zero), (base_factor, _) = pint_base(code), pint_base(base.code)
    theirs = factor / base_factor
    if code in MEASURED:
        assert float(ours) == pytest.approx(float(theirs), rel=5e-5)
    else:
        assert float(ours) == pytest.approx(float(theirs), rel=1e-15)
    if unit.kind == "temperature":
        assert float(unit.zero) == pytest.approx(float(zero), rel=1e-12)


def test_kinds_are_dimensions() -> None:
    """Units of one kind convert in pint; ppm and % are told apart by us although pint does not."""
    for unit in UNITS.values():
        base = next(other for other in UNITS.values() if other.kind == unit.kind)
        one, other = (registry().parse_expression(PINT.get(code, code)) for code in (unit.code, base.code))
        assert getattr(one, "dimensionality", {}) == getattr(other, "dimensionality", {}), unit.code


CONTRACT = {
    "Cel": (4408652, 62), "[degF]": (None, 64), "kW.h": (4937544, 19), "kW": (4937556, 48), "kV.A{reactive}": (4937298, 12),
    "kV.A": (4937281, 9), "%": (20529, 98), "Pa": (5259596, 53), "kPa": (4935745, 54), "[ppm]": (13625, 96),
    "m3/h": (5067080, 135), "L/s": (4666673, 87), "[ft_i]3/min": (None, 84), "V": (5655636, 5), "A": (4279632, 3),
    "Hz": (4740186, 27), "lx": (5002584, 37), "1": (4404786, 95),
}  # fmt: skip


@pytest.mark.parametrize("code", CONTRACT)
def test_identities_are_those_of_the_contract(code: str) -> None:
    opcua_id, bacnet = CONTRACT[code]
    assert opcua_id is None or UNITS[code].opcua_id == opcua_id
    assert UNITS[code].bacnet[0] == bacnet


def test_identities_are_not_given_twice() -> None:
    numbers = [number for unit in UNITS.values() for number in unit.bacnet]
    assert len(numbers) == len(set(numbers))


def test_conversions_are_exact_in_both_directions() -> None:
    assert conversion("W.h", "kW.h").apply(Decimal(81231504)) == Decimal("81231.504")
    assert conversion("[degF]", "Cel").apply(Decimal("45.5")) == Decimal("7.5")
    assert conversion("[degF]", "Cel").undo(Decimal("7.5")) == Decimal("45.5")
    assert conversion("K", "Cel").apply(Decimal("273.15")) == 0
    assert conversion("GJ", "kW.h").apply(Decimal("0.36")) == 100
    assert conversion("V", "V").is_identity
    with pytest.raises(ValueError, match="kW is power, V is voltage"):
        conversion("kW", "V")
    with pytest.raises(ValueError, match="undo"):
        conversion("Cel", "[degF]")
    with pytest.raises(KeyError):
        conversion("kw", "kW")


@given(st.sampled_from(sorted(UNITS)), st.decimals(-(10**9), 10**9, places=4))
def test_to_the_vocabularys_unit_and_back(code: str, value: Decimal) -> None:
    for quantity in vocabulary().quantities.values():
        if UNITS[quantity.unit].kind == UNITS[code].kind:
            there = conversion(code, quantity.unit)
            assert abs(there.undo(there.apply(value)) - value) <= abs(value) * Decimal("1e-20") + Decimal("1e-20")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("kw", "kW"), ("kWh", "kW.h"), ("°C", "Cel"), ("KVAR", "kV.A{reactive}"), ("hz", "Hz"), ("zz", None)],
)
def test_suggests_what_was_meant(written: str, meant: str | None) -> None:
    assert suggest_unit(written) == meant
