"""A driver without a wire, for tests of what is above drivers: what its devices answer is said beforehand, or computed.

It is shipped because it is the one stand-in that the conformance suite of the drivers vouches for. Time passes through the
`sleep` it is given, so that it runs on a virtual clock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceRefused, DeviceTimeout, LinkError, LinkLost, PlantroomError
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Point

from .base import Address, Batch, Layout, Limits, LinkConfig, Standing, Trace, WireCount

Answer = Raw | Sample | PointFault
Script = Callable[[], Answer]


@dataclass(slots=True)
class FakeDevice:
    """What one unit answers. A point that `values` lacks is a PointFault.

    `steps` come first: each is used for one read, an exception is raised, a mapping goes before `values`.
    `error` is raised by every read as long as it is set; `delay_s` passes before each answer or error.
    """

    values: dict[str, Answer | Script] = field(default_factory=dict)
    error: PlantroomError | None = None
    delay_s: float = 0.0
    steps: deque[PlantroomError | Mapping[str, Answer]] = field(default_factory=deque)
    layout: Layout | None = None
    """What `locate` finds; None = the device needs no locating."""
    news: Layout | None = None
    """What `learned` tells once."""
    slots: dict[str, dict[int, Raw]] = field(default_factory=dict)
    """Points with a priority array (16 slots, 1 goes first), and what stands in it; `values` holds the relinquish default."""
    write_error: PlantroomError | None = None
    """Raised by every write as long as it is set; nothing is written."""
    loses_answers: bool = False
    """Takes every write, and stays silent."""
    results: dict[str, Mapping[str, Raw]] = field(default_factory=dict)
    """What operations answer, by id; one that is not there is refused."""


@dataclass(frozen=True, slots=True)
class FakeRead:
    """One read that was asked for."""

    unit: int | str
    points: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FakeWrite:
    """One write that reached a device; None released a slot."""

    unit: int | str
    point: str
    value: Raw | None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class FakeCall:
    """One operation that reached a device."""

    unit: int | str
    operation: str
    inputs: Mapping[str, Raw]


class FakeDriver:
    """Protocol `fake`: `devices` by unit answer; a unit that is not there is silent until the time limit of the link."""

    protocol: ClassVar[str] = "fake"

    def __init__(
        self,
        devices: Mapping[int | str, FakeDevice] | None = None,
        *,
        batch_size: int = 1000,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.devices: dict[int | str, FakeDevice] = dict(devices or {})
        self.batch_size = batch_size
        self.sleep = sleep
        self.refuse: LinkError | None = None
        """Raised by opening the link while it is set."""
        self.opened = 0
        self.is_open = False
        self.reads: list[FakeRead] = []
        self.writes: list[FakeWrite] = []
        self.calls: list[FakeCall] = []
        self.planned: list[Layout | None] = []
        """The layout each plan was made with."""

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """`batch_size` points a batch, in the order given."""
        self.planned.append(layout)
        ids = [point.id for point in points]
        return tuple(
            Batch(tuple(ids[at : at + self.batch_size]), request_bytes=8, reply_bytes=5)
            for at in range(0, len(ids), self.batch_size)
        )

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[FakeSession]:
        """Raises `refuse` when it is set."""
        return self._open(link)

    @asynccontextmanager
    async def _open(self, link: LinkConfig) -> AsyncIterator[FakeSession]:
        if self.refuse is not None:
            raise self.refuse
        self.opened += 1
        self.is_open = True
        try:
            yield FakeSession(self, link)
        finally:
            self.is_open = False


_LOWEST = 16
"""Slot of a write that names no priority (ASHRAE 135-2020, 15.9.1.1.5)."""


class FakeSession:
    """A session that also locates and learns, when its devices have something to say there, writes and operates."""

    def __init__(self, driver: FakeDriver, link: LinkConfig) -> None:
        self._driver = driver
        self._link = link
        self._busy = asyncio.Lock()
        self.counts = WireCount()

    async def read(self, device: Address, batch: Batch) -> Sequence[Answer]:
        """The script's answers, in batch order. Raises what the script says; DeviceTimeout for a unit that is not there."""
        async with self._busy:
            self._driver.reads.append(FakeRead(device.unit, batch.points))
            self.counts.requests += 1
            fake = self._driver.devices.get(device.unit)
            delay_s = self._link.timeout_s if fake is None else min(fake.delay_s, self._link.timeout_s)
            if delay_s:
                await self._driver.sleep(delay_s)
            if not self._driver.is_open:
                raise LinkLost("the link was closed", where=self._link.id)
            if fake is None or fake.delay_s > self._link.timeout_s:
                self.counts.timeouts += 1
                raise DeviceTimeout(
                    f"no answer within {self._link.timeout_s:g} s", where=f"{self._link.id}, unit {device.unit}"
                )
            self.counts.replies += 1
            return _answers(fake, batch)

    async def write(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> None:
        """Into `values`, or into the priority array where the point has one. Raises what the script says."""
        fake = await self._reached(device)
        if fake.write_error is not None:
            raise fake.write_error
        slots = fake.slots.get(point.id)
        self._driver.writes.append(FakeWrite(device.unit, point.id, value, priority))
        if slots is None:
            if value is None and priority is not None:  # as a BACnet device does
                raise DeviceRefused("invalid data type", code=9, status="BadTypeMismatch", where=device.device)
            if value is None:
                raise ConfigError("there is no priority to release", where=device.device)
            fake.values[point.id] = value
        elif value is None:
            slots.pop(priority or _LOWEST, None)
        else:
            slots[priority or _LOWEST] = value
        if fake.loses_answers:
            raise self._silence(device)

    async def standing(
        self, device: Address, point: Point, layout: Layout | None, *, priority: int | None = None
    ) -> Standing:
        """The value, and for a point with a priority array who holds it."""
        fake = await self._reached(device)
        if fake.error is not None:
            raise fake.error
        slots = fake.slots.get(point.id)
        [value] = _answers(fake, Batch((point.id,)))
        if not slots:
            return Standing(value, has_slots=None if priority is None else slots is not None)
        return Standing(value, min(slots), slots.get(priority or _LOWEST))

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """The scripted answer. Raises DeviceRefused for an operation without one."""
        fake = await self._reached(device)
        if operation.id not in fake.results:
            raise DeviceRefused("no such operation", code=1, status="BadMethodInvalid", where=device.device)
        self._driver.calls.append(FakeCall(device.unit, operation.id, dict(inputs)))
        if fake.loses_answers:
            raise self._silence(device)
        return fake.results[operation.id]

    async def _reached(self, device: Address) -> FakeDevice:
        fake = self._driver.devices.get(device.unit)
        delay_s = self._link.timeout_s if fake is None else min(fake.delay_s, self._link.timeout_s)
        if delay_s:
            await self._driver.sleep(delay_s)
        if not self._driver.is_open:
            raise LinkLost("the link was closed", where=self._link.id)
        if fake is None or fake.delay_s > self._link.timeout_s:
            raise self._silence(device)
        return fake

    def _silence(self, device: Address) -> DeviceTimeout:
        self.counts.timeouts += 1
        return DeviceTimeout(
            f"no answer within {self._link.timeout_s:g} s", where=f"{self._link.id}, unit {device.unit}"
        )

    def needs_locating(self, points: Sequence[Point]) -> bool:
        return any(fake.layout is not None for fake in self._driver.devices.values())

    async def locate(self, device: Address, points: Sequence[Point]) -> Layout:
        fake = self._driver.devices.get(device.unit)
        if fake is None:
            raise DeviceTimeout(
                f"no answer within {self._link.timeout_s:g} s", where=f"{self._link.id}, unit {device.unit}"
            )
        if fake.error is not None:
            raise fake.error
        return fake.layout or {}

    def learned(self, device: Address) -> Layout | None:
        fake = self._driver.devices.get(device.unit)
        if fake is None or fake.news is None:
            return None
        news, fake.news = fake.news, None
        return news


def _answers(fake: FakeDevice, batch: Batch) -> list[Answer]:
    step = fake.steps.popleft() if fake.steps else {}
    if isinstance(step, PlantroomError):
        raise step
    if fake.error is not None and not step:
        raise fake.error
    missing = PointFault("BadNodeIdUnknown", "the device has no such point")
    answers: list[Answer] = []
    for point in batch.points:
        answer = step.get(point, fake.values.get(point, missing))
        slots = fake.slots.get(point)
        if slots:
            answer = slots[min(slots)]
        answers.append(answer() if callable(answer) else answer)
    return answers
