"""A turnstile on a serial line: it is opened, people walk through, and its fire release asks nobody."""

from __future__ import annotations

import asyncio

import pytest
from strings_world import opened

from device_profiles.errors import DeviceRefused, DeviceTimeout
from drivers.base import CanOperate
from firmware_sim.turnstile_strings import Turnstile, build


def test_the_frames_are_the_manuals() -> None:
    """Digicon Tx1500 manual, page 31: its examples."""
    assert build(b"H") == bytes.fromhex("02 02 00 48 48")
    assert build(b"LH") == bytes.fromhex("02 03 00 4C 48 05")
    assert build(b"\x06") == bytes.fromhex("02 02 00 06 06")


@pytest.mark.parametrize("kind", ["serial", "tcp"])
async def test_one_passage_each_way(kind: str) -> None:
    gate = Turnstile()
    async with opened(gate, "digicon-tx1500", kind) as world:
        assert isinstance(world.session, CanOperate)
        await world.listen()
        assert not gate.walk("in")
        assert await world.session.operate(world.device, world.operation("open_in"), {}, None) == {"check": 6}
        assert gate.walk("in")
        assert not gate.walk("in")
        await world.session.operate(world.device, world.operation("open_out"), {}, None)
        assert gate.walk("out")
        told = [await world.next(), await world.next()]
    assert [(one.name, one.data["dir"]) for one in told] == [("gate.pass", "in"), ("gate.pass", "out")]
    assert gate.orders == [b"A", b"H"]


async def test_closing_does_not_undo_fire_release() -> None:
    gate = Turnstile()
    async with opened(gate, "digicon-tx1500") as world:
        await world.listen()
        gate.is_released = True
        await world.session.operate(world.device, world.operation("close"), {}, None)
        assert gate.walk("out")
        assert (await world.next()).name == "gate.pass"


async def test_an_order_is_sent_once_and_its_silence_is_told() -> None:
    gate = Turnstile()
    async with opened(gate, "digicon-tx1500", timeout_s=0.1) as world:
        gate.mute = True
        with pytest.raises(DeviceTimeout):
            await world.session.operate(world.device, world.operation("open_in"), {}, None)
        assert world.wire.bytes_heard == 5
        gate.mute = False
        gate._carry_out = lambda content: False  # type: ignore[method-assign]
        with pytest.raises(DeviceRefused):
            await world.session.operate(world.device, world.operation("open_in"), {}, None)


async def test_a_passage_while_the_order_is_under_way_is_no_answer() -> None:
    gate = Turnstile()
    async with opened(gate, "digicon-tx1500", timeout_s=0.3) as world:
        await world.listen()
        gate.mute = True
        gate.is_released = True
        order = asyncio.create_task(world.session.operate(world.device, world.operation("open_in"), {}, None))
        await world.until(lambda: world.wire.bytes_heard)
        gate.walk("out")
        with pytest.raises(DeviceTimeout):
            await order
        assert (await world.next()).data == {"dir": "out"}
