"""Door controllers, a poller and the register of events, on the virtual clock; what was put is kept only once it was settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from device_profiles.credential import Clear
from drivers.fake import FakeDevice
from drivers.fake_doors import FakeDoors
from drivers.listening import Occurrence
from edge_agent.clock import VirtualClock
from edge_agent.events.pseudonym import Privacy, PseudonymKey
from edge_agent.events.register import NAMESPACE, Register
from edge_agent.polling.poller import LinkPoller
from gateway.contract.events import DATA, event_id
from tests.edge_agent.poll_world import SOCKET, Recorder, device, point

KEY = PseudonymKey("k1", b"0123456789abcdef0123456789abcdef")
Row = tuple[str, int, str]
"""(event id, UTC ms, name): what makes a row of the store."""


class Disk:
    """Stands where the spool does: what was settled survives a kill, together with the state put beside it."""

    def __init__(self) -> None:
        self.rows: dict[Row, Mapping[str, Any]] = {}
        self.order: list[Row] = []
        self.state: dict[str, Any] = {}
        self.retained: dict[str, bytes] = {}
        self.writes = 0
        self.is_torn = False
        """The power goes within the next commit, between the messages and what is to be kept of them."""
        self._waiting: list[tuple[Row, Mapping[str, Any]]] = []
        self._beside: dict[str, Any] = {}

    def put(
        self,
        device_id: str,
        name: str,
        data: Mapping[str, Any],
        key: str,
        *,
        t_ms: int | None = None,
        state: tuple[str, str, Any] | None = None,
    ) -> None:
        assert set(data) <= set(DATA[name].__struct_fields__), (name, data)
        self._waiting.append(((event_id(name, f"/hq/gw-01/{device_id}", key), t_ms or 0, name), dict(data)))
        if state is not None:
            assert state[0] == NAMESPACE
            self._beside[state[1]] = state[2]

    def remember(self, namespace: str, key: str, value: Any) -> None:
        self._beside[key] = value

    async def settle(self) -> None:
        self.commit(with_state=not self.is_torn)
        if self.is_torn:
            await asyncio.Future()

    def commit(self, *, with_state: bool = True) -> None:
        """Messages first, then the state."""
        for row, data in self._waiting:
            self.writes += 1
            if row not in self.rows:
                self.order.append(row)
            self.rows[row] = data
        self._waiting.clear()
        if with_state:
            self.state |= self._beside
        self._beside.clear()

    def cut(self) -> None:
        """The process is gone, and with it what was not settled."""
        self.is_torn = False
        self._waiting.clear()
        self._beside.clear()


def door(device_id: str = "door-1", unit: int = 1) -> Any:
    return device(device_id, [point("x_locked")], unit=unit)


def swipe(number: int, t_ms: int | None = None, card: str = "4711") -> Occurrence:
    return Occurrence("", "access.granted", f"record:{number}", {"dir": "in"}, {"card": Clear(card)}, t_ms)


class Site:
    """One life of an agent's event path over doors and a disk that outlive it."""

    def __init__(self, doors: FakeDoors, disk: Disk, clock: VirtualClock, devices: list[Any]) -> None:
        self.doors, self.disk, self.clock = doors, disk, clock
        self.register = Register(
            put=disk.put, remember=disk.remember, retain=disk.retained.__setitem__, settle=disk.settle,
            privacy=Privacy((KEY,)), clock=clock, memory=disk.state,
        )  # fmt: skip
        self.sink = Recorder(clock)
        self.poller = LinkPoller(
            SOCKET, doors, devices, sink=self.sink, clock=clock, memory={}, events=self.register, tz="Asia/Shanghai"
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Site]:
        task = asyncio.create_task(self.poller.run(), name="poller")
        try:
            await self.clock.advance(0.1)
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])


def doors_of(clock: VirtualClock, *units: int) -> FakeDoors:
    return FakeDoors({unit: FakeDevice({"x_locked": 1}) for unit in units or (1,)}, sleep=clock.sleep)
