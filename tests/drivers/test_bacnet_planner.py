"""BACnet plans: requests whose answers fit the device, objects together, flags beside values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.bacnet import planner
from drivers.bacnet.codec import Ref


def av(instance: int, kind: str = "f32") -> Point:
    return Point.model_validate({"id": f"av{instance}", "object": f"AV:{instance}", "type": kind})


def named(name: str) -> Point:
    return Point.model_validate({"id": "named", "address": {"name": name}, "type": "f32"})


def refs(*batches: Any) -> list[list[Ref]]:
    return [list(batch.plan.refs) for batch in batches]


def test_present_values_come_with_their_flags_once_an_object() -> None:
    slot = Point.model_validate(
        {"id": "slot", "address": {"object": "AV:1", "property": "priority-array", "index": 8}, "type": "f32"}
    )
    [batch] = planner.plan([av(2), av(1), slot], {"max_apdu": 1476})
    assert refs(batch) == [[Ref(2, 1, 85), Ref(2, 1, 111), Ref(2, 1, 87, 8), Ref(2, 2, 85), Ref(2, 2, 111)]]
    assert batch.points == ("av1", "slot", "av2")


def test_one_value_without_flags_is_a_read_property() -> None:
    [batch] = planner.plan([av(1)], {"no_flags": ["2:1"]})
    assert batch.plan.service == 12
    assert batch.plan.payload.hex() == "0c008000011955"


@pytest.mark.parametrize(
    ("layout", "most"), [({"max_apdu": 50}, 2), ({"max_apdu": 480}, 19), ({"max_apdu": 1476, "octets": 480}, 19)]
)
def test_a_batch_fits_the_answer_of_the_device(layout: dict[str, Any], most: int) -> None:
    batches = planner.plan([av(at) for at in range(60)], layout)
    assert max(len(batch.points) for batch in batches) <= most
    assert min(len(batch.points) for batch in batches[:-1]) >= most - 3


@given(st.lists(st.integers(0, 300), unique=True, max_size=80), st.integers(50, 1476), st.booleans())
def test_every_point_is_in_one_batch_and_no_answer_is_longer_than_the_limit(
    instances: list[int], limit: int, has_flags: bool
) -> None:
    layout = {"max_apdu": limit, "no_flags": [] if has_flags else [f"2:{at}" for at in range(301)]}
    batches = planner.plan([av(at) for at in instances], layout)
    assert sorted(name for batch in batches for name in batch.points) == sorted(f"av{at}" for at in instances)
    for batch in batches:
        objects = {ref[:2] for ref in batch.plan.refs}
        octets = 3 + 7 * len(objects) + sum(9 if ref.prop == 85 else 7 for ref in batch.plan.refs)
        assert octets <= limit or len(batch.points) == 1


def test_single_reads_where_the_device_knows_no_other() -> None:
    batches = planner.plan([av(1), av(2)], {"rpm": False})
    assert refs(*batches) == [[Ref(2, 1, 85), Ref(2, 1, 111)], [Ref(2, 2, 85), Ref(2, 2, 111)]]


def test_refused_points_stand_alone_and_names_that_were_not_found_are_no_request() -> None:
    batches = planner.plan(
        [av(1), av(2), named("a"), named("b")], {"refused": ["av2"], "objects": {"a": "analog-input:9"}}
    )
    assert [batch.suspect for batch in batches] == [False, True, True]
    assert refs(batches[0])[0][0] == Ref(0, 9, 85)
    assert batches[2].plan is None


def test_objects_without_flags_are_not_asked_for_them() -> None:
    schedule = Point.model_validate({"id": "s", "object": "schedule:1", "type": "f32"})
    [batch] = planner.plan([schedule], None)
    assert refs(batch) == [[Ref(17, 1, 85)]]


@pytest.mark.parametrize(
    ("address", "why"), [({"object": "AV:1", "property": "presentvalue"}, "unknown"), ({"reg": 5}, "no BACnet address")]
)
def test_points_that_cannot_be_read_are_refused(address: dict[str, Any], why: str) -> None:
    point = Point.model_validate({"id": "p", "address": address, "type": "u16"})
    with pytest.raises(ConfigError, match=why) as caught:
        planner.plan([point], None)
    assert "p" in str(caught.value)
