"""One suite over every driver: what a session promises, whatever carries it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from bacnet_device import Device, serving
from http_world import Numbers, numbered_values
from mbus_world import numbered_records, numbered_slave
from meter_world import numbered, numbered_meter
from modbus_slave import Slave, checksum, pty_server, rtu_tcp_server, tcp_reply, tcp_server
from opcua_world import plant, register_nodes

from device_profiles.errors import (
    DeviceError,
    DeviceMismatch,
    DeviceTimeout,
    LinkLost,
    PlantroomError,
)
from device_profiles.reading import PointFault
from device_profiles.schema import Point
from drivers.base import Address, BacnetLink, Batch, CanLearn, Driver, HttpLink, Limits, LinkConfig, Session
from drivers.fake import FakeDevice, FakeDriver
from drivers.registry import DRIVERS, load_driver

TIMEOUT_S = 0.06


def points(*regs: int) -> list[Point]:
    return [Point.model_validate({"id": f"r{reg}", "address": {"table": "holding", "reg": reg}}) for reg in regs]


@dataclass
class World:
    """A driver, a link to a device of unit 1 that holds n in register n, and ways to trouble it."""

    driver: Driver
    link: LinkConfig
    slave: Slave
    unplug: Callable[[], None]
    mood: str = "honest"
    """honest, late (each reply comes with the next request), foreign, garbage."""
    open_count: Callable[[], int] = lambda: -1
    held: list[bytes] = field(default_factory=list)
    points: Callable[..., list[Point]] = points

    def plan(self, *regs: int) -> tuple[Batch, ...]:
        return self.driver.plan(self.points(*regs), Limits(max_gap=0), None, self.link)

    def moody(self, reply: bytes, foreign: bytes, garbage: bytes) -> list[bytes]:
        """What goes over the wire instead of a reply."""
        if self.mood == "late":
            self.held.append(reply)
            return [self.held.pop(0)] if len(self.held) > 1 else []
        return [{"honest": reply, "foreign": foreign, "garbage": garbage}[self.mood]]


@asynccontextmanager
async def tcp_world() -> AsyncIterator[World]:
    slave = Slave(frozenset({1}))

    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        if world.mood == "unplugged":
            return [None]
        answer = slave.answer(unit, pdu)
        if answer is None:
            return []
        wrong = answer[:2] + bytes(len(answer) - 2)
        return list(
            world.moody(
                tcp_reply(tid, unit, answer), tcp_reply(tid, unit + 1, wrong), tcp_reply(tid ^ 0x100, unit, wrong)
            )
        )

    async with tcp_server(script) as port:
        link = LinkConfig("tcp-1", "tcp", host="127.0.0.1", port=port, timeout_s=TIMEOUT_S)
        world = World(load_driver("modbus"), link, slave, unplug=lambda: setattr(world, "mood", "unplugged"))
        yield world


def _rtu_script(world: Callable[[], World]) -> Callable[[bytes], list[bytes]]:
    def script(frame: bytes) -> list[bytes]:
        assert checksum(frame[:-2]) == frame[-2:]
        answer = world().slave.answer(frame[0], frame[1:-2])
        if answer is None:
            return []
        body = frame[:1] + answer
        wrong = bytes((frame[0] + 1,)) + answer[:2] + bytes(len(answer) - 2)
        return world().moody(body + checksum(body), wrong + checksum(wrong), body + checksum(body)[::-1])

    return script


@asynccontextmanager
async def pty_world() -> AsyncIterator[World]:
    with pty_server(_rtu_script(lambda: world)) as (path, unplug):
        link = LinkConfig("rs485-1", "serial", path=path, baud=115200, timeout_s=TIMEOUT_S)
        world = World(load_driver("modbus"), link, Slave(frozenset({1})), unplug=unplug)
        yield world


@asynccontextmanager
async def rtu_tcp_world() -> AsyncIterator[World]:
    closers: list[Callable[[], None]] = []
    async with rtu_tcp_server(_rtu_script(lambda: world), closers) as port:
        link = LinkConfig("server-1", "rtu+tcp", host="127.0.0.1", port=port, baud=115200, timeout_s=TIMEOUT_S)
        world = World(
            load_driver("modbus"), link, Slave(frozenset({1})), unplug=lambda: [close() for close in closers] and None
        )
        yield world


def analog_values(*instances: int) -> list[Point]:
    kind = {"type": "u16"}
    return [Point.model_validate({"id": f"r{at}", "object": f"analog-value:{at}", **kind}) for at in instances]


@asynccontextmanager
async def bacnet_world() -> AsyncIterator[World]:
    slave = Slave(frozenset({1}))
    device = Device(instance=1)

    def mood(asked: bytes, answers: list[bytes]) -> list[bytes]:
        device.absent = {(2, reg) for _, reg in slave.refused}
        sent: list[bytes] = []
        for answer in device.hear(asked) if device.absent else answers:
            if answer[6] >> 4 == 1:
                sent.append(answer)  # I-Am
                continue
            foreign = answer[:7] + bytes((answer[7] ^ 0x80,)) + answer[8:]
            sent += world.moody(answer, foreign, answer[:9] + b"\x0e" + answer[10:])
        return sent

    async with serving(device) as wire:
        wire.mood = mood
        own = BacnetLink(peers=(wire.place,), apdu_timeout_s=TIMEOUT_S)
        link = LinkConfig("bacnet-1", "bacnet", host="127.0.0.1", port=0, timeout_s=TIMEOUT_S, bacnet=own)
        world = World(load_driver("bacnet"), link, slave, unplug=lambda: None, points=analog_values)
        yield world


def _meter_world(edition: str) -> Callable[[], contextlib.AbstractAsyncContextManager[World]]:
    @asynccontextmanager
    async def world_of() -> AsyncIterator[World]:
        slave = Slave(frozenset({1}))
        with numbered_meter(edition, slave.refused, lambda *sent: world.moody(*sent)) as line:
            link = LinkConfig("rs485-1", "serial", path=line.path, baud=115200, timeout_s=TIMEOUT_S)
            driver = load_driver(f"dlt645-{edition}")
            world = World(
                driver, link, slave, unplug=lambda: line.ask(line.unplug), points=lambda *regs: numbered(edition, *regs)
            )
            yield world

    return world_of


@asynccontextmanager
async def mbus_world() -> AsyncIterator[World]:
    slave = Slave(frozenset({1}))
    with numbered_slave(slave.refused, lambda *sent: world.moody(*sent)) as line:
        link = LinkConfig("mbus-1", "serial", path=line.path, baud=115200, timeout_s=TIMEOUT_S)
        world = World(load_driver("mbus"), link, slave, unplug=lambda: line.ask(line.unplug), points=numbered_records)
        yield world


@asynccontextmanager
async def fake_world() -> AsyncIterator[World]:
    slave = Slave(frozenset({1}))
    refused = PointFault("BadNodeIdUnknown")

    def holds(reg: int) -> Callable[[], Any]:
        return lambda: refused if (3, reg) in slave.refused else reg

    device = FakeDevice(values={f"r{reg}": holds(reg) for reg in range(300)})
    driver = FakeDriver({1: device}, batch_size=10)
    link = LinkConfig("fake-1", "fake", timeout_s=TIMEOUT_S)

    def unplug() -> None:
        device.error = LinkLost("unplugged", where="fake-1")

    world = World(driver, link, slave, unplug=unplug, open_count=lambda: int(driver.is_open))
    yield world


@asynccontextmanager
async def opcua_world() -> AsyncIterator[World]:
    """No units behind one endpoint, and no wire of ours: a node is refused where a register would be."""
    slave = Slave(frozenset({1}))
    room = plant()
    await room.on(room.server.add_registers(300, lambda reg: (3, reg) in slave.refused))
    world = World(load_driver("opcua"), room.link(), slave, unplug=room.drop, points=register_nodes)
    yield world


def _http_world(protocol: str) -> Callable[[], contextlib.AbstractAsyncContextManager[World]]:
    """One host and no units: the values of a resource are refused where a register would be."""

    @asynccontextmanager
    async def world_of() -> AsyncIterator[World]:
        slave = Slave(frozenset({1}))
        async with Numbers(lambda reg: (3, reg) in slave.refused) as host:
            link = LinkConfig("http-1", "http", host="127.0.0.1", port=host.port, timeout_s=1.0, http=HttpLink())
            yield World(
                load_driver(protocol), link, slave, unplug=lambda: setattr(host, "gone", True), points=numbered_values
            )

    return world_of


WORLDS = {
    "modbus tcp": tcp_world,
    "modbus serial": pty_world,
    "modbus rtu+tcp": rtu_tcp_world,
    "bacnet": bacnet_world,
    "opcua": opcua_world,
    "dlt645-2007": _meter_world("2007"),
    "dlt645-1997": _meter_world("1997"),
    "mbus": mbus_world,
    "rest": _http_world("rest"),
    "isapi": _http_world("isapi"),
    "fake": fake_world,
}
WITHOUT_UNITS = ("opcua", "rest", "isapi")
ON_A_WIRE = {name: world for name, world in WORLDS.items() if name not in ("fake", *WITHOUT_UNITS)}
WITH_UNITS = {name: world for name, world in WORLDS.items() if name not in WITHOUT_UNITS}
EVERY_WITH_UNITS = pytest.mark.parametrize("world_of", WITH_UNITS.values(), ids=WITH_UNITS.keys())
EVERY = pytest.mark.parametrize("world_of", WORLDS.values(), ids=WORLDS.keys())
WITH_CONNECTION = {name: world for name, world in WORLDS.items() if name != "bacnet"}
WITH_REGISTERS = {name: world for name, world in WORLDS.items() if name.startswith("modbus")}
EVERY_CONNECTION = pytest.mark.parametrize("world_of", WITH_CONNECTION.values(), ids=WITH_CONNECTION.keys())
EVERY_MODBUS = pytest.mark.parametrize("world_of", WITH_REGISTERS.values(), ids=WITH_REGISTERS.keys())
EVERY_WIRE = pytest.mark.parametrize("world_of", ON_A_WIRE.values(), ids=ON_A_WIRE.keys())
WorldOf = Callable[[], contextlib.AbstractAsyncContextManager[World]]


ELSEWHERE = {
    "cjt188": "twelve numbers at most: what it promises is in test_cjt188_session.py",
    "osdp": "no registers: what it promises is in test_osdp_session.py",
    "pjlink": "no registers: what it promises is in test_pjlink_session.py",
    "onvif": "no registers: what it promises is in test_onvif_session.py",
    "uhppote": "no registers: what it promises is in test_uhppote_session.py",
    "zkteco-push": "nothing is asked: what it promises is in test_zkteco_session.py",
    "strings": "no registers: what it promises is in test_strings_line.py and test_strings_display.py",
}
"""Drivers that keep the promises of this suite in tests of their own, and why."""


def test_every_driver_is_in_the_suite() -> None:
    assert {name.split()[0] for name in WORLDS} | set(ELSEWHERE) == set(DRIVERS)


@EVERY
async def test_values_come_in_batch_order(world_of: WorldOf) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        assert isinstance(session, Session)
        for batch in world.plan(9, 3, 120, 4, 5, 200, 0):
            values = await session.read(Address(1), batch)
            assert [f"r{value}" for value in values] == list(batch.points)


@EVERY
async def test_concurrent_reads_get_their_own_answers(world_of: WorldOf) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        batches = [batch for reg in range(20) for batch in world.plan(reg, reg + 50)]
        answers = await asyncio.gather(*(session.read(Address(1), batch) for batch in batches))
        for batch, values in zip(batches, answers, strict=True):
            assert [f"r{value}" for value in values] == list(batch.points)


@EVERY_WITH_UNITS
async def test_a_silent_unit_is_a_device_timeout_in_time_and_its_neighbour_goes_on(world_of: WorldOf) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        [batch] = world.plan(1, 2)
        assert list(await session.read(Address(1), batch)) == [1, 2]
        began = time.monotonic()
        with pytest.raises(DeviceTimeout) as caught:
            await session.read(Address(99), batch)
        assert TIMEOUT_S * 0.9 <= time.monotonic() - began <= 10 * (TIMEOUT_S + 0.05)
        assert "99" in str(caught.value)
        assert caught.value.status == "BadTimeout"
        assert list(await session.read(Address(1), batch)) == [1, 2]


@EVERY
async def test_one_bad_register_loses_no_other(world_of: WorldOf) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        world.slave.refused[3, 7] = 2
        [batch] = world.plan(*range(5, 12))
        values = dict(zip(batch.points, await session.read(Address(1), batch), strict=True))
        assert isinstance(values.pop("r7"), PointFault)
        assert values == {f"r{reg}": reg for reg in range(5, 12) if reg != 7}


@EVERY_MODBUS
async def test_what_was_learned_is_told_once_and_repairs_the_plan(world_of: WorldOf) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        assert isinstance(session, CanLearn)
        world.slave.refused[3, 7] = 2
        [batch] = world.plan(*range(5, 12))
        await session.read(Address(1), batch)
        layout = session.learned(Address(1))
        assert layout == {"refused": {"holding": [[7, 7]]}}
        assert session.learned(Address(1)) is None
        world.slave.asked.clear()
        batches = world.driver.plan(points(*range(5, 12)), Limits(), layout, world.link)
        for one in batches:
            if not one.suspect:
                assert [f"r{value}" for value in await session.read(Address(1), one)] == list(one.points)
        assert len(world.slave.asked) == 2
        assert session.learned(Address(1)) is None
        world.slave.refused.clear()
        [suspect] = [one for one in batches if one.suspect]
        assert list(await session.read(Address(1), suspect)) == [7]
        assert session.learned(Address(1)) == {"refused": {"holding": []}}


@EVERY_WITH_UNITS
async def test_a_cancelled_read_ends_at_once_and_the_session_can_go_on(world_of: WorldOf) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        [batch] = world.plan(1, 2)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await session.read(Address(99), batch)
        assert time.monotonic() - began < TIMEOUT_S
        assert list(await session.read(Address(1), batch)) == [1, 2]


@EVERY
async def test_cancelling_whoever_holds_the_session_closes_the_link(world_of: WorldOf) -> None:
    async with world_of() as world:
        reading = asyncio.Event()

        async def hold() -> None:
            async with world.driver.open(world.link) as session:
                [batch] = world.plan(1)
                reading.set()
                while True:
                    await session.read(Address(1), batch)
                    await asyncio.sleep(0)

        task = asyncio.create_task(hold())
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with world.driver.open(world.link) as session:  # a port that were still open would be in use
            [batch] = world.plan(1)
            assert list(await session.read(Address(1), batch)) == [1]


@EVERY_CONNECTION
async def test_a_link_that_goes_away_is_a_lost_link(world_of: WorldOf) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        [batch] = world.plan(1)
        await session.read(Address(1), batch)
        world.unplug()

        async def read_on() -> None:
            for _ in range(50):
                await session.read(Address(1), batch)
                await asyncio.sleep(0.01)

        with pytest.raises(LinkLost) as caught:
            await read_on()
        assert caught.value.where
        with pytest.raises(LinkLost):
            await session.read(Address(1), batch)


@EVERY_WIRE
@pytest.mark.parametrize("mood", ["late", "foreign", "garbage"])
async def test_no_late_foreign_or_garbled_reply_becomes_a_value(world_of: WorldOf, mood: str) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        [near], [far] = world.plan(1, 2), world.plan(50, 51)
        world.mood = mood
        for batch in (near, far, near, far):
            with contextlib.suppress(DeviceTimeout, DeviceMismatch):
                values = await session.read(Address(1), batch)
                assert [f"r{value}" for value in values] == list(batch.points)
        world.mood = "honest"
        for _ in range(3):  # what is still under way, and the clearing of doubts
            with contextlib.suppress(DeviceError):
                await session.read(Address(1), near)
        assert list(await session.read(Address(1), near)) == [1, 2]


@EVERY_MODBUS
async def test_broadcast_is_refused_for_reads(world_of: WorldOf) -> None:
    async with world_of() as world, world.driver.open(world.link) as session:
        with pytest.raises(PlantroomError, match="broadcast"):
            await session.read(Address(0), world.plan(1)[0])
