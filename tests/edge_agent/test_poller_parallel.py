"""A link that asks many devices at once, on the virtual clock: one lane at a time, and nobody waits for a slow or dead one."""

import asyncio
from itertools import pairwise
from statistics import mean

import pytest

from device_profiles.errors import LinkLost
from drivers.base import Address, LinkConfig, Session
from drivers.fake import FakeDevice
from drivers.fake_network import FakeNetwork
from edge_agent.clock import VirtualClock
from edge_agent.model import Device
from tests.edge_agent.poll_world import RTT_S, World, answering, device, point, world

NETWORK = LinkConfig(id="bacnet-1", kind="fake", timeout_s=3)
"""Three seconds, as BACnet's APDU time-out."""


def rooms(count: int, poll: float = 10) -> list[Device]:
    return [device(f"room-{n}", [point("x_power", poll=poll)], unit=n) for n in range(1, count + 1)]


def cycles(it: World, device_id: str, since: float = 0.0) -> list[float]:
    """Seconds between the readings of a device."""
    return [later - earlier for earlier, later in pairwise(at for at in it.sink.times_of(device_id) if at >= since)]


async def test_devices_are_read_at_the_same_time_and_never_two_in_one_lane() -> None:
    network = FakeNetwork(parallel=8, lane_of=lambda unit: f"mstp-{int(unit) % 10}")
    fakes = answering(rooms(200))
    for fake in fakes.values():
        fake.delay_s = 0.2
    async with world(rooms(200), link=NETWORK, network=network, fakes=fakes) as it:
        await it.clock.advance(100)
        assert network.collisions == []
        assert {len(cycles(it, f"room-{n}")) >= 8 for n in range(1, 201)} == {True}
        assert it.poller.figures()["late"] == 0
        assert 0.5 < it.poller.figures()["busy"] <= 0.6, "4 s of 10 for seven of eight workers"


async def test_one_dead_device_among_two_hundred_costs_the_others_nothing() -> None:
    network = FakeNetwork(parallel=4)
    async with world(rooms(200), link=NETWORK, network=network) as it:
        await it.clock.advance(60)
        it.kill(77)
        began = it.clock.monotonic()
        await it.clock.advance(300)
        assert it.sink.state_of("room-77").state == "down"  # type: ignore[union-attr]
        for n in (n for n in range(1, 201) if n != 77):
            mine = cycles(it, f"room-{n}", began)
            assert mean(mine) == pytest.approx(10, rel=0.01)
            assert max(mine) < 10.5, "a dead device in another lane moves nobody by 5 %"
        assert network.collisions == []
        it.driver.devices[77] = FakeDevice({"x_power": 2}, delay_s=RTT_S)
        await it.clock.advance(65)
        assert it.sink.state_of("room-77").state == "ok"  # type: ignore[union-attr]


async def test_many_dead_devices_are_probed_by_a_quarter_of_the_workers() -> None:
    network = FakeNetwork(parallel=8)
    async with world(rooms(100), link=NETWORK, network=network) as it:
        await it.clock.advance(30)
        dead = range(1, 41)
        kept = {n: it.kill(n) for n in dead}
        await it.clock.advance(120)
        assert all(it.sink.state_of(f"room-{n}").state == "down" for n in dead)  # type: ignore[union-attr]
        began = it.clock.monotonic()
        await it.clock.advance(120)
        assert all(max(cycles(it, f"room-{n}", began)) < 10.5 for n in range(41, 101))
        it.driver.devices |= kept
        await it.clock.advance(65)
        assert all(it.sink.state_of(f"room-{n}").state == "ok" for n in dead)  # type: ignore[union-attr]


async def test_a_command_finds_a_free_worker_while_the_others_wait_for_the_dead() -> None:
    network = FakeNetwork(parallel=4)
    async with world(rooms(20, poll=300), link=NETWORK, network=network, fakes=answering(rooms(1))) as it:
        await it.clock.advance(1)
        done: list[float] = []

        async def job(session: Session, address: Address) -> None:
            done.append(it.clock.monotonic())

        asked_at = it.clock.monotonic()
        asking = asyncio.create_task(it.poller.ask("room-1", job, is_command=True))
        await it.clock.advance(0.01)
        assert done == [asked_at]
        await asking


async def test_a_command_waits_for_its_own_lane_and_goes_before_the_reads_there() -> None:
    network = FakeNetwork(parallel=4, lane_of=lambda unit: "mstp-1")
    devices = [device("slow", [point("x_a"), point("x_b")], unit=1), device("other", [point("x_a")], unit=2)]
    fakes = answering(devices)
    fakes[1].delay_s = 1.0
    network.batch_size = 1
    order: list[str] = []
    async with world(devices, link=NETWORK, network=network, fakes=fakes) as it:
        await it.clock.advance(0.5)

        async def job(session: Session, address: Address) -> None:
            order.append(f"command after {len(it.driver.reads)} reads")

        asking = asyncio.create_task(it.poller.ask("other", job, is_command=True))
        await it.clock.advance(3)
        assert order == ["command after 1 reads"], "between two batches of the device that has the lane"
        await asking
        assert network.collisions == []


async def test_a_lost_link_ends_all_workers_and_nothing_is_forgotten() -> None:
    network = FakeNetwork(parallel=4, lane_of=lambda unit: "one" if int(unit) < 5 else str(unit))
    async with world(rooms(20), link=NETWORK, network=network) as it:
        await it.clock.advance(15)
        network.devices[3].error = LinkLost("the socket is gone", where="bacnet-1")
        await it.clock.advance(11)
        network.devices[3].error = None
        await it.clock.advance(5)
        it.sink.readings.clear()
        await it.clock.advance(20)
        assert it.poller.figures()["connects"] >= 2
        assert all(len(it.sink.of(f"room-{n}")) == 2 for n in range(1, 21))


async def test_a_bug_of_a_driver_restarts_the_link() -> None:
    network = FakeNetwork(parallel=4)
    async with world(rooms(5), link=NETWORK, network=network, clock=VirtualClock()) as it:
        await it.clock.advance(5)

        def broken() -> float:
            raise ZeroDivisionError

        network.devices[2].values["x_power"] = broken
        await it.clock.advance(11)
        assert it.poller.figures()["crashes"] >= 1
        network.devices[2].values["x_power"] = 3.0
        await it.clock.advance(70)
        assert it.sink.of("room-2")[-1].good == {"x_power": 3.0}
