"""A small world for the poller's tests: devices of plain points, the shipped fake driver on the virtual clock, and a sink that
keeps everything. An answer takes 20 ms; a unit that is not there costs the link's time limit of 0.5 s."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from device_profiles.reading import Acquisition
from device_profiles.schema import Point, Profile
from drivers.base import Layout, LinkConfig
from drivers.fake import FakeDevice, FakeDriver
from drivers.fake_network import FakeNetwork
from edge_agent.clock import VirtualClock
from edge_agent.model import Device
from edge_agent.polling.poller import LinkPoller
from gateway.contract.messages import State

LINE = LinkConfig(id="rs485-1", kind="serial", path="/dev/null", timeout_s=0.5)
SOCKET = LinkConfig(id="meter-link", kind="tcp", host="127.0.0.1", timeout_s=0.5)
RTT_S = 0.02


def point(point_id: str, **keys: Any) -> Point:
    """A holding register of this id; `poll` is 10 s unless it has marks."""
    if "align" not in keys:
        keys.setdefault("poll", 10)
    return Point.model_validate({"id": point_id, "reg": 0, **keys})


def device(
    device_id: str, points: Sequence[Point], *, unit: int = 1, profile: Mapping[str, Any] | None = None, **keys: Any
) -> Device:
    """A device of these points; `profile` holds further keys of its profile."""
    made = Profile.model_validate(
        {
            "profile": "test-device",
            "version": 1,
            "class": "electricity_meter",
            "system": "energy",
            "products": ["test"],
            "protocol": "fake",
            "points": tuple(points),
            "source": {"title": "tests"},
            **(profile or {}),
        }
    )
    return Device(
        id=device_id, name=device_id, link="rs485-1", unit=unit, protocol="fake", profile=made, points=tuple(points),
        cls="electricity_meter", system="energy", **keys,
    )  # fmt: skip


@dataclass
class Recorder:
    """A sink that keeps what it is given, with the time it came."""

    clock: VirtualClock
    readings: list[tuple[float, Device, Acquisition]] = field(default_factory=list)
    states: list[tuple[Device, State]] = field(default_factory=list)
    events: list[tuple[str, str, Mapping[str, Any], str]] = field(default_factory=list)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    layouts: list[tuple[str, Layout | None]] = field(default_factory=list)

    def acquired(self, device: Device, acquisition: Acquisition) -> None:
        self.readings.append((self.clock.monotonic(), device, acquisition))

    def state(self, device: Device, state: State) -> None:
        self.states.append((device, state))

    def event(self, device_id: str, name: str, data: Mapping[str, Any], key: str) -> None:
        self.events.append((device_id, name, data, key))

    def learned(self, device: Device, layout: Layout | None) -> None:
        self.layouts.append((device.id, layout))

    def remember(self, namespace: str, key: str, value: Any) -> None:
        self.kept.setdefault(namespace, {})[key] = value

    def of(self, device_id: str) -> list[Acquisition]:
        """The acquisitions of one device."""
        return [acquisition for _, device, acquisition in self.readings if device.id == device_id]

    def times_of(self, device_id: str) -> list[float]:
        """When they came, in monotonic seconds."""
        return [at for at, device, _ in self.readings if device.id == device_id]

    def state_of(self, device_id: str) -> State | None:
        """The last state that was said of a device."""
        return next((state for device, state in reversed(self.states) if device.id == device_id), None)

    def named(self, name: str) -> list[tuple[str, Mapping[str, Any]]]:
        """(device, data) of the events of one name."""
        return [(device_id, data) for device_id, event, data, _ in self.events if event == name]


@dataclass
class World:
    """A poller at work on the virtual clock. `spent` says when each read of a unit began and how long it took."""

    clock: VirtualClock
    driver: FakeDriver
    sink: Recorder
    poller: LinkPoller
    task: asyncio.Task[None]
    spent: list[tuple[float, int | str, float]]

    def kill(self, unit: int) -> FakeDevice:
        """The unit does not answer any more; gives what it was, to put back."""
        return self.driver.devices.pop(unit)

    def reads_of(self, unit: int) -> list[float]:
        """When the unit was asked."""
        return [at for at, asked, _ in self.spent if asked == unit]


def answering(devices: Sequence[Device], value: float = 1) -> dict[int | str, FakeDevice]:
    """Units that answer every point of these devices with one value."""
    return {each.unit: FakeDevice({point.id: value for point in each.points}, delay_s=RTT_S) for each in devices}


@asynccontextmanager
async def world(
    devices: Sequence[Device],
    *,
    link: LinkConfig = LINE,
    clock: VirtualClock | None = None,
    fakes: Mapping[int | str, FakeDevice] | None = None,
    memory: Mapping[str, Mapping[str, Any]] | None = None,
    batch_size: int = 1000,
    network: FakeNetwork | None = None,
) -> AsyncIterator[World]:
    """Starts a poller over these devices; ends it at the end. With a `network`, that is the driver; its answers take as long."""
    clock = clock or VirtualClock()
    spent: list[tuple[float, int | str, float]] = []

    async def sleep(seconds: float) -> None:
        spent.append((clock.monotonic(), driver.reads[-1].unit, seconds))
        await clock.sleep(seconds)

    driver = network or FakeDriver(batch_size=batch_size)
    driver.devices |= answering(devices) if fakes is None else fakes
    driver.sleep = sleep
    sink = Recorder(clock)
    poller = LinkPoller(link, driver, devices, sink=sink, clock=clock, memory=memory or {})
    task = asyncio.create_task(poller.run(), name="poller")
    try:
        yield World(clock, driver, sink, poller, task, spent)
    finally:
        task.cancel()
        await asyncio.wait((task,))
