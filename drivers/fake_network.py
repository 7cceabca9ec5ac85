"""The fake driver as a network: asks several devices at once, lets them report changes and recalls what they kept.

For tests of what is above drivers, like `fake`: what happens is said by the test. Time passes through the `sleep` it is given.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field

from device_profiles.errors import DeviceTimeout, LinkLost
from device_profiles.schema import Point

from .base import Address, Batch, Change, Layout, LinkConfig, Recalled, Trace, Unsubscribed
from .fake import Answer, FakeDevice, FakeDriver, FakeSession


@dataclass(slots=True)
class FakeMemory:
    """What a unit kept: (UTC ms, value) of each point, oldest first; given in portions of `portion` values."""

    points: dict[str, list[tuple[int, Answer]]] = field(default_factory=dict)
    portion: int = 10


class FakeNetwork(FakeDriver):
    """`parallel` devices at a time, each in the lane that `lane_of` gives its unit (its own, by default)."""

    def __init__(
        self,
        devices: Mapping[int | str, FakeDevice] | None = None,
        *,
        parallel: int = 8,
        lane_of: Callable[[int | str], str] = str,
        room: int = 10_000,
        batch_size: int = 1000,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(devices, batch_size=batch_size, sleep=sleep)
        self.parallel = parallel
        self.lane_of = lane_of
        self.room = room
        """Changes that wait for their reader; what does not fit is dropped."""
        self.reports: dict[int | str, frozenset[str]] = {}
        """Points that a unit reports when it is asked to; a unit that is not there reports none."""
        self.subscribe_s = 0.0
        """How long a subscription takes: a request a point, on a slow line."""
        self.memories: dict[int | str, FakeMemory] = {}
        self.recalls: list[tuple[int | str, int, int]] = []
        """(unit, since, until) of each recall."""
        self.subscribed: list[tuple[int | str, tuple[str, ...]]] = []
        """Every `subscribe`, with what it offered."""
        self.collisions: list[str] = []
        """Lanes with two calls at once, and calls beyond `parallel`."""
        self.session: NetworkSession | None = None

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[NetworkSession]:
        """Raises `refuse` when it is set."""
        return self._open_network(link)

    @asynccontextmanager
    async def _open_network(self, link: LinkConfig) -> AsyncIterator[NetworkSession]:
        if self.refuse is not None:
            raise self.refuse
        self.opened += 1
        self.is_open = True
        self.session = NetworkSession(self, link)
        try:
            yield self.session
        finally:
            self.is_open = False
            self.session.close()
            self.session = None

    def report(self, unit: int | str, values: Mapping[str, Answer]) -> None:
        """The unit says of its subscribed points what they are now; what it says holds for reads as well."""
        self.devices[unit].values.update(values)
        if self.session is not None:
            self.session.report(unit, values)

    def end(self, unit: int | str, points: Sequence[str], reason: str) -> None:
        """The unit does not report these points any more."""
        if self.session is not None:
            self.session.end(unit, points, reason)


class NetworkSession(FakeSession):
    """A `FakeSession` that is CanParallel, CanSubscribe and CanRecall as well."""

    def __init__(self, network: FakeNetwork, link: LinkConfig) -> None:
        super().__init__(network, link)
        self._busy = nullcontext()  # type: ignore[assignment]  # one lane at a time is what the poller has to see to
        self._network = network
        self._asking: set[str] = set()
        self._devices: dict[int | str, str] = {}
        self._taken: dict[int | str, frozenset[str]] = {}
        self._arrived: deque[Change | Unsubscribed] = deque()
        self._has_arrived = asyncio.Event()
        self._is_closed = False
        self.dropped = 0

    @property
    def parallel(self) -> int:
        return self._network.parallel

    def lane(self, device: Address) -> str:
        return self._network.lane_of(device.unit)

    async def read(self, device: Address, batch: Batch) -> Sequence[Answer]:
        lane = self.lane(device)
        if lane in self._asking or len(self._asking) >= self.parallel:
            self._network.collisions.append(lane)
        self._asking.add(lane)
        try:
            return await super().read(device, batch)
        finally:
            self._asking.discard(lane)

    async def subscribe(self, device: Address, points: Sequence[Point], layout: Layout | None) -> frozenset[str]:
        """What `reports` allows; each point says at once what it is, as BACnet and OPC UA do."""
        network, unit = self._network, device.unit
        offered = tuple(point.id for point in points)
        network.subscribed.append((unit, offered))
        if network.subscribe_s:
            await network.sleep(network.subscribe_s)
        fake = network.devices.get(unit)
        if fake is None:
            await network.sleep(self._link.timeout_s)
            raise DeviceTimeout("no answer to a subscription", where=f"{self._link.id}, unit {unit}")
        if not network.is_open:
            raise LinkLost("the link was closed", where=self._link.id)
        taken = network.reports.get(unit, frozenset()) & set(offered)
        self._devices[unit], self._taken[unit] = device.device, taken
        known = {name: fake.values[name] for name in offered if name in taken and name in fake.values}
        self.report(unit, {name: value() if callable(value) else value for name, value in known.items()})
        return taken

    async def unsubscribe(self, device: Address) -> None:
        self._taken.pop(device.unit, None)

    async def changes(self) -> AsyncIterator[Sequence[Change | Unsubscribed]]:
        while not self._is_closed:
            await self._has_arrived.wait()
            self._has_arrived.clear()
            turn = tuple(self._arrived)
            self._arrived.clear()
            if turn:
                yield turn

    async def recall(
        self, device: Address, points: Sequence[Point], layout: Layout | None, since_ms: int, until_ms: int
    ) -> AsyncIterator[Sequence[Recalled]]:
        """Point after point, each portion after the device's `delay_s`."""
        network = self._network
        network.recalls.append((device.unit, since_ms, until_ms))
        fake, memory = network.devices.get(device.unit), network.memories.get(device.unit, FakeMemory())
        for point in points:
            kept = [(t, value) for t, value in memory.points.get(point.id, ()) if since_ms <= t < until_ms]
            for at in range(0, len(kept), memory.portion):
                if fake is None or fake.error is not None:
                    raise DeviceTimeout("no answer", where=f"{self._link.id}, unit {device.unit}")
                await network.sleep(fake.delay_s)
                yield [Recalled(point.id, t, value) for t, value in kept[at : at + memory.portion]]

    def report(self, unit: int | str, values: Mapping[str, Answer]) -> None:
        """What is subscribed of these arrives."""
        said = {name: value for name, value in values.items() if name in self._taken.get(unit, ())}
        if said:
            self._arrive(Change(self._devices[unit], tuple(said), tuple(said.values())))

    def end(self, unit: int | str, points: Sequence[str], reason: str) -> None:
        """These points are not reported any more."""
        self._taken[unit] = self._taken.get(unit, frozenset()) - set(points)
        self._arrive(Unsubscribed(self._devices.get(unit, ""), tuple(points), reason))

    def _arrive(self, item: Change | Unsubscribed) -> None:
        self._arrived.append(item)
        if len(self._arrived) > self._network.room:
            lost = self._arrived.popleft()
            self.dropped += 1
            if isinstance(lost, Change):
                self._arrived.append(Unsubscribed(lost.device, lost.points, "changes came faster than they were read"))
        self._has_arrived.set()

    def close(self) -> None:
        """Ends `changes`."""
        self._is_closed = True
        self._has_arrived.set()
