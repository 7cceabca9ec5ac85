"""The generic BACnet profiles, through driver and normaliser, against simulated controllers that never saw them."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from drivers.base import LinkConfig
from drivers.link import BacnetLink
from drivers.registry import load_driver
from edge_agent.cli.one_device import OneDevice, Shot, device_of_profile
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.server import BacnetServer, Network
from tests.firmware_sim.bacnet_asker import build
from tests.shipped import LIBRARY

MEETINGS = [
    ("generic-bacnet-ahu", "bacnet-ahu", ""),
    ("generic-bacnet-fcu", "bacnet-fcu", ""),
    ("generic-bacnet-vav-prefixed", "bacnet-vav", "VAV-3-01."),
    ("generic-bacnet-vav", "bacnet-vav", ""),
    ("generic-bacnet-chiller-plant", "bacnet-chiller-plant", ""),
    ("generic-bacnet-chiller", "bacnet-chiller", ""),
    ("generic-bacnet-chiller-prefixed", "bacnet-chiller-plant", "CH2."),
    ("generic-bacnet-boiler", "bacnet-boiler", ""),
    ("generic-bacnet-cooling-tower", "bacnet-cooling-tower", ""),
    ("generic-bacnet-pump-set", "bacnet-pump-set", ""),
    ("generic-bacnet-pump-prefixed", "bacnet-chiller-plant", "CHWP1."),
    ("generic-bacnet-lighting-panel", "bacnet-lighting-panel", ""),
    ("generic-bacnet-lift-prefixed", "bacnet-lift-bank", "LIFT2."),
]
"""Profile, make that it reads, prefix."""


def link_to(*servers: BacnetServer) -> LinkConfig:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        own = probe.getsockname()[1]
    peers = tuple(f"{server.host}:{server.port}" for server in servers)
    return LinkConfig("bacnet", "bacnet", host="127.0.0.1", port=own, bacnet=BacnetLink(peers=peers))


async def read(profile: str, server: BacnetServer, device: BacnetDevice, prefix: str) -> Shot:
    link, driver = link_to(server), load_driver("bacnet")
    async with asyncio.timeout(30), driver.open(link) as session:
        described = device_of_profile(profile, device.instance, link=link, options={}, params={}, prefix=prefix or None)
        one = OneDevice(driver, session, link, described)
        await one.prepare()
        return await one.read()


def test_every_generic_profile_of_bacnet_meets_a_make() -> None:
    library = {slug for slug in LIBRARY.files if slug.startswith("generic-bacnet")}
    assert library == {profile for profile, _, _ in MEETINGS}


@pytest.mark.parametrize(("profile", "make", "prefix"), MEETINGS)
async def test_every_point_is_there_and_says_what_the_device_says(profile: str, make: str, prefix: str) -> None:
    device = build(make, seed=4)
    async with BacnetServer(device) as server:
        shot = await read(profile, server, device, prefix)
    assert not shot.failed, [row for row in shot.rows if row.detail]
    assert {row.status for row in shot.rows} == {"Good"}, [row for row in shot.rows if row.status != "Good"]
    said = {struct.pack(">f", value) for value in device.snapshot().values() if not isinstance(value, str)}
    for row in shot.rows:
        if isinstance(row.raw, float):
            assert struct.pack(">f", row.raw) in said, row


async def test_a_box_behind_the_router_is_read_in_the_units_of_its_profile() -> None:
    box = build("bacnet-vav", instance=4007, prefix="VAV-3-07.")
    line = Network(20, {b"\x07": box}, mstp=True, turnaround_s=(0.002, 0.004))
    async with BacnetServer(networks=[line]) as router:
        shot = await read("generic-bacnet-vav-prefixed", router, box, "VAV-3-07.")
    rows = {row.point: row for row in shot.rows}
    fahrenheit = float(box.object("AI", 1).value)
    assert rows["zone_temperature"].value == pytest.approx((fahrenheit - 32) / 1.8, abs=0.02)
    assert rows["zone_temperature"].unit == "Cel"
    assert rows["supply_air_flow"].value != pytest.approx(float(box.object("AI", 3).value), rel=0.01)
