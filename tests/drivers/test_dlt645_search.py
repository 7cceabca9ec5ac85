"""The search for DL/T 645 meters on a virtual line at 2400 baud: each is found, also where several answer at once."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from drivers.base import Address, LinkConfig
from drivers.dlt645.master import EDITION_1997, EDITION_2007, GAP_CHARS, Edition
from drivers.dlt645.session import Dlt645Session
from firmware_sim.meters import Meter, energy_meter, overlaid, take_apart
from tests.drivers.virtual_slaves import VirtualLine
from tests.drivers.virtual_wire import Piece

LINK = LinkConfig("line-1", "serial", path="x", baud=2400, parity="E", timeout_s=0.5)


def session_with(
    meters: Sequence[Meter], edition: Edition = EDITION_2007, *, whole_only: bool = False
) -> Dlt645Session:
    """Meters that answer in the same instant: where several do, a 0 on the bus wins over a 1. `whole_only`: they are read by
    their whole number only, and say it when asked for it (13H).
    """

    def answer(raw: bytes, _end: float) -> list[Piece]:
        request = take_apart(raw)
        if request is None:
            return []
        address, control, data = request
        if b"\xaa" in address and whole_only and control != 0x13:
            return []
        there = [meter for meter in meters if meter.is_meant(address) and not meter.mute]
        replies = [reply for meter in there if (reply := meter.answer(control, data, address)) is not None]
        return [(0.04, b"\xfe" * 4 + overlaid(replies))] if replies else []

    return Dlt645Session(VirtualLine(answer, LINK, gap_chars=GAP_CHARS), edition)


async def test_the_search_finds_meters_that_answer_at_once() -> None:
    numbers = ["000000000178", "000000000179", "202600000013"]
    told: list[str] = []
    session = session_with([energy_meter("2007", number) for number in numbers])
    found = [number async for number in session.search(lambda pattern, _: told.append(pattern))]
    assert sorted(found) == numbers
    assert told[0] == "A" * 12
    assert len(told) == 101


@pytest.mark.parametrize("seed", [*range(30), 50, 870, 1226, 1648])
async def test_meters_whose_answers_overlap_exactly_are_all_found(seed: int) -> None:
    """Numbers and readings that differ in a bit or two: what is heard looks often like one right answer."""
    rng = random.Random(seed)
    first = rng.randrange(10**6)
    numbers = sorted({f"{first ^ rng.choice((1, 2, 4, 8, 0x10, 0x40)):012d}" for _ in range(2)} | {f"{first:012d}"})
    kwh = rng.randrange(40)
    meters = [energy_meter("2007", number, seed=kwh ^ rng.choice((0, 1, 2, 4))) for number in numbers]
    session = session_with(meters)
    assert sorted([number async for number in session.search()]) == numbers


@pytest.mark.parametrize("count", [1, 3])
async def test_meters_that_repeat_the_wildcard_are_found_by_what_they_say(count: int) -> None:
    numbers = [f"00000000{n}0{n}1" for n in range(count)]
    meters = [energy_meter("1997", number, seed=5 * n) for n, number in enumerate(numbers)]
    for one in meters:
        one.echoes_wildcards = True
    session = session_with(meters, EDITION_1997)
    assert sorted([number async for number in session.search()]) == numbers
    if count == 1:
        assert await session.identify(Address("AAAAAAAAAAAA")) == {"serial": numbers[0]}


async def test_a_meter_that_only_tells_its_address_is_found_by_that() -> None:
    session = session_with([energy_meter("2007", "000012345678")], whole_only=True)
    assert await session.identify(Address("AAAAAAAAAAAA")) == {"serial": "000012345678"}
    assert [number async for number in session.search()] == ["000012345678"]
