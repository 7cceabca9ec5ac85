"""drivers.modbus.heal: a refused block costs little, loses no good point, and is remembered right."""

from __future__ import annotations

from functools import cache
from math import ceil, log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_profiles.reading import PointFault
from device_profiles.schema import Point
from drivers.base import Limits, LinkConfig
from drivers.modbus.block import Block, build_block, locate_point
from drivers.modbus.heal import MOST_REQUESTS, Healed, Outcome, forgiven, heal, remembered
from drivers.modbus.planner import plan

LINK = LinkConfig("l", "tcp", host="127.0.0.1")


@cache
def word(reg: int) -> Point:
    return Point.model_validate({"id": f"r{reg}", "address": {"table": "holding", "reg": reg}})


def words(*regs: int) -> list[Point]:
    return [word(reg) for reg in regs]


def block_of(points: list[Point], first: int, last: int) -> Block:
    return build_block("holding", first, last, [place for one in points if (place := locate_point(one, None))], {})


class Device:
    """Holds n in register n; refuses blocks with a bad register, those longer than `most`, and those across a `wall`."""

    def __init__(self, bad: set[int], *, most: int = 125, walls: tuple[int, ...] = (), code: int = 2) -> None:
        self.bad, self.most, self.walls, self.code = bad, most, walls, code
        self.requests = 0

    def answer(self, block: Block) -> Outcome:
        self.requests += 1
        regs = range(block.first, block.last + 1)
        if (
            self.bad & set(regs)
            or block.count > self.most
            or any(block.first < wall <= block.last for wall in self.walls)
        ):
            return self.code
        return b"".join(reg.to_bytes(2, "big") for reg in regs)


def run(block: Block, device: Device, code: int = 2) -> Healed:
    healing = heal(block, code)
    try:
        part = next(healing)
        while True:
            part = healing.send(device.answer(part))
    except StopIteration as end:
        healed: Healed = end.value
        return healed


@pytest.mark.parametrize("bad", range(120))
def test_one_bad_register_of_120_costs_at_most_nine_requests_and_no_good_point(bad: int) -> None:
    device = Device({bad})
    healed = run(block_of(words(*range(120)), 0, 119), device)
    assert device.requests <= 9
    assert healed.refused == [(bad, bad)]
    assert healed.values.pop(f"r{bad}") == PointFault("BadNodeIdUnknown", "exception 2 (illegal data address)")
    assert healed.values == {f"r{reg}": reg for reg in range(120) if reg != bad}


@pytest.mark.parametrize("bad", [3, 57, 61, 118])
def test_a_bad_register_in_a_hole_is_found_and_costs_no_point(bad: int) -> None:
    wanted = [reg for reg in range(0, 120) if reg % 4 == 0]
    device = Device({bad})
    healed = run(block_of(words(*wanted), 0, 119), device)
    hole = (bad // 4 * 4 + 1, bad // 4 * 4 + 3)
    assert device.requests <= ceil(log2(60)) + 2
    assert healed.refused == [hole]
    assert healed.values == {f"r{reg}": reg for reg in wanted}


@settings(max_examples=40)
@given(st.sets(st.integers(0, 119), min_size=1, max_size=3))
def test_several_bad_registers_are_all_found(bad: set[int]) -> None:
    device = Device(bad)
    healed = run(block_of(words(*range(120)), 0, 119), device)
    assert device.requests <= 9 * len(bad)
    assert {reg for first, last in healed.refused for reg in range(first, last + 1)} == bad
    for reg in range(120):
        value = healed.values[f"r{reg}"]
        assert isinstance(value, PointFault) if reg in bad else value == reg


@settings(max_examples=60)
@given(st.sets(st.integers(0, 60), min_size=2, max_size=40), st.sets(st.integers(0, 60), min_size=1, max_size=40))
def test_whatever_is_bad_every_point_has_a_fate_and_no_value_is_wrong(wanted: set[int], bad: set[int]) -> None:
    device = Device(bad)
    healed = run(block_of(words(*wanted), min(wanted), max(wanted)), device)
    assert device.requests <= MOST_REQUESTS + 2
    assert set(healed.values) == {f"r{reg}" for reg in wanted}
    for reg in wanted:
        value = healed.values[f"r{reg}"]
        assert isinstance(value, PointFault) or (value == reg and reg not in bad)
    for first, last in healed.refused:
        assert bad & set(range(first, last + 1)), "only what is refused when asked alone is remembered"


def test_a_device_that_refuses_everything_teaches_nothing_and_costs_little() -> None:
    device = Device(set(range(120)))
    healed = run(block_of(words(*range(120)), 0, 119), device)
    assert device.requests <= 24
    assert healed.refused == []
    assert set(healed.values.values()) == {PointFault("BadNodeIdUnknown", "exception 2 (illegal data address)")}


@pytest.mark.parametrize("most", [16, 30, 60, 119])
def test_a_length_that_the_device_does_not_say_blames_no_register(most: int) -> None:
    device = Device(set(), most=most, code=3)
    healed = run(block_of(words(*range(120)), 0, 119), device, 3)
    assert healed.refused == []
    assert healed.values == {f"r{reg}": reg for reg in range(120)}
    layout = remembered({}, "holding", healed)
    for batch in plan(words(*range(120)), Limits(), layout, LINK):
        assert batch.plan.count <= most


def test_a_wall_inside_of_the_map_becomes_a_cut_and_the_next_plan_heeds_it() -> None:
    points = words(*range(30, 60))
    healed = run(block_of(points, 30, 59), Device(set(), walls=(41,)))
    assert healed.cuts == [41]
    assert healed.values == {f"r{reg}": reg for reg in range(30, 60)}
    layout = remembered({}, "holding", healed)
    batches = plan(points, Limits(), layout, LINK)
    assert [(batch.plan.first, batch.plan.last) for batch in batches] == [(30, 40), (41, 59)]


def test_what_was_found_repairs_the_plan() -> None:
    points = words(*range(0, 20, 2))
    healed = run(block_of(points, 0, 18), Device({4, 9}))
    layout = remembered({"models": {"1": 2}}, "holding", healed)
    assert layout == {"models": {"1": 2}, "refused": {"holding": [[4, 4], [9, 9]]}}
    batches = plan(points, Limits(), layout, LINK)
    assert [(batch.plan.first, batch.plan.last, batch.suspect) for batch in batches] == [
        (0, 2, False), (6, 8, False), (10, 18, False), (4, 4, True),
    ]  # fmt: skip
    again = forgiven(layout, "holding", 4, 4)
    assert again["refused"] == {"holding": [[9, 9]]}


def test_a_lone_point_that_is_refused_by_its_address_is_remembered_and_by_a_failure_is_not() -> None:
    assert run(block_of(words(7), 7, 7), Device({7})).refused == [(7, 7)]
    assert run(block_of(words(7), 7, 7), Device({7}, code=4), 4).refused == []


def test_a_busy_answer_ends_the_healing_and_blames_nothing() -> None:
    device = Device({3}, code=6)
    healed = run(block_of(words(*range(10)), 0, 9), device)
    assert device.requests <= 2
    assert healed.refused == []
    assert healed.values["r9"] == PointFault("UncertainLastUsableValue", "exception 6 (server device busy)", later=True)


def test_overlapping_points_share_one_fate() -> None:
    wide = Point.model_validate({"id": "wide", "type": "u32", "address": {"table": "holding", "reg": 4}})
    points = [*words(0, 5), wide]
    healed = run(block_of(points, 0, 9), Device({5}))
    assert healed.refused == [(4, 5)]
    assert healed.values["r0"] == 0
    assert isinstance(healed.values["wide"], PointFault)
    assert isinstance(healed.values["r5"], PointFault)
