"""Sums and differences of other devices: by mark, by period, and only while all terms are known."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from device_profiles.reading import Acquisition, Flagged
from device_profiles.schema import Point
from edge_agent.clock import VirtualClock
from edge_agent.model import Device
from edge_agent.virtual import AWAY, FIRST_WAIT_S, MARK_WAIT_MS, NOT_YET, VirtualMeters
from gateway.contract.messages import State
from tests.edge_agent.poll_world import Recorder, device, point

MARK = 1_795_356_000_000
"""A whole quarter hour; the clock of these tests begins a minute before it."""


def computed(point_id: str, plus: Sequence[str], minus: Sequence[str] = (), **keys: Any) -> Point:
    if "align" not in keys:
        keys.setdefault("poll", 10)
    address = {"plus": tuple(plus), "minus": tuple(minus)}
    return Point.model_validate({"id": point_id, "address": address, "type": "f64", "heartbeat": 300, **keys})


POWER = [point("x_power", type="s32", scale="0.1", heartbeat=300)]
ENERGY = [point("x_energy", type="u32", align=900, heartbeat=300)]


class Site:
    """A virtual device over the devices a, b and c."""

    def __init__(
        self, clock: VirtualClock, parts: list[Point], *points: Point, more: Sequence[Device] = (), **keys: Any
    ) -> None:
        self.clock = clock
        self.sink = Recorder(clock)
        self.parts = {name: device(name, parts, unit=at) for at, name in enumerate("abc")}
        self.virtual = device("sum", points, **keys)
        self.meters = VirtualMeters(
            [self.virtual, *more], list(self.parts.values()), sink=self.sink, clock=clock, memory={}
        )

    def hear(self, name: str, good: Mapping[str, float], *flagged: Flagged, mark: int | None = None) -> None:
        acquisition = Acquisition(name, self.clock.wall_ms(), dict(good), list(flagged), mark)
        self.meters.acquired(self.parts[name], acquisition)

    @property
    def results(self) -> list[Acquisition]:
        return self.sink.of("sum")


@asynccontextmanager
async def site(parts: list[Point], *points: Point, **keys: Any) -> AsyncIterator[Site]:
    made = Site(VirtualClock(MARK - 60_000), parts, *points, **keys)
    task = asyncio.create_task(made.meters.run())
    await made.clock.advance(0)
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_a_sum_is_exact_and_everything_passes_on() -> None:
    async with site(POWER, computed("x_total", ["a/x_power", "b/x_power"], ["c/x_power"])) as it:
        it.hear("a", {"x_power": 0.1})
        it.hear("b", {"x_power": 0.2})
        it.hear("c", {"x_power": 1.0})
        await it.clock.advance(11)
        assert it.results[0].good == {"x_total": -0.7}
        assert len(it.sink.of("a")) == 1
        state = it.sink.state_of("sum")
        assert state is not None
        assert state.state == "ok"


async def test_nothing_is_said_before_every_term_was_read() -> None:
    async with site(POWER, computed("x_total", ["a/x_power", "b/x_power"])) as it:
        it.hear("a", {"x_power": 1.0})
        await it.clock.advance(FIRST_WAIT_S / 2)
        assert it.results == []
        it.hear("b", {"x_power": 1.0})
        await it.clock.advance(11)
        assert it.results[0].good == {"x_total": 2.0}


async def test_a_term_that_never_comes_is_said_after_a_minute() -> None:
    async with site(POWER, computed("x_total", ["a/x_power", "b/x_power"]), computed("x_own", ["a/x_power"])) as it:
        for _ in range(8):
            it.hear("a", {"x_power": 1.0})
            await it.clock.advance(10)
        assert it.results[0].flagged == [Flagged("x_total", None, NOT_YET)]
        assert it.results[0].good == {"x_own": 1.0}
        state = it.sink.state_of("sum")
        assert state is not None
        assert (state.state, state.sc) == ("degraded", NOT_YET)


async def test_a_bad_term_makes_it_bad_an_uncertain_one_uncertain_and_good_ones_good_again() -> None:
    async with site(POWER, computed("x_total", ["a/x_power", "b/x_power"]), computed("x_own", ["b/x_power"])) as it:
        it.hear("a", {"x_power": 1.0})
        it.hear("b", {"x_power": 1.0})
        await it.clock.advance(11)
        it.hear("a", {}, Flagged("x_power", None, "BadSensorFailure"))
        await it.clock.advance(10)
        assert it.results[-1].flagged == [Flagged("x_total", None, "BadSensorFailure")]
        it.hear("a", {}, Flagged("x_power", 5.0, "UncertainEngineeringUnitsExceeded"))
        await it.clock.advance(10)
        assert it.results[-1].flagged == [Flagged("x_total", 6.0, "UncertainSubNormal")]
        it.hear("a", {}, Flagged("x_power", 2.0, "Good"))
        await it.clock.advance(10)
        assert it.results[-1].flagged == [Flagged("x_total", 3.0, "Good")]


async def test_a_device_that_is_down_takes_the_sum_down_and_brings_it_back() -> None:
    async with site(POWER, computed("x_total", ["a/x_power", "b/x_power"])) as it:
        it.hear("a", {"x_power": 1.0})
        it.hear("b", {"x_power": 1.0})
        await it.clock.advance(11)
        it.meters.state(it.parts["a"], State(t=0, state="down", since=0, ok=0, err=3))
        await it.clock.advance(40)
        assert it.results[-1].flagged == [Flagged("x_total", None, AWAY)]
        assert [name for name, _ in it.sink.named("system.device_down")] == ["sum"]
        it.hear("a", {"x_power": 4.0})
        await it.clock.advance(10)
        assert it.results[-1].flagged == [Flagged("x_total", 5.0, "Good")]
        assert [name for name, _ in it.sink.named("system.device_up")] == ["sum"]


async def test_a_term_is_fresh_for_its_heartbeat_and_three_polls() -> None:
    async with site(POWER, computed("x_total", ["a/x_power"])) as it:
        it.hear("a", {"x_power": 1.0})
        await it.clock.advance(325)
        assert all(result.flagged == [] for result in it.results)
        await it.clock.advance(20)
        assert it.results[-1].flagged == [Flagged("x_total", None, AWAY)]


async def test_marks_are_summed_by_mark_when_the_last_term_is_there() -> None:
    async with site(ENERGY, computed("x_total", ["a/x_energy", "b/x_energy"], align=900)) as it:
        for name in "ab":
            it.hear(name, {"x_energy": 100.0})
        await it.clock.advance(61)
        it.hear("a", {"x_energy": 110.0}, mark=MARK)
        (first,) = it.results
        assert (first.good, first.mark_ms) == ({"x_total": 200.0}, None), "at once, for no mark"
        await it.clock.advance(30)
        it.hear("b", {"x_energy": 120.0}, mark=MARK)
        _, result = it.results
        assert (result.good, result.mark_ms) == ({"x_total": 230.0}, MARK)
        assert result.t_ms == MARK + 31_000
        await it.clock.advance(600)
        assert len(it.results) == 2, "once a mark"


async def test_readings_of_different_marks_are_never_added() -> None:
    async with site(ENERGY, computed("x_total", ["a/x_energy", "b/x_energy"], align=900)) as it:
        await it.clock.advance(61)
        it.hear("a", {"x_energy": 110.0}, mark=MARK)
        await it.clock.advance(MARK_WAIT_MS / 1000)
        (missing,) = it.results
        assert (missing.mark_ms, missing.flagged) == (MARK, [Flagged("x_total", None, AWAY)])
        it.hear("b", {"x_energy": 120.0}, mark=MARK)
        await it.clock.advance(600)
        it.hear("a", {"x_energy": 111.0}, mark=MARK + 900_000)
        it.hear("b", {"x_energy": 125.0}, mark=MARK + 900_000)
        assert it.results[1].mark_ms == MARK + 900_000
        assert it.results[1].flagged == [Flagged("x_total", 236.0, "Good")]
        assert len(it.results) == 2


async def test_a_mark_of_periodic_terms_takes_what_is_fresh() -> None:
    async with site(POWER, computed("x_total", ["a/x_power", "b/x_power"], align=900)) as it:
        it.hear("a", {"x_power": 1.0})
        it.hear("b", {"x_power": 2.0})
        await it.clock.advance(61)
        result = it.results[-1]
        assert (result.good, result.mark_ms) == ({"x_total": 3.0}, MARK)
        assert result.t_ms - MARK <= 1000


async def test_virtual_devices_may_be_computed_from_virtual_devices() -> None:
    above = device("campus", [computed("x_all", ["sum/x_total", "c/x_energy"], align=900)])
    async with site(ENERGY, computed("x_total", ["a/x_energy", "b/x_energy"], align=900), more=[above]) as it:
        await it.clock.advance(61)
        for name, value in (("c", 1.0), ("a", 2.0), ("b", 3.0)):
            it.hear(name, {"x_energy": value}, mark=MARK)
        (result,) = it.sink.of("campus")
        assert (result.good, result.mark_ms) == ({"x_all": 6.0}, MARK)


async def test_the_sum_of_counters_is_a_counter() -> None:
    async with site(ENERGY, computed("x_total", ["a/x_energy", "b/x_energy"], align=900, counter=True)) as it:
        await it.clock.advance(61)
        for at, value in enumerate((100.0, 50.0, 101.0)):
            for name in "ab":
                it.hear(name, {"x_energy": value}, mark=MARK + at * 900_000)
            await it.clock.advance(900)
        assert [name for name, _ in it.sink.named("counter.error")] == ["sum"]


async def test_a_changed_set_of_devices_keeps_what_was_heard() -> None:
    async with site(POWER, computed("x_total", ["a/x_power", "b/x_power"])) as it:
        it.hear("a", {"x_power": 1.0})
        it.hear("b", {"x_power": 2.0})
        await it.clock.advance(11)
        other = device("sum", [computed("x_difference", ["a/x_power"], ["b/x_power"])])
        it.meters.replace([other], list(it.parts.values()))
        await it.clock.advance(11)
        assert it.results[-1].good == {"x_difference": -1.0}


@pytest.mark.parametrize("disabled", ["being rebuilt"])
async def test_a_disabled_one_is_not_computed(disabled: str) -> None:
    async with site(POWER, computed("x_total", ["a/x_power"]), disabled=disabled) as it:
        it.hear("a", {"x_power": 1.0})
        await it.clock.advance(100)
        assert it.results == []
        state = it.sink.state_of("sum")
        assert state is not None
        assert (state.state, state.note) == ("disabled", disabled)
