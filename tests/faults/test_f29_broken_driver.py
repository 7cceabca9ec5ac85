"""F29: a driver that raises or hangs is restarted alone; the other links do not notice, and too many crashes are said."""

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest

from edge_agent.clock import VirtualClock
from edge_agent.model import Device
from edge_agent.polling.supervisor import CRASHES
from tests.edge_agent.poll_world import LINE, World, answering, device, point, world

PERIOD_S = 5.0


def meter(name: str) -> list[Device]:
    return [device(name, [point("x_power", poll=PERIOD_S)])]


def jitter(it: World, since: float) -> float:
    """The largest deviation of the time between two reads from the period, as a share of it."""
    times = [at for at in it.reads_of(1) if at >= since]
    assert len(times) > 10
    return max(abs(second - first - PERIOD_S) for first, second in pairwise(times)) / PERIOD_S


class Bug(RuntimeError):
    """Something a driver's author did not think of."""


def raising() -> float:
    raise Bug("index out of range")


async def test_a_driver_that_raises_is_restarted_alone() -> None:
    clock = VirtualClock()
    async with AsyncExitStack() as stack:
        good = [await stack.enter_async_context(world(meter(f"good-{n}"), clock=clock)) for n in range(3)]
        broken = await stack.enter_async_context(world(meter("broken"), clock=clock))
        await clock.advance(20)
        since = clock.monotonic()
        broken.driver.devices[1].values["x_power"] = raising
        await clock.advance(120)
        assert all(jitter(it, since) <= 0.1 for it in good)
        figures = broken.poller.figures()
        assert figures["crashes"] >= CRASHES
        state = broken.sink.state_of("broken")
        assert state is not None
        assert (state.state, state.sc, state.note) == ("down", "BadInternalError", "internal_error")
        broken.driver.devices[1].values["x_power"] = 1
        await clock.advance(70)
        assert broken.sink.state_of("broken").state == "ok"  # type: ignore[union-attr]
        assert not broken.task.done()


def cancelling() -> float:
    raise asyncio.CancelledError


async def test_a_driver_that_cancels_itself_does_not_end_its_poller() -> None:
    async with world(meter("m")) as it:
        await it.clock.advance(7)
        it.driver.devices[1].values["x_power"] = cancelling
        await it.clock.advance(15)
        assert it.poller.figures()["crashes"] >= 1
        it.driver.devices[1].values["x_power"] = 1
        await it.clock.advance(30)
        assert not it.task.done()
        assert it.sink.times_of("m")[-1] > it.clock.monotonic() - 2 * PERIOD_S


async def test_a_read_that_hangs_is_cancelled_and_its_link_goes_on() -> None:
    clock = VirtualClock()
    async with AsyncExitStack() as stack:
        good = await stack.enter_async_context(world(meter("good"), clock=clock))
        hanging = await stack.enter_async_context(world(meter("hanging"), clock=clock))
        await clock.advance(20)
        since = clock.monotonic()
        sleep = hanging.driver.sleep

        async def hang(seconds: float) -> None:
            await asyncio.get_running_loop().create_future()

        hanging.driver.sleep = hang
        await clock.advance(60)
        assert hanging.poller.figures()["crashes"] >= 1
        assert jitter(good, since) <= 0.1
        hanging.driver.sleep = sleep
        before = len(hanging.sink.of("hanging"))
        await clock.advance(60)
        assert len(hanging.sink.of("hanging")) > before + 3


@pytest.mark.parametrize("values", [[], [1, 2]])
async def test_a_driver_that_answers_another_number_of_values_is_a_bug_and_no_reading(values: list[int]) -> None:
    described = [device("m", [point("x_a"), point("x_b"), point("x_c")])]
    fakes = answering(described)
    async with world(described, fakes=fakes) as it:
        await it.clock.advance(1)
        it.sink.readings.clear()
        session = it.poller._reader.session  # type: ignore[union-attr]

        async def short(address: object, batch: object) -> list[int]:
            return values

        session.read = short  # type: ignore[method-assign,assignment]
        await it.clock.advance(11)
        assert it.poller.figures()["crashes"] >= 1
        await it.clock.advance(20)
        assert it.sink.of("m"), "the next session is a good one"


async def test_ending_a_poller_ends_it_at_once() -> None:
    async with world(meter("m"), link=LINE) as it:
        await it.clock.advance(12)
        it.task.cancel()
        await it.clock.advance(0)
        assert it.task.cancelled()
        assert not it.driver.is_open
