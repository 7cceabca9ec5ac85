"""Searches for CJ/T 188 and M-Bus meters: each that stands on the line is found, also where several answer at once."""

from __future__ import annotations

import pytest

from device_profiles.errors import DeviceTimeout
from drivers.base import Address, CanDiscover, CanIdentify
from firmware_sim.cjt188 import CjtMeter
from firmware_sim.mbus import MbusSlave, heat_meter, water_meter
from tests.drivers.test_cjt188_session import me
from tests.drivers.test_cjt188_session import opened as meters_on
from tests.drivers.test_mbus_session import opened as slaves_on

LIMIT_S = 0.1
"""Silence means that nobody is there, so that a busy machine must not look silent."""


async def test_the_search_goes_deeper_where_several_answer() -> None:
    numbers = ["00111100012345", "00111100012346", "00117700010045", "00221100990145"]
    async with meters_on(*(CjtMeter(number) for number in numbers), timeout_s=LIMIT_S) as session:
        assert isinstance(session, CanIdentify)
        assert sorted([found async for found in session.search()]) == sorted(numbers)
        assert await session.identify(me("AAAAAAAAAA2346")) == {"serial": "00111100012346", "model": "water"}


async def test_the_search_finds_all_by_their_identifications() -> None:
    there = {"12345678": "SIM", "12345679": "ABB", "12999999": "KAM", "00000001": "LUG"}
    slaves = [MbusSlave(one, water_meter(), primary=n, maker=maker) for n, (one, maker) in enumerate(there.items(), 1)]
    async with slaves_on(*slaves, timeout_s=LIMIT_S) as session:
        found = {address[:8]: facts["vendor"] async for address, facts in session.search()}
        assert found == there
        assert isinstance(session, CanDiscover)
        seen = {address.unit: facts["serial"] async for address, facts in session.discover(range(6))}
        assert seen == dict(enumerate(there, 1))
        assert isinstance(session, CanIdentify)
        with pytest.raises(DeviceTimeout, match="no answer"):
            await session.identify(Address(77))


@pytest.mark.parametrize(
    "ids", [("12345678", "12345679"), ("00000001", "00000003"), ("02345678", "12345678", "12345679")]
)
async def test_a_slave_whose_answer_another_one_covers_is_found(ids: tuple[str, ...]) -> None:
    async with slaves_on(*(MbusSlave(one, heat_meter()) for one in ids), timeout_s=LIMIT_S) as session:
        assert {found[:8] async for found, _ in session.search()} == set(ids)


async def test_slaves_of_one_identification_are_told_of() -> None:
    async with slaves_on(
        *(MbusSlave("12345678", heat_meter(), maker=maker) for maker in ("KAM", "ABB")), timeout_s=LIMIT_S
    ) as session:
        [(pattern, facts)] = [one async for one in session.search()]
    assert pattern == "12345678FFFFFFFF"
    assert "several devices" in facts["trouble"]
