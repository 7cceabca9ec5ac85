"""What may be written, and the raw value it becomes: the exact way back of the converter."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.control import Input
from device_profiles.errors import CommandRefused
from device_profiles.schema import Point
from edge_agent.commands import limits
from edge_agent.conversion import Converter


def point(point_id: str = "x_level", **keys: Any) -> Point:
    return Point.model_validate({"id": point_id, "reg": 0, "access": "rw", **keys})


def encode(made: Point, value: Any, **params: Any) -> limits.Wanted:
    return limits.encode(made, value, Converter(made, limits.ratios(params)))


def code_of(made: Point, value: Any) -> str:
    with pytest.raises(CommandRefused) as caught:
        encode(made, value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("keys", "value", "raw"),
    [
        ({"type": "u16", "scale": "0.1"}, 21.5, 215),
        ({"type": "s16", "scale": "0.1"}, -0.1, -1),
        ({"type": "s16", "scale": "0.1", "offset": "-50"}, 21.5, 715),
        ({"type": "u32", "scale": "0.001"}, 4294967.295, 4294967295),
        ({"type": "sm16"}, -32767, -32767),
        ({"type": "bcd16"}, 9999, 9999),
        ({"type": "f32"}, 21.3, 21.299999237060547),
        ({"type": "f64"}, 21.3, 21.3),
        ({"type": "u16", "bits": "4..7"}, 15, 15),
    ],
)
def test_raw_is_the_exact_inverse(keys: dict[str, Any], value: float, raw: float) -> None:
    made = point(**keys)
    wanted = encode(made, value)
    assert wanted.raw == raw
    assert Converter(made, {}).value(wanted.raw)[0] == wanted.value == value


@given(raw=st.integers(0, 65535), places=st.integers(0, 3), offset=st.integers(-100, 100))
def test_what_the_converter_reads_is_written_back_as_it_was(raw: int, places: int, offset: int) -> None:
    made = point(type="u16", scale=f"1e-{places}", offset=str(offset))
    value, _ = Converter(made, {}).value(raw)
    assert encode(made, value).raw == raw


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        ({"type": "u16", "scale": "0.5"}, 21.3, "step is 0.5"),
        ({"type": "u16"}, 65536, "holds 0 to 65535"),
        ({"type": "u16"}, -1, "holds 0 to 65535"),
        ({"type": "bcd16"}, 10000, "holds 0 to 9999"),
        ({"type": "u16", "bits": 3}, 2, "holds 0 to 1"),
        ({"type": "f32"}, 1e39, "too large"),
        ({"type": "u16"}, float("nan"), "no number"),
        ({"type": "u16"}, True, "no number"),
        ({"type": "u16"}, "much", "no number"),
        ({"type": "u16", "invalid": [65535]}, 65535, "no value"),
        ({"type": "u16", "min": 10, "max": 30}, 31, "outside 10 to 30"),
        ({"type": "u16", "max": 30, "write": {"max": 25}}, 26, "outside - to 25"),
        ({"type": "bool", "table": "coil"}, 2, "neither on nor off"),
        ({"labels": {1: "off", 2: "heat"}}, 3, "there are 1 off, 2 heat"),
        ({"labels": {1: "off", 2: "heat"}}, math.inf, "no ordinal"),
        ({"labels": {1: "off", 2: "heat"}}, math.nan, "no ordinal"),
        ({"labels": {1: "off", 2: "heat"}}, "heta", "did you mean 'heat'"),
    ],
)
def test_what_cannot_be_written_is_refused_with_the_reason(keys: dict[str, Any], value: Any, said: str) -> None:
    assert said in code_of(point(**keys), value)


def test_labels_and_words() -> None:
    mode = point(labels={1: "off", 2: "Heat"})
    assert (encode(mode, "heat").raw, encode(mode, 1).label) == (2, "off")
    coil = point(type="bool", table="coil", labels={0: "stop", 1: "run"})
    assert [encode(coil, word).raw for word in ("run", "OFF", True, 0)] == [True, False, True, False]


def test_a_device_that_keeps_another_unit_gets_its_nearest_step() -> None:
    made = limits.on_device(
        point("supply_air_temperature", type="s16", scale="0.1"), {"units": {"supply_air_temperature": "[degF]"}}
    )
    wanted = encode(made, 21.6)  # 70.88 degF
    assert wanted.raw == 709
    assert wanted.value == pytest.approx(21.611, abs=1e-3)


def test_a_step_needs_the_present_value() -> None:
    made = point(type="u16", write={"step": 2})
    wanted = encode(made, 10)
    limits.check_step(made, wanted, 12)
    for before in (13, None):
        with pytest.raises(CommandRefused):
            limits.check_step(made, wanted, before)


def test_holds_and_priorities() -> None:
    made = point(write={"hold_max": 3600, "priority": 12})
    assert limits.check_hold(made, 60) == 60
    for hold_s in (None, 0, -1, 3601, float("nan"), True):
        with pytest.raises(CommandRefused):
            limits.check_hold(made, hold_s)
    assert limits.check_priority(made, None) == 12
    assert limits.check_priority(made, 13) == 13
    for priority in (1, 7, 11, 17, 12.0, True):
        with pytest.raises(CommandRefused):
            limits.check_priority(made, priority)
    with pytest.raises(CommandRefused, match="pulse"):
        limits.check_hold(point(write={"idempotent": False}), 60)


def test_arguments_of_an_operation() -> None:
    inputs = {"level": Input(min=0, max=100), "fast": Input(type="bool", default=False)}
    assert limits.arguments(inputs, {"level": 50}, where="x") == {"level": 50, "fast": False}
    for given_ in ({}, {"level": 101}, {"level": "x"}, {"level": True}, {"level": 1, "more": 2}):
        with pytest.raises(CommandRefused):
            limits.arguments(inputs, given_, where="x")
