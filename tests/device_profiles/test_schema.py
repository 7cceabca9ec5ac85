"""What must agree inside one model of a profile, and what a point says of itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from device_profiles.address import Dlt645, Modbus, Virtual
from device_profiles.schema import Instances, Invalid, Option, Point, Profile


@pytest.mark.parametrize(
    ("written", "registers"),
    [
        ("u16", 1),
        ("sm16", 1),
        ("bcd16", 1),
        ("f32", 2),
        ("sm32", 2),
        ("bcd32", 2),
        ("u64", 4),
        ("f64", 4),
        ("bcd64", 4),
    ],
)
def test_registers_of_each_type(written: str, registers: int) -> None:
    assert Point(id="a", reg=0, type=written).registers == registers


def test_text_takes_its_length() -> None:
    assert Point(id="a", reg=0, type="str", length=8).registers == 8


@pytest.mark.parametrize(
    ("bits", "expected"), [(None, None), (0, (0, 0)), (15, (15, 15)), ("4..7", (4, 7)), ("0..15", (0, 15))]
)
def test_bit_ranges(bits: int | str | None, expected: tuple[int, int] | None) -> None:
    assert Point(id="a", reg=0, bits=bits).bit_range == expected


@pytest.mark.parametrize("bits", ["", "4", "7..4", "-1..3", "4-7", "0..16", 16, -1, "a..b"])
def test_bits_that_are_not_there(bits: int | str) -> None:
    with pytest.raises(ValidationError):
        Point(id="a", reg=0, bits=bits)


def test_short_and_long_addresses_are_the_same() -> None:
    assert Point(id="a", reg=5, table="input").address == Modbus(table="input", reg=5)
    assert Point(id="a", address={"table": "input", "reg": 5}).address == Modbus(table="input", reg=5)
    assert Point(id="a", model=[101, 103], at=14).address == Modbus(model=(101, 103), offset=14)
    assert Point(id="a", address={"plus": ["m-1/power_active"]}).address == Virtual(plus=("m-1/power_active",))
    assert Point(id="a", di=0x00010000, format="XX.XX").address == Dlt645(di=0x10000, format="XX.XX")
    assert Point(id="a", address={"tag": "00010000"}).address == {"tag": "00010000"}
    with pytest.raises(ValidationError):
        Point(id="a", reg=5, address={"reg": 6})


def test_decimals_are_what_was_written() -> None:
    assert Point(id="a", reg=0, scale=0.1).scale == Decimal("0.1")
    assert Point(id="a", reg=0, scale="0.006103515625").scale == Decimal("0.006103515625")
    for scale in ("nan", "inf", 0):
        with pytest.raises(ValidationError):
            Point(id="a", reg=0, scale=scale)


@pytest.mark.parametrize(
    "written", [{}, {"low": 1}, {"high": 1}, {"value": 1, "low": 1, "high": 2}, {"low": 2, "high": 1}, {"values": [1]}]
)
def test_an_invalid_is_a_value_or_a_range(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Invalid(**written)


@pytest.mark.parametrize(
    "both",
    [
        {"scale": 1},
        {"scale_from": {"point": "sf"}},
        {"reg": 1},
        {"type": "str", "length": 2},
        {"type": "f32"},
        {"type": "bool"},
        {"bits": 3},
        {"invalid": [0xFFFF]},
    ],
)
def test_parts_go_alone(both: dict[str, Any]) -> None:
    Point(id="a", parts=[{"reg": 0, "scale": 10000}, {"reg": 1, "scale": 1}], address={"table": "holding"})
    with pytest.raises(ValidationError):
        Point(**({"id": "a", "parts": [{"reg": 0, "scale": 1}], "address": {"table": "holding"}} | both))


def test_an_option_has_its_default() -> None:
    assert Option(values=("a", "b"), default="b").default == "b"
    with pytest.raises(ValidationError):
        Option(values=("a", "b"), default="c")
    with pytest.raises(ValidationError):
        Option(values=(), default="")


@pytest.mark.parametrize("pattern", ["{device}-{n}", "c{n}", "{device}_ch{n}"])
def test_ids_of_instances_are_no_expressions(pattern: str) -> None:
    assert Instances(count=2, stride=8, id=pattern).id == pattern
    for bad in (f"{pattern}{{x}}", "{device.__class__}", "{n!r}", "{n:>5}", "A{n}", ""):
        with pytest.raises(ValidationError):
            Instances(count=2, stride=8, id=bad)


def test_a_profile_never_changes_after_loading() -> None:
    point = Point(id="a", reg=0)
    with pytest.raises(ValidationError):
        point.id = "b"  # type: ignore[misc]


def test_points_take_what_the_profile_says_for_all() -> None:
    profile = Profile.model_validate(
        {
            "profile": "m", "version": 1, "class": "vfd", "system": "energy", "products": [], "protocol": "modbus",
            "table": "input", "type": "f32", "word_order": "CDAB", "source": {"title": "t"},
            "points": [
                {"id": "a", "reg": 1},
                {"id": "b", "reg": 2, "type": "u16", "table": "holding"},
                {"id": "c", "reg": 3, "table": "coil"},
            ],
        }
    )  # fmt: skip
    first, second, third = profile.points
    assert (first.type, first.word_order, first.address) == ("f32", "CDAB", Modbus(table="input", reg=1))
    assert (second.type, second.address) == ("u16", Modbus(table="holding", reg=2))
    assert (third.type, third.address) == ("bool", Modbus(table="coil", reg=3))
    with pytest.raises(KeyError):
        profile.point("d")


def test_bits_where_nobody_takes_them_out_are_refused() -> None:
    with pytest.raises(ValidationError, match="leave them out here"):
        Point.model_validate({"id": "a", "address": {"object": "AI:1"}, "type": "u16", "bits": 2})
