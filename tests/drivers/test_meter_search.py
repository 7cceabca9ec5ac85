"""Searches for CJ/T 188 and M-Bus meters: each that stands on the line is found, also where several answer at once."""

from __future__ import annotations

import pytest

from device_profiles.errors import DeviceTimeout
from drivers.base import Address, CanDiscover, CanIdentify, LinkConfig
from drivers.cjt188.master import GAP_CHARS as CJT188_GAP
from drivers.cjt188.session import Cjt188Session
from drivers.mbus.master import GAP_CHARS as MBUS_GAP
from drivers.mbus.session import MbusSession
from firmware_sim.cjt188 import CjtMeter
from firmware_sim.mbus import MbusSlave, heat_meter, water_meter
from tests.drivers.virtual_slaves import VirtualLine, answering

LINK = LinkConfig("line-1", "serial", path="x", baud=2400, parity="E", timeout_s=0.5)
CHAR_S = 11 / 2400


def meters_on(*meters: CjtMeter) -> Cjt188Session:
    return Cjt188Session(VirtualLine(answering(meters, CHAR_S), LINK, gap_chars=CJT188_GAP))


def slaves_on(*slaves: MbusSlave) -> MbusSession:
    return MbusSession(VirtualLine(answering(slaves, CHAR_S), LINK, gap_chars=MBUS_GAP))


async def test_the_search_goes_deeper_where_several_answer() -> None:
    numbers = ["00111100012345", "00111100012346", "00117700010045", "00221100990145"]
    session = meters_on(*(CjtMeter(number) for number in numbers))
    assert sorted([found async for found in session.search()]) == sorted(numbers)
    assert isinstance(session, CanIdentify)
    found = await session.identify(Address("AAAAAAAAAA2346"))
    assert found == {"serial": "00111100012346", "model": "water"}


@pytest.mark.parametrize("pair", [("00111144853989", "00111154853989"), ("00111100000001", "00111100000003")])
@pytest.mark.parametrize("litres", [(267_690, 154_760), (1, 2), (0, 123_450)])
async def test_a_meter_whose_answer_another_one_covers_is_found(pair: tuple[str, str], litres: tuple[int, int]) -> None:
    meters = [CjtMeter(number, volume=lambda n=n: n / 1000) for number, n in zip(pair, litres, strict=True)]
    assert {found async for found in meters_on(*meters).search()} == set(pair)


async def test_the_search_finds_all_by_their_identifications() -> None:
    there = {"12345678": "SIM", "12345679": "ABB", "12999999": "KAM", "00000001": "LUG"}
    slaves = [MbusSlave(one, water_meter(), primary=n, maker=maker) for n, (one, maker) in enumerate(there.items(), 1)]
    session = slaves_on(*slaves)
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
@pytest.mark.parametrize("apart_s", [0.0, 0.002, 0.05, 0.2])
async def test_a_slave_whose_answer_another_one_covers_is_found(ids: tuple[str, ...], apart_s: float) -> None:
    session = slaves_on(*(MbusSlave(one, heat_meter(), turnaround_s=0.02 + n * apart_s) for n, one in enumerate(ids)))
    assert {found[:8] async for found, _ in session.search()} == set(ids)


async def test_slaves_of_one_identification_are_told_of() -> None:
    session = slaves_on(*(MbusSlave("12345678", heat_meter(), maker=maker) for maker in ("KAM", "ABB")))
    [(pattern, facts)] = [one async for one in session.search()]
    assert pattern == "12345678FFFF0104"
    assert "several devices" in facts["trouble"]


async def test_slaves_of_one_identification_are_found_by_medium_and_version() -> None:
    kinds = {(1, 0x04), (2, 0x04), (1, 0x07)}
    session = slaves_on(
        *(MbusSlave("12345678", heat_meter(), version=version, medium=medium) for version, medium in sorted(kinds))
    )
    found = [address async for address, _ in session.search()]
    assert {(int(address[12:14], 16), int(address[14:], 16)) for address in found} == kinds
