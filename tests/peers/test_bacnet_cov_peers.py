"""Changes, writes and discovery of our BACnet driver with devices that nobody here wrote: bacpypes3 and node-bacnet."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import DeviceRefused
from device_profiles.schema import Point
from drivers.bacnet.discovery import describe, find_stations, object_list, walk
from drivers.bacnet.driver import BacnetDriver
from drivers.bacnet.session import BacnetSession
from drivers.base import Address, BacnetLink, Change, LinkConfig, Standing

pytestmark = pytest.mark.real

INSTANCE = 599
DEVICE = Address(INSTANCE, "peer")


def point(id_: str, reference: str, type_: str = "f32", **more: Any) -> Point:
    return Point.model_validate({"id": id_, "object": reference, "type": type_, "access": "rw", **more})


TEMPERATURE, VALVE, FAN = point("temperature", "AV:1"), point("valve", "AO:2"), point("fan", "BO:3", "bool")
POINTS = (TEMPERATURE, VALVE, FAN)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def driven(port: int) -> AsyncIterator[BacnetSession]:
    """Our session beside a device on this port."""
    own = BacnetLink(peers=(f"127.0.0.1:{port}",))
    link = LinkConfig("bms", "bacnet", host="127.0.0.1", port=free_port(), bacnet=own)
    async with BacnetDriver().open(link) as session:
        yield session


@asynccontextmanager
async def bacpypes_device() -> AsyncIterator[int]:
    """bacpypes3's own application with three objects."""
    from bacpypes3.basetypes import EngineeringUnits
    from bacpypes3.ipv4.app import NormalApplication
    from bacpypes3.local.analog import AnalogOutputObject, AnalogValueObject
    from bacpypes3.local.binary import BinaryOutputObject
    from bacpypes3.local.device import DeviceObject
    from bacpypes3.pdu import IPv4Address

    port = free_port()
    device = DeviceObject(objectIdentifier=f"device,{INSTANCE}", objectName="peer", vendorIdentifier=999)
    app = NormalApplication(device, IPv4Address(f"127.0.0.1:{port}"))
    common = {"statusFlags": [0, 0, 0, 0], "eventState": "normal", "outOfService": False}
    app.add_object(
        AnalogValueObject(
            objectIdentifier="analog-value,1", objectName="ZN-T", presentValue=20.5, covIncrement=0.5,
            units=EngineeringUnits("degreesCelsius"), description="Zone temperature", **common,
        )
    )  # fmt: skip
    app.add_object(
        AnalogOutputObject(
            objectIdentifier="analog-output,2", objectName="HTG-O", presentValue=0.0, covIncrement=1.0,
            units=EngineeringUnits("percent"), relinquishDefault=5.0, **common,
        )
    )  # fmt: skip
    app.add_object(
        BinaryOutputObject(
            objectIdentifier="binary-output,3", objectName="SF-C", presentValue="inactive", polarity="normal",
            relinquishDefault="inactive", activeText="On", inactiveText="Off", **common,
        )
    )  # fmt: skip
    try:
        await asyncio.sleep(0.05)  # it binds in a task of its own, and says nothing when it has
        yield port
    finally:
        app.close()


class Heard:
    """What the session said by itself."""

    def __init__(self, session: BacnetSession) -> None:
        self.values: dict[str, list[Any]] = {}
        self.news = asyncio.Event()
        self.task = asyncio.create_task(self._read(session), name="test reader")

    async def _read(self, session: BacnetSession) -> None:
        async for turn in session.changes():
            for change in turn:
                if isinstance(change, Change):
                    for name, value in zip(change.points, change.values, strict=True):
                        self.values.setdefault(name, []).append(value)
            self.news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                self.news.clear()
                await self.news.wait()


async def test_bacpypes3_reports_changes_and_takes_writes() -> None:
    async with bacpypes_device() as port, driven(port) as session:
        heard = Heard(session)
        layout = await session.locate(DEVICE, POINTS)
        assert layout["units"] == {"temperature": "Cel", "valve": "%"}
        assert layout["labels"]["fan"] == {"0": "Off", "1": "On"}
        assert await session.subscribe(DEVICE, POINTS, layout) == {"temperature", "valve", "fan"}
        await heard.until(lambda: heard.values.keys() == {"temperature", "valve", "fan"})
        assert heard.values["temperature"] == [20.5]
        assert heard.values["fan"] == [False]
        await session.write(DEVICE, VALVE, 40.0, layout, priority=13)
        assert await session.standing(DEVICE, VALVE, layout, priority=13) == Standing(40.0, 13, 40.0, has_slots=True)
        await heard.until(lambda: heard.values["valve"][-1] == 40.0)
        await session.write(DEVICE, VALVE, None, layout, priority=13)
        assert await session.standing(DEVICE, VALVE, layout, priority=13) == Standing(5.0, None, None, has_slots=True)
        await session.write(DEVICE, FAN, True, layout, priority=8)
        assert await session.standing(DEVICE, FAN, layout, priority=8) == Standing(True, 8, 1, has_slots=True)
        with pytest.raises(DeviceRefused):
            await session.write(DEVICE, point("none", "AV:77"), 1.0, layout, priority=8)
        await session.unsubscribe(DEVICE)


async def test_bacpypes3_is_discovered_and_walked() -> None:
    async with bacpypes_device() as port, driven(port) as session:
        client = session.client
        [station] = await describe(client, await find_stations(client, wait_s=0.3))
        assert station.facts["name"] == "peer"
        assert station.counts == {"analog-output": 1, "analog-value": 1, "binary-output": 1}
        facts = {"revision": station.revision, "identity": station.facts}
        found = await walk(client, station.peer, await object_list(client, station.peer, facts))
        assert [(one.reference, one.name, one.shown) for one in found] == [
            ("analog-value:1", "ZN-T", "20.5 Cel"),
            ("analog-output:2", "HTG-O", "0 %"),
            ("binary-output:3", "SF-C", "0 Off"),
        ]


NODE = Path(__file__).parent / "node"
needs_node_bacnet = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules/node-bacnet").exists(),
    reason="node-bacnet is not installed (bash tests/install_peers.sh)",
)


@asynccontextmanager
async def node_device() -> AsyncIterator[int]:
    """node-bacnet as a device, in a process of its own."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "node", str(NODE / "bacnet_cov_device.js"), str(port), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"ready\n"
        yield port
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@needs_node_bacnet
async def test_node_bacnet_reports_changes_and_takes_writes() -> None:
    async with node_device() as port, driven(port) as session:
        heard = Heard(session)
        layout = await session.locate(DEVICE, [TEMPERATURE])
        assert layout["units"] == {"temperature": "Cel"}
        assert await session.subscribe(DEVICE, [TEMPERATURE], layout) == {"temperature"}
        await heard.until(lambda: heard.values.get("temperature") == [20.5])
        await session.write(DEVICE, TEMPERATURE, 21.5, layout, priority=10)
        await heard.until(lambda: heard.values["temperature"] == [20.5, 21.5])
        assert await session.standing(DEVICE, TEMPERATURE, layout, priority=10) == Standing(
            21.5, 10, 21.5, has_slots=True
        )
        with pytest.raises(DeviceRefused, match="value-out-of-range"):
            await session.write(DEVICE, TEMPERATURE, 99.0, layout, priority=10)
        await session.write(DEVICE, TEMPERATURE, None, layout, priority=10)
        assert await session.standing(DEVICE, TEMPERATURE, layout, priority=10) == Standing(
            20.5, None, None, has_slots=True
        )
        [station] = await describe(session.client, await find_stations(session.client, wait_s=0.2))
        assert (station.facts["vendor"], station.counts) == ("node-bacnet", {"analog-value": 1})
