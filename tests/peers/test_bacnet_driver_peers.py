"""Our BACnet driver against devices that nobody here wrote: bacpypes3's application, and the npm package node-bacnet."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from device_profiles.reading import PointFault, Sample
from device_profiles.schema import Point
from drivers.bacnet.driver import BacnetDriver
from drivers.base import Address, BacnetLink, Layout, Limits, LinkConfig

pytestmark = pytest.mark.real

HERE = Path(__file__).parent
needs_node_bacnet = pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "node" / "node_modules" / "node-bacnet").is_dir(),
    reason="node-bacnet is not installed (bash tests/install_peers.sh)",
)


@asynccontextmanager
async def peer(*command: str) -> AsyncIterator[LinkConfig]:
    """Devices in a process of their own."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(20):
            ports = (await process.stdout.readline()).split()
        own = BacnetLink(peers=tuple(f"127.0.0.1:{int(port)}" for port in ports), apdu_timeout_s=5)
        yield LinkConfig("peer", "bacnet", host="127.0.0.1", port=0, bacnet=own)
    finally:
        process.stdin.close()
        await process.wait()


def av(instance: int) -> Point:
    return Point.model_validate({"id": f"av{instance}", "object": f"AV:{instance}", "type": "f32"})


async def read(session: Any, link: LinkConfig, unit: int, points: list[Point], layout: Layout | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for batch in BacnetDriver().plan(points, Limits(), layout, link):
        values |= zip(batch.points, await session.read(Address(unit), batch), strict=True)
    return values


async def test_the_application_of_bacpypes3() -> None:
    """Once with long APDUs and segments, once with short ones and none."""
    points = [
        *(av(at) for at in range(40)),
        Point.model_validate({"id": "by_name", "address": {"name": "*.99.*"}, "type": "f32"}),
        Point.model_validate({"id": "run", "object": "BV:1", "type": "bool"}),
        Point.model_validate({"id": "mode", "object": "MSV:1", "type": "u16"}),
        av(4000),
    ]
    program = (sys.executable, str(HERE / "bacpypes_device.py"), "1024:segmentedBoth", "206:noSegmentation")
    async with peer(*program) as link, BacnetDriver().open(link) as session:
        for unit in (599, 600):
            layout = await session.locate(Address(unit), points)
            assert layout["identity"]["name"] == "Sample"
            assert layout["identity"]["vendor_id"] == "999"
            assert layout["objects"] == {"*.99.*": "analog-value:99"}
            assert layout["units"]["av3"] == "[degF]"
            assert layout["labels"] == {
                "run": {"0": "Stopped", "1": "Running"}, "mode": {"1": "Off", "2": "Auto", "3": "Hand"},
            }  # fmt: skip
            for _ in range(3):  # the first answer is decoded tag by tag, those after it by its template
                values = await read(session, link, unit, points, layout)
                assert isinstance(values["av4000"], PointFault)
                assert values["av7"] == Sample(None, "BadNoCommunication")
                assert values["run"] == Sample(True, "UncertainSubstituteValue")
                assert (values["mode"], values["by_name"]) == (2, 99.5)
                assert [values[f"av{at}"] for at in range(40) if at != 7] == [at + 0.5 for at in range(40) if at != 7]
                layout = session.learned(Address(unit)) or layout


@needs_node_bacnet
async def test_node_bacnet_as_a_device() -> None:
    points = [av(at) for at in range(10)]
    async with peer("node", str(HERE / "node" / "bacnet_device.js")) as link, BacnetDriver().open(link) as session:
        layout = await session.locate(Address(77), points)
        assert layout["identity"]["name"] == "node-bacnet"
        assert layout["revision"] == 3
        assert set(layout["units"].values()) == {"Cel"}
        for _ in range(3):
            assert await read(session, link, 77, points, layout) == {f"av{at}": at + 0.25 for at in range(10)}
