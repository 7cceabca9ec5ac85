"""The BACnet driver against simulated controllers that share no code with it: change of value, writes, logs, restarts, storms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bacnet_script import free_port

from device_profiles.errors import DeviceRefused
from device_profiles.reading import Sample
from device_profiles.schema import Point
from drivers.bacnet import notify
from drivers.bacnet.discovery import find_stations
from drivers.bacnet.driver import BacnetDriver
from drivers.bacnet.session import BacnetSession
from drivers.base import Address, BacnetLink, Change, Layout, LinkConfig, Recalled, Standing, Unsubscribed
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.models import load_model
from firmware_sim.bacnet.orders import apply_fault, heal
from firmware_sim.bacnet.server import BacnetServer, Network

AHU, BOX = Address(1001, "ahu-1"), Address(2001, "vav-1")
CHINA_S = 8 * 3600.0


def point(id_: str, reference: str, type_: str = "f32", **more: Any) -> Point:
    return Point.model_validate({"id": id_, "object": reference, "type": type_, **more})


SUPPLY, FAN = point("supply", "AI:1"), point("fan", "BI:1", "bool")
SETPOINT = point("setpoint", "AV:1", access="rw", cov=0.2)
AHU_POINTS = (SUPPLY, FAN, SETPOINT)
ZONE_SETPOINT = point("zone_setpoint", "AV:1", access="rw")


class World:
    """The session, the devices behind it, and what the session said by itself."""

    def __init__(self, session: BacnetSession, server: BacnetServer, ahu: BacnetDevice, box: BacnetDevice) -> None:
        self.session, self.server, self.ahu, self.box = session, server, ahu, box
        self.turns: list[Change | Unsubscribed] = []
        self.news = asyncio.Event()
        self.reader = asyncio.create_task(self._read(), name="test reader")

    async def _read(self) -> None:
        async for turn in self.session.changes():
            self.turns += turn
            self.news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.news.clear()
                await self.news.wait()

    def values(self, point_id: str) -> list[Any]:
        return [
            value
            for turn in self.turns
            if isinstance(turn, Change)
            for name, value in zip(turn.points, turn.values, strict=True)
            if name == point_id
        ]


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    ahu = BacnetDevice(load_model("bacnet-ahu"), id="ahu-1", now=time.time, utc_offset_s=CHINA_S)
    box = BacnetDevice(load_model("bacnet-vav"), id="vav-1", instance=2001, now=time.time)
    network = Network(2, {b"\x01": box}, mstp=True, turnaround_s=(0.0, 0.002))
    async with BacnetServer(ahu, networks=[network]) as server:
        own = BacnetLink(peers=("{}:{}".format(*server.address),))
        link = LinkConfig("bms", "bacnet", host="127.0.0.1", port=free_port(), bacnet=own)
        async with BacnetDriver().open(link) as session:
            made = World(session, server, ahu, box)
            yield made
        await asyncio.wait_for(made.reader, 5)


async def located(made: World, device: Address, points: tuple[Point, ...]) -> Layout:
    return await made.session.locate(device, points)


async def test_changes_of_a_device_and_of_one_behind_a_router() -> None:
    async with world() as made:
        layout = await located(made, AHU, AHU_POINTS)
        assert await made.session.subscribe(AHU, AHU_POINTS, layout) == {"supply", "fan", "setpoint"}
        box_layout = await located(made, BOX, (ZONE_SETPOINT,))
        assert await made.session.subscribe(BOX, [ZONE_SETPOINT], box_layout) == {"zone_setpoint"}
        assert {one.confirmed for one in made.ahu.subscriptions.held.values()} == {False}
        assert {one.confirmed for one in made.box.subscriptions.held.values()} == {True}
        await made.session.write(AHU, SETPOINT, 17.25, layout, priority=13)
        await made.session.write(BOX, ZONE_SETPOINT, 70.5, box_layout, priority=13)
        await made.until(
            lambda: made.values("setpoint")[-1:] == [17.25] and made.values("zone_setpoint")[-1:] == [70.5]
        )
        assert isinstance(made.values("fan")[0], bool)
        assert isinstance(made.values("supply")[0], float)
        assert not made.session.subscriptions.refused
        ahu, box = made.ahu, made.box
    assert not ahu.subscriptions.held
    assert not box.subscriptions.held


async def test_a_device_that_restarted_is_subscribed_again() -> None:
    async with world() as made:
        layout = await located(made, AHU, AHU_POINTS)
        await made.session.subscribe(AHU, AHU_POINTS, layout)
        await made.until(lambda: len(made.values("fan")) >= 1)
        apply_fault(made.server, made.ahu, "restart", {})
        assert not made.ahu.subscriptions.held
        before = len(made.turns)
        await made.until(lambda: len(made.ahu.subscriptions.held) == 3 and len(made.turns) > before)


async def test_what_is_not_read_in_time_is_subscribed_anew() -> None:
    async with world() as made:
        layout = await located(made, AHU, (SUPPLY,))
        await made.session.subscribe(AHU, [SUPPLY], layout)
        inbox = made.session.subscriptions.inbox
        [watch] = next(iter(inbox.watches.values()))
        body = next(iter(made.ahu.subscriptions.held.values())).notification(made.ahu.me.key, time.monotonic())
        for _ in range(notify.MOST_QUEUED + 1):
            inbox.take(watch.address, body, False)
        await made.until(lambda: any(isinstance(turn, Unsubscribed) for turn in made.turns))
        assert made.session.dropped >= 1
        before = len(made.values("supply"))
        assert await made.session.subscribe(AHU, [SUPPLY], layout) == {"supply"}
        await made.until(lambda: len(made.values("supply")) > before)


async def test_a_storm_of_i_am_leaves_the_right_devices() -> None:
    async with world() as made:
        client = made.session.client
        assert [one.peer.instance for one in await find_stations(client, wait_s=0.2)] == [1001, 2001]
        apply_fault(made.server, made.ahu, "iam_storm", {"rate": 1000})
        heard: list[int] = []
        client.listen_i_am(lambda peer: heard.append(peer.instance))
        found = await find_stations(client, low=1000, high=3000, wait_s=0.5)
        assert [one.peer.instance for one in found] == [1001, 2001]
        assert len(heard) > 200
        heal(made.server, made.ahu)


async def test_a_storm_of_notifications_comes_through_whole() -> None:
    async with world() as made:
        layout = await located(made, AHU, (SUPPLY,))
        await made.session.subscribe(AHU, [SUPPLY], layout)
        apply_fault(made.server, made.ahu, "cov_storm", {"rate": 2000})
        await made.until(lambda: len(made.values("supply")) > 500)
        heal(made.server, made.ahu)
        assert made.session.dropped == 0
        assert not made.session.subscriptions.refused


async def test_an_override_and_a_broken_sensor_are_told() -> None:
    async with world() as made:
        layout = await located(made, AHU, AHU_POINTS)
        await made.session.subscribe(AHU, AHU_POINTS, layout)
        await made.until(lambda: len(made.values("supply")) >= 1)
        apply_fault(made.server, made.ahu, "sensor", {"object": "AI:1", "code": 1})
        await made.until(lambda: Sample(None, "BadSensorFailure") in made.values("supply"))
        await made.session.write(AHU, SETPOINT, 17.25, layout, priority=13)
        apply_fault(made.server, made.ahu, "override", {"object": "AV:1", "value": 21, "priority": 5})
        standing = await made.session.standing(AHU, SETPOINT, layout, priority=13)
        assert (standing.held_by, standing.ours) == (5, 17.25)
        shown = standing.value.value if isinstance(standing.value, Sample) else standing.value
        assert shown == 21


async def test_what_stands_after_writes_and_a_release() -> None:
    async with world() as made:
        layout = await located(made, AHU, AHU_POINTS)
        before = await made.session.standing(AHU, SETPOINT, layout, priority=13)
        await made.session.write(AHU, SETPOINT, 17.25, layout, priority=13)
        assert await made.session.standing(AHU, SETPOINT, layout, priority=13) == Standing(
            17.25, 13, 17.25, has_slots=True
        )
        await made.session.write(AHU, SETPOINT, 19.0, layout, priority=9)
        assert await made.session.standing(AHU, SETPOINT, layout, priority=13) == Standing(
            19.0, 9, 17.25, has_slots=True
        )
        for slot in (9, 13):
            await made.session.write(AHU, SETPOINT, None, layout, priority=slot)
        assert await made.session.standing(AHU, SETPOINT, layout, priority=13) == before
        with pytest.raises(DeviceRefused) as error:
            await made.session.write(AHU, SETPOINT, 999.0, layout, priority=13)
        assert error.value.status == "BadOutOfRange"
        with pytest.raises(DeviceRefused) as error:
            await made.session.write(AHU, SUPPLY, 20.0, layout, priority=13)
        assert error.value.status == "BadNotWritable"


async def test_the_past_from_a_trend_log_in_the_devices_zone() -> None:
    async with world() as made:
        layout = await located(made, AHU, AHU_POINTS)
        now = round(time.time() * 1000)
        portions: list[list[Recalled]] = [
            list(part) async for part in made.session.recall(AHU, AHU_POINTS, layout, now - 7_200_000, now - 600_000)
        ]
        found = [one for part in portions for one in part]
        assert {one.point for one in found} == {"supply"}
        assert 20 <= len(found) <= 23  # one in five minutes
        times = [one.t_ms for one in found]
        assert times == sorted(set(times))
        assert now - 7_200_000 <= times[0] <= times[-1] < now - 600_000
        assert all(isinstance(one.value, float) for one in found)
