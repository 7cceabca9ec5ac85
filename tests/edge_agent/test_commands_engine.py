"""A command from its arrival to its last answer: journalled, checked, carried out once, read back, answered, audited."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import DeviceRefused
from drivers.fake import FakeDevice
from edge_agent.commands.book import MAX_ANSWERS
from tests.edge_agent.command_world import BASE, World, code_of
from tests.edge_agent.poll_world import device, point


async def test_a_write_is_accepted_run_and_read_back(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.tell(world.command(**{"if": {"val": 20}}), response_topic=f"{BASE}/up/cmd/c1", correlation=b"c1")
        answers = world.line.of("c1")
        assert [(each["n"], each["st"]) for each in answers] == [(0, "accepted"), (1, "running"), (2, "succeeded")]
        assert answers[-1]["res"] == {"readback": 21, "old": 20, "val": 21}
        assert {(topic, correlation) for topic, _, correlation in world.line.said} == {(f"{BASE}/up/cmd/c1", b"c1")}
        assert world.written == [21]
        [accepted], [write], [result] = world.audit("accepted"), world.audit("write"), world.audit("result")
        assert (accepted["by"], accepted["why"], accepted["args"]) == ("u:42", "WO-118", {"p": "setpoint", "val": 21})
        assert (write["old"], write["val"], write["raw"], result["st"]) == (20, 21, 21, "succeeded")


async def test_the_first_answer_does_not_wait_for_a_slow_device(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        world.fake.delay_s = 0.4
        await world.tell(world.command(), for_s=0.01)
        assert [each["st"] for each in world.line.of("c1")] == ["accepted"]
        await world.clock.advance(20)
        assert world.line.of("c1")[-1]["st"] == "succeeded"


async def test_a_dead_device_is_told_in_two_seconds_and_holds_up_nobody(tmp_path: Path) -> None:
    other = device("ahu-2", [point("setpoint", access="rw")], unit=2)
    async with World(tmp_path, others=[other]) as world:
        world.driver.devices[2] = FakeDevice({"setpoint": 20})
        del world.driver.devices[1]
        began = world.clock.monotonic()
        world.send(world.command("dead"))
        world.send(world.command("alive", dev="ahu-2"))
        while not (world.line.of("dead")[1:] and world.line.of("alive")[2:]):
            await world.clock.advance(0.1)
        assert code_of(world.line.of("dead")[-1]) == "device_down"
        assert world.line.of("alive")[-1]["st"] == "succeeded"
        assert world.clock.monotonic() - began < 2
        await world.clock.advance(60)
        reads = len(world.driver.reads)
        await world.tell(world.command("known"), for_s=0.01)
        assert code_of(world.line.of("known")[-1]) == "device_down"
        assert len(world.driver.reads) == reads, "a device that is known to be down is not asked"


async def test_a_repeat_gets_the_stored_answer(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        document = world.command(exp=world.clock.wall_ms() + 600_000)
        await world.tell(document, expiry_s=None)
        again = await world.tell(document, expiry_s=None)
        assert (again["n"], again["st"]) == (2, "succeeded")
        clock, driver, fake = world.clock, world.driver, world.fake
    async with World(tmp_path, clock=clock, driver=driver, fake=fake) as world:
        answer = await world.tell(document, expiry_s=None)
        assert (answer["n"], answer["st"]) == (2, "succeeded")
        assert world.written == [21]
        assert len(world.audit("repeated")) == 2


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"dev": "nobody"}, "unsupported"),
        ({"args": {"p": "none", "val": 1}}, "not_writable"),
        ({"args": {"p": "temperature", "val": 1}}, "not_writable"),
        ({"args": {"p": "setpoint"}}, "out_of_range"),
        ({"args": {"p": "setpoint", "val": 1, "extra": 1}}, "out_of_range"),
        ({"args": {"p": "setpoint", "val": [1]}}, "out_of_range"),
        ({"args": {"p": "setpoint", "val": 31}}, "out_of_range"),
        ({"args": {"p": "setpoint", "val": 1, "prio": 7}}, "out_of_range"),
        ({"if": {"val": 19}}, "precondition"),
        ({"if": {"weather": 19}}, "precondition"),
        ({"op": "gate.open"}, "unsupported"),
        ({"op": "diag.ping"}, "unsupported"),
    ],
)
async def test_what_may_not_be_is_refused_and_nothing_is_written(
    tmp_path: Path, more: dict[str, Any], code: str
) -> None:
    points = (point("setpoint", access="rw", max=30), point("temperature"))
    async with World(tmp_path, points=points) as world:
        answer = await world.tell(world.command(**more))
        assert (answer["st"], code_of(answer)) == ("rejected", code)
        assert not world.written


async def test_a_dry_run_says_what_would_happen(tmp_path: Path) -> None:
    rules = {"interlocks": [{"point": "running", "equals": 1}], "release": 15}
    async with World(tmp_path, points=(point("setpoint", access="rw", write=rules), point("running"))) as world:
        world.fake.values["running"] = 1
        answer = await world.write(21, dry=True, args={"hold_s": 60})
        assert answer["st"] == "succeeded"
        assert {"dry": True, "val": 21, "raw": 21, "old": 20, "hold_s": 60, "then": 15}.items() <= answer["res"].items()
        assert answer["res"]["interlocks"] == [{"p": "running", "val": 1, "age_s": 0.0, "ok": True}]
        assert not world.written
        assert not len(world.engine.holds)


async def test_an_interlock_blocks(tmp_path: Path) -> None:
    rules = {"interlocks": [{"point": "fan-1/running", "equals": True}]}
    async with World(tmp_path, points=(point("setpoint", access="rw", write=rules),)) as world:
        assert code_of(await world.write(21, "c1")) == "blocked"
        world.fresh["fan-1", "running"] = (True, 3.0, "Good")
        assert (await world.write(21, "c2"))["st"] == "succeeded"


@pytest.mark.parametrize("wanted", [1, "Runs"])
@pytest.mark.parametrize(("running", "st"), [(1, "succeeded"), (0, "rejected")])
async def test_an_interlock_on_a_device_that_was_not_heard_for_long_is_read_now(
    tmp_path: Path, running: int, st: str, wanted: int | str
) -> None:
    fan = replace(device("fan-1", (point("running", labels={0: "stands", 1: "runs"}),)), unit=2)
    rules = {"interlocks": [{"point": "fan-1/running", "equals": wanted}]}
    async with World(tmp_path, points=(point("setpoint", access="rw", write=rules),), others=(fan,)) as world:
        world.driver.devices[2] = FakeDevice({"running": running})
        world.fresh["fan-1", "running"] = (1, 900.0, "Good")  # it reports its changes, and nothing has changed
        assert (await world.write(21))["st"] == st


async def test_a_hold_where_the_device_takes_a_priority_and_keeps_none(tmp_path: Path) -> None:
    points = (point("setpoint", access="rw", write={"priority": 13}),)
    async with World(tmp_path, points=points) as world:
        dry = await world.write(21, "c0", dry=True, args={"hold_s": 60})
        assert (dry["res"]["slots"], dry["res"]["then"]) == (False, 20)
        assert (await world.write(21, "c1", args={"hold_s": 60}))["st"] == "succeeded"
        assert (await world.write(22, "c2", args={"hold_s": 60}))["st"] == "succeeded"
        await world.clock.advance(70)
        assert world.written == [21, 22, 20]
        assert {each.priority for each in world.driver.writes} == {13}
        release = world.command("c3", op="point.release", args={"p": "setpoint"})
        assert code_of(await world.tell(release)) == "precondition"


async def test_rates_outlive_a_restart(tmp_path: Path) -> None:
    points = (point("setpoint", access="rw", write={"per_hour": 2, "min_interval": 30}),)
    async with World(tmp_path, points=points) as world:
        await world.write(21, "c1", for_s=10)
        assert code_of(await world.write(22, "c2")) == "busy"
        await world.clock.advance(30)
        assert (await world.write(22, "c3"))["st"] == "succeeded"
        clock, driver, fake = world.clock, world.driver, world.fake
    async with World(tmp_path, points=points, clock=clock, driver=driver, fake=fake) as world:
        await world.clock.advance(40)
        assert code_of(await world.write(23, "c4")) == "busy"
        await world.clock.advance(3600)
        assert (await world.write(23, "c5"))["st"] == "succeeded"
        assert world.written == [21, 22, 23]


async def test_reads_and_operations(tmp_path: Path) -> None:
    profile = {
        "operations": [
            {"id": "reset", "call": {"method": "Reset"}, "inputs": {"level": {"min": 0, "max": 9}}, "per_hour": 1},
            {"id": "up", "op": "gate.open", "call": {"method": "Up"}},
        ]
    }
    async with World(tmp_path, profile=profile) as world:
        world.fake.results = {"reset": {"done": True}, "up": {}}
        read = await world.tell(world.command("r1", op="point.read", args={"p": "setpoint"}))
        assert (read["st"], read["res"]) == ("succeeded", {"val": 20})
        called = await world.tell(world.command("o1", op="device.call", args={"call": "reset", "inputs": {"level": 3}}))
        assert (called["st"], called["res"]) == ("succeeded", {"done": True})
        again = await world.tell(world.command("o2", op="device.call", args={"call": "reset", "inputs": {"level": 3}}))
        assert code_of(again) == "busy"
        world.fake.loses_answers = True
        lost = await world.tell(world.command("o3", op="gate.open", args={}))
        assert (lost["st"], code_of(lost)) == ("unknown", "timeout")
        assert [call.operation for call in world.driver.calls] == ["reset", "up"]
        for op in ("meta.republish", "agent.restart"):
            assert (await world.tell(world.command(op.replace(".", "-"), op=op, args={})))["st"] == "succeeded"
        assert world.asked == ["republish", "restart"]


async def test_answers_wait_for_the_broker_and_survive_a_restart(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        world.line.is_connected = False
        world.send(world.command())
        await world.clock.advance(20)
        assert not world.line.said
        clock, driver, fake = world.clock, world.driver, world.fake
    async with World(tmp_path, clock=clock, driver=driver, fake=fake) as world:
        assert [each["n"] for each in world.line.of("c1")] == [0, 1, 2]
    world = World(tmp_path, clock=clock, driver=driver, fake=fake)
    async with world:
        assert not world.line.said, "acknowledged answers are forgotten"
        world.line.acknowledges = None
        await world.tell(world.command("c2"))
        said = len(world.line.of("c2"))
        world.line.connect()
        await clock.advance(1)
        assert [each["n"] for each in world.line.of("c2")[said:]] == [0, 1, 2], "what the connection lost is said again"
        world.line.acknowledges = 0x87
        await world.tell(world.command("c3"), for_s=1)
        world.line.acknowledges = 0
        await clock.advance(61)
        assert world.line.of("c3")[-1]["st"] == "succeeded"


async def test_a_device_that_refuses(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        world.fake.write_error = DeviceRefused("no", code=2, status="BadNotWritable")
        answer = await world.write(21, args={"hold_s": 60})
        assert (answer["st"], code_of(answer)) == ("failed", "not_writable")
        assert not len(world.engine.holds), "nothing was written, nothing is held"


async def test_too_many_at_once_are_told_so(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for number in range(70):
            world.send(world.command(f"c{number}"))
        assert world.engine.figures()["overflow"] == 6
        await world.clock.advance(30)
        codes = [code_of(world.line.of(f"c{number}")[-1]) for number in range(70)]
        assert codes.count(None) >= 1
        assert set(codes) <= {None, "busy", "timeout"}
        assert MAX_ANSWERS > 1000


async def test_over_the_local_socket(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        given = {"op": "point.write", "dev": "ahu-1", "args": {"p": "setpoint", "val": 21}, "why": "test"}
        answer = await world.clock.run(world.engine.local({"command": given, "peer": {"uid": 0}}), at_most_s=60)
        assert (answer["st"], answer["res"]["readback"]) == ("succeeded", 21)
        assert not world.line.said
        assert world.audit("accepted")[0]["by"] == "local:root"
        assert (await world.engine.local({"id": answer["id"], "peer": {}}))["st"] == "succeeded"
        for wrong in ({**given, "by": "u:1"}, {**given, "op": "x"}, None):
            with pytest.raises(Exception, match=r"no command|no 'x'"):
                await world.engine.local({"command": wrong, "peer": {"uid": 0}})
