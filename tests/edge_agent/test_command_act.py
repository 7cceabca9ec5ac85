"""One write to one point: what is looked at before, the write once, and what must show afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from device_profiles.control import Interlock
from device_profiles.errors import CommandRefused, DeviceRefused
from device_profiles.reading import PointFault, Sample
from drivers.fake import FakeDevice, FakeDriver
from edge_agent.clock import VirtualClock
from edge_agent.commands.act import Outcome, Plan, Target, direct, release, write_point
from tests.edge_agent.poll_world import SOCKET, device, point


class Bench:
    """A device of these points that answers, and one way to write its first point."""

    def __init__(self, *points: Any, fake: FakeDevice | None = None) -> None:
        self.clock = VirtualClock()
        self.fake = fake or FakeDevice({each.id: 20 for each in points})
        self.driver = FakeDriver({1: self.fake}, sleep=self.clock.sleep)
        self.device = device("ahu-1", points)
        self.fresh: dict[tuple[str, str], tuple[Any, float, str]] = {}

    async def write(self, value: Any, **keys: Any) -> Outcome | Plan:
        async with self.driver.open(SOCKET) as session:
            return await self.clock.run(asyncio.create_task(self._write(session, value, keys)))

    async def _write(self, session: Any, value: Any, keys: dict[str, Any]) -> Outcome | Plan:
        return await write_point(self.target(session), value, **keys)

    def target(self, session: Any) -> Target:
        return Target(
            self.device,
            self.device.points[0],
            self.driver,
            SOCKET,
            direct(session),
            self.clock,
            fresh=lambda device, name: self.fresh.get((device, name)),
        )

    async def refused(self, value: Any, **keys: Any) -> str:
        with pytest.raises(CommandRefused) as caught:
            await self.write(value, **keys)
        assert not self.driver.writes
        return caught.value.code


def writable(point_id: str = "setpoint", **keys: Any) -> Any:
    return point(point_id, access="rw", **keys)


async def test_writes_once_and_reads_back() -> None:
    bench = Bench(writable(scale="0.1"))
    outcome = await bench.write(21.5, expected=2.0)
    assert isinstance(outcome, Outcome)
    assert (outcome.st, outcome.readback, outcome.plan.before) == ("succeeded", 21.5, 2.0)
    assert [(each.value, each.priority) for each in bench.driver.writes] == [(215, None)]


async def test_dry_says_everything_and_writes_nothing() -> None:
    bench = Bench(writable(scale="0.1", min=10, max=30))
    plan = await bench.write(21.5, dry=True)
    assert isinstance(plan, Plan)
    async with bench.driver.open(SOCKET) as session:
        facts = plan.facts(bench.target(session))
    assert (facts["raw"], facts["old"], facts["old_raw"], facts["min"], facts["max"]) == (215, 2.0, 20, 10, 30)
    assert not bench.driver.writes


async def test_refusals_write_nothing() -> None:
    assert await Bench(point("setpoint")).refused(1) == "not_writable"
    bench = Bench(writable(write={"step": 5}))
    assert await bench.refused(30) == "out_of_range"
    assert await bench.refused(21, expected=19) == "precondition"
    bench.fake.values["setpoint"] = PointFault("BadNodeIdUnknown")
    assert await bench.refused(21) == "not_writable"
    del bench.driver.devices[1]
    assert await bench.refused(21) == "device_down"
    bench.driver.devices[1] = FakeDevice(delay_s=99)
    assert await bench.refused(21) == "device_down"


@pytest.mark.parametrize(
    ("said", "is_held"),
    [(1, True), (0, False), (PointFault("BadTimeout"), False), (Sample(1, "UncertainSensorNotAccurate"), False)],
)
async def test_an_interlock_of_the_device_is_read_now(said: Any, is_held: bool) -> None:
    lock = {"point": "running", "equals": 1, "text": "start the fan first"}
    bench = Bench(writable(write={"interlocks": [lock]}), point("running"))
    bench.fake.values["running"] = said
    if is_held:
        outcome = await bench.write(21)
        assert isinstance(outcome, Outcome)
        assert outcome.plan.interlocks[0].holds
    else:
        assert await bench.refused(21) == "blocked"


@pytest.mark.parametrize(
    ("known", "is_held"),
    [
        ((18.0, 5.0, "Good"), True),
        ((18.0, 61.0, "Good"), False),
        ((35.0, 5.0, "Good"), False),
        ((18.0, 5.0, "UncertainLastUsableValue"), False),
        ((None, 5.0, "BadTimeout"), False),
        (None, False),
    ],
)
async def test_an_interlock_of_another_device_must_be_fresh_and_good(known: Any, is_held: bool) -> None:
    lock = Interlock(point="weather/temp", low=-10, high=30).model_dump()
    bench = Bench(writable(write={"interlocks": [lock]}))
    if known is not None:
        bench.fresh["weather", "temp"] = known
    if is_held:
        await bench.write(21)
    else:
        assert await bench.refused(21) == "blocked"


async def test_what_does_not_show_in_time_has_failed() -> None:
    bench = Bench(writable(write={"within": 3, "readback": "effect"}), point("effect"))
    outcome = await bench.write(21)
    assert isinstance(outcome, Outcome)
    assert (outcome.st, outcome.code, outcome.readback) == ("failed", "timeout", 20)
    assert len(bench.driver.writes) == 1


async def test_a_lost_answer_is_settled_by_reading_and_never_written_again() -> None:
    bench = Bench(writable())
    bench.fake.loses_answers = True
    outcome = await bench.write(21)
    assert isinstance(outcome, Outcome)
    assert (outcome.st, len(bench.driver.writes)) == ("succeeded", 1)
    pulse = Bench(writable(write={"idempotent": False}))
    pulse.fake.loses_answers = True
    outcome = await pulse.write(20)
    assert isinstance(outcome, Outcome)
    assert (outcome.st, len(pulse.driver.writes)) == ("unknown", 1)


async def test_a_refused_write_has_failed_and_nothing_is_read_back() -> None:
    bench = Bench(writable())
    bench.fake.write_error = DeviceRefused("no", code=3, status="BadOutOfRange")
    outcome = await bench.write(21)
    assert isinstance(outcome, Outcome)
    assert (outcome.st, outcome.code) == ("failed", "out_of_range")


async def test_a_higher_slot_is_reported_before_and_after() -> None:
    bench = Bench(writable(write={"priority": 13}))
    bench.fake.slots["setpoint"] = {8: 18.0}
    assert await bench.refused(21) == "overridden"
    bench.fake.slots["setpoint"] = {}

    async def by_hand(plan: Plan) -> None:
        bench.fake.slots["setpoint"][8] = 18.0

    outcome = await bench.write(21, about_to_write=by_hand)
    assert isinstance(outcome, Outcome)
    assert (outcome.st, outcome.code, outcome.readback) == ("failed", "overridden", 18.0)
    assert [(each.value, each.priority) for each in bench.driver.writes] == [(21.0, 13)]
    async with bench.driver.open(SOCKET) as session:
        await release(bench.target(session), 13, None)
    assert bench.fake.slots["setpoint"] == {8: 18.0}


async def test_a_scale_that_the_device_holds_is_read_first() -> None:
    bench = Bench(writable(scale_from={"point": "factor"}), point("factor", type="s16", internal=True))
    bench.fake.values |= {"setpoint": 200, "factor": -1}
    outcome = await bench.write(21.5)
    assert isinstance(outcome, Outcome)
    assert (outcome.plan.before, bench.driver.writes[0].value, outcome.readback) == (20.0, 215, 21.5)
