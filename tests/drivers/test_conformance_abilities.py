"""One suite over every driver that reports changes, asks several devices at once and writes: what the optional halves promise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from opcua_world import plant
from opcua_world import points as nodes

from device_profiles.errors import DeviceError, LinkError
from device_profiles.schema import Point
from drivers.base import (
    Address,
    BacnetLink,
    CanLocate,
    CanParallel,
    CanSubscribe,
    CanWrite,
    Change,
    Driver,
    Limits,
    LinkConfig,
    Session,
)
from drivers.fake import FakeDevice
from drivers.fake_network import FakeNetwork
from drivers.registry import load_driver
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.models import load_model
from firmware_sim.bacnet.server import BacnetServer

CHILLER = "ChillerPlant/Chiller1"
WAIT_S = 10.0


@dataclass
class World:
    """A device with one number that can be written; `put` lets somebody else change it at the device."""

    driver: Driver
    link: LinkConfig
    device: Address
    point: Point
    put: Callable[[float], Awaitable[None]]
    silent: Address | None = None
    """A device that does not answer."""
    priority: int | None = None


@asynccontextmanager
async def fake_world() -> AsyncIterator[World]:
    network = FakeNetwork({1: FakeDevice({"x_a": 0.0}), 2: FakeDevice({"x_a": 0.0})})
    network.reports = {1: frozenset({"x_a"})}
    point = Point.model_validate({"id": "x_a", "reg": 0, "access": "rw"})

    async def put(value: float) -> None:
        network.report(1, {"x_a": value})

    link = LinkConfig("fake-1", "fake", timeout_s=0.1)
    yield World(network, link, Address(1, "m"), point, put, Address(99, "gone"))


@asynccontextmanager
async def bacnet_world() -> AsyncIterator[World]:
    device = BacnetDevice(load_model("bacnet-ahu"), id="ahu", instance=21, now=time.time)
    point = Point.model_validate({"id": "x_a", "object": "AO:1", "type": "f32", "access": "rw"})

    async def put(value: float) -> None:
        device.override("AO", 1, value, priority=16)

    async with BacnetServer(device) as server:
        own = BacnetLink(peers=(f"127.0.0.1:{server.port}",), apdu_timeout_s=0.3)
        link = LinkConfig("bacnet-1", "bacnet", host="127.0.0.1", port=0, timeout_s=0.3, bacnet=own)
        yield World(load_driver("bacnet"), link, Address(21, "ahu"), point, put, Address(99, "gone"), priority=16)


@asynccontextmanager
async def opcua_world() -> AsyncIterator[World]:
    room = plant()
    [point] = nodes(f"{CHILLER}/SupplySetpoint", access="rw")

    async def put(value: float) -> None:
        await room.on(room.server.put(f"{CHILLER}/SupplySetpoint", value))

    yield World(load_driver("opcua"), room.link(), Address(0, "chiller-1"), point, put)


WorldOf = Callable[[], AbstractAsyncContextManager[World]]
WORLDS = {"bacnet": bacnet_world, "opcua": opcua_world, "fake": fake_world}
EVERY = pytest.mark.parametrize("world_of", WORLDS.values(), ids=WORLDS.keys())
WITH_SILENCE = pytest.mark.parametrize("world_of", [bacnet_world, fake_world], ids=["bacnet", "fake"])


async def layout_of(world: World, session: Session) -> Any:
    if isinstance(session, CanLocate) and session.needs_locating([world.point]):
        return await session.locate(world.device, [world.point])
    return None


class Heard:
    """The numbers that a device reports, as they come."""

    def __init__(self, session: CanSubscribe, point: str) -> None:
        self._turns = session.changes()
        self._point = point
        self._values: list[float] = []

    async def next(self) -> float:
        async with asyncio.timeout(WAIT_S):
            while not self._values:
                for item in await anext(self._turns):
                    assert isinstance(item, Change)
                    self._values += [
                        value if isinstance(value, float | int) else value.value  # type: ignore[misc, union-attr]
                        for name, value in zip(item.points, item.values, strict=True)
                        if name == self._point
                    ]
        return self._values.pop(0)


@EVERY
async def test_the_first_value_and_each_change_are_reported_in_order(world_of: WorldOf) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        assert isinstance(session, CanSubscribe)
        await world.put(5.0)
        layout = await layout_of(world, session)
        assert await session.subscribe(world.device, [world.point], layout) == {world.point.id}
        heard = Heard(session, world.point.id)
        while await heard.next() != 5.0:
            pass
        for value in (15.0, 35.0, 20.0):
            await world.put(value)
            assert await heard.next() == value


@EVERY
async def test_another_subscribe_replaces_the_one_before_and_reads_go_on_beside_it(world_of: WorldOf) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        assert isinstance(session, CanSubscribe)
        layout = await layout_of(world, session)
        assert await session.subscribe(world.device, [], layout) == frozenset()
        for _ in range(2):
            assert await session.subscribe(world.device, [world.point], layout) == {world.point.id}
        heard = Heard(session, world.point.id)
        await heard.next()
        await world.put(25.0)
        [batch] = world.driver.plan([world.point], Limits(), layout, world.link)
        async with asyncio.timeout(WAIT_S):
            while list(await session.read(world.device, batch)) != [25.0]:
                await asyncio.sleep(0)
        while await heard.next() != 25.0:
            pass
        await session.unsubscribe(world.device)
        await session.unsubscribe(world.device)


@EVERY
async def test_changes_end_with_the_session(world_of: WorldOf) -> None:
    async with world_of() as world:
        async with world.driver.open(world.link) as session:
            assert isinstance(session, CanSubscribe)
            changes = session.changes()
            waiting = asyncio.ensure_future(anext(changes, None))
            await asyncio.sleep(0)
        async with asyncio.timeout(WAIT_S):
            with suppress(LinkError):
                assert await waiting is None


@WITH_SILENCE
async def test_a_device_that_does_not_answer_a_subscription_is_a_device_error(world_of: WorldOf) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        assert isinstance(session, CanSubscribe)
        assert world.silent is not None
        layout = await layout_of(world, session)
        with pytest.raises(DeviceError):
            await session.subscribe(world.silent, [world.point], layout)


@WITH_SILENCE
async def test_a_silent_device_holds_up_nobody_in_another_lane(world_of: WorldOf) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        assert isinstance(session, CanParallel)
        assert session.parallel > 1
        assert world.silent is not None
        layout = await layout_of(world, session)
        [batch] = world.driver.plan([world.point], Limits(), layout, world.link)
        await session.read(world.device, batch)
        assert session.lane(world.device) == session.lane(world.device) != session.lane(world.silent)
        silent = asyncio.ensure_future(session.read(world.silent, batch))
        await asyncio.sleep(0)
        await session.read(world.device, batch)
        assert not silent.done(), "the device in the other lane answered first"
        with pytest.raises(DeviceError):
            await silent


@EVERY
async def test_what_was_written_stands(world_of: WorldOf) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        assert isinstance(session, CanWrite)
        layout = await layout_of(world, session)
        for value in (11.0, 12.0):
            await session.write(world.device, world.point, value, layout, priority=world.priority)
            standing = await session.standing(world.device, world.point, layout, priority=world.priority)
            assert standing.value == value
            assert standing.held_by == world.priority
