"""Two readings of every datasheet meet: the profile, through driver and normaliser, against the simulator that never saw it.

Nothing may be refused, and what both sides can name (voltages, power, energy, ...) must be the same number in the same unit.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from drivers.base import LinkConfig
from drivers.registry import load_driver
from edge_agent.cli.one_device import OneDevice, Shot, device_of_profile
from firmware_sim.device import Device
from firmware_sim.devices import MODELS, load_model
from firmware_sim.tcp import Station, TcpServer
from tests.shipped import LIBRARY

NOON_S = 1_780_315_200.0  # 2026-06-01T12:00:00Z, a Monday

PROFILES = sorted(set(LIBRARY.files) & set(MODELS))

NAMES = {
    "voltage_l1": "u1",
    "voltage_l1_l2": "u12",
    "current_l2": "i2",
    "power_active": "kw",
    "power_active_l3": "kw3",
    "power_reactive": "kvar",
    "power_apparent": "kva",
    "power_factor": "pf",
    "frequency": "frequency",
    "energy_active_import": "kwh_import",
    "energy_active_export": "kwh_export",
    "zone_co2": "co2_ppm",
    "zone_temperature": "celsius",
    "output_frequency": "hz",
    "motor_current": "amps",
    "motor_power": "kw",
    "dc_voltage": "dc_volts",
}
"""Point of the vocabulary -> quantity of the simulated world, in the same unit."""

OWN_NAMES: dict[str, dict[str, str]] = {
    "abb-acs580": {"energy_active_import": "kwh"},
    "danfoss-vlt-fc102": {"energy_active_import": "kwh"},
    "deye-dtsd422": {"current_l2": "i_signed2"},
    "siemens-pac3200": {"energy_active_import_t1": "kwh_import", "energy_active_export_t1": "kwh_export"},
    "sunspec-inverter-three-phase": {
        "power_active": "w",
        "power_factor": "pf_percent",
        "energy_active_export": "wh",
        "dc_voltage": "dc_v",
    },
}
"""Where a make's world has other words."""

PER_UNIT = {"w": 0.001, "wh": 0.001, "pf_percent": 0.01}
LAST_DIGIT = {"acrel-dtsd1352": 0.4, "socomec-diris": 1.0, "abb-acs580": 1.0, "danfoss-vlt-fc102": 1.0}
"""What may be missing because the device counts in such steps; 0.06 for the others."""

ABSENT = {"sunspec-inverter-three-phase": {"drive_temperature", "transformer_temperature", "vendor_status"}}
"""What the simulated device truly does not have: it sends the sentinel, the agent must say that there is no value."""


async def _read(slug: str, instance: int | None = None) -> tuple[Device, Shot]:
    model = replace(load_model(slug), turnaround_s=0.0)
    device = Device(model, id=slug, unit=1, seed=5, now=lambda: NOON_S)
    async with asyncio.timeout(20), TcpServer(Station([device], any_unit=True)) as server:
        link = LinkConfig(id="tcp", kind="tcp", host=server.host, port=server.port)
        driver = load_driver("modbus")
        async with driver.open(link) as session:
            described = device_of_profile(slug, 1, link=link, options={}, params={}, instance=instance)
            one = OneDevice(driver, session, link, described)
            await one.prepare()
            return device, await one.read()


def test_every_real_make_that_is_simulated_has_a_profile():
    assert set(MODELS) - set(PROFILES) == {"address"}


@pytest.mark.parametrize("slug", PROFILES)
async def test_the_agent_reads_what_the_device_says(slug: str):
    instances = LIBRARY.get(slug).instances
    device, shot = await _read(slug, 1 if instances else None)
    assert not shot.failed
    bad = {row.point: (row.status, row.raw) for row in shot.rows if row.status != "Good"}
    assert set(bad) == ABSENT.get(slug, set())
    names = NAMES | OWN_NAMES.get(slug, {})
    compared = 0
    for row in shot.rows:
        quantity = names.get(row.point, "")
        if quantity in device.snapshot and slug != "generic-branch-meter-24":
            expected = float(device.snapshot[quantity] or 0) * PER_UNIT.get(quantity, 1)
            assert row.value == pytest.approx(expected, rel=0.005, abs=LAST_DIGIT.get(slug, 0.06)), row
            compared += 1
    if slug != "generic-branch-meter-24" and not slug.startswith("waveshare-relay-8ch-d"):
        assert compared >= 2


@pytest.mark.parametrize("number", [1, 2, 24])
async def test_a_circuit_of_the_branch_meter_is_a_device_of_its_own(number: int):
    device, shot = await _read("generic-branch-meter-24", number)
    values = {row.point: row.value for row in shot.rows}
    for point, quantity in (("current", "i"), ("power_active", "kw"), ("energy_active_import", "kwh")):
        assert values[point] == pytest.approx(device.snapshot[f"c{number}_{quantity}"], abs=0.006)
    assert values["breaker_closed"] is True
