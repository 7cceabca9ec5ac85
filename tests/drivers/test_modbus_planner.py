"""drivers.modbus.planner: an optimum of its cost model (against brute force), and never against what a device can bear."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.base import Batch, Limits, LinkConfig
from drivers.modbus.block import Block
from drivers.modbus.planner import Cost, cost_of, plan

TCP = LinkConfig("tcp", "tcp", host="127.0.0.1")
LINE = LinkConfig("line", "serial", path="/dev/null", baud=9600)
SLOW = LinkConfig("slow", "serial", path="/dev/null", baud=300)
"""Where a request costs least: 20 characters, 10 registers."""
KINDS = {1: "u16", 2: "u32", 4: "u64"}


def point(name: str, reg: int, size: int = 1, table: str = "holding", **keys: Any) -> Point:
    return Point.model_validate({"id": name, "address": {"table": table, "reg": reg}, "type": KINDS[size], **keys})


def points_at(*spans: tuple[int, int]) -> list[Point]:
    return [point(f"p{n}", reg, size) for n, (reg, size) in enumerate(spans)]


def blocks(batches: tuple[Batch, ...]) -> list[tuple[int, int]]:
    return [(batch.plan.first, batch.plan.last) for batch in batches]


def price(batches: tuple[Batch, ...], cost: Cost) -> float:
    return sum(cost.block(batch.plan.table, batch.plan.count) for batch in batches)


def cheapest_by_trying_all(spans: list[tuple[int, int]], limits: Limits, cost: Cost) -> float:
    """Every way to cover the spans by blocks between their ends, tried out; knows nothing of the planner."""
    begins, ends = sorted({first for first, _ in spans}), sorted({last for _, last in spans})
    forbidden = {reg for _, first, last in limits.forbidden for reg in range(first, last + 1)}
    wanted = {reg for first, last in spans for reg in range(first, last + 1)}

    def allowed(first: int, last: int) -> bool:
        if last - first + 1 > limits.max_registers or forbidden & set(range(first, last + 1)):
            return False
        hole = 0
        for reg in range(first, last + 1):
            hole = 0 if reg in wanted else hole + 1
            if limits.max_gap is not None and hole > limits.max_gap:
                return False
        return True

    choices = [(first, last) for first in begins for last in ends if first <= last and allowed(first, last)]
    best = float("inf")
    for size in range(1, len(spans) + 1):
        for chosen in combinations(choices, size):
            if all(any(first <= a and b <= last for first, last in chosen) for a, b in spans):
                best = min(best, sum(cost.block("holding", last - first + 1) for first, last in chosen))
    return best


SPANS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from([1, 2, 4])), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(
    SPANS,
    st.sampled_from([4, 8, 20, 125]),
    st.sampled_from([None, 0, 3]),
    st.lists(st.integers(0, 44), max_size=2),
    st.sampled_from([TCP, LINE, SLOW]),
)
def test_no_way_of_reading_is_cheaper(
    wanted: list[tuple[int, int]], most: int, gap: int | None, no_go: list[int], link: LinkConfig
) -> None:
    taken = [(reg, reg + size - 1) for reg, size in wanted]
    forbidden = tuple(("holding", reg, reg) for reg in no_go if not any(a <= reg <= b for a, b in taken))
    limits = Limits(max_registers=most, max_gap=gap, forbidden=forbidden)
    planned = plan(points_at(*wanted), limits, None, link)
    assert price(planned, cost_of(link)) == pytest.approx(cheapest_by_trying_all(taken, limits, cost_of(link)))


MAPS = st.lists(st.tuples(st.integers(0, 600), st.sampled_from([1, 2, 4])), min_size=1, max_size=60)


@given(MAPS, st.integers(4, 125), st.lists(st.tuples(st.integers(0, 600), st.integers(0, 5)), max_size=4))
def test_every_point_once_whole_and_within_limits(
    wanted: list[tuple[int, int]], most: int, no_go: list[tuple[int, int]]
) -> None:
    taken = [(reg, reg + size - 1) for reg, size in wanted]
    forbidden = tuple(
        ("holding", reg, reg + more) for reg, more in no_go if not any(a <= reg + more and reg <= b for a, b in taken)
    )
    batches = plan(points_at(*wanted), Limits(max_registers=most, forbidden=forbidden), None, LINE)
    assert sorted(name for batch in batches for name in batch.points) == sorted(f"p{n}" for n in range(len(wanted)))
    for batch in batches:
        block: Block = batch.plan
        assert block.count <= most
        assert batch.points == tuple(place.point.id for place in block.places)
        for place in block.places:
            assert block.first <= place.first <= place.last <= block.last
        assert not any(first <= block.last and block.first <= last for _, first, last in forbidden)


def test_near_points_are_one_read_and_far_ones_are_two() -> None:
    assert blocks(plan(points_at((0, 2), (4, 2), (300, 1)), Limits(), None, TCP)) == [(0, 5), (300, 300)]


def test_a_hole_is_bridged_where_it_costs_less_than_another_request() -> None:
    """At 9600 8N1 a request costs 13 characters, two silences of 3.5 and 5 ms: 24.8 characters, 12.4 registers."""
    assert blocks(plan(points_at((0, 1), (13, 1)), Limits(), None, LINE)) == [(0, 13)]
    assert blocks(plan(points_at((0, 1), (14, 1)), Limits(), None, LINE)) == [(0, 0), (14, 14)]


def test_a_slow_device_or_a_fast_line_makes_holes_cheaper() -> None:
    fast = LinkConfig("fast", "serial", path="/dev/null", baud=115200)
    assert cost_of(fast).request > cost_of(LINE).request
    assert cost_of(LinkConfig("slow", "serial", path="/dev/null", turnaround_s=0.05)).request > cost_of(LINE).request


def test_limits_of_the_device_hold() -> None:
    many = points_at(*[(reg, 2) for reg in range(0, 120, 2)])
    assert blocks(plan(many, Limits(max_registers=80), None, TCP)) == [(0, 79), (80, 119)]
    assert len(plan(many, Limits(max_registers=2), None, TCP)) == 60
    assert len(plan(points_at((0, 1), (2, 1)), Limits(max_gap=0), None, TCP)) == 2


def test_forbidden_registers_are_never_in_a_block() -> None:
    limits = Limits(forbidden=(("holding", 3, 4), ("input", 0, 9)))
    assert blocks(plan(points_at((0, 2), (6, 2)), limits, None, TCP)) == [(0, 1), (6, 7)]


def test_refused_registers_are_not_bridged_and_refused_points_stand_alone() -> None:
    layout = {"refused": {"holding": [[2, 2], [5, 5]]}, "cuts": {"holding": [9]}}
    batches = plan(points_at((0, 2), (3, 2), (5, 1), (7, 2), (9, 1)), Limits(), layout, TCP)
    assert blocks(batches) == [(0, 1), (3, 4), (7, 8), (9, 9), (5, 5)]
    assert [batch.suspect for batch in batches] == [False, False, False, False, True]


def test_tables_are_read_apart_and_bits_are_counted_as_bits() -> None:
    coils = [
        Point.model_validate({"id": f"c{n}", "type": "bool", "address": {"table": "coil", "reg": n}}) for n in (0, 1500)
    ]
    batches = plan([*coils, point("a", 0), point("b", 0, table="input")], Limits(), None, LINE)
    assert [(batch.plan.table, batch.plan.first, batch.plan.count) for batch in batches] == [
        ("coil", 0, 1), ("coil", 1500, 1), ("holding", 0, 1), ("input", 0, 1),
    ]  # fmt: skip
    assert [(batch.plan.first, batch.plan.count) for batch in plan(coils, Limits(), None, TCP)] == [(0, 1), (1500, 1)]
    near = [
        Point.model_validate({"id": f"c{n}", "type": "bool", "address": {"table": "coil", "reg": n}}) for n in (0, 90)
    ]
    assert [(batch.plan.count, batch.reply_bytes) for batch in plan(near, Limits(), None, LINE)] == [(91, 5 + 12)]


def test_bytes_on_the_wire_are_those_of_request_and_reply() -> None:
    [line], [tcp] = (plan(points_at((0, 4)), Limits(), None, link) for link in (LINE, TCP))
    assert (line.request_bytes, line.reply_bytes) == (8, 5 + 8)
    assert (tcp.request_bytes, tcp.reply_bytes) == (12, 9 + 8)


def test_a_scale_factor_comes_with_its_value_where_that_is_cheaper() -> None:
    scaled = Point.model_validate(
        {"id": "power_active", "address": {"table": "holding", "reg": 84}, "scale_from": {"point": "w_sf"}}
    )
    factor = Point.model_validate(
        {"id": "w_sf", "type": "s16", "internal": True, "address": {"table": "holding", "reg": 85}}
    )
    [batch] = plan([scaled, factor], Limits(), None, LINE)
    assert batch.points == ("power_active", "w_sf")


def test_parts_of_a_counter_are_read_together() -> None:
    split = Point.model_validate(
        {"id": "x", "parts": [{"reg": 10, "scale": 1}, {"reg": 0, "scale": 1000}], "address": {"table": "holding"}}
    )
    assert blocks(plan([split, point("near", 5)], Limits(max_gap=0), None, TCP)) == [(0, 10)]
    with pytest.raises(ConfigError, match="too far apart"):
        plan([split], Limits(max_registers=8), None, TCP)


def test_what_can_never_be_read_is_said() -> None:
    with pytest.raises(ConfigError, match="forbidden"):
        plan(points_at((3, 2)), Limits(forbidden=(("holding", 4, 4),)), None, TCP)
    with pytest.raises(ConfigError, match="where the device allows 2"):
        plan(points_at((3, 4)), Limits(max_registers=2), None, TCP)
    with pytest.raises(ConfigError, match="after 65535"):
        plan(points_at((65535, 2)), Limits(), None, TCP)
    with pytest.raises(ConfigError, match="no Modbus address"):
        plan([Point.model_validate({"id": "x", "address": {"tag": "00010000"}})], Limits(), None, TCP)


def sunspec(name: str, model: int | list[int], offset: int) -> Point:
    return Point.model_validate({"id": name, "address": {"model": model, "offset": offset}})


def test_sunspec_points_are_where_the_chain_says() -> None:
    layout = {"models": {"1": 40002, "103": 40070}}
    wanted = [sunspec("a", 103, 14), sunspec("b", [101, 102, 103], 15), sunspec("gone", 160, 3)]
    batches = plan(wanted, Limits(), layout, TCP)
    assert [batch.points for batch in batches] == [("a", "b"), ("gone",)]
    assert blocks(batches[:1]) == [(40084, 40085)]
    assert batches[1].plan is None
    assert batches[1].suspect
    with pytest.raises(ConfigError, match="not known yet"):
        plan(wanted, Limits(), None, TCP)


def test_no_points_are_no_reads() -> None:
    assert plan([], Limits(), None, TCP) == ()
