"""BACnet and OPC UA addresses in a profile, and the words of BACnet."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from device_profiles.bacnet import ABBREVIATIONS, OBJECT_TYPES, VALUE_TYPES, object_number, parse_object
from device_profiles.resolve import prefixed, shifted
from device_profiles.schema import Bacnet, OpcUa, Point, Profile


@pytest.mark.parametrize(
    ("text", "kind", "instance", "number"),
    [
        ("analog-input:3", "analog-input", 3, 0),
        ("AI:3", "analog-input", 3, 0),
        ("msv,12", "multi-state-value", 12, 19),
        ("0:7", "analog-input", 7, 0),
        ("130:0", "130", 0, 130),
        ("BV:4194302", "binary-value", 4194302, 5),
    ],
)
def test_an_object_is_written_in_many_ways(text: str, kind: str, instance: int, number: int) -> None:
    assert parse_object(text) == (kind, instance)
    assert object_number(kind) == number


@pytest.mark.parametrize(
    "text", ["", "AI", "AI:", "AI:-1", "XY:1", "AI:4194303", "1024:1", "analog-input:1.5", "AI:1:2"]
)
def test_what_is_no_object(text: str) -> None:
    with pytest.raises(ValueError, match=r"BACnet|above|within"):
        parse_object(text)


def test_the_tables_speak_of_the_same_objects() -> None:
    assert set(ABBREVIATIONS.values()) | set(VALUE_TYPES) <= set(OBJECT_TYPES)
    assert len(set(OBJECT_TYPES.values())) == len(OBJECT_TYPES)


def profile(protocol: str, *points: dict[str, Any], **more: Any) -> Profile:
    return Profile.model_validate(
        {
            "profile": "p", "version": 1, "class": "ahu", "system": "ba", "products": [], "protocol": protocol,
            "points": list(points), "source": {"title": "made for this test"}, **more,
        }
    )  # fmt: skip


def test_a_bacnet_point_has_the_type_of_its_object() -> None:
    points = profile(
        "bacnet",
        {"id": "supply_air_temperature", "object": "AI:1"},
        {"id": "running", "object": "BI:1"},
        {"id": "mode", "object": "MSV:2", "labels": {1: "off"}},
        {"id": "model_text", "object": "csv:1"},
        {"id": "x_named", "address": {"name": "{prefix}.DA-T"}},
        {"id": "x_prop", "address": {"object": "AV:3", "property": "relinquish-default"}},
    ).points
    assert [point.type for point in points] == ["f32", "bool", "u32", "str", "f32", "f32"]
    assert [point.address.reference for point in points if not isinstance(point.address, dict)] == [
        "analog-input:1",
        "binary-input:1",
        "multi-state-value:2",
        "characterstring-value:1",
        '"{prefix}.DA-T"',
        "analog-value:3 relinquish-default",
    ]


def test_equal_devices_on_one_controller() -> None:
    point = profile("bacnet", {"id": "x_a", "object": "AI:10"}).points[0]
    assert shifted(point, 100).address == Bacnet(object="AI:110")
    named = profile("bacnet", {"id": "x_a", "address": {"name": "{prefix}.DA-T"}}).points
    assert prefixed(named, "AHU-1")[0].address == Bacnet(name="AHU-1.DA-T")
    nodes = profile("opcua", {"id": "x_a", "node": "s={prefix}.T", "address": {"namespace": "urn:plant"}}).points
    assert prefixed(nodes, "CH1")[0].address == OpcUa(node="s=CH1.T", namespace="urn:plant")
    assert prefixed(nodes, None) == nodes


@pytest.mark.parametrize(
    "address",
    [
        {"object": "AI:1", "name": "x"},
        {"property": "units"},
        {"object": "XX:1"},
        {"object": "AI:1", "property": "Present Value"},
        {"object": "AI:1", "index": -1},
        {"node": "i=1", "path": "a"},
        {"namespace": "urn:x"},
    ],
)
def test_what_is_no_address(address: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Point.model_validate({"id": "x_a", "address": address})


def test_write_needs_access() -> None:
    with pytest.raises(ValidationError, match="add access: rw"):
        Point.model_validate({"id": "x_a", "object": "AV:1", "write": {"priority": 13}})
    with pytest.raises(ValidationError, match="priority"):
        Point.model_validate({"id": "x_a", "object": "AV:1", "access": "rw", "write": {"priority": 7}})
