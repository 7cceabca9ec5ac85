"""What a DL/T 645 session does beside reading: control, write, freeze, clocks, frozen values; and that no password is seen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceMismatch, DeviceRefused, DeviceTimeout
from device_profiles.reading import Sample
from device_profiles.schema import Point
from device_profiles.secrets import Secret
from drivers.base import Address, CanOperate, CanRecall, CanRehearse, CanWrite, Limits, LinkConfig, Recalled
from drivers.dlt645 import abilities, clock
from drivers.dlt645.driver import Dlt645Driver1997, Dlt645Driver2007
from drivers.dlt645.session import Dlt645Session
from firmware_sim.meter_counting import CountingMeter
from firmware_sim.meters import MeterLine, bcd
from firmware_sim.wire import Wire

NUMBER = "000000880047"
TZ = "Asia/Shanghai"
OFFSET_S = 8 * 3600.0
NOON = datetime(2026, 11, 22, 4, 0, 20, tzinfo=UTC).timestamp()
"""12:00:20 in Shanghai."""


class World:
    """A meter on a line, the session that talks to it, and what its trace saw."""

    def __init__(self, life: CountingMeter, folder: Path, password: str) -> None:
        self.life = life
        self.meter = life.meter()
        file = folder / "password"
        file.write_text(password)
        self.trace: list[bytes] = []
        self.secret = Secret(file=str(file))

    def address(self, **options: str) -> Address:
        return Address(NUMBER, "meter-1", secret=self.secret, options=options, tz=TZ)


@asynccontextmanager
async def opened(
    tmp_path: Path, *, password: str = "02:123456:00000017", edition: str = "2007", now: float = NOON, **life: Any
) -> AsyncIterator[tuple[Dlt645Session, World]]:
    alive = CountingMeter(
        NUMBER, edition, lambda: now, OFFSET_S, password="02123456", began_s=now - 40 * 86_400, **life
    )
    world = World(alive, tmp_path, password)
    world.meter = one = alive.meter()
    one.turnaround_s = 0.002
    driver = Dlt645Driver2007() if edition == "2007" else Dlt645Driver1997()
    with MeterLine([one], Wire(115200)) as line:
        link = LinkConfig("rs485-1", "serial", path=line.path, baud=115200, timeout_s=0.1)
        async with driver.open(link, lambda _way, frame, _said: world.trace.append(frame)) as session:
            session._now = lambda: now
            yield session, world


def operation(**call: Any) -> Operation:
    return Operation(id="it", call=call)


def point(name: str, di: int, shape: str = "XXXXXX.XX", **address: Any) -> Point:
    return Point.model_validate({"id": name, "type": "s64", "address": {"di": di, "format": shape, **address}})


async def test_a_relay_is_opened_and_closed_and_looked_at(tmp_path: Path) -> None:
    async with opened(tmp_path) as (session, world):
        assert isinstance(session, CanOperate)
        assert await session.operate(world.address(), operation(control="trip"), {}, None) == {
            "relay": "open", "status_word": "0058",
        }  # fmt: skip
        done = await session.operate(world.address(), operation(control="close"), {}, None)
        assert done["relay"] == "closed"
        assert await session.operate(world.address(), operation(control="alarm"), {}, None) == {"done": "alarm"}
        assert world.life.alarm


async def test_the_password_is_in_no_trace(tmp_path: Path) -> None:
    hidden = bytes((byte + 0x33) & 0xFF for byte in bcd(123456, 3))
    async with opened(tmp_path) as (session, world):
        await session.operate(world.address(), operation(control="trip"), {}, None)
        await session.write(world.address(), point("demand_period", 0x04000103, "XX"), 30, None)
        assert world.life.parameters[0x04000103] == bcd(30, 1)
    assert len(world.trace) > 6
    assert not [frame for frame in world.trace if hidden in frame]


@pytest.mark.parametrize("password", ["02:654321", "04:123456"])
async def test_a_wrong_password_is_refused(tmp_path: Path, password: str) -> None:
    async with opened(tmp_path, password=password) as (session, world):
        with pytest.raises(DeviceRefused, match="password") as caught:
            await session.operate(world.address(), operation(control="trip"), {}, None)
    assert caught.value.status == "BadUserAccessDenied"
    assert "secret" in str(caught.value)
    assert password[3:9] not in str(caught.value)
    assert not world.life.relay_open


@pytest.mark.parametrize("password", ["123456", "02:12", "hunter2"])
async def test_a_secret_that_is_no_password_is_said_without_it(tmp_path: Path, password: str) -> None:
    async with opened(tmp_path, password=password) as (session, world):
        with pytest.raises(ConfigError) as caught:
            await session.operate(world.address(), operation(control="trip"), {}, None)
        with pytest.raises(ConfigError, match="no secret"):
            await session.operate(Address(NUMBER, "m"), operation(control="trip"), {}, None)
    assert password not in str(caught.value)


async def test_a_meter_that_does_not_let_itself_be_programmed(tmp_path: Path) -> None:
    async with opened(tmp_path, programmable=False) as (session, world):
        with pytest.raises(DeviceRefused, match="not authorised"):
            await session.write(world.address(), point("demand_period", 0x04000103, "XX"), 30, None)
        assert (await session.standing(world.address(), point("p", 0x04000103, "XX"), None)).value == 15


async def test_a_relay_that_stays_is_not_taken_for_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abilities, "RELAY_WITHIN_S", 0.0)
    async with opened(tmp_path, sticky_relay=True, relay_open=True) as (session, world):
        with pytest.raises(DeviceMismatch, match="still open"):
            await session.operate(world.address(), operation(control="close"), {}, None)


async def test_a_command_without_an_answer_is_sent_once(tmp_path: Path) -> None:
    """It may have been carried out, so that this is nobody's to repeat."""
    async with opened(tmp_path) as (session, world):
        world.meter.spoil = lambda reply: [] if world.meter.asked[-1][0] == 0x1C else [(0.0, reply)]
        with pytest.raises(DeviceTimeout):
            await session.operate(world.address(), operation(control="trip"), {}, None)
    assert [control for control, _ in world.meter.asked].count(0x1C) == 1


async def test_what_a_profile_calls_wrongly_is_said(tmp_path: Path) -> None:
    async with opened(tmp_path) as (session, world):
        for call in ({"control": "explode"}, {"control": "trip", "x": 1}, {"dance": 1}, {"freeze": "later"}):
            with pytest.raises(ConfigError):
                await session.operate(world.address(), operation(**call), {}, None)
        short = Address("AAAAAA880047", "m", secret=world.secret, tz=TZ)
        with pytest.raises(ConfigError, match="whole meter number"):
            await session.operate(short, operation(control="trip"), {}, None)
    async with opened(tmp_path, edition="1997") as (session, world):
        with pytest.raises(ConfigError, match="1997"):
            await session.operate(world.address(), operation(control="trip"), {}, None)
        with pytest.raises(ConfigError, match="2007"):
            await session.write(world.address(), point("p", 0xC031, "XX"), 1, None)


async def test_what_is_written_is_rehearsed_and_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path) as (session, world):
        assert isinstance(session, CanWrite)
        assert isinstance(session, CanRehearse)
        period = point("demand_period", 0x04000103, "XX")
        assert session.rehearse(world.address(), period, 30, None) == (
            "14H: write 04000103 = 30, with the device's password"
        )
        for wrong in (100, -1, None, "x"):
            with pytest.raises(ConfigError):
                await session.write(world.address(), period, wrong, None)


async def test_a_freeze_stops_values_of_one_moment(tmp_path: Path) -> None:
    async with opened(tmp_path) as (session, world):
        assert await session.operate(world.address(), operation(freeze="now"), {}, None) == {"frozen": NUMBER}
        assert await session.operate(world.address(), operation(freeze="now", to="all"), {}, None) == {"frozen": "all"}
        energy = point("energy_active_import", 0x05010101, "XXXXXX.XX")
        [batch] = Dlt645Driver2007().plan([energy], Limits(), None, session.link)
        [value] = await session.read(world.address(), batch)
        assert value == int(float(world.life.world.snapshot(NOON)["kwh_import"] or 0) * 100)
        assert world.life.frozen_s == [NOON, NOON]


# Clocks.


async def read_clock(session: Dlt645Session, world: World, edition: str = "2007", **options: str) -> Any:
    driver = Dlt645Driver2007() if edition == "2007" else Dlt645Driver1997()
    skew = point("clock_skew", 0x04000101 if edition == "2007" else 0xC010, "clock")
    [batch] = driver.plan([skew], Limits(), None, session.link)
    [value] = await session.read(world.address(**options), batch)
    return value


@pytest.mark.parametrize("edition", ["2007", "1997"])
@pytest.mark.parametrize("skew_s", [0.0, 90.0, -90.0, 86_400.0])
async def test_a_meters_clock_is_compared(tmp_path: Path, edition: str, skew_s: float) -> None:
    async with opened(tmp_path, edition=edition, skew_s=skew_s) as (session, world):
        value = await read_clock(session, world, edition)
        assert value == Sample(skew_s, source_time_ms=round((NOON + skew_s) * 1000))
        assert world.life.skew_s == skew_s


async def test_a_clock_is_set_once_a_day_when_told(tmp_path: Path) -> None:
    async with opened(tmp_path, skew_s=90.0) as (session, world):
        assert (await read_clock(session, world, clock="leave")).value == 90
        assert (await read_clock(session, world, clock="set")).value == 90
        assert (await read_clock(session, world, clock="set")).value == 0
        world.life.skew_s = 60.0
        assert (await read_clock(session, world, clock="set")).value == 60
        assert (await read_clock(session, world, clock="set")).value == 60


async def test_time_sync_follows_the_standards_rule(tmp_path: Path) -> None:
    async with opened(tmp_path, skew_s=-42.0) as (session, world):
        done = await session.operate(world.address(), operation(time="broadcast"), {}, None)
        assert done == {"before_s": -42.0, "after_s": 0.0}
        with pytest.raises(ConfigError, match="today already"):
            await session.operate(world.address(), operation(time="broadcast"), {}, None)
    async with opened(tmp_path, skew_s=400.0) as (session, world):
        with pytest.raises(ConfigError, match="no broadcast of more than"):
            await session.operate(world.address(), operation(time="broadcast"), {}, None)
    midnight = datetime(2026, 11, 22, 15, 58, tzinfo=UTC).timestamp()
    async with opened(tmp_path, skew_s=30.0, now=midnight) as (session, world):
        with pytest.raises(ConfigError, match="midnight"):
            await session.operate(world.address(), operation(time="broadcast"), {}, None)


def test_what_is_no_time() -> None:
    assert clock.meter_time(b"\xff" * 4, b"\xff" * 3) is None
    assert clock.meter_time(bytes(4), bytes(3)) is None
    assert clock.meter_time(b"\x00\x22", b"\x00\x00\x12") is None
    assert clock.record_time(bytes(5)) is None
    assert clock.record_time(b"\xff" * 5) is None


# The past.

HOURLY = {"time": 0x05040001, "value": 0x05040101, "count": 254}
DAILY = {"time": 0x05060001, "value": 0x05060101, "count": 62, "item": 1}


async def recalled(session: Dlt645Session, world: World, points: list[Point], since: float, until: float) -> list[Any]:
    assert isinstance(session, CanRecall)
    portions = session.recall(world.address(), points, None, round(since * 1000), round(until * 1000))
    return [one async for portion in portions for one in portion]


async def test_hours_without_us_come_back_from_the_meter(tmp_path: Path) -> None:
    energy = point("energy_active_import", 0x00010000, record=HOURLY)
    async with opened(tmp_path, skew_s=0.0) as (session, world):
        found = await recalled(session, world, [energy, point("frequency", 0x02800002, "XX.XX")], NOON - 6 * 3600, NOON)
        hours = [NOON // 3600 * 3600 - 3600 * n for n in (5, 4, 3, 2, 1, 0)]
        expected = [int(float(world.life.world.snapshot(at)["kwh_import"] or 0) * 100) for at in hours]
    assert found == [
        Recalled("energy_active_import", round(at * 1000), value) for at, value in zip(hours, expected, strict=True)
    ]


async def test_days_and_a_tariff_come_back(tmp_path: Path) -> None:
    tariff = point("energy_active_import_t1", 0x00010100, record=DAILY)
    async with opened(tmp_path) as (session, world):
        found = await recalled(session, world, [tariff], NOON - 3 * 86_400, NOON)
    assert [one.t_ms % 86_400_000 for one in found] == [16 * 3_600_000] * 3  # midnight in Shanghai
    assert [one.value for one in found] == sorted(one.value for one in found)


async def test_a_meter_that_freezes_meanwhile_moves_no_value(tmp_path: Path) -> None:
    energy = point("energy_active_import", 0x00010000, record=HOURLY)
    async with opened(tmp_path) as (session, world):
        asked = iter(range(10_000))
        world.life.now = lambda: NOON + (3600 if next(asked) > 30 else 0)
        found = await recalled(session, world, [energy], NOON - 6 * 3600, NOON)
        for one in found:
            at = one.t_ms / 1000
            assert one.value == int(float(world.life.world.snapshot(at)["kwh_import"] or 0) * 100)
    assert len(found) >= 5


# Load records.

LOADS = [
    point("power_active", 0x02030000, "XX.XXXX", signed=True, record={"load": 2}),
    point("power_active_l2", 0x02030200, "XX.XXXX", signed=True, record={"load": 2, "item": 2}),
    point("current_l1", 0x02020100, "XXX.XXX", signed=True, record={"load": 1, "item": 3}),
    point("frequency", 0x02800002, "XX.XX", record={"load": 1, "item": 6}),
]
QUARTERS = [NOON // 900 * 900 - 900 * n for n in range(23, -1, -1)]


def loaded(world: World) -> set[tuple[str, int, Any]]:
    """What the meter had measured at each quarter of an hour."""
    keys = {"power_active": ("kw", 10_000), "power_active_l2": ("kw2", 10_000), "current_l1": ("i_signed1", 1000),
            "frequency": ("frequency", 100)}  # fmt: skip
    seen = world.life.world.snapshot
    return {
        (name, round(at * 1000), round(float(seen(at)[key] or 0) * factor))
        for at in QUARTERS
        for name, (key, factor) in keys.items()
    }


@pytest.mark.parametrize("only_exact", [False, True])
async def test_load_records_come_back(tmp_path: Path, only_exact: bool) -> None:
    async with opened(tmp_path) as (session, world):
        world.life.loads.only_exact = only_exact
        found = await recalled(session, world, LOADS, NOON - 6 * 3600, NOON)
        assert {(one.point, one.t_ms, one.value) for one in found} == loaded(world)
    assert len(found) == 4 * len(QUARTERS)
    times = [one.t_ms for one in found if one.point == "frequency"]
    assert times == sorted(times)


@pytest.mark.parametrize("record", [HOURLY, {"load": 4}])
async def test_each_turn_on_the_line_is_short(tmp_path: Path, record: dict[str, int]) -> None:
    """Live polls and commands go between the portions."""
    energy = point("energy_active_import", 0x00010000, record=record)
    async with opened(tmp_path) as (session, world):
        before, most = 0, 0
        async for _ in session.recall(
            world.address(), [energy], None, round((NOON - 86_400) * 1000), round(NOON * 1000)
        ):
            most = max(most, len(world.meter.asked) - before)
            before = len(world.meter.asked)
    assert 0 < most <= 3


async def test_load_records_of_all_classes_where_one_alone_is_not_known(tmp_path: Path) -> None:
    async with opened(tmp_path) as (session, world):
        plain = world.life.loads.answer
        world.meter.loads = lambda di, rest: None if di >> 16 & 0xFF else plain(di, rest, world.life.began_s, NOON)
        found = await recalled(session, world, LOADS, NOON - 6 * 3600, NOON)
        assert {(one.point, one.t_ms, one.value) for one in found} == loaded(world)


async def test_what_is_damaged_or_not_recorded_is_left_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as (session, world):
        world.life.loads.classes = (2, 4)
        world.life.loads.damaged = frozenset({QUARTERS[5] + OFFSET_S})
        found = await recalled(session, world, LOADS, NOON - 6 * 3600, NOON)
        asked = len(world.meter.asked)
    assert {one.point for one in found} == {"power_active", "power_active_l2"}
    assert [one.t_ms // 1000 for one in found][::2] == [at for at in QUARTERS if at != QUARTERS[5]]
    assert asked < 20


async def test_load_records_of_another_interval_after_a_gap(tmp_path: Path) -> None:
    async with opened(tmp_path) as (session, world):
        world.life.loads.every_s = 3600
        world.life.loads.only_exact = True
        world.life.began_s = NOON - 3 * 3600
        found = await recalled(session, world, LOADS[:1], NOON - 8 * 3600, NOON)
    assert [one.t_ms // 1000 for one in found] == [NOON // 3600 * 3600 - 3600 * n for n in (2, 1, 0)]


async def test_a_meter_that_keeps_no_load_gives_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, keeps_loads=False) as (session, world):
        assert await recalled(session, world, LOADS, NOON - 6 * 3600, NOON) == []
        assert len(world.meter.asked) == 4


@pytest.mark.parametrize("record", [{"load": 7}, {"load": 6, "item": 2}, {"load": 1, "item": 3}])
def test_a_place_in_a_load_record_must_fit(record: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="load"):
        point("voltage_l1", 0x02010100, "XXX.X", record=record)


async def test_a_meter_without_records_gives_nothing(tmp_path: Path) -> None:
    energy = point("energy_active_import", 0x00010000, record={"time": 0x05010001, "value": 0x05010101, "count": 3})
    async with opened(tmp_path) as (session, world):
        assert await recalled(session, world, [energy], 0, NOON) == []


@pytest.mark.parametrize("number", ["AAAAAAAAAAAA", "AAAAAA880047", "AAAAAAAAAA47"])
async def test_a_shortened_address_reads(tmp_path: Path, number: str) -> None:
    async with opened(tmp_path) as (session, _world):
        [batch] = Dlt645Driver2007().plan([point("f", 0x02800002, "XX.XX")], Limits(), None, session.link)
        [value] = await session.read(Address(number), batch)
        assert 4990 < value < 5010  # type: ignore[operator]
        with pytest.raises(DeviceTimeout):
            await session.read(Address("AAAAAA880048"), batch)


async def test_a_status_word_is_bits(tmp_path: Path) -> None:
    async with opened(tmp_path, relay_open=True) as (session, world):
        word = Point.model_validate(
            {"id": "relay_open", "type": "u16", "bits": 4, "address": {"di": 0x04000503, "format": "word"}}
        )
        [batch] = Dlt645Driver2007().plan([word], Limits(), None, session.link)
        [value] = await session.read(world.address(), batch)
        whole = word.model_copy(update={"bits": None})
        [batch] = Dlt645Driver2007().plan([whole], Limits(), None, session.link)
        assert await session.read(world.address(), batch) == [0x58]
        world.life.relay_open = False
        [batch] = Dlt645Driver2007().plan([word], Limits(), None, session.link)
        assert await session.read(world.address(), batch) == [0]
    assert value == 1
