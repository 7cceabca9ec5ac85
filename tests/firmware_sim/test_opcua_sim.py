"""The simulated plant room, and the profiles that meet it: through driver and normaliser nothing is missing or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from opcua_world import plant

from device_profiles.reading import Acquisition, PointFault, Sample
from device_profiles.resolve import prefixed
from drivers.base import Address, Limits
from drivers.opcua.driver import OpcUaDriver
from edge_agent.model import Device
from edge_agent.normalize import Normalizer
from firmware_sim.opcua.world import PlantRoom
from tests.shipped import LIBRARY

NOON_S = 1_780_315_200.0  # 2026-06-01T12:00:00Z, a Monday

PREFIXES = {
    "generic-opcua-chiller": "ChillerPlant/Chiller2",
    "generic-opcua-chiller-plant": "ChillerPlant",
    "generic-opcua-energy-station": "EnergyStation",
}


@pytest.mark.parametrize("name", PREFIXES)
async def test_every_point_of_a_profile_is_there_with_its_unit(name: str) -> None:
    profile = LIBRARY.get(name)
    points = prefixed(profile.points, PREFIXES[name])
    driver = OpcUaDriver()
    device = Device("d", "d", "plant", PREFIXES[name], "opcua", profile, points, profile.class_, profile.system)
    async with driver.open(plant().link()) as session:
        layout = await session.locate(Address(PREFIXES[name], "d"), points)
        assert layout["missing"] == {}
        units: Mapping[str, str] = layout["units"]
        assert {point.id: point.unit for point in points if point.id in units} == dict(units)
        [batch] = driver.plan(points, Limits(), layout, plant().link())
        raws = await session.read(Address(PREFIXES[name], "d"), batch)
        for operation in profile.operations:
            answer = await session.operate(Address(PREFIXES[name], "d"), operation, {"Code": 4711, "Hold": 2}, layout)
            assert answer == {"Accepted": True, "Remaining": 1.0}
    assert not [raw for raw in raws if isinstance(raw, PointFault | Sample)]
    normalizer, out = Normalizer(device), Acquisition("d", 1_780_315_200_000)
    normalizer.take(normalizer.prepare(batch.points), raws, 1_780_315_200_000, out)
    assert out.flagged == []
    assert set(out.good) == {point.id for point in points}


def values(room: PlantRoom, t: float) -> dict[str, Any]:
    return room.snapshot(t)


def test_the_plant_room_holds_together() -> None:
    room = PlantRoom(1)
    now, later = values(room, NOON_S), values(room, NOON_S + 3600)
    for n in (1, 2):
        assert later[f"c{n}_kwh"] > now[f"c{n}_kwh"]
        assert now[f"c{n}_return_c"] > now[f"c{n}_supply_c"]
    assert now["cooling_kw"] == pytest.approx(3.6 * (now["c1_kw"] + now["c2_kw"]))
    assert values(PlantRoom(1), NOON_S) == now


def test_water_follows_a_written_set_point_within_minutes_and_a_chiller_stops_when_told() -> None:
    room = PlantRoom(1)
    room.write("c1_setpoint_c", 10.0, NOON_S)
    assert values(room, NOON_S + 1)["c1_supply_c"] < 8.0
    assert values(room, NOON_S + 1800)["c1_supply_c"] == pytest.approx(10.0, abs=0.6)
    room.write("c1_enable", False, NOON_S + 1800)
    assert values(room, NOON_S + 1801)["c1_running"] is False
    room.faulty.add(2)
    stopped = values(room, NOON_S + 1802)
    assert (stopped["c2_fault"], stopped["c2_mode"], stopped["header_flow_m3h"]) == (True, 3, 0.0)


async def test_what_a_client_wrote_reaches_the_world() -> None:
    server = plant().server
    await plant().on(server.put("ChillerPlant/Comment", "pump serviced"))
    await plant().on(server.refresh())
    assert server.world.snapshot(NOON_S)["comment"] == "pump serviced"
