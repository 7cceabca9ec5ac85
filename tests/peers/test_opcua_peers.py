"""Our OPC UA driver against a node-opcua server, a node-opcua client against our simulator: nobody here wrote those."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opcua_world import pki_at, plant

from device_profiles.control import Operation
from device_profiles.errors import DeviceRefused, LinkLost
from device_profiles.reading import PointFault, Sample
from device_profiles.schema import Point
from drivers.base import Address, Limits, LinkConfig, OpcUaLink, Unsubscribed
from drivers.opcua.browse import walk
from drivers.opcua.driver import OpcUaDriver

HERE = Path(__file__).parent / "node"
DEVICE = Address(0, "peer")
DRIVER = OpcUaDriver()

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        shutil.which("node") is None or not (HERE / "node_modules" / "node-opcua-server").is_dir(),
        reason="node-opcua is not installed (npm ci in tests/peers/node)",
    ),
]


@asynccontextmanager
async def peer_server(folder: Path) -> AsyncIterator[tuple[LinkConfig, Any]]:
    """The link to it, and its process."""
    process = await asyncio.create_subprocess_exec(
        "node", str(HERE / "opcua_server.js"), str(folder / "peer"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(50):
            while not (line := await process.stdout.readline()).startswith(b'{"port"'):
                assert line, "the server ended"
        said = json.loads(line)
        pki = pki_at(folder / "ours", base64.b64decode(said["certificate"]))
        own = OpcUaLink(path="/peer", publish_ms=100, pki=str(pki))
        yield LinkConfig("peer", "opcua", host="127.0.0.1", port=said["port"], timeout_s=10.0, opcua=own), process
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()


def points(*names: str) -> list[Point]:
    return [Point.model_validate({"id": name.lower(), "address": {"path": f"Plant/{name}"}}) for name in names]


async def test_the_driver_and_a_node_opcua_server(tmp_path: Path) -> None:
    """One server for all of it: it takes seconds to start."""
    async with peer_server(tmp_path) as (link, process):
        assert link.opcua is not None
        for policy, mode in (
            ("Basic256Sha256", "sign"), ("Aes128Sha256RsaOaep", "sign_and_encrypt"), ("Aes256Sha256RsaPss", "sign_and_encrypt"),
        ):  # fmt: skip
            secured = replace(link, opcua=replace(link.opcua, policy=policy, mode=mode))
            async with DRIVER.open(secured) as session:
                assert (await session.identify(DEVICE))["model"] == "PeerPlant"
        password = tmp_path / "password"
        password.write_text("peer-3\n", encoding="utf-8")
        named = replace(
            link.opcua, policy="Basic256Sha256", identity="user", user="operator", password_file=str(password)
        )
        async with DRIVER.open(replace(link, opcua=named)):
            pass
        async with DRIVER.open(link) as session:
            await _reads(session)
            await _writes_and_calls(session)
            await _browses(session)
            changes = session.changes()
            chosen = points("Counter", "Setpoint")
            layout = await session.locate(DEVICE, chosen)
            assert await session.subscribe(DEVICE, chosen, layout) == {"counter", "setpoint"}
            heard: list[int] = []
            async with asyncio.timeout(15):
                async for turn in changes:
                    heard += [
                        change.values[change.points.index("counter")] for change in turn if "counter" in change.points
                    ]
                    if len(heard) >= 5:
                        break
            assert heard == sorted(set(heard))
            process.kill()
            with pytest.raises(LinkLost):
                await _until_given_up(session.changes())


async def _until_given_up(changes: Any) -> None:
    async with asyncio.timeout(10):
        async for turn in changes:
            assert all(one.points for one in turn if isinstance(one, Unsubscribed))


async def _reads(session: Any) -> None:
    chosen = points("Counter", "Setpoint", "Power", "Broken", "Name", "Curve", "Gone")
    layout = await session.locate(DEVICE, chosen)
    assert layout["types"]["setpoint"] == "Float"
    assert layout["units"] == {"power": "W"}
    assert layout["identity"]["vendor"] == "PeerMaker"
    [batch] = DRIVER.plan(chosen, Limits(), layout, session.channel.link)
    _, setpoint, power, broken, name, curve, gone = await session.read(DEVICE, batch)
    assert (setpoint, power, name) == (6.5, 1250.5, "Kälte 1")
    assert isinstance(broken, Sample)
    assert broken.status == "BadSensorFailure"
    assert isinstance(curve, PointFault)
    assert "array of 3 Double" in curve.detail
    assert isinstance(gone, PointFault)
    many = [
        Point.model_validate({"id": f"v{n}", "address": {"node": f"nsu=urn:peer:plant;s=V{n}"}}) for n in range(100)
    ]
    [batch] = DRIVER.plan(many, Limits(), None, session.channel.link)
    before = session.counts.requests
    assert list(await session.read(DEVICE, batch)) == list(range(100))
    assert session.counts.requests - before == 3, "the server takes 40 nodes a Read"


async def _writes_and_calls(session: Any) -> None:
    setpoint, counter = points("Setpoint", "Counter")
    layout = await session.locate(DEVICE, [setpoint, counter])
    await session.write(DEVICE, setpoint, 8.25, layout)
    assert (await session.standing(DEVICE, setpoint, layout)).value == 8.25
    with pytest.raises(DeviceRefused) as caught:
        await session.write(DEVICE, counter, 5, layout)
    assert caught.value.status == "BadNotWritable"
    double = Operation.model_validate({"id": "double", "call": {"object": "Plant", "method": "Double"}})
    assert await session.operate(DEVICE, double, {"x": 2.5}, None) == {"y": 5.0}


async def _browses(session: Any) -> None:
    found = await walk(session, pattern="plant/*", details=True)
    assert {one.path for one in found.nodes} >= {"Plant/Counter", "Plant/Power", "Plant/Double"}
    assert len((await walk(session, path="Many", most=30)).nodes) == 30


@pytest.mark.parametrize(("policy", "mode"), [("None", "None"), ("Basic256Sha256", "SignAndEncrypt")])
async def test_a_node_opcua_client_of_the_simulator(policy: str, mode: str, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "node", str(HERE / "opcua_client.js"), plant().server.url, policy, mode, str(tmp_path / "peer"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(50):
        out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    said = json.loads(out.decode().strip().splitlines()[-1])
    power = said.pop("power")
    assert power > 0
    assert said == {
        "mode": 2, "gone": "BadNodeIdUnknown", "written": "Good", "called": "Good", "remaining": 3, "heard": 7.5,
    }  # fmt: skip
