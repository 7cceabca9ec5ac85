"""CJ/T 188 sessions against simulated meters: makers' orders, units, valves, late and foreign answers, the search."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceError, DeviceMismatch, DeviceRefused, DeviceTimeout
from device_profiles.reading import PointFault
from device_profiles.schema import Point
from drivers.base import Address, CanLocate, CanOperate, Limits, LinkConfig
from drivers.cjt188.session import Cjt188Session
from drivers.registry import load_driver
from firmware_sim.cjt188 import CjtMeter
from firmware_sim.slaves import SlaveLine
from firmware_sim.wire import Wire

NUMBER = "00111100012345"
TIMEOUT_S = 0.06


def point(name: str, data_id: int = 0x901F, kind: str = "f64") -> Point:
    return Point.model_validate({"id": f"x_{name}", "type": kind, "address": {"cjt188": name, "data_id": data_id}})


def me(number: str = NUMBER, **options: str) -> Address:
    return Address(number, "water-1", options=options)


@asynccontextmanager
async def opened(*meters: CjtMeter, timeout_s: float = TIMEOUT_S) -> AsyncIterator[Cjt188Session]:
    for meter in meters:
        meter.turnaround_s = 0.002
    with SlaveLine(meters, Wire(115200)) as line:
        link = LinkConfig("rs485-1", "serial", path=line.path, baud=115200, timeout_s=timeout_s)
        async with load_driver("cjt188").open(link) as session:
            assert isinstance(session, Cjt188Session)
            yield session


async def values(session: Cjt188Session, device: Address, *points: Point, layout: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for batch in load_driver("cjt188").plan(points, Limits(), layout, session.link):
        found |= zip(batch.points, await session.read(device, batch), strict=True)
    return found


WATER = (point("volume"), point("volume_settlement"), point("time_text", kind="str"), point("valve_open", kind="bool"))


@pytest.mark.parametrize("low_first", [False, True])
@pytest.mark.parametrize("unit_first", [False, True])
@pytest.mark.parametrize("century_first", [False, True])
async def test_makers_disagree_about_the_order(low_first: bool, unit_first: bool, century_first: bool) -> None:
    meter = CjtMeter(NUMBER, low_first=low_first, unit_first=unit_first, century_first=century_first)
    device = me(
        identifier="low_first" if low_first else "high_first",
        unit="before" if unit_first else "behind",
        time="high_first" if century_first else "low_first",
        meter_type="10",
    )
    async with opened(meter) as session:
        found = await values(session, device, *WATER)
    assert found == {
        "x_volume": 1234.56, "x_volume_settlement": 1000.0, "x_time_text": "2026-11-22T20:45:00", "x_valve_open": True,
    }  # fmt: skip


async def test_heat_comes_in_the_meters_own_unit() -> None:
    meter = CjtMeter(NUMBER, kind=0x20, unit=0x11)
    points = (point("heat_energy"), point("supply_water_temperature"), point("flow"), point("operating_hours"))
    async with opened(meter) as session:
        assert isinstance(session, CanLocate)
        assert session.needs_locating(points)
        layout = await session.locate(me(), points)
        assert layout["units"] == {
            "x_heat_energy": "GJ", "x_supply_water_temperature": "Cel", "x_flow": "m3/h", "x_operating_hours": "h",
        }  # fmt: skip
        found = await values(session, me(), *points, layout=layout)
        assert found["x_heat_energy"] == pytest.approx(204.44, abs=0.01)
        meter.unit = 0x08  # it goes on counting in another unit
        again = await values(session, me(), points[0], layout=layout)
        assert isinstance(again["x_heat_energy"], float)
        assert again["x_heat_energy"] > 100 * found["x_heat_energy"]


async def test_litres_are_no_cubic_metres() -> None:
    async with opened(CjtMeter(NUMBER, unit=0x29, volume=lambda: 123.456, settled=1.0)) as session:
        assert (await session.locate(me(), WATER))["units"]["x_volume"] == "L"
        assert (await values(session, me(), WATER[0]))["x_volume"] == pytest.approx(123_456)
        layout = {"units": {"x_volume": "m3"}}
        assert (await values(session, me(), WATER[0], layout=layout))["x_volume"] == pytest.approx(123.456)


async def test_a_valve_is_set_once_and_says_so() -> None:
    meter = CjtMeter(NUMBER)
    close = Operation.model_validate({"id": "valve_close", "call": {"valve": "close"}})
    async with opened(meter) as session:
        assert isinstance(session, CanOperate)
        assert (await session.operate(me(), close, {}, None))["valve_open"] is False
        assert (await values(session, me(), WATER[3])) == {"x_valve_open": False}
        assert [control for control, _ in meter.asked] == [
            1,
            4,
            1,
        ]  # it first finds out which identifiers the meter knows
        with pytest.raises(ConfigError, match="is no call"):
            await session.operate(me(), Operation.model_validate({"id": "x", "call": {"valve": "half"}}), {}, None)


@pytest.mark.parametrize("is_silent", [False, True])
async def test_what_a_meter_does_not_have(is_silent: bool) -> None:
    async with opened(CjtMeter(NUMBER, is_silent_about_serial=is_silent)) as session:
        found = await values(session, me(), point("price", 0x8102), point("volume"))
        assert isinstance(found["x_price"], PointFault)
        assert found["x_volume"] == 1234.56


async def test_the_order_of_the_identifier_is_found_out_once() -> None:
    meter = CjtMeter(NUMBER, low_first=True)
    async with opened(meter) as session:
        for _ in range(3):
            assert (await values(session, me(), WATER[0]))["x_volume"] == 1234.56
        assert [data[:2].hex() for _, data in meter.asked] == ["901f", "1f90", "1f90", "1f90"]
        meter.mute = True
        with pytest.raises(DeviceTimeout):
            await values(session, me(), WATER[0])
        meter.mute = False
        assert (await values(session, me(), WATER[0]))["x_volume"] == 1234.56
        assert meter.asked[-1][1][:2].hex() == "1f90", "what is proven stays"


async def test_a_silence_is_followed_by_the_other_order_the_next_time() -> None:
    meter = CjtMeter(NUMBER, low_first=True, is_strict=True)
    async with opened(meter) as session:
        with pytest.raises(DeviceTimeout):
            await values(session, me(), WATER[0])
        assert (await values(session, me(), WATER[0]))["x_volume"] == 1234.56
        close = Operation.model_validate({"id": "valve_close", "call": {"valve": "close"}})
        assert (await session.operate(me(), close, {}, None))["valve_open"] is False


async def test_nobody_and_a_wrong_type() -> None:
    async with opened(CjtMeter(NUMBER)) as session:
        for device in (me("00111100099999"), me(meter_type="20")):
            with pytest.raises(DeviceTimeout) as caught:
                await values(session, device, WATER[0])
            assert "water-1 (rs485-1, meter" in caught.value.where
        assert (await values(session, me(), WATER[0]))["x_volume"] == 1234.56


async def test_a_late_answer_is_never_taken_for_another() -> None:
    meter = CjtMeter(NUMBER)
    counted = iter(range(1, 10_000))
    meter.volume = lambda: float(next(counted))
    async with opened(meter) as session:
        last = 0.0
        for turn in range(60):
            meter.spoil = (
                (lambda frame: [(1.4 * TIMEOUT_S, frame)]) if turn % 3 == 0 else (lambda frame: [(0.0, frame)])
            )
            try:
                value = (await values(session, me(identifier="high_first"), WATER[0]))["x_volume"]
            except DeviceError:
                continue
            assert value == len(meter.asked), "an older answer was believed"
            last = value
        assert last > 30


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda frame: [(0.0, frame[:-2] + bytes((frame[-2] ^ 1,)) + frame[-1:])], "checksum"),
        (lambda frame: [(0.0, frame[: len(frame) // 2])], "no frame"),
        (lambda frame: [(0.0, bytes(300))], "no frame"),
        (lambda frame: [(0.0, _of(frame, 2, 0x99))], "meter 00111100012399 of type 10 answered"),
        (lambda frame: [(0.0, _of(frame, 13, 0x77))], "serial number 77 where"),
    ],
)
async def test_garbage_is_no_number(spoilt: Any, said: str) -> None:
    meter = CjtMeter(NUMBER, wake=0)
    async with opened(meter) as session:
        meter.spoil = spoilt
        with pytest.raises(DeviceMismatch, match=said):
            await values(session, me(), WATER[0])
        meter.spoil = lambda frame: [(0.0, b"\x00\x68\x55" + frame + b"\x12\x16")]
        assert (await values(session, me(), WATER[0]))["x_volume"] == 1234.56


def _of(frame: bytes, at: int, value: int) -> bytes:
    changed = frame[:at] + bytes((value,)) + frame[at + 1 : -2]
    return changed + bytes((sum(changed) % 256, 0x16))


def test_refusals_and_options() -> None:
    from drivers.cjt188 import planner
    from drivers.cjt188.master import refusal

    assert isinstance(refusal(b"\x01\x04\x00"), DeviceRefused)
    with pytest.raises(ConfigError, match="option unit"):
        planner.shape_of({"unit": "above"})
    with pytest.raises(ConfigError, match="meter_type"):
        planner.kind_of({"meter_type": "99"})
    with pytest.raises(ConfigError, match="no CJ/T 188 address"):
        planner.plan([Point.model_validate({"id": "x", "reg": 1})], None, LinkConfig("l", "serial"))
