"""What a profile may say of points that are asked for over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from device_profiles.rules import broken_rules
from device_profiles.schema import Http, Point, Profile


def broken(*points: dict[str, Any], call: dict[str, Any] | None = None) -> list[str]:
    profile = Profile.model_validate(
        {
            "profile": "p", "version": 1, "class": "door", "system": "passage", "products": ["x"], "protocol": "rest",
            "points": list(points), "source": {"title": "t"},
            "operations": [] if call is None else [{"id": "open", "op": "gate.open", "call": call}],
        }
    )  # fmt: skip
    return [f"{'.'.join(map(str, rule.path))} {rule.what}" for rule in broken_rules(profile)]


def test_what_holds() -> None:
    good = {"id": "door_open", "get": "/x", "pick": "a/b[c=1]/0", "type": "bool"}
    assert broken(good, {"id": "model_text", "get": "/x", "pick": "m"}) == []
    assert broken({"id": "door_open", "type": "bool", "reg": 1, "table": "coil"}) == [
        "points.0 door_open has no HTTP address"
    ]
    assert broken({**good, "access": "rw"}) == ["points.0.access points over HTTP are only read"]
    text = {"id": "stream_address_text", "get": "/x", "shown": "rtsp://{host}", "type": "f64"}
    assert any("is a f64, and shown a text" in each for each in broken(text))


def test_calls() -> None:
    assert broken(call={"put": "/x", "check": {"get": "/y", "pick": "a", "equals": [1, "b"]}}) == []
    wrong = "operations.0.call "
    assert broken(call={"body": "x"}) == [wrong + "call: a call has one of get, put, post and delete"]
    assert broken(call={"put": "/x", "check": {"pick": "a", "equals": 1}}) == [
        wrong + "check: a check has either get, or post"
    ]
    assert broken(call={"snapshot": "/x"}) == [wrong + "snapshot: Extra inputs are not permitted"], "isapi only"


@pytest.mark.parametrize(
    ("address", "wrong"),
    [
        ({"get": "x"}, "pattern"), ({"get": "/x", "post": "/x"}, "either get, or post"), ({}, "either get, or post"),
        ({"get": "/x", "body": "b"}, "body goes with post"), ({"get": "/x", "pick": "a//b"}, "no step"),
        ({"get": "/x", "pick": "a[b]"}, "no step"),
        ({"get": "/x", "pick": "a", "clock": True, "counted": True}, "only one holds"),
        ({"get": "/x y"}, "pattern"), ({"get": "/x", "other": 1}, "Extra inputs"),
    ],
)  # fmt: skip
def test_addresses_that_are_none(address: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        Http.model_validate(address)


def test_the_types_that_points_take() -> None:
    profile = {
        "protocol": "rest",
        "profile": "p",
        "version": 1,
        "class": "door",
        "system": "passage",
        "products": ["x"],
    }
    points = [
        {"id": "model_text", "get": "/x"}, {"id": "door_mode", "get": "/x", "labels": {1: "a"}},
        {"id": "cards_stored", "get": "/x"},
    ]  # fmt: skip
    found = Profile.model_validate({**profile, "points": points, "source": {"title": "t"}})
    assert [point.type for point in found.points] == ["str", "s32", "f64"]
    assert isinstance(found.points[0], Point)
    assert found.points[0].address.reference == "/x"  # type: ignore[union-attr]
