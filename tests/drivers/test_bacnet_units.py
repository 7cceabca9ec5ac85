"""Engineering units against bacpypes3's own enumeration of them."""

from __future__ import annotations

import pytest

from device_profiles.units import UNITS
from drivers.bacnet import units


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("degrees-celsius", "Cel"), ("degrees-fahrenheit", "[degF]"), ("delta-degrees-kelvin", "K{difference}"),
        ("kilowatt-hours", "kW.h"), ("kilowatts", "kW"), ("kilovolt-amperes-reactive", "kV.A{reactive}"),
        ("percent", "%"), ("percent-relative-humidity", "%"), ("pascals", "Pa"), ("kilopascals", "kPa"),
        ("inches-of-water", "[in_i'H2O]"), ("parts-per-million", "[ppm]"), ("cubic-feet-per-minute", "[ft_i]3/min"),
        ("cubic-meters-per-hour", "m3/h"), ("liters-per-second", "L/s"), ("us-gallons-per-minute", "[gal_us]/min"),
        ("volts", "V"), ("amperes", "A"), ("hertz", "Hz"), ("luxes", "lx"), ("no-units", "1"),
        ("revolutions-per-minute", "/min"), ("hours", "h"), ("watt-hours-reactive", "V.A.h{reactive}"),
        ("pounds-force-per-square-inch", "[psi]"), ("horsepower", "[HP]"),
    ],
)  # fmt: skip
def test_units_by_the_name_of_the_standard(name: str, code: str) -> None:
    from bacpypes3.basetypes import EngineeringUnits

    assert units.ucum(int(EngineeringUnits(name))) == code


def test_both_ways_for_every_unit_that_has_a_number() -> None:
    for code, unit in UNITS.items():
        number = units.bacnet(code)
        assert (number is None) == (not unit.bacnet)
        if number is not None:
            assert units.ucum(number) == code


@pytest.mark.parametrize("number", [105, 252, 255, 256, 65535, -1])
def test_what_has_no_code_is_none(number: int) -> None:
    assert units.ucum(number) is None
