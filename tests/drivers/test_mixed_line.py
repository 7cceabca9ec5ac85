"""Two protocols and two baud rates on one RS-485 line: DL/T 645 at 2400 8E1 and Modbus RTU at 9600 8N1."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceTimeout
from device_profiles.reading import PointFault
from drivers.base import Address, CanShare, Limits, LineSettings, LinkConfig, Session
from drivers.link import MIXABLE
from drivers.mixed import MixedDriver, MixedSession
from drivers.registry import DRIVERS, load_driver
from firmware_sim.devices import build
from firmware_sim.meter_counting import CountingMeter
from firmware_sim.meter_mixed import MixedLine
from firmware_sim.wire import Wire
from tests.shipped import LIBRARY

NUMBER = "000000880047"
METER = Address(NUMBER, "meter-1", protocol="dlt645-2007", line=LineSettings(baud=2400, parity="E"))
INVERTER = Address(7, "meter-2", protocol="modbus")


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[MixedDriver, MixedSession, MixedLine]]:
    meter = CountingMeter(NUMBER).meter()
    meter.turnaround_s = 0.02
    device = build("eastron-sdm630", id="meter-2", unit=7, seed=1, now=time.time, utc_offset_s=0.0)
    with MixedLine([meter], Wire(2400, "E"), [device], Wire(9600)) as line:
        driver = MixedDriver()
        async with driver.open(
            LinkConfig("rs485-1", "serial", path=line.path, baud=9600, timeout_s=0.3, mixed=True)
        ) as session:
            yield driver, session, line


async def values(
    driver: MixedDriver, session: MixedSession, device: Address, profile: str, *ids: str
) -> dict[str, Any]:
    points = [point for point in LIBRARY.get(profile).points if point.id in ids]
    found: dict[str, Any] = {}
    link = session.link.tuned(device.line)
    for batch in driver.speaking(device.protocol).plan(points, Limits(), None, link):
        found |= zip(batch.points, await session.read(device, batch), strict=True)
    return found


async def test_both_are_read_in_turn_and_at_once() -> None:
    async with opened() as (driver, session, line):
        assert isinstance(session, Session)

        async def meter() -> dict[str, Any]:
            return await values(driver, session, METER, "generic-dlt645-2007-three-phase", "frequency")

        async def modbus() -> dict[str, Any]:
            return await values(driver, session, INVERTER, "eastron-sdm630", "frequency", "voltage_l1")

        heard = [await meter(), await modbus(), *await asyncio.gather(meter(), modbus(), modbus(), meter())]
        assert line.switches >= 3
        assert line.stats.bad_frames == line.stats.collisions == 0
    for one in heard:
        assert not [value for value in one.values() if isinstance(value, PointFault)]
        frequency = one["frequency"]
        assert 49 < (frequency if len(one) == 2 else frequency / 100) < 51


async def test_a_silent_device_does_not_spoil_those_at_another_speed() -> None:
    async with opened() as (driver, session, _line):
        gone = Address("000000000001", "gone", protocol="dlt645-2007", line=METER.line)
        with pytest.raises(DeviceTimeout):
            await values(driver, session, gone, "generic-dlt645-2007-three-phase", "frequency")
        found = await values(driver, session, INVERTER, "eastron-sdm630", "frequency")
        assert 49 < found["frequency"] < 51


async def test_what_a_protocol_cannot_is_said() -> None:
    async with opened() as (driver, session, _line):
        with pytest.raises(ConfigError, match="coil or reg"):
            await session.operate(INVERTER, Operation(id="x", call={}), {}, None)
        assert [portion async for portion in session.recall(INVERTER, (), None, 0, 1)] == []
        with pytest.raises(ConfigError):
            driver.plan((), Limits(), None, session.link)
        with pytest.raises(ConfigError, match="share"):
            driver.speaking("bacnet")


@pytest.mark.parametrize("protocol", [name for name in MIXABLE if name in DRIVERS])
def test_who_may_share_a_line_can(protocol: str) -> None:
    assert isinstance(load_driver(protocol), CanShare)
