"""Occurrences on their way to the disk: held back while the queue is full, answered once they are stored."""

from __future__ import annotations

import asyncio

import pytest

from drivers.handover import Handover
from drivers.listening import Occurrence

pytestmark = pytest.mark.asyncio


def some(*keys: int) -> list[Occurrence]:
    return [Occurrence("door-1", "access.granted", f"record:{key}") for key in keys]


async def test_who_delivers_hears_when_it_is_stored() -> None:
    way = Handover()
    waits = asyncio.create_task(way.deliver(some(1, 2), 5))
    turns = way.turns()
    assert [each.key for each in await anext(turns)] == ["record:1", "record:2"]
    assert not waits.done()
    way.stored()
    assert await waits is True


async def test_a_store_that_takes_too_long_is_a_no() -> None:
    way = Handover()
    assert await way.deliver(some(1), 0.01) is False
    assert len(await anext(way.turns())) == 1
    way.stored()


async def test_a_full_queue_holds_back_and_drops_only_what_cannot_wait() -> None:
    way = Handover(most=3)
    assert await way.offer(some(1, 2, 3))
    assert not await way.offer(some(4))
    assert way.dropped == 1
    waits = asyncio.create_task(way.deliver(some(5), 5))
    await asyncio.sleep(0)
    turns = way.turns()
    assert len(await anext(turns)) == 3
    assert [each.key for each in await anext(turns)] == ["record:5"]
    way.stored()
    assert not waits.done()
    way.stored()
    assert await waits


async def test_closing_ends_the_turns_and_those_who_wait() -> None:
    way = Handover()
    waits = asyncio.create_task(way.deliver(some(1), 5))
    await asyncio.sleep(0)
    await way.close()
    assert await waits is False
    assert [turn async for turn in way.turns()] == []
    assert not await way.offer(some(2))


async def test_a_turn_is_no_longer_than_a_commit_and_nothing_changes_its_order() -> None:
    way = Handover(most=5000)
    for first in range(0, 2000, 100):
        await way.offer(some(*range(first, first + 100)))
    keys, turns = [], way.turns()
    while len(keys) < 2000:
        turn = await anext(turns)
        assert len(turn) <= 500
        keys += [int(each.key.partition(":")[2]) for each in turn]
    assert keys == list(range(2000))
