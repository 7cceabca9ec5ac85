"""A value is the float nearest to the exact decimal, by the long way and by the short one."""

import math
import struct
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.schema import Point
from edge_agent.conversion import (
    CLOSED,
    NO_VALUE,
    OUTSIDE,
    ROUND,
    UNKNOWN_SCALE,
    Converter,
    published_unit,
    scale_factor,
)
from tests.edge_agent.poll_world import point

BITS = {"u16": (0, 2**16 - 1), "s16": (-(2**15), 2**15 - 1), "u32": (0, 2**32 - 1), "s32": (-(2**31), 2**31 - 1)}
float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)
scales = st.one_of(
    st.integers(-9, 6).map(lambda power: f"1e{power}"), st.decimals("0.0001", "1000", places=4).filter(bool).map(str)
)


def converter(described: Point, **params: str) -> Converter:
    return Converter(described, {name: Decimal(text) for name, text in params.items()})


def value(described: Point, raw: Any, **params: str) -> Any:
    return converter(described, **params).value(raw)


def in_lane(lane: Any, raw: float) -> float:
    return ((raw * lane.mul + ROUND) - ROUND) / lane.div


def nearest(exact: Decimal) -> float:
    return float(exact)


@pytest.mark.parametrize(
    ("keys", "raw", "expected"),
    [
        ({"type": "u32", "scale": "0.01"}, 8123150, 81231.5),
        ({"type": "u32", "scale": "0.01"}, 8123149, 81231.49),
        ({"type": "u16", "scale": "0.1"}, 3, 0.3),
        ({"type": "s16", "scale": "0.001"}, -1, -0.001),
        ({"type": "u16", "scale": "0.36"}, 7, 2.52),
        ({"type": "u64", "scale": "0.001"}, 2**63 + 1, 9223372036854775.809),
        ({"type": "u16", "scale": "10"}, 6553, 65530.0),
        ({"type": "s16", "scale": "0.1", "offset": "-40"}, 405, 0.5),
        ({"type": "f32"}, struct.unpack(">f", struct.pack(">f", 229.8))[0], 229.8),
        ({"type": "f32", "scale": "0.1"}, 2298.0, 229.8),
        ({"type": "f32", "scale": "1000"}, struct.unpack(">f", struct.pack(">f", 1.234567))[0], 1234.567),
        ({"type": "f64", "scale": "0.001"}, 81231500.7, 81231.5007),
        ({"type": "bcd32", "scale": "0.01"}, 12345678, 123456.78),
    ],
)
def test_scales_are_decimals(keys: dict[str, Any], raw: float, expected: float) -> None:
    assert value(point("x_value", **keys), raw) == (expected, "")


@given(kind=st.sampled_from(sorted(BITS)), scale=scales, data=st.data())
def test_whole_numbers_are_scaled_exactly_both_ways(kind: str, scale: str, data: st.DataObject) -> None:
    raw = data.draw(st.integers(*BITS[kind]))
    made = converter(point("x_value", type=kind, scale=scale))
    expected = nearest(Decimal(raw) * Decimal(scale))
    assert made.value(raw) == (expected, "")
    lane = made.lane(raw)
    if lane.low <= raw <= lane.high:
        assert in_lane(lane, raw) == expected
    assert lane.low <= raw <= lane.high or abs(raw * Fraction(scale).numerator) >= 2**51 - 2**32


@given(raw=float32s, scale=st.integers(-6, 6).map(lambda power: f"1e{power}"), offset=st.sampled_from([None, "0.5"]))
def test_a_float32_has_seven_digits_both_ways(raw: float, scale: str, offset: str | None) -> None:
    made = converter(point("x_value", type="f32", scale=scale, offset=offset))
    number, status = made.value(raw)
    exact = Decimal(f"{raw:.7g}") * Decimal(scale) + Decimal(offset or 0)
    assert status == ""
    assert number == (nearest(exact) if offset is None else float(f"{float(exact):.7g}"))
    lane = made.lane(raw)
    if lane.low <= raw <= lane.high:
        assert in_lane(lane, raw) == number


@given(
    first=float32s,
    second=float32s,
    low=st.floats(-1e6, 0),
    high=st.floats(0, 1e6),
    invalid=st.lists(float32s, max_size=2),
)
def test_whatever_passes_a_lane_is_what_the_long_way_says(
    first: float, second: float, low: float, high: float, invalid: list[float]
) -> None:
    made = converter(point("x_value", type="f32", scale="0.1", min=low, max=high, invalid=invalid))
    lane = made.lane(first) if made.value(first)[1] == "" else CLOSED
    for raw in (first, second, lane.low, lane.high):
        if lane.low <= raw <= lane.high and math.isfinite(raw):
            as_float32 = struct.unpack(">f", struct.pack(">f", raw))[0]
            if lane.low <= as_float32 <= lane.high:
                assert made.value(as_float32) == (in_lane(lane, as_float32), "")


@given(raw=st.integers(0, 65535), other=st.integers(0, 65535), low=st.integers(0, 600), invalid=st.integers(0, 65535))
def test_a_lane_of_whole_numbers_leaves_out_limits_and_sentinels(raw: int, other: int, low: int, invalid: int) -> None:
    made = converter(
        point("x_value", type="u16", scale="0.01", min=low, invalid=[invalid, {"low": 60000, "high": 65535}])
    )
    if made.value(raw)[1] == "":
        lane = made.lane(raw)
        assert lane.low <= raw <= lane.high
        if lane.low <= other <= lane.high:
            assert made.value(other) == (in_lane(lane, other), "")


@pytest.mark.parametrize("raw", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_value(raw: float) -> None:
    assert value(point("x_value", type="f32"), raw) == (None, NO_VALUE)


@pytest.mark.parametrize("raw", [0xFFFF, 0x8000, 40001])
def test_sentinels_are_no_values(raw: int) -> None:
    described = point("x_value", type="u16", invalid=[0xFFFF, {"value": 0x8000}, {"low": 40000, "high": 40010}])
    assert value(described, raw) == (None, NO_VALUE)
    assert value(described, 39999) == (39999.0, "")


@pytest.mark.parametrize(("raw", "status"), [(-1, OUTSIDE), (0, ""), (300, ""), (301, OUTSIDE)])
def test_limits_keep_the_value_and_say_so(raw: int, status: str) -> None:
    assert value(point("x_value", type="s16", min=0, max=300), raw) == (float(raw), status)


def test_an_ordinal_without_a_label_is_uncertain() -> None:
    described = point("x_mode", type="u16", labels={1: "off", 2: "heat"})
    assert value(described, 2) == (2, "")
    assert value(described, 7) == (7, OUTSIDE)


def test_bits_of_a_register_are_booleans_where_the_vocabulary_says_so() -> None:
    assert value(point("running", type="u16", bits=3), 1) == (True, "")
    assert value(point("x_flag", type="bool", bits=3), False) == (False, "")


def test_text_leaves_without_control_characters() -> None:
    text, status = value(point("x_text", type="str", length=8), "M\x1b[2J1")
    assert status == ""
    assert str(text).isprintable()


@pytest.mark.parametrize(
    ("point_id", "unit", "raw", "expected", "published"),
    [
        ("power_active", "W", 1234567, 1234.567, "kW"),
        ("energy_active_import", "W.h", 81231507, 81231.507, "kW.h"),
        ("zone_temperature", "[degF]", 50, 10.0, "Cel"),
        ("power_active", "kW", 12, 12.0, "kW"),
        ("x_own", "bar", 3, 3.0, "bar"),
    ],
)
def test_the_vocabularys_unit_is_what_leaves(
    point_id: str, unit: str, raw: int, expected: float, published: str
) -> None:
    described = point(point_id, type="s32", unit=unit)
    assert value(described, raw) == (expected, "")
    assert published_unit(described) == published


def test_ratios_multiply_and_are_waited_for() -> None:
    described = point("x_power", type="s16", scale="0.001", ratio=["ct", "pt"])
    assert value(described, 1234, ct="40", pt="1.1") == (54.296, "")
    assert value(described, 1234, ct="40") == (None, UNKNOWN_SCALE)


@pytest.mark.parametrize(("raw", "expected"), [(-2, Decimal("0.01")), (0xFFFE, Decimal("0.01")), (3, 1000), (0, 1)])
def test_sunspec_scale_factors(raw: int, expected: Decimal | int) -> None:
    described = point("x_w", type="s16", scale_from={"point": "x_w_sf"})
    factor = scale_factor(described, raw)
    assert factor == expected
    made = converter(described)
    assert made.value(5) == (None, UNKNOWN_SCALE)
    made.rescale({}, factor)
    assert made.value(5) == (nearest(5 * Decimal(expected)), "")


@pytest.mark.parametrize("raw", [-0x8000, 0x8000, 11, -11, math.nan, "x"])
def test_scale_factors_that_are_none(raw: Any) -> None:
    assert scale_factor(point("x_w", scale_from={"point": "x_w_sf"}), raw) is None
