"""The command path on the virtual clock: an engine over a poller and the fake driver, and a broker that is a list.

The journal is a real file; its thread is this one, so that nothing happens between two steps of the clock. A kill is a `World`
that is left as it is, and another one on the same folder.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers.fake import FakeDevice, FakeDriver
from edge_agent.clock import VirtualClock
from edge_agent.commands.audit import entries, verify
from edge_agent.commands.engine import Engine
from edge_agent.commands.envelope import Me
from edge_agent.commands.plant import AgentPlant
from edge_agent.commands.policy import Policy
from edge_agent.model import Device
from edge_agent.polling.poller import LinkPoller
from gateway.mqtt import CONNECTION_LOST, Incoming
from tests.edge_agent.poll_world import SOCKET, Recorder, device, point

BASE = "plantroom/v1/hq/gw-01"
ME = Me("hq/gw-01", f"{BASE}/up/cmd/")


class Inline(Executor):
    """Runs what it is given at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **keys: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **keys))
        except Exception as error:  # noqa: BLE001  it is the caller's
            future.set_exception(error)
        return future


class Line:
    """Stands where the uplink does. What was said while connected is acknowledged at once."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[Incoming], None]] = {}
        self.said: list[tuple[str, dict[str, Any], bytes | None]] = []
        self.is_connected = True
        self.acknowledges: int | None = 0
        self._connected: list[Callable[[], None]] = []

    def hear(self, rest: str, handler: Callable[[Incoming], None]) -> None:
        self.handlers[rest] = handler

    def answer(
        self, topic: str, payload: bytes, *, expiry_s: int, correlation: bytes | None, on_ack: Callable[[int], None]
    ) -> bool:
        if not self.is_connected:
            return False
        assert expiry_s == 3600
        self.said.append((topic, json.loads(payload), correlation))
        asyncio.get_running_loop().call_soon(
            on_ack, CONNECTION_LOST if self.acknowledges is None else self.acknowledges
        )
        return True

    def on_connected(self, callback: Callable[[], None]) -> None:
        self._connected.append(callback)

    def connect(self) -> None:
        self.is_connected, self.acknowledges = True, 0
        for callback in self._connected:
            callback()

    def of(self, command_id: str) -> list[dict[str, Any]]:
        return [answer for _, answer, _ in self.said if answer["id"] == command_id]


@dataclass(frozen=True)
class _Site:
    devices: Sequence[Device]


class World:
    """One life of an agent's command path. `fake` is the device, which outlives it."""

    def __init__(
        self,
        folder: Path,
        *,
        points: Sequence[Any] = (),
        fake: FakeDevice | None = None,
        driver: FakeDriver | None = None,
        clock: Any = None,
        policy: Policy | None = None,
        profile: Mapping[str, Any] | None = None,
        others: Sequence[Device] = (),
        own_thread: bool = False,
    ) -> None:
        self.folder = folder
        self.clock = clock or VirtualClock()
        points = points or (point("setpoint", access="rw", write={"per_hour": 100}),)
        self.device = device("ahu-1", points, profile=profile)
        self.fake = fake or FakeDevice({each.id: 20 for each in points})
        self.driver = driver or FakeDriver({1: self.fake}, sleep=self.clock.sleep)
        self.driver.devices[1] = self.fake
        self.sink = Recorder(self.clock)
        self._site = _Site((self.device, *others))
        self.poller = LinkPoller(SOCKET, self.driver, self._site.devices, sink=self.sink, clock=self.clock, memory={})
        self.line = Line()
        self.fresh: dict[tuple[str, str], Any] = {}
        self.asked: list[str] = []
        self.documents: dict[str, bytes] = {}
        self.engine = Engine(
            folder=folder,
            me=ME,
            policy=policy or Policy(),
            line=self.line,
            plant=AgentPlant(
                config=lambda: self._site,
                poller=lambda device_id: self.poller if self.poller.has(device_id) else None,
                driver=lambda _: self.driver,
                fresh=lambda device_id, name: self.fresh.get((device_id, name)),
                clock=self.clock,
                republish=lambda: self.asked.append("republish"),
                restart=lambda: self.asked.append("restart"),
            ),
            clock=self.clock,
            event=self.sink.event,
            retain=self.documents.__setitem__,
            thread=None if own_thread else Inline(),
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> World:
        self._tasks = [
            asyncio.create_task(self.poller.run(), name="poller"),
            asyncio.create_task(self.engine.run(), name="engine"),
        ]
        await self.clock.advance(0.1)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.kill()

    async def kill(self) -> None:
        """The process is gone: nothing is tidied up, nothing more is written."""
        tasks = [*self._tasks, *self.engine._tasks, *(task for _, task in self.engine.holds._running.values())]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self.engine.journal.close()

    # What people do.

    def command(self, command_id: str = "c1", **more: Any) -> dict[str, Any]:
        """A write of 21 to the first point, good for 15 s."""
        now = self.clock.wall_ms()
        return {
            "v": 1, "id": command_id, "op": "point.write", "dev": "ahu-1",
            "args": {"p": self.device.points[0].id, "val": 21}, "t": now, "exp": now + 15_000, "by": "u:42", "why": "WO-118",
            **more,
        }  # fmt: skip

    def send(self, document: Mapping[str, Any] | bytes, **keys: Any) -> None:
        """What the broker delivers."""
        payload = document if isinstance(document, bytes) else json.dumps(document).encode()
        name = keys.pop("topic", None) or (document["id"] if not isinstance(document, bytes) else "c1")
        known = {"qos": 1, "retain": False, "mid": 1, "expiry_s": 15, **keys}
        self.line.handlers["cmd/+"](Incoming(f"{BASE}/down/cmd/{name}", payload, **known))

    async def tell(self, document: Mapping[str, Any] | bytes, *, for_s: float = 20.0, **keys: Any) -> dict[str, Any]:
        """The last answer to a command, `for_s` after it came."""
        self.send(document, **keys)
        await self.clock.advance(for_s)
        return self.line.said[-1][1]

    async def write(
        self, value: Any = 21, command_id: str = "c1", *, for_s: float = 20.0, **more: Any
    ) -> dict[str, Any]:
        args = {"p": self.device.points[0].id, "val": value, **more.pop("args", {})}
        await self.tell(self.command(command_id, args=args, **more), for_s=for_s)
        return self.line.of(command_id)[-1]

    # What came of it.

    @property
    def written(self) -> list[Any]:
        return [each.value for each in self.driver.writes]

    def audit(self, what: str) -> list[dict[str, Any]]:
        found = verify(self.folder / "audit")
        assert found.broken is None
        return [entry for entry in entries(self.folder / "audit") if entry["what"] == what]


def code_of(answer: Mapping[str, Any]) -> str | None:
    return answer["err"]["code"] if answer.get("err") else None
