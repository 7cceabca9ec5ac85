"""DL/T 645 sessions against simulated meters: blocks and their fall-back, follow-on frames, errors, late answers, the search."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from device_profiles.errors import ConfigError, DeviceError, DeviceTimeout
from device_profiles.reading import PointFault, Sample
from device_profiles.schema import Point
from drivers.base import Address, CanIdentify, CanLearn, Limits, LinkConfig
from drivers.dlt645.master import Doubts, fits, refusal
from drivers.dlt645.session import Dlt645Session
from drivers.registry import load_driver
from firmware_sim.meter_counting import CountingMeter
from firmware_sim.meters import Meter, MeterLine, bcd, build, energy_meter, overlaid
from firmware_sim.wire import Wire
from tests.shipped import LIBRARY

NUMBER = "000012345678"
ME = Address(NUMBER)
TIMEOUT_S = 0.06


def point(name: str, di: int, shape: str = "XXXXXX.XX", **more: Any) -> Point:
    return Point.model_validate({"id": name, "type": "s64", "address": {"di": di, "format": shape, **more}})


@asynccontextmanager
async def opened(*meters: Meter, edition: str = "2007", timeout_s: float = TIMEOUT_S) -> AsyncIterator[Dlt645Session]:
    for meter in meters:
        meter.turnaround_s = 0.002
    with MeterLine(meters, Wire(115200)) as line:
        link = LinkConfig("rs485-1", "serial", path=line.path, baud=115200, timeout_s=timeout_s)
        async with load_driver(f"dlt645-{edition}").open(link) as session:
            assert isinstance(session, Dlt645Session)
            yield session


async def values(session: Dlt645Session, *points: Point, edition: str = "2007", layout: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for batch in load_driver(f"dlt645-{edition}").plan(points, Limits(), layout, session.link):
        found |= zip(batch.points, await session.read(ME, batch), strict=True)
    return found


@pytest.mark.parametrize(
    ("edition", "profile"), [("2007", "generic-dlt645-2007-three-phase"), ("1997", "generic-dlt645-1997")]
)
async def test_a_shipped_profile_reads_a_whole_meter(edition: str, profile: str) -> None:
    meter = energy_meter(edition, NUMBER)
    points = [one for one in LIBRARY.get(profile).points if one.only is None]
    async with opened(meter, energy_meter(edition, "000012345699"), edition=edition) as session:
        found = await values(session, *points, edition=edition)
    assert not [value for value in found.values() if isinstance(value, PointFault)]
    assert isinstance(found.pop("clock_skew"), Sample)
    scaled = {one.id: found[one.id] * float(one.scale or 1) for one in points if one.id in found}
    if edition == "2007":
        assert scaled["voltage_l3"] == pytest.approx(231.2)
        assert scaled["current_l2"] == pytest.approx(-0.12)
        assert scaled["power_active"] == pytest.approx(2.303)
        assert scaled["energy_active_import"] == pytest.approx(6172.80)
        assert len(meter.asked) == 12  # five blocks, five single values, date and time
    else:
        assert scaled["voltage_l3"] == 232
        assert scaled["energy_active_import"] == pytest.approx(12345.67)


@pytest.mark.parametrize(
    ("edition", "profile", "many"),
    [("2007", "generic-dlt645-2007-three-phase", 50), ("1997", "generic-dlt645-1997", 25)],
)
async def test_a_shipped_profile_with_all_its_options_reads_a_meter(edition: str, profile: str, many: int) -> None:
    meter = CountingMeter(NUMBER, edition, now=lambda: 1_795_320_000.0).meter()
    points = LIBRARY.get(profile).points
    async with opened(meter, edition=edition) as session:
        found = await values(session, *points, edition=edition)
    assert len(found) == len(points) > many
    assert not {name: value for name, value in found.items() if isinstance(value, PointFault)}
    tariffs = [found[f"energy_active_import_t{number}"] for number in range(1, 5)]
    assert sum(tariffs) == found["energy_active_import"]
    assert found["power_demand_max"] > 0


async def test_a_refused_block_is_asked_singly_and_remembered() -> None:
    meter = energy_meter("2007", NUMBER)
    holds = meter.holds
    meter.holds = lambda di: None if di == 0x0201FF00 else holds(di)
    phases = [
        point(f"voltage_l{at + 1}", 0x02010100 + (at << 8), "XXX.X", block=0x0201FF00, item=at) for at in range(3)
    ]
    async with opened(meter) as session:
        assert isinstance(session, CanLearn)
        assert list((await values(session, *phases)).values()) == [2301, 2298, 2312]
        layout = session.learned(ME)
        assert layout == {"refused_blocks": [0x0201FF00]}
        assert session.learned(ME) is None
        meter.asked.clear()
        assert list((await values(session, *phases, layout=layout)).values()) == [2301, 2298, 2312]
        assert len(meter.asked) == 3


async def test_a_single_phase_meter_lacks_the_other_phases() -> None:
    phases = [point(f"l{at + 1}", 0x02010100 + (at << 8), "XXX.X", block=0x0201FF00, item=at) for at in range(3)]
    async with opened(energy_meter("2007", NUMBER, phases=1)) as session:
        one, two, three = (await values(session, *phases)).values()
    assert one == 2301
    assert (two.status, three.status) == ("BadNodeIdUnknown", "BadNodeIdUnknown")


@pytest.mark.parametrize("edition", ["2007", "1997"])
async def test_a_long_answer_comes_in_follow_on_frames(edition: str) -> None:
    block = 0x0001FF00 if edition == "2007" else 0x901F
    meter = Meter(NUMBER, {block: b"".join(bcd(at, 4) for at in range(64))}.get, edition, most=50)
    points = [point(f"t{at}", 0x9010 + at, block=block, item=at) for at in range(64)]
    async with opened(meter, edition=edition) as session:
        assert list((await values(session, *points, edition=edition)).values()) == list(range(64))
    assert len(meter.asked) > 5


async def test_what_is_no_number_is_no_value() -> None:
    held = {1: b"\xff\xff", 2: b"\x1a\x00", 3: b"\xee\xee", 4: bcd(-1234, 2), 5: b""}
    points = [point(f"p{di}", di, "XX.XX", signed=True) for di in held]
    async with opened(Meter(NUMBER, held.get)) as session:
        found = await values(session, *points)
    assert [found[f"p{di}"].status for di in (1, 2, 3, 5)] == [
        "BadSensorFailure", "BadDecodingError", "BadSensorFailure", "BadNodeIdUnknown",
    ]  # fmt: skip
    assert found["p4"] == -1234


@pytest.mark.parametrize(
    ("code", "status"), [(b"\x02", "BadNodeIdUnknown"), (b"\x04", "BadUserAccessDenied"), (b"", "BadDeviceFailure")]
)
async def test_an_error_takes_only_its_point(code: bytes, status: str) -> None:
    meter = energy_meter("2007", NUMBER)
    bad = build(meter.address, 0xD1, code)
    meter.spoil = lambda reply: [(0.0, bad if meter.asked[-1][1] == bytes(4) else reply)]
    async with opened(meter) as session:
        found = await values(session, point("no", 0), point("yes", 0x00020000))
    assert found["no"].status == status
    assert found["yes"] == 4217


async def test_a_late_answer_is_never_taken_for_the_next_one() -> None:
    """A meter that counts its answers: a late one would be seen as a reading that is older than the last."""
    readings = iter(range(1, 100_000))
    meter = Meter(NUMBER, lambda di: bcd(next(readings), 4) if di == 0x00010000 else bytes(6))
    lateness = iter([0.0, 1.2, 0.0, 2.5, 1.1, 0.0, 0.0] * 3)
    meter.spoil = lambda reply: [(next(lateness, 0.0) * TIMEOUT_S, reply)]
    energy = point("energy", 0x00010000)
    seen = 0
    async with opened(meter) as session:
        for _ in range(12):
            asked = len([one for one in meter.asked if one[1] == bytes((0, 0, 1, 0))])
            with suppress(DeviceError):
                value = (await values(session, energy))["energy"]
                if isinstance(value, int):
                    assert value > asked, "an answer to an older question"
                    seen += 1
        meter.spoil = lambda reply: [(0.0, reply)]
        for _ in range(4):
            with suppress(DeviceError):
                await values(session, energy)
        assert isinstance((await values(session, energy))["energy"], int)
    assert seen


@pytest.mark.parametrize("wake", [0, 1, 4, 8])
async def test_any_number_of_wake_up_bytes_and_noise(wake: int) -> None:
    meter = energy_meter("2007", NUMBER)
    meter.wake = wake
    meter.spoil = lambda reply: [(0.0, b"\x00\x68\x16" + reply + b"\x00")]
    async with opened(meter) as session:
        assert (await values(session, point("export", 0x00020000)))["export"] == 4217


async def test_an_address_with_wildcards_is_answered_by_its_meter() -> None:
    async with opened(energy_meter("2007", NUMBER)) as session:
        assert isinstance(session, CanIdentify)
        assert await session.identify(Address("AAAAAAAAAAAA")) == {"serial": NUMBER}
        assert await session.identify(Address("AAAAAAAAAA78")) == {"serial": NUMBER}
        with pytest.raises(DeviceTimeout):
            await session.identify(Address("AAAAAAAAAA79"))
        with pytest.raises(ConfigError, match="broadcast"):
            await session.identify(Address("999999999999"))


def test_bits_of_an_error_and_what_a_wildcard_fits() -> None:
    assert "password" in refusal(b"\x04").what
    assert fits("AAAAAAAAAA78", NUMBER)
    assert not fits("AAAAAAAAAA79", NUMBER)
    assert overlaid([b"\x0f\xf0", b"\x3c"]) == b"\x0c\xf0"


def test_debts_are_settled_in_order_and_forgotten() -> None:
    doubts = Doubts(5.0)
    doubts.owe(NUMBER, b"a", 0.0)
    doubts.owe(NUMBER, b"b", 4.0)
    assert doubts.owed(NUMBER, 6.0) == [b"b"]
    doubts.settled(NUMBER)
    assert doubts.owed(NUMBER, 6.0) == []
