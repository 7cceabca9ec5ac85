"""The plants behind simulated BACnet controllers: what is commanded acts, what belongs together agrees, nothing runs away."""

from __future__ import annotations

import math

import pytest

from firmware_sim.bacnet import tags
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.models import BACNET_MODELS
from tests.firmware_sim.bacnet_asker import MONDAY_NOON, World, build

SUMMER, WINTER = MONDAY_NOON - 123 * 86_400, MONDAY_NOON + 49 * 86_400


def command(device: BacnetDevice, kind: str, instance: int, value: float, priority: int = 8) -> None:
    one = device.object(kind, instance)
    encoded = {"A": tags.real, "B": lambda on: tags.enumerated(int(on)), "M": lambda state: tags.unsigned(int(state))}
    one.write(85, encoded[kind[0]](value), None, priority)
    device.written(one)


def after(device: BacnetDevice, world: World, minutes: float) -> dict[str, float]:
    for _ in range(int(minutes * 6)):
        world.t += 10
        device.refresh()
    return device.snapshot()  # type: ignore[return-value]


@pytest.mark.parametrize("slug", sorted(set(BACNET_MODELS) - {"bacnet-vav-floor"}))  # forty times bacnet-vav
def test_a_day_of_any_plant_stays_within_reason(slug: str) -> None:
    world = World(SUMMER)
    device = build(slug, world, seed=3)
    for _ in range(6):
        world.t += 4 * 3600
        values = device.snapshot()
        for one in device.objects:
            value = values[one.name]
            assert isinstance(value, str) or math.isfinite(value), one.name
            if one.row.units in ("percent", "percent-relative-humidity"):
                assert -0.01 <= value <= 100.01, (one.name, value)
            if one.row.units == "degrees-celsius":
                assert -25 <= value <= 130, (one.name, value)
            if one.row.texts and one.row.kind.startswith("MS"):
                assert 1 <= value <= len(one.row.texts), (one.name, value)


def test_a_set_point_of_an_air_handler_acts_through_its_valves() -> None:
    world = World(WINTER)
    device = build("bacnet-ahu", world, seed=1)
    calm = after(device, world, 30)
    assert abs(calm["SA-T"] - 18) < 1.5
    assert calm["SF-S"] == 1
    command(device, "AV", 1, 28.0)
    warm = after(device, world, 20)
    assert warm["HTG-VLV"] > calm["HTG-VLV"] + 5
    assert warm["CLG-VLV"] < 1
    assert abs(warm["SA-T"] - 28) < 1.5
    command(device, "AO", 1, 0.0)  # somebody shuts the heating valve by hand
    cold = after(device, world, 20)
    assert cold["SA-T"] < warm["SA-T"] - 5


def test_an_air_handler_that_is_stopped_has_no_air() -> None:
    world = World()
    device = build("bacnet-ahu", world)
    assert after(device, world, 2)["SA-FLOW"] > 3000
    command(device, "BV", 1, 0)
    off = after(device, world, 5)
    assert [off[name] for name in ("SF-S", "RF-S", "SF-SPD", "SA-FLOW", "UNIT-STATE")] == [0, 0, 0, 0, 1]
    assert off["SA-P"] < 1


def test_chillers_follow_the_load_and_stage() -> None:
    world = World(SUMMER - 5 * 3600)
    device = build("bacnet-chiller-plant", world, seed=2)
    stages, worst = set(), 0.0
    for _ in range(12):
        world.t += 1700
        values = after(device, world, 1)
        stages.add(values["STAGE"])
        running = [n for n in (1, 2) if values[f"CH{n}.CH-S"]]
        if running and values["CHW-FLOW"] > 5:
            heat = values["CHW-FLOW"] * 4.19 * (values["CHWR-T"] - values["CHWS-T"])
            assert abs(heat - values["PLANT-LOAD"]) < 1
            worst = max(worst, abs(values["CHWS-T"] - 7))
        for n in running:
            assert values[f"CHWP{n}.S"] == 1
            assert values[f"CH{n}.KW"] < 0.35 * 600
    assert stages == {2, 3}
    assert worst < 3
    command(device, "BV", 1, 0)
    off = after(device, world, 10)
    assert [off["CH1.CH-S"], off["CH2.CH-S"], off["CT1.FAN-C"], off["STAGE"]] == [0, 0, 0, 1]


def test_a_vav_box_opens_where_its_room_is_too_warm() -> None:
    world = World(SUMMER)
    device = build("bacnet-vav", world, seed=7)
    before = after(device, world, 30)
    command(device, "AV", 1, 66.0)
    cooling = after(device, world, 30)
    assert cooling["VAV-3-01.DPR-O"] > before["VAV-3-01.DPR-O"] + 10
    assert cooling["VAV-3-01.SA-F"] > before["VAV-3-01.SA-F"] + 80
    assert cooling["VAV-3-01.ZN-T"] < before["VAV-3-01.ZN-T"]
    command(device, "AV", 1, 82.0)
    heating = after(device, world, 30)
    assert heating["VAV-3-01.HTG-O"] > 20
    assert heating["VAV-3-01.DA-T"] > 70


def test_lifts_travel_between_floors_with_closed_doors() -> None:
    world = World()
    device = build("bacnet-lift-bank", world)
    trips, floors = device.snapshot()["LIFT1.TRIPS"], set()
    for _ in range(1200):
        world.t += 1
        values = device.snapshot()
        floors.add(values["LIFT1.FLOOR"])
        if values["LIFT1.MOVING"]:
            assert values["LIFT1.DOOR"] == 1
            assert values["LIFT1.DIRECTION"] in (2, 3)
    assert len(floors) > 3
    assert values["LIFT1.TRIPS"] > trips
    command(device, "BV", 101, 1)
    for _ in range(180):
        world.t += 1
        values = device.snapshot()
    assert [values["LIFT1.FLOOR"], values["LIFT1.MODE"]] == [0, 2]


def test_pumps_hold_their_pressure_and_change_over() -> None:
    world = World()
    device = build("bacnet-pump-set", world)
    values = after(device, world, 5)
    assert abs(values["DP"] - 80) < 4
    assert [values["P1-S"], values["P2-S"]] == [1, 0]
    command(device, "MSV", 1, 2)
    values = after(device, world, 5)
    assert [values["P1-S"], values["P2-S"]] == [0, 1]
    assert abs(values["DP"] - 80) < 4


def test_lights_obey_the_sweep_above_the_scene() -> None:
    world = World()
    device = build("bacnet-lighting-panel", world)
    command(device, "MSV", 1, 3)
    assert sum(after(device, world, 1)[f"CKT-{n}-S"] for n in range(1, 9)) == 8
    command(device, "BV", 1, 1)
    values = after(device, world, 1)
    assert sum(values[f"CKT-{n}-KW"] for n in range(1, 9)) == 0
