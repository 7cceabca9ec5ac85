"""F9, the part of clock and poller: a clock that jumps moves no timer, stamps nothing before 2020 or ahead, and repeats none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from device_profiles.reading import Acquisition
from drivers.fake import FakeDriver
from edge_agent.clock import VirtualClock
from edge_agent.clock_gate import ClockGate
from edge_agent.model import Device
from edge_agent.polling.poller import LinkPoller
from tests.edge_agent.poll_world import LINE, RTT_S, Recorder, answering, device, point

NOW_MS = 1_795_355_245_000
FIRST_OF_2020_MS = 1_577_836_800_000
AHEAD_MS = 300_000
PERIOD_S = 10.0


@dataclass
class Gated(Recorder):
    """What leaves the clock gate, with UTC as it truly was at the acquisition."""

    gate: ClockGate = field(init=False)
    sent: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate = ClockGate(self.clock, event=self.event)

    def acquired(self, device: Device, acquisition: Acquisition) -> None:
        super().acquired(device, acquisition)
        self.gate.put(acquisition.t_ms, lambda t_ms, clk: self.sent.append((t_ms, clk)))


@asynccontextmanager
async def polled(clock: VirtualClock) -> AsyncIterator[Gated]:
    devices = [device("m", [point("x_power", poll=PERIOD_S), point("x_energy", align=900)])]
    sink = Gated(clock)
    driver = FakeDriver(answering(devices), sleep=clock.sleep)
    poller = LinkPoller(LINE, driver, devices, sink=sink, clock=clock, memory={})
    tasks = [asyncio.create_task(poller.run()), asyncio.create_task(sink.gate.run())]
    try:
        yield sink
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def assert_steady(sink: Gated, since: float) -> None:
    """Reads of the period come at the period, whatever UTC does."""
    times = [at for at, _, acquisition in sink.readings if "x_power" in acquisition.good and at > since]
    gaps = [second - first for first, second in pairwise(times)]
    assert gaps
    assert gaps == pytest.approx([PERIOD_S] * len(gaps), abs=2 * RTT_S)


@pytest.mark.parametrize(
    "step_ms",
    [
        pytest.param(-3_600_000, id="an hour back"),
        pytest.param(3_600_000, id="an hour on"),
        pytest.param(-500, id="half a second back"),
        pytest.param(500, id="half a second on"),
        pytest.param(-1000, id="leap second"),
        pytest.param(int(12 * 365.25 * 86_400_000), id="past 2038"),
    ],
)
async def test_a_step_moves_no_timer_and_repeats_no_stamp(step_ms: int) -> None:
    clock = VirtualClock(NOW_MS)
    async with polled(clock) as sink:
        await clock.advance(1000)
        clock.step(step_ms)
        for _ in range(400):
            await clock.advance(10)
            assert sink.sent[-1][0] <= clock.utc_ms() + AHEAD_MS
        assert_steady(sink, 1010)
        stamps = [t_ms for t_ms, _ in sink.sent]
        assert len(set(stamps)) == len(stamps)
        assert {quality for _, quality in sink.sent} == {"ntp"}
        steps = sink.named("system.clock_step")
        assert [data["by_ms"] for _, data in steps] == ([step_ms] if abs(step_ms) > 500 else [])
        marks = [reading.mark_ms for reading in sink.of("m") if reading.mark_ms]
        assert all(mark % 900_000 == 0 for mark in marks)
        late = [reading.t_ms - reading.mark_ms for reading in sink.of("m") if reading.mark_ms]
        assert all(-1000 <= lag <= 1000 for lag in late), "no mark was made up"


async def test_a_box_without_a_clock_stamps_rightly_once_it_knows_the_time() -> None:
    clock = VirtualClock(0, quality="unsync", uptime_s=8)
    async with polled(clock) as sink:
        await clock.advance(120)
        assert sink.sent == []
        clock.set(utc_ms=NOW_MS, quality="ntp")
        set_at = clock.monotonic()
        await clock.advance(600)
        taken = [NOW_MS + (at - set_at) * 1000 for at, *_ in sink.readings]
        assert [t_ms for t_ms, _ in sink.sent] == pytest.approx(taken, abs=5)
        assert {quality for _, quality in sink.sent} == {"ntp"}
        stamps = [t_ms for t_ms, _ in sink.sent]
        assert stamps == sorted(set(stamps))
        assert_steady(sink, 1010)
        (step,) = sink.named("system.clock_step")
        assert step[1]["after_ms"] == pytest.approx(NOW_MS, abs=1500)


async def test_a_box_that_never_knows_the_time_sends_after_ten_minutes_and_says_so() -> None:
    clock = VirtualClock(0, quality="unsync", uptime_s=8)
    async with polled(clock) as sink:
        await clock.advance(1800)
        assert {quality for _, quality in sink.sent} == {"unsync"}
        stamps = [t_ms for t_ms, _ in sink.sent]
        assert stamps == sorted(set(stamps))
        assert min(stamps) > FIRST_OF_2020_MS
        assert len(stamps) == len(sink.readings)
        assert all(reading.mark_ms is None for reading in sink.of("m")), "there are no quarter hours without a clock"
