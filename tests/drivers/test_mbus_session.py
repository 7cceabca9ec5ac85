"""M-Bus sessions against simulated slaves: primary and secondary addresses, several telegrams, units, collisions, garbage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import ConfigError, DeviceError, DeviceMismatch
from device_profiles.reading import PointFault
from device_profiles.schema import Point
from drivers.base import Address, CanLocate, Limits, LinkConfig
from drivers.mbus.select import Secondary, narrower
from drivers.mbus.session import MbusSession, slave
from drivers.registry import load_driver
from firmware_sim.mbus import MbusSlave, heat_meter, water_meter
from firmware_sim.slaves import SlaveLine
from firmware_sim.wire import Wire

TIMEOUT_S = 0.06


def point(name: str, quantity: str, **more: Any) -> Point:
    return Point.model_validate({"id": f"x_{name}", "type": "f64", "address": {"mbus": quantity, **more}})


HEAT = (
    point("energy", "energy"),
    point("volume", "volume"),
    point("supply", "supply_temperature"),
    point("settled", "energy", storage=1),
    point("status", "header_status"),
)


@asynccontextmanager
async def opened(*slaves: MbusSlave, timeout_s: float = TIMEOUT_S) -> AsyncIterator[MbusSession]:
    for each in slaves:
        each.turnaround_s = 0.002
    with SlaveLine(slaves, Wire(115200)) as line:
        link = LinkConfig("mbus-1", "serial", path=line.path, baud=115200, timeout_s=timeout_s)
        async with load_driver("mbus").open(link) as session:
            assert isinstance(session, MbusSession)
            yield session


async def values(session: MbusSession, unit: int | str, *points: Point, layout: Any = None) -> dict[str, Any]:
    [batch] = load_driver("mbus").plan(points, Limits(), layout, session.link)
    return dict(zip(batch.points, await session.read(Address(unit, "heat-1"), batch), strict=True))


@pytest.mark.parametrize("unit", [5, "5", "12345678", "12345678FFFFFFFF"])
@pytest.mark.parametrize("per_telegram", [99, 3, 1])
async def test_a_readout_by_any_address_in_any_number_of_telegrams(unit: int | str, per_telegram: int) -> None:
    mine = MbusSlave("12345678", heat_meter(), primary=5, per_telegram=per_telegram, status=4)
    other = MbusSlave("87654321", water_meter(), primary=6)
    async with opened(mine, other) as session:
        for _ in range(3):
            assert await values(session, unit, *HEAT) == {
                "x_energy": 12_345_000.0, "x_volume": 4567.89, "x_supply": 65.4, "x_settled": 11_000_000.0, "x_status": 4,
            }  # fmt: skip


async def test_the_unit_is_the_devices_own() -> None:
    async with opened(MbusSlave("12345678", heat_meter(), primary=1, maker="KAM")) as session:
        assert isinstance(session, CanLocate)
        layout = await session.locate(Address(1), HEAT)
        assert layout["units"] == {"x_energy": "W.h", "x_volume": "m3", "x_supply": "Cel", "x_settled": "W.h"}
        assert layout["identity"] == {"vendor": "KAM", "model": "heat, return, version 1", "serial": "12345678"}
        inverted = {"units": {"x_energy": "kW.h"}}
        assert (await values(session, 1, HEAT[0], layout=inverted))["x_energy"] == pytest.approx(12_345.0)


@pytest.mark.parametrize(("option", "sent"), [("plain", b""), ("10", b"\x10")])
@pytest.mark.parametrize("unit", [1, "12345678"])
async def test_an_application_reset_goes_before_each_readout(option: str, sent: bytes, unit: int | str) -> None:
    mine = MbusSlave("12345678", heat_meter(), primary=1, per_telegram=3)
    device = Address(unit, "heat-1", options={"application_reset": option})
    [batch] = load_driver("mbus").plan(HEAT[:1], Limits(), None, LinkConfig("mbus-1", "serial", path="x"))
    async with opened(mine) as session:
        for _ in range(2):
            assert await session.read(device, batch) == [12_345_000.0]
        wrong = Address(unit, "heat-1", options={"application_reset": "all"})
        with pytest.raises(ConfigError, match="application_reset"):
            await session.read(wrong, batch)
    assert [request[7:-2] for request in mine.asked if request[0] == 0x68 and request[6] == 0x50] == [sent, sent]


async def test_a_telegram_with_a_wrong_sum_is_asked_for_again_with_the_same_bit() -> None:
    mine = MbusSlave("12345678", heat_meter(), primary=1, per_telegram=3)
    spoilt = iter([False, False, True])  # the second of the telegrams, once

    def spoil(frame: bytes) -> list[tuple[float, bytes]]:
        if len(frame) > 1 and next(spoilt, False):
            return [(0.0, frame[:-2] + bytes((frame[-2] ^ 1,)) + frame[-1:])]
        return [(0.0, frame)]

    next(spoilt)
    mine.spoil = spoil
    async with opened(mine) as session:
        assert (await values(session, 1, HEAT[2]))["x_supply"] == 65.4
    assert [request[1] for request in mine.asked] == [0x40, 0x7B, 0x5B, 0x5B, 0x7B]


async def test_what_a_device_does_not_send() -> None:
    async with opened(MbusSlave("12345678", water_meter(), primary=1)) as session:
        found = await values(session, 1, *HEAT[:2], point("second", "volume", nth=2))
        assert isinstance(found["x_energy"], PointFault)
        assert isinstance(found["x_second"], PointFault)
        assert found["x_volume"] == pytest.approx(98.765)


async def test_an_application_error() -> None:
    mine = MbusSlave("12345678", heat_meter(), primary=1, refuses=8)
    async with opened(mine) as session:
        (fault,) = (await values(session, 1, HEAT[0])).values()
        assert fault == PointFault("BadTooManyOperations", "the device refuses: busy")


async def test_two_at_one_secondary_address_and_then_one() -> None:
    one, two = (
        MbusSlave("12345678", heat_meter(), primary=1),
        MbusSlave("12345678", water_meter(), primary=2, version=9),
    )
    async with opened(one, two) as session:
        with pytest.raises(DeviceError):
            await values(session, "12345678", HEAT[1])
        assert (await values(session, "12345678FFFF09FF", HEAT[1]))["x_volume"] == pytest.approx(98.765)


async def test_a_late_answer_is_never_taken_for_another() -> None:
    counted = iter(range(1, 100_000))
    one = MbusSlave("11111111", lambda: [(b"\x04\x06", next(counted).to_bytes(4, "little"))], primary=1)
    async with opened(one) as session:
        believed = []
        for turn in range(60):
            late = turn % 4 == 1
            one.spoil = (lambda frame: [(1.4 * TIMEOUT_S, frame)]) if late else (lambda frame: [(0.0, frame)])
            try:
                believed.append((await values(session, 1, HEAT[0]))["x_energy"] / 1000)
            except DeviceError:
                continue
        assert len(believed) > 25
        assert believed == sorted(set(believed)), "an older readout was believed"


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda frame: [(0.0, frame[:-2] + bytes((frame[-2] ^ 1,)) + frame[-1:])], "checksum"),
        (lambda frame: [(0.0, frame[: len(frame) // 2])], "no frame"),
        (lambda frame: [(0.0, bytes(300))], "no frame"),
        (lambda frame: [(0.0, _from(frame, 9))], "address 9 answered"),
    ],
)
async def test_garbage_is_no_number(spoilt: Any, said: str) -> None:
    mine = MbusSlave("12345678", heat_meter(), primary=1)
    async with opened(mine) as session:
        await values(session, 1, HEAT[0])
        mine.spoil = lambda frame: spoilt(frame) if len(frame) > 1 else [(0.0, frame)]
        with pytest.raises(DeviceMismatch, match=said):
            await values(session, 1, HEAT[0])
        mine.spoil = lambda frame: [(0.0, b"\x68\x05\x10" + frame)] if len(frame) > 1 else [(0.0, frame)]
        assert (await values(session, 1, HEAT[0]))["x_energy"] == 12_345_000.0


def _from(frame: bytes, address: int) -> bytes:
    body = frame[4:5] + bytes((address,)) + frame[6:-2]
    return frame[:4] + body + bytes((sum(body) % 256, 0x16))


@given(st.text("0123456789F", min_size=8, max_size=8))
def test_patterns_narrow_to_what_they_held(pattern: str) -> None:
    parts = narrower(pattern)
    assert len(parts) == (10 if "F" in pattern else 64)
    assert all(Secondary.parse(pattern).fits(part.replace("F", "0")) for part in parts)
    assert len(narrower("12345678FFFFFF07")) == 255
    assert not narrower("12345678FFFF0107")
    assert len(Secondary.parse(pattern).encoded) == 8


@pytest.mark.parametrize("text", ["1234567", "123456789", "1234567G", "", "F" * 15])
def test_what_is_no_address(text: str) -> None:
    if len(text) < 8 and text.isdecimal():
        assert slave(text) == int(text)
    else:
        with pytest.raises(ConfigError, match="no secondary address"):
            slave(text)
