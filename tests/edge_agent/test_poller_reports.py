"""Devices that report changes by themselves, on the virtual clock: audited, batched, and polled again when they stop."""

from typing import Any

from device_profiles.errors import LinkLost
from device_profiles.reading import Flagged, Sample
from drivers.base import LinkConfig
from drivers.fake_network import FakeNetwork
from edge_agent.model import Device
from tests.edge_agent.poll_world import RTT_S, answering, device, point, world

NETWORK = LinkConfig(id="bacnet-1", kind="fake", timeout_s=3)
HEARTBEAT_S = 300


def rooms(count: int = 1, **keys: Any) -> list[Device]:
    points = [
        point("x_a", type="f32", deadband=0.5, heartbeat=HEARTBEAT_S, **keys),
        point("x_b", type="f32", heartbeat=HEARTBEAT_S, **keys),
        point("x_polled", cov=False, heartbeat=HEARTBEAT_S),
    ]
    return [device(f"room-{n}", points, unit=n) for n in range(1, count + 1)]


def reporting(count: int = 1, parallel: int = 4) -> FakeNetwork:
    network = FakeNetwork(parallel=parallel)
    network.reports = {n: frozenset({"x_a", "x_b"}) for n in range(1, count + 1)}
    return network


async def test_what_a_device_reports_is_only_audited_and_each_slot_has_its_sample() -> None:
    network = reporting()
    async with world(rooms(), link=NETWORK, network=network) as it:
        await it.clock.advance(4)
        network.reads.clear()
        assert it.poller.modes_of("room-1") == {"x_a": "cov", "x_b": "cov", "x_polled": "polled"}
        began_ms = it.clock.wall_ms()
        await it.clock.advance(3600)
        audits = [read for read in network.reads if "x_a" in read.points]
        assert 22 <= len(audits) <= 26, "twice a slot"
        assert len(network.reads) - len(audits) >= 355
        slots = {reading.t_ms // (HEARTBEAT_S * 1000) for reading in it.sink.of("room-1") if "x_a" in reading.good}
        first, last = began_ms // (HEARTBEAT_S * 1000), it.clock.wall_ms() // (HEARTBEAT_S * 1000)
        assert slots >= set(range(first + 1, last))
        assert it.poller.figures()["missed"] == 0


async def test_every_device_of_a_slow_line_is_read_before_any_is_subscribed() -> None:
    network = reporting(16)
    network.lane_of = lambda unit: "network 2"
    network.subscribe_s = 5.0
    async with world(rooms(16), link=NETWORK, network=network) as it:
        await it.clock.advance(2)
        assert {bool(it.sink.of(f"room-{n}")) for n in range(1, 17)} == {True}
        await it.clock.advance(120)
        assert {it.poller.modes_of(f"room-{n}")["x_a"] for n in range(1, 17)} == {"cov"}


async def test_changes_of_one_turn_share_an_acquisition_and_no_change_is_lost() -> None:
    network = reporting(2)
    async with world(rooms(2), link=NETWORK, network=network) as it:
        await it.clock.advance(4)
        it.sink.readings.clear()
        network.report(1, {"x_a": 20.0})
        network.report(2, {"x_a": 5.0})
        network.report(1, {"x_b": 7.0})
        network.report(1, {"x_a": 21.0})
        network.report(1, {"x_a": 21.2, "x_b": 7.5})
        await it.clock.advance(0.1)
        assert [reading.good for reading in it.sink.of("room-1")] == [
            {"x_a": 20.0, "x_b": 7.0},
            {"x_a": 21.0, "x_b": 7.5},
        ], "21.2 is within the deadband"
        assert [reading.good for reading in it.sink.of("room-2")] == [{"x_a": 5.0}]
        first, second = it.sink.of("room-1")
        assert first.t_ms < second.t_ms
        network.report(1, {"x_a": Sample(30.0, flags=("alarm",))})
        await it.clock.advance(0.1)
        assert it.sink.of("room-1")[-1].flagged == [Flagged("x_a", 30.0, "", flags=("alarm",))]


async def test_what_is_not_reported_any_more_is_polled_at_once_and_subscribed_again() -> None:
    network = reporting()
    async with world(rooms(), link=NETWORK, network=network) as it:
        await it.clock.advance(60)
        network.reports[1] = frozenset({"x_b"})
        network.reads.clear()
        network.end(1, ["x_a"], "the device forgot it")
        await it.clock.advance(0.5)
        assert any("x_a" in read.points for read in network.reads)
        assert it.poller.modes_of("room-1")["x_a"] == "polled"
        assert it.poller.modes_of("room-1")["x_b"] == "cov"
        network.reports[1] = frozenset({"x_a", "x_b"})
        await it.clock.advance(95)
        assert it.poller.modes_of("room-1")["x_a"] == "cov"


async def test_a_missed_change_is_counted_published_and_subscribed_again() -> None:
    network = reporting()
    async with world(rooms(), link=NETWORK, network=network) as it:
        await it.clock.advance(60)
        asked = len(network.subscribed)
        network.devices[1].values["x_a"] = 25.0
        await it.clock.advance(HEARTBEAT_S / 2 + 35)
        assert any(reading.good.get("x_a") == 25.0 for reading in it.sink.of("room-1"))
        assert it.poller.figures()["missed"] == 1
        assert len(network.subscribed) == asked + 1


async def test_a_device_that_takes_no_subscription_is_polled_as_ever() -> None:
    network = reporting()
    network.reports = {}
    async with world(rooms(), link=NETWORK, network=network) as it:
        await it.clock.advance(3600)
        assert set(it.poller.modes_of("room-1").values()) == {"polled"}
        assert len(it.sink.of("room-1")) >= 355
        assert 3 <= len(network.subscribed) <= 9, "asked at growing intervals"


async def test_a_device_that_was_away_is_subscribed_again() -> None:
    network = reporting()
    async with world(rooms(), link=NETWORK, network=network) as it:
        await it.clock.advance(60)
        gone = it.kill(1)
        await it.clock.advance(120)
        assert it.sink.state_of("room-1").state == "down"  # type: ignore[union-attr]
        assert set(it.poller.modes_of("room-1").values()) == {"stale"}
        it.driver.devices[1] = gone
        await it.clock.advance(95)
        assert it.sink.state_of("room-1").state == "ok"  # type: ignore[union-attr]
        assert it.poller.modes_of("room-1")["x_a"] == "cov"


async def test_a_link_that_was_lost_subscribes_everything_again() -> None:
    network = reporting(3)
    async with world(rooms(3), link=NETWORK, network=network) as it:
        await it.clock.advance(60)
        asked = len(network.subscribed)
        network.devices[2].error = LinkLost("the socket is gone", where="bacnet-1")
        await it.clock.advance(10)
        network.devices[2].error = None
        await it.clock.advance(10)
        assert len(network.subscribed) >= asked + 3
        network.report(1, {"x_a": 33.0})
        await it.clock.advance(0.1)
        assert it.sink.of("room-1")[-1].good == {"x_a": 33.0}


async def test_a_device_that_leaves_is_told_and_says_nothing_any_more() -> None:
    network = reporting(2)
    async with world(rooms(2), link=NETWORK, network=network) as it:
        await it.clock.advance(60)
        it.poller.replace(rooms(2)[:1])
        await it.clock.advance(1)
        it.sink.readings.clear()
        network.report(2, {"x_a": 9.0})
        await it.clock.advance(1)
        assert it.sink.of("room-2") == []
        assert RTT_S < 1


async def test_one_lane_that_reports_works_as_well() -> None:
    network = reporting(parallel=1)
    network.lane_of = lambda unit: "line"
    async with world(rooms(), link=NETWORK, network=network) as it:
        await it.clock.advance(10)
        network.report(1, {"x_a": 44.0})
        await it.clock.advance(0.1)
        assert it.sink.of("room-1")[-1].good == {"x_a": 44.0}
        assert network.collisions == []


async def test_a_change_below_the_devices_own_increment_is_no_missed_change() -> None:
    network, fakes = reporting(), answering(rooms())
    fakes[1].layout = {"increments": {"x_a": 5.0}}
    async with world(rooms(), link=NETWORK, network=network, fakes=fakes) as it:
        await it.clock.advance(60)
        network.devices[1].values["x_a"] = network.devices[1].values["x_a"] + 4.0
        await it.clock.advance(HEARTBEAT_S / 2 + 35)
        assert it.poller.figures()["missed"] == 0
        network.devices[1].values["x_a"] = network.devices[1].values["x_a"] + 4.0
        await it.clock.advance(HEARTBEAT_S / 2 + 35)
        assert it.poller.figures()["missed"] == 1
