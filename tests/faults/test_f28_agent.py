"""F28 seen from the agent: an OPC UA link is subscribed, lost, opened anew and subscribed again, and its points say so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from opcua_world import plant

from device_profiles.reading import Acquisition
from device_profiles.resolve import prefixed
from drivers.registry import load_driver
from edge_agent.clock import SystemClock
from edge_agent.model import Device
from edge_agent.polling.poller import LinkPoller
from tests.shipped import LIBRARY


class Heard:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.good: dict[str, Any] = {}

    def acquired(self, device: Device, acquisition: Acquisition) -> None:
        self.good |= acquisition.good

    def state(self, device: Device, state: Any) -> None: ...

    def event(self, device_id: str, name: str, data: Mapping[str, Any], key: str) -> None: ...

    def learned(self, device: Device, layout: Any) -> None: ...

    def remember(self, namespace: str, key: str, value: Any) -> None: ...


async def until(holds: Callable[[], bool], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


async def test_changes_flow_again_after_the_server_restarted() -> None:
    server, link = plant().server, plant().link()
    profile = LIBRARY.get("generic-opcua-energy-station")
    points = prefixed(profile.points, "EnergyStation")
    device = Device(
        "station", "Station", link.id, "EnergyStation", "opcua", profile, points, profile.class_, profile.system
    )
    heard = Heard()
    poller = LinkPoller(link, load_driver("opcua"), [device], sink=heard, clock=SystemClock(), memory={})
    task = asyncio.create_task(poller.run(), name="poller under test")
    try:
        await until(lambda: "heat_power" in heard.good)

        async def changed(value: float) -> None:
            await plant().on(server.put("EnergyStation/HeatPower", value))
            await until(lambda: heard.good["heat_power"] == value)

        await until(lambda: poller.figures()["state"] == "open")
        await changed(111.0)
        await plant().on(server.restart())
        await until(lambda: poller.figures()["connects"] >= 2)
        await changed(222.0)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
