"""Stamps never repeat, whatever the machine's clock does; readings from before the clock was set are stamped when it is."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import FLOOR_MS, SLEW_MS, SystemClock, VirtualClock
from edge_agent.clock_gate import WAIT_S, ClockGate

NOW_MS = 1_795_355_245_000
FIRST_OF_2020_MS = 1_577_836_800_000
Events = list[tuple[str, str, Mapping[str, Any], str]]


def test_the_machine_tells_plausible_times() -> None:
    clock = SystemClock()
    assert clock.quality() in ("ntp", "rtc", "unsync")
    assert clock.wall_ms() > FIRST_OF_2020_MS
    assert clock.uptime_s() > 0
    assert clock.boot_id == SystemClock().boot_id
    first = clock.stamp(0)
    assert clock.stamp(first) > first


async def test_an_alarm_of_the_machine_rings_and_can_be_ended() -> None:
    clock = SystemClock()
    await asyncio.wait_for(clock.alarm(0.001), 5)
    alarm = clock.alarm(3600)
    alarm.set_result(None)
    await alarm


async def test_sleepers_wake_in_order_and_the_same_every_time() -> None:
    clock = VirtualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, pauses: list[float]) -> None:
        for pause in pauses:
            await clock.sleep(pause)
            woken.append((name, clock.monotonic() - 1000))

    tasks = [asyncio.create_task(sleeper("a", [1, 3])), asyncio.create_task(sleeper("b", [2, 1, 2]))]
    await clock.advance(3.5)
    assert woken == [("a", 1), ("b", 2), ("b", 3)]
    await clock.advance(10)
    assert woken[3:] == [("a", 4), ("b", 5)]
    await asyncio.gather(*tasks)
    assert clock.monotonic() == 1013.5


async def test_run_gives_the_result_and_gives_up_when_nobody_sleeps() -> None:
    clock = VirtualClock()
    assert await clock.run(asyncio.create_task(asyncio.sleep(0, "done"))) == "done"
    with pytest.raises(TimeoutError, match="0 sleepers"):
        await clock.run(asyncio.get_running_loop().create_future())


def test_two_acquisitions_in_one_millisecond_differ() -> None:
    clock = VirtualClock(NOW_MS)
    first = clock.stamp(0)
    assert (first, clock.stamp(first)) == (NOW_MS, NOW_MS + 2)


@given(steps=st.lists(st.tuples(st.integers(10, 100_000), st.integers(-SLEW_MS, 3_600_000)), min_size=1, max_size=30))
def test_stamps_grow_through_small_steps_back_and_any_step_forward(steps: list[tuple[int, int]]) -> None:
    clock = VirtualClock(NOW_MS)
    stamp = 0
    for pause_ms, step_ms in steps:
        for _ in range(3):
            before, stamp = stamp, clock.stamp(stamp)
            assert stamp > before
        # Only steps back that the previous ones do not add up to more than can be absorbed.
        lag_ms = clock.wall_ms() - clock.utc_ms()
        clock.step(max(step_ms, lag_ms + 2 - SLEW_MS))
        clock.elapse(pause_ms / 1000)


@given(
    pauses=st.lists(st.integers(1, 5_000), min_size=1, max_size=60),
    step_ms=st.integers(-7_200_000, -SLEW_MS - 1),
)
def test_after_a_large_step_back_no_stamp_comes_twice(pauses: list[int], step_ms: int) -> None:
    clock = VirtualClock(NOW_MS)
    stamps: list[int] = []
    for _ in range(2):
        for pause_ms in pauses:
            clock.elapse(pause_ms / 1000)
            stamps.append(clock.stamp(stamps[-1] if stamps else 0))
            assert stamps[-1] <= clock.utc_ms() + SLEW_MS
        clock.step(step_ms)
    assert len(set(stamps)) == len(stamps)


def test_a_small_step_back_is_absorbed_at_half_speed() -> None:
    clock = VirtualClock(NOW_MS)
    assert clock.wall_ms() == NOW_MS
    clock.step(-10_000)
    clock.elapse(4)
    assert clock.wall_ms() == NOW_MS + 2_000
    clock.elapse(30)
    assert clock.wall_ms() == NOW_MS + 24_000, "UTC has caught up"


async def test_slewing_is_no_step_and_a_step_is_told_once() -> None:
    clock = VirtualClock(NOW_MS)
    for _ in range(100):
        clock.step(400)
        await clock.advance(1)
        clock.wall_ms()
    assert clock.take_step() is None
    clock.step(-3_600_000)
    before_ms = clock.wall_ms()
    step = clock.take_step()
    assert step is not None
    assert (step.by_ms, step.after_ms) == (-3_600_000, before_ms)
    assert clock.take_step() is None


class Outlet:
    """What a gate let through, and what it reported."""

    def __init__(self, clock: VirtualClock, **keys: int) -> None:
        self.clock = clock
        self.sent: list[tuple[str, int, str]] = []
        self.events: Events = []
        self.gate = ClockGate(clock, event=lambda *event: self.events.append(event), **keys)

    def put(self, name: str) -> None:
        self.gate.put(self.clock.stamp(0), lambda t_ms, clk: self.sent.append((name, t_ms, clk)))


@pytest.mark.parametrize("quality", ["ntp", "rtc"])
def test_a_clock_that_is_set_holds_nothing_up(quality: Any) -> None:
    outlet = Outlet(VirtualClock(NOW_MS, quality=quality, uptime_s=5))
    outlet.put("a")
    assert outlet.sent == [("a", NOW_MS, quality)]


async def test_readings_from_before_the_first_synchronisation_get_the_right_time() -> None:
    clock = VirtualClock(0, quality="unsync", uptime_s=5)
    outlet = Outlet(clock)
    task = asyncio.create_task(outlet.gate.run())
    outlet.put("a")
    await clock.advance(20)
    outlet.put("b")
    await clock.advance(30)
    assert outlet.sent == []
    clock.set(utc_ms=NOW_MS, quality="ntp")
    await clock.advance(1)
    now_ms = clock.wall_ms()
    assert outlet.sent == [("a", now_ms - 51_000, "ntp"), ("b", now_ms - 31_000, "ntp")]
    outlet.put("c")
    assert outlet.sent[2] == ("c", now_ms, "ntp")
    ((device, name, data, _),) = outlet.events
    assert (device, name, data["clk"]) == ("", "system.clock_step", "ntp")
    task.cancel()


async def test_after_ten_minutes_they_leave_unsynchronised_and_never_before_2020() -> None:
    clock = VirtualClock(0, quality="unsync", uptime_s=5)
    outlet = Outlet(clock)
    task = asyncio.create_task(outlet.gate.run())
    outlet.put("a")
    await clock.advance(WAIT_S - 10)
    assert outlet.sent == []
    await clock.advance(10)
    ((name, t_ms, clk),) = outlet.sent
    assert (name, clk) == ("a", "unsync")
    assert t_ms == FLOOR_MS + 5_000
    assert outlet.gate.is_open
    task.cancel()


def test_a_machine_that_runs_longer_than_that_waits_for_nothing() -> None:
    outlet = Outlet(VirtualClock(NOW_MS, quality="unsync", uptime_s=WAIT_S))
    outlet.put("a")
    assert outlet.sent == [("a", NOW_MS, "unsync")]


def test_what_does_not_fit_leaves_early_and_nothing_is_lost() -> None:
    outlet = Outlet(VirtualClock(NOW_MS, quality="unsync", uptime_s=5), room=2)
    for name in "abc":
        outlet.put(name)
    assert [name for name, *_ in outlet.sent] == ["a"]
    outlet.gate.open_now()
    assert [name for name, *_ in outlet.sent] == ["a", "b", "c"]
    assert len(outlet.gate) == 0
