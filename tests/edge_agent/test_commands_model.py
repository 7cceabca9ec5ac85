"""Any interleaving of commands, repeats, crashes and outages executes no id twice, forgets no hold, and answers every command."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.fake import FakeDevice, FakeDriver
from edge_agent.clock import VirtualClock
from tests.edge_agent.command_world import World
from tests.edge_agent.poll_world import point

POINTS = (point("setpoint", access="rw", write={"per_hour": 1000}),)
FINAL = {"succeeded", "failed", "rejected", "expired", "cancelled", "unknown"}
ids = st.integers(0, 5)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("write"), ids, st.sampled_from([None, 0.5, 30])),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.05, 0.21, 1.0, 40.0])),
        st.tuples(st.sampled_from(["crash", "silent", "answering", "offline", "online"])),
    ),
    max_size=14,
)


class Run:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.fake = FakeDevice({"setpoint": 20}, delay_s=0.2)
        self.driver = FakeDriver({1: self.fake}, sleep=self.clock.sleep)
        self.sent: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, str] = {}

    async def go(self, steps: list[tuple[Any, ...]]) -> None:
        rest = [*steps, ("answering",), ("online",), ("wait", 90.0)]
        while rest:
            async with World(self.folder, points=POINTS, fake=self.fake, driver=self.driver, clock=self.clock) as world:
                while rest and (step := rest.pop(0))[0] != "crash":
                    await self.do(world, step)
                for topic, answer, _ in world.line.said:
                    self.answers[topic.rpartition("/")[2]] = answer["st"]

    async def do(self, world: World, step: tuple[Any, ...]) -> None:
        kind = step[0]
        if kind == "write":
            _, number, hold_s = step
            name = f"c{number}"
            # Each id writes a value of its own, so that the device's log tells how often it was carried out.
            args = {"p": "setpoint", "val": 100 + number, **({} if hold_s is None else {"hold_s": hold_s})}
            document = self.sent.setdefault(name, world.command(name, args=args, exp=self.clock.wall_ms() + 3_600_000))
            world.send(document, expiry_s=None)
        elif kind == "wait":
            await self.clock.advance(step[1])
        elif kind in ("silent", "answering"):
            self.fake.loses_answers = kind == "silent"
        elif kind == "offline":
            world.line.is_connected = False
        else:
            world.line.connect()


@settings(max_examples=25)
@given(actions)
def test_no_id_is_carried_out_twice(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        asyncio.run(run.go(steps))
        values = [write.value for write in run.driver.writes]
        for number in range(6):
            # A hold that ends may write back what an earlier command had left there; only those count that nobody held.
            given_back = sum(write == 100 + number for write in values) - 1
            assert given_back <= 0 or any("hold_s" in sent["args"] for sent in run.sent.values()), values
        if not any("hold_s" in sent["args"] for sent in run.sent.values()):
            assert len(values) == len(set(values))
        world = World(Path(folder), points=POINTS, fake=run.fake, driver=run.driver, clock=run.clock)
        assert not any(entry["st"] not in FINAL for entry in world.audit("result"))
        done = {entry["id"] for entry in world.audit("result")}
        heard = {name for name in run.sent if name in run.answers}
        assert heard <= done
