"""What devices kept while nobody heard them, on the virtual clock."""

import asyncio
from typing import Any

from device_profiles.errors import LinkLost
from device_profiles.reading import Acquisition, PointFault
from drivers.base import LinkConfig
from drivers.fake_network import FakeMemory, FakeNetwork
from edge_agent.encode import builders
from edge_agent.normalize import Normalizer
from edge_agent.polling.recalling import LONGEST_MS, Gaps
from tests.edge_agent.poll_world import World, device, point, world

NETWORK = LinkConfig(id="bacnet-1", kind="fake", timeout_s=3)
MINUTE_MS = 60_000
NOW_MS = 1_795_355_245_000


def remembering(*points: str, count: int = 600, portion: int = 10) -> FakeNetwork:
    """Unit 1 logged each of these points once a minute, since an hour before the start."""
    network = FakeNetwork(parallel=4)
    first = NOW_MS - 60 * MINUTE_MS
    kept = {name: [(first + n * MINUTE_MS, float(n)) for n in range(count)] for name in points}
    network.memories[1] = FakeMemory(kept, portion)  # type: ignore[arg-type]
    return network


def recalled(it: World, device_id: str = "m") -> list[Acquisition]:
    return [reading for reading in it.sink.of(device_id) if reading.src == "memory"]


async def outage(it: World, seconds: float) -> None:
    gone = it.kill(1)
    await it.clock.advance(seconds)
    it.driver.devices[1] = gone


async def test_an_outage_is_filled_from_the_device_s_memory() -> None:
    network = remembering("x_a", "x_b")
    async with world([device("m", [point("x_a"), point("x_b"), point("x_c")])], link=NETWORK, network=network) as it:
        await it.clock.advance(60)
        last_ms = max(reading.t_ms for reading in it.sink.of("m"))
        await outage(it, 1800)
        await it.clock.advance(120)
        ((_, since, until),) = network.recalls
        assert since == last_ms + 1
        live = [reading.t_ms for reading in it.sink.of("m") if reading.src is None and reading.t_ms > last_ms]
        assert until == live[0]
        times = {reading.t_ms for reading in recalled(it)}
        assert len(times) in (30, 31)
        assert all(since <= t < until for t in times)
        assert {name for reading in recalled(it) for name in reading.good} == {"x_a", "x_b"}
        assert it.sink.kept["recalls"]["m"] is None
        assert network.collisions == []


async def test_an_end_while_a_portion_is_awaited_is_an_end_and_no_crash() -> None:
    network = remembering("x_a", portion=1)
    async with world([device("m", [point("x_a")])], link=NETWORK, network=network) as it:
        await it.clock.advance(60)
        await outage(it, 1800)
        while not network.recalls:  # from here the device takes 20 ms
            await it.clock.advance(0.005)
        (recaller,) = (task for task in asyncio.all_tasks() if task.get_name().endswith("recaller"))
        recaller.cancel()  # before the worker that waits for the device is
        await asyncio.wait([recaller])
        assert recaller.cancelled()


async def test_a_short_silence_and_a_device_without_memory_are_no_gap() -> None:
    network = remembering("x_a")
    async with world([device("m", [point("x_a")])], link=NETWORK, network=network) as it:
        await it.clock.advance(60)
        await outage(it, 8)
        await it.clock.advance(60)
        assert network.recalls == []


async def test_reads_come_before_what_is_recalled() -> None:
    network = remembering("x_a", portion=5)
    network.parallel = 1
    network.lane_of = lambda unit: "line"
    devices = [device("m", [point("x_a")]), device("other", [point("x_a", poll=1)], unit=2)]
    async with world(devices, link=NETWORK, network=network) as it:
        await it.clock.advance(60)
        await outage(it, 3000)
        it.sink.readings.clear()
        await it.clock.advance(100)
        assert len(recalled(it)) >= 45
        assert len(it.sink.of("other")) >= 95


async def test_what_the_agent_itself_missed_is_fetched_after_its_restart() -> None:
    network = remembering("x_a")
    memory: dict[str, dict[str, Any]] = {"heard": {"m": NOW_MS - 30 * MINUTE_MS}}
    async with world([device("m", [point("x_a")])], link=NETWORK, network=network, memory=memory) as it:
        await it.clock.advance(60)
        assert len(recalled(it)) in (29, 30)
        assert it.sink.kept["heard"]["m"] > NOW_MS


async def test_a_gap_that_was_not_fetched_yet_survives_a_restart() -> None:
    network = remembering("x_a")
    memory: dict[str, dict[str, Any]] = {
        "heard": {"m": NOW_MS - 1000},
        "recalls": {"m": [[NOW_MS - 20 * MINUTE_MS, NOW_MS - 10 * MINUTE_MS]]},
    }
    async with world([device("m", [point("x_a")])], link=NETWORK, network=network, memory=memory) as it:
        await it.clock.advance(60)
        assert len(recalled(it)) == 10
        assert it.sink.kept["recalls"]["m"] is None


async def test_a_link_that_breaks_on_the_way_begins_the_gap_again() -> None:
    network = remembering("x_a", portion=5)
    memory: dict[str, dict[str, Any]] = {"heard": {"m": NOW_MS - 50 * MINUTE_MS}}
    async with world([device("m", [point("x_a")])], link=NETWORK, network=network, memory=memory) as it:
        await it.clock.advance(1)
        network.devices[1].error = LinkLost("gone", where="bacnet-1")
        await it.clock.advance(15)
        network.devices[1].error = None
        await it.clock.advance(120)
        assert len({reading.t_ms for reading in recalled(it)}) in (49, 50)


async def test_a_clock_that_is_not_set_makes_no_gaps() -> None:
    network = remembering("x_a")
    memory: dict[str, dict[str, Any]] = {"heard": {"m": NOW_MS - 50 * MINUTE_MS}}
    async with world([device("m", [point("x_a")])], link=NETWORK, network=network, memory=memory) as it:
        it.clock.set(quality="unsync")
        await it.clock.advance(60)
        assert network.recalls == []


def test_a_gap_goes_back_seven_days_at_most() -> None:
    gaps = Gaps("m", lambda *kept: None, 1, ())
    assert gaps.heard(10 * LONGEST_MS, 0.0, 30)
    assert list(gaps.open) == [(9 * LONGEST_MS, 10 * LONGEST_MS)]
    for n in range(100):
        gaps.heard(10 * LONGEST_MS + n * MINUTE_MS * 10, 0.0, 30)
    assert len(gaps.open) == 20


def test_a_value_of_the_past_says_where_it_is_from() -> None:
    normalizer = Normalizer(device("m", [point("x_a", deadband=100), point("x_b")]))
    out = Acquisition("m", 5, src="memory")
    normalizer.recall("x_a", 7, out)
    normalizer.recall("x_b", PointFault("BadSensorFailure"), out)
    ((_, build),) = builders(out, cls="ahu", meta="7c1e", clk="ntp")
    assert b'"src":"memory"' in build("7Q2XK9M4TB", 1)
    assert out.good == {"x_a": 7.0}
    assert [flag.status for flag in out.flagged] == ["BadSensorFailure"]
