"""F36: two operators and one point, or somebody at the device: exactly one holder, and no success is told that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.fake import FakeDevice
from tests.edge_agent.command_world import World, code_of
from tests.edge_agent.poll_world import point

SLOTS = (point("setpoint", access="rw", write={"priority": 10}),)
PLAIN = (point("setpoint", access="rw"),)


@pytest.mark.parametrize(
    ("prio", "code", "value"),
    [(13, "busy", 25), (14, "overridden", 25), (12, None, 22)],
    ids=["the same priority", "a lower one", "a higher one"],
)
@pytest.mark.parametrize("points", [SLOTS, PLAIN], ids=["slots", "no slots"])
async def test_exactly_one_holder(tmp_path: Path, points: tuple[object, ...], prio: int, code: str, value: int) -> None:
    fake = FakeDevice({"setpoint": 20}, slots={"setpoint": {}} if points is SLOTS else {})
    async with World(tmp_path, points=points, fake=fake) as world:
        first = await world.write(25, "a", by="u:1", args={"prio": 13, "hold_s": 600})
        second = await world.write(22, "b", by="u:2", args={"prio": prio, "hold_s": 300})
        assert first["st"] == "succeeded"
        hold = world.engine.holds.of("ahu-1/setpoint")
        assert hold is not None
        if code is None:
            assert second["st"] == "succeeded"
            last = world.line.of("a")[-1]
            assert (last["st"], code_of(last)) == ("cancelled", "overridden")
            assert hold.by == "u:2"
        else:
            assert (second["st"], code_of(second)) == ("rejected", code)
            assert hold.by == "u:1"
        slots = fake.slots.get("setpoint")
        assert (slots[min(slots)] if slots else fake.values["setpoint"]) == value
        await world.clock.advance(700)
        assert len(world.engine.holds) == 0
        assert fake.values["setpoint"] == 20
        assert not slots


async def test_two_at_the_same_moment(tmp_path: Path) -> None:
    async with World(tmp_path, points=PLAIN) as world:
        world.fake.delay_s = 0.3
        world.send(world.command("a", by="u:1", args={"p": "setpoint", "val": 25, "hold_s": 60}))
        world.send(world.command("b", by="u:2", args={"p": "setpoint", "val": 22, "hold_s": 60}))
        await world.clock.advance(20)
        assert world.line.of("a")[-1]["st"] == "succeeded"
        assert code_of(world.line.of("b")[-1]) == "busy"
        assert world.written == [25]


async def test_somebody_at_the_device_goes_first(tmp_path: Path) -> None:
    async with World(tmp_path, points=SLOTS) as world:
        world.fake.slots["setpoint"] = {8: 18}
        before = await world.write(25, "a", args={"hold_s": 60})
        assert (before["st"], code_of(before)) == ("rejected", "overridden")
        assert not world.written


async def test_somebody_at_the_device_while_we_write(tmp_path: Path) -> None:
    """The slot above ours is taken between the look and the write: told as overridden, and our value does not lie in wait."""
    async with World(tmp_path, points=SLOTS) as world:
        world.fake.slots["setpoint"] = {}
        world.fake.delay_s = 0.2
        world.send(world.command(args={"p": "setpoint", "val": 25, "hold_s": 600}))
        while not world.line.of("c1")[1:]:
            await world.clock.advance(0.05)
        world.fake.slots["setpoint"][8] = 18
        await world.clock.advance(20)
        answer = world.line.of("c1")[-1]
        assert (answer["st"], code_of(answer), answer["res"]["readback"]) == ("failed", "overridden", 18)
        assert world.fake.slots["setpoint"] == {8: 18}
        assert len(world.engine.holds) == 0


async def test_who_does_not_hold_it_cannot_release_it(tmp_path: Path) -> None:
    async with World(tmp_path, points=PLAIN) as world:
        await world.write(25, "a", by="u:1", args={"prio": 13, "hold_s": 600})
        release = {"op": "point.release", "by": "u:2"}
        assert code_of(await world.tell(world.command("b", args={"p": "setpoint"}, **release))) == "overridden"
        higher = await world.tell(world.command("c", args={"p": "setpoint", "prio": 9}, **release))
        assert higher["st"] == "succeeded"
        assert world.written == [25, 20]
