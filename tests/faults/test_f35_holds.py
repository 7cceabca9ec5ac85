"""F35: what is held is given back on time: without the platform, after a crash, a power cut, and when it is hard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import ConfigError, DeviceTimeout
from edge_agent.commands.book import Book
from tests.edge_agent.command_world import World, code_of
from tests.edge_agent.poll_world import point

SLOTS = (point("setpoint", access="rw", write={"priority": 13, "hold_max": 3600}),)
PLAIN = (point("setpoint", access="rw"),)
POLL_S = 10.0


def with_slots(world: World) -> None:
    world.fake.slots["setpoint"] = {}


def again(world: World, folder: Path) -> World:
    """The next life of the same agent, with the same device."""
    return World(folder, points=world.device.points, clock=world.clock, driver=world.driver, fake=world.fake)


def holds(folder: Path) -> int:
    book = Book.open(folder / "commands.db", "hq/gw-01")
    count = len(book.kept().holds)
    book.close()
    return count


async def test_null_at_our_own_priority_on_time_without_the_platform(tmp_path: Path) -> None:
    async with World(tmp_path, points=SLOTS) as world:
        with_slots(world)
        answer = await world.write(25, for_s=5, args={"hold_s": 60})
        assert answer["res"]["hold_until"] == pytest.approx(world.clock.wall_ms() + 55_000, abs=500)
        world.line.is_connected = False
        await world.clock.advance(54)
        assert world.fake.slots["setpoint"] == {13: 25}
        await world.clock.advance(1 + POLL_S)
        assert world.fake.slots["setpoint"] == {}
        assert [(each.value, each.priority) for each in world.driver.writes] == [(25, 13), (None, 13)]
        assert world.audit("released")[0]["id"] == "c1"
    assert holds(tmp_path) == 0


@pytest.mark.parametrize(("release", "raw"), [(None, 20), (15, 15)])
async def test_without_priorities_the_value_before_or_the_profiles_is_written(
    tmp_path: Path, release: Any, raw: int
) -> None:
    points = (point("setpoint", access="rw", write={"release": release}),)
    async with World(tmp_path, points=points) as world:
        await world.write(25, "c1", args={"hold_s": 60})
        await world.write(26, "c2", args={"hold_s": 60})
        await world.clock.advance(70)
        assert world.written == [25, 26, raw]


async def test_released_early_and_replaced_by_the_same_holder(tmp_path: Path) -> None:
    async with World(tmp_path, points=PLAIN) as world:
        await world.write(25, "c1", args={"hold_s": 60})
        released = await world.tell(world.command("c2", op="point.release", args={"p": "setpoint"}))
        assert released["st"] == "succeeded"
        assert (
            code_of(await world.tell(world.command("c3", op="point.release", args={"p": "setpoint"}))) == "precondition"
        )
        await world.write(25, "c4", args={"hold_s": 60})
        assert (await world.write(26, "c5"))["st"] == "succeeded", "its holder writes for good"
        await world.clock.advance(120)
        assert world.written == [25, 20, 25, 26]


async def test_a_crash_of_the_agent_changes_nothing(tmp_path: Path) -> None:
    async with World(tmp_path, points=SLOTS) as world:
        with_slots(world)
        await world.write(25, args={"hold_s": 60})
    async with again(world, tmp_path) as world:
        await world.clock.advance(30)
        assert world.fake.slots["setpoint"] == {13: 25}
        await world.clock.advance(12)
        assert world.fake.slots["setpoint"] == {}
    assert holds(tmp_path) == 0


async def test_a_hold_whose_time_went_by_meanwhile_ends_at_once(tmp_path: Path) -> None:
    async with World(tmp_path, points=PLAIN) as world:
        await world.write(25, args={"hold_s": 60})
    world.clock.elapse(3600)
    async with again(world, tmp_path) as world:
        await world.clock.advance(2)
        assert world.written == [25, 20]


async def test_after_a_power_cut_stale_holds_end_within_a_minute(tmp_path: Path) -> None:
    async with World(tmp_path, points=SLOTS) as world:
        with_slots(world)
        await world.write(25, args={"hold_s": 3600})
    world.clock.boot_id = "another"
    world.clock.set(quality="unsync")
    del world.driver.devices[1]
    next_life = again(world, tmp_path)
    del world.driver.devices[1]
    async with next_life as world:
        await world.clock.advance(20)
        world.driver.devices[1] = world.fake  # the device boots slower than the agent
        await world.clock.advance(40)
        assert world.fake.slots["setpoint"] == {}
    assert holds(tmp_path) == 0


async def test_a_step_of_the_clock_moves_no_end(tmp_path: Path) -> None:
    async with World(tmp_path, points=SLOTS) as world:
        with_slots(world)
        await world.write(25, args={"hold_s": 600})
        world.clock.step(-3_600_000)
        await world.clock.advance(300)
        world.clock.step(7_200_000)
        await world.clock.advance(270)
        assert world.fake.slots["setpoint"] == {13: 25}
        await world.clock.advance(30)
        assert world.fake.slots["setpoint"] == {}


@pytest.mark.parametrize("trouble", [DeviceTimeout("no answer"), ConfigError("the profile says otherwise now")])
async def test_what_cannot_be_given_back_is_tried_for_ever_and_raises_an_alarm(
    tmp_path: Path, trouble: Exception
) -> None:
    async with World(tmp_path, points=SLOTS) as world:
        with_slots(world)
        await world.write(25, for_s=5, args={"hold_s": 60})
        world.fake.write_error = trouble
        await world.clock.advance(4 * 3600)
        [(device, data)] = world.sink.named("alarm.raised")
        assert (device, data["id"], data["sev"]) == ("ahu-1", "release_failed", "high")
        assert world.documents["alarm/ahu-1/release_failed"]
    world.fake.write_error = None
    async with again(world, tmp_path) as world:
        assert world.documents["alarm/ahu-1/release_failed"] == b""
        await world.clock.advance(30)
        assert world.fake.slots["setpoint"] == {}


async def test_the_alarm_is_cleared_when_it_was_given_back(tmp_path: Path) -> None:
    async with World(tmp_path, points=SLOTS) as world:
        with_slots(world)
        await world.write(25, for_s=5, args={"hold_s": 10})
        world.fake.write_error = DeviceTimeout("no answer")
        await world.clock.advance(300)
        world.fake.write_error = None
        await world.clock.advance(61)
        assert len(world.sink.named("alarm.cleared")) == 1
        assert world.documents["alarm/ahu-1/release_failed"] == b""


async def test_a_clean_end_gives_everything_back(tmp_path: Path) -> None:
    async with World(tmp_path, points=SLOTS) as world:
        with_slots(world)
        await world.write(25, args={"hold_s": 3600})
        await world.clock.run(world.engine.close())
        assert world.fake.slots["setpoint"] == {}
    assert holds(tmp_path) == 0


async def test_holds_of_a_damaged_journal_are_given_back_as_far_as_they_can_be_read(tmp_path: Path) -> None:
    async with World(tmp_path, points=SLOTS) as world:
        with_slots(world)
        await world.write(25, args={"hold_s": 60})
    path = tmp_path / "commands.db"
    Book.open(path, "hq/gw-01").close()  # the log is in the file
    data = bytearray(path.read_bytes())
    data[68:72] = b"XXXX"  # the application id
    path.write_bytes(data)
    async with again(world, tmp_path) as world:
        await world.clock.advance(60)
        assert world.fake.slots["setpoint"] == {}
        assert world.audit("journal_set_aside")[0]["holds"] == ["ahu-1/setpoint"]
