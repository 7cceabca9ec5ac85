"""BACnet sessions: batches, quality, what devices refuse and say of themselves, and devices that are not the same any more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from bacnet_device import FLAGS, PRESENT, Device, Wire, enumerated, flags, object_id, real, serving, text, unsigned

from device_profiles.errors import ConfigError, DeviceRefused, DeviceTimeout
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Point
from drivers.bacnet.driver import BacnetDriver
from drivers.bacnet.session import BacnetSession
from drivers.base import (
    Address,
    BacnetLink,
    CanIdentify,
    CanLearn,
    CanLocate,
    CanParallel,
    CanRecall,
    CanSubscribe,
    CanWrite,
    Layout,
    Limits,
    LinkConfig,
    Session,
)

AHU = Address(1, "ahu-1")
Reading = Raw | Sample | PointFault


def av(instance: int, kind: str = "f32", **more: Any) -> Point:
    return Point.model_validate({"id": f"av{instance}", "object": f"AV:{instance}", "type": kind, **more})


def point(name: str, reference: str, kind: str, **address: Any) -> Point:
    return Point.model_validate({"id": name, "address": {"object": reference, **address}, "type": kind})


@dataclass
class Site:
    """A device, its wire and an open session."""

    device: Device
    wire: Wire
    session: BacnetSession
    link: LinkConfig
    layout: Layout | None = None
    batches: list[int] = field(default_factory=list)

    async def read(self, points: Sequence[Point]) -> dict[str, Reading]:
        """All points, by plans as the poller makes them: what was learned counts for the next read."""
        found: dict[str, Reading] = {}
        batches = BacnetDriver().plan(points, Limits(), self.layout, self.link)
        self.batches = [len(batch.points) for batch in batches]
        for batch in batches:
            found |= dict(zip(batch.points, await self.session.read(AHU, batch), strict=True))
        self.layout = self.session.learned(AHU) or self.layout
        return found


@asynccontextmanager
async def site(device: Device, **more: Any) -> AsyncIterator[Site]:
    async with serving(device) as wire:
        own = BacnetLink(peers=(wire.place,), apdu_timeout_s=0.2, **more)
        link = LinkConfig("net-1", "bacnet", host="127.0.0.1", port=0, bacnet=own)
        async with BacnetDriver().open(link) as session:
            yield Site(device, wire, session, link)


async def test_a_session_can_what_bacnet_can() -> None:
    async with site(Device()) as here:
        for ability in (
            Session, CanLocate, CanLearn, CanIdentify, CanParallel, CanSubscribe, CanWrite, CanRecall,
        ):  # fmt: skip
            assert isinstance(here.session, ability), ability


async def test_values_of_all_types() -> None:
    device = Device(
        values={
            (0, 1, PRESENT, None): real(21.5), (0, 1, FLAGS, None): flags(0),
            (3, 1, PRESENT, None): enumerated(1), (3, 1, FLAGS, None): flags(0),
            (13, 1, PRESENT, None): unsigned(3), (13, 1, FLAGS, None): flags(0),
            (45, 1, PRESENT, None): b"\x32\xff\x38", (46, 1, PRESENT, None): b"\x55\x08\x40\x09\x21\xfb\x54\x44\x2d\x18",
            (2, 1, 28, None): text("Frischluft °C"), (2, 1, 87, 9): b"\x00", (2, 1, 87, 10): real(4.5),
            (42, 1, PRESENT, None): b"\xa4\x7e\x0b\x16\x07", (50, 1, PRESENT, None): b"\xb4\x07\x1e\x00\x00",
            (2, 1, 111, None): flags(0xA0),
        }
    )  # fmt: skip
    async with site(device) as here:
        points = [
            point("t", "AI:1", "f32"), point("run", "BI:1", "bool"), point("mode", "MSI:1", "u16"),
            point("i", "IV:1", "s32"), point("pi", "LAV:1", "f64"),
            point("words", "AV:1", "str", property="description"),
            point("empty", "AV:1", "f32", property="priority-array", index=9),
            point("slot", "AV:1", "f32", property="priority-array", index=10),
            point("day", "date-value:1", "str"), point("time", "time-value:1", "str"),
            point("flags", "AV:1", "u16", property="status-flags"),
        ]  # fmt: skip
        for _ in range(3):
            found = await here.read(points)
            assert isinstance(found.pop("empty"), PointFault)
            assert found == {
                "t": 21.5, "run": True, "mode": 3, "i": -200, "pi": pytest.approx(3.14159265), "words": "Frischluft °C",
                "slot": 4.5, "day": "2026-11-22", "time": "07:30:00", "flags": 0b101,
            }  # fmt: skip
            assert found["run"] is True


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (real(float("nan")), "BadSensorFailure"), (real(float("inf")), "BadSensorFailure"),
        (text("x", 9), "BadDecodingError"), (b"\x72\x00\xff", "BadDecodingError"), (text("off"), "BadTypeMismatch"),
        (real(1) * 2, "BadTypeMismatch"), (b"\x00", "BadNoData"), (b"\x0e\x0f", "BadTypeMismatch"),
    ],
)  # fmt: skip
async def test_what_is_no_number_becomes_none(value: bytes, status: str) -> None:
    async with site(Device(values={(2, 1, PRESENT, None): value})) as here:
        for _ in range(2):
            found = await here.read([av(1), av(2)])
            fault = found["av1"]
            assert isinstance(fault, PointFault)
            assert (fault.status, found["av2"]) == (status, 2.0)


async def test_flags_become_quality_and_reliability_is_read_only_in_fault() -> None:
    device = Device()
    async with site(device) as here:
        points = [av(at) for at in range(4)]
        assert list((await here.read(points)).values()) == [0.0, 1.0, 2.0, 3.0]
        device.values |= {
            (2, 0, FLAGS, None): flags(0x20), (2, 1, FLAGS, None): flags(0x80),
            (2, 2, FLAGS, None): flags(0x10), (2, 3, FLAGS, None): flags(0xC0),
        }  # fmt: skip
        device.values[2, 3, 103, None] = enumerated(1)
        device.asked.clear()
        assert list((await here.read(points)).values()) == [
            Sample(0.0, "GoodLocalOverride"), Sample(1.0, "Good", flags=("alarm",)),
            Sample(2.0, "UncertainSubstituteValue"), Sample(None, "BadSensorFailure", flags=("alarm",)),
        ]  # fmt: skip
        assert [refs for _, refs in device.asked[1:]] == [[(2, 3, 103, None)]]
        device.values = {}
        device.asked.clear()
        assert list((await here.read(points)).values()) == [0.0, 1.0, 2.0, 3.0]
        assert len(device.asked) == 1


async def test_a_device_without_status_flags_is_fine_and_not_asked_for_them_again() -> None:
    device = Device(has_flags=False)
    async with site(device) as here:
        assert (await here.read([av(1), av(2)])) == {"av1": 1.0, "av2": 2.0}
        device.asked.clear()
        assert (await here.read([av(1), av(2)])) == {"av1": 1.0, "av2": 2.0}
        assert device.asked == [(14, [(2, 1, 85, None), (2, 2, 85, None)])]


async def test_too_much_at_once_is_taken_apart_and_remembered() -> None:
    device = Device(most=20)
    async with site(device) as here:
        points = [av(at) for at in range(30)]
        wanted = {f"av{at}": float(at) for at in range(30)}
        for _ in range(4):
            assert await here.read(points) == wanted
        device.asked.clear()
        assert await here.read(points) == wanted
        assert all(len(refs) <= 20 for _, refs in device.asked), "it was learned"


async def test_a_device_without_read_property_multiple() -> None:
    device = Device(has_multiple=False)
    async with site(device) as here:
        assert await here.read([av(1), av(2)]) == {"av1": 1.0, "av2": 2.0}
        device.asked.clear()
        assert await here.read([av(1), av(2)]) == {"av1": 1.0, "av2": 2.0}
        assert {service for service, _ in device.asked} == {12}


@pytest.mark.parametrize("refuses_whole", [False, True])
async def test_one_object_that_is_not_there_loses_no_other(refuses_whole: bool) -> None:
    device = Device(refuses_whole=refuses_whole, absent={(2, 3)})
    async with site(device) as here:
        points = [av(at) for at in range(6)]
        for _ in range(2):
            found = await here.read(points)
            fault = found.pop("av3")
            assert isinstance(fault, PointFault)
            assert fault.status == "BadNodeIdUnknown"
            assert found == {f"av{at}": float(at) for at in range(6) if at != 3}
        assert here.batches == [5, 1], "asked on its own"
        device.absent.clear()
        assert (await here.read(points))["av3"] == 3.0
        await here.read(points)
        assert here.batches == [6], "and with the others once it is there again"


async def test_a_device_that_refuses_altogether() -> None:
    async with site(Device()) as here:
        await here.read([av(1), av(2)])
        here.wire.mood = lambda asked, _: [asked[:2] + b"\x00\x0d\x01\x00\x50" + asked[8:10] + b"\x91\x00\x91\x53"]
        with pytest.raises(DeviceRefused, match="communication-disabled") as caught:
            await here.read([av(1), av(2)])
        assert "ahu-1" in str(caught.value)


async def test_a_device_says_who_it_is_and_what_its_points_are() -> None:
    device = Device(
        values={
            (8, 1, 76, None): b"".join(b"\xc4" + object_id(*one) for one in ((8, 1), (0, 1), (3, 2), (19, 4), (20, 7))),
            (8, 1, 70, None): text("AHU-9"), (8, 1, 372, None): text("SN 123"), (8, 1, 44, None): text("1.2"),
            (0, 1, 77, None): text("Building/AHU-1/SupplyAir"), (0, 1, 117, None): enumerated(64),
            (0, 1, PRESENT, None): real(70), (0, 1, FLAGS, None): flags(0),
            (0, 9, 117, None): b"\x92\x01\x2c",
            (3, 2, 4, None): text("Running"), (3, 2, 46, None): text("Stopped"),
            (19, 4, 110, None): text("Off") + text("Auto") + text("Hand"),
            (20, 7, 132, None): b"\x0c" + object_id(0, 1) + b"\x19\x55",
        }
    )  # fmt: skip
    points = [
        Point.model_validate({"id": "supply", "address": {"name": "*/SupplyAir"}, "type": "f32"}),
        Point.model_validate({"id": "nowhere", "address": {"name": "Return"}, "type": "f32"}),
        point("strange", "AI:9", "f32"), point("run", "BI:2", "bool"), point("mode", "MSV:4", "u16"),
        Point.model_validate({"id": "named", "object": "MSV:4", "type": "u16", "labels": {1: "a"}}),
    ]  # fmt: skip
    async with site(device) as here:
        assert here.session.needs_locating(points)
        here.layout = await here.session.locate(AHU, points)
        assert here.layout["identity"] == {
            "vendor": "ACME", "model": "AHU-9", "serial": "SN 123", "firmware": "1.2", "name": "device 1",
        }  # fmt: skip
        assert here.layout["objects"] == {"*/SupplyAir": "analog-input:1"}
        assert here.layout["units"] == {"supply": "[degF]"}, "a unit that no vocabulary has is left out"
        assert here.layout["labels"] == {
            "run": {"0": "Stopped", "1": "Running"}, "mode": {"1": "Off", "2": "Auto", "3": "Hand"},
        }  # fmt: skip
        assert here.layout["logs"] == {"supply": "trend-log:7"}
        assert (await here.session.identify(AHU))["model"] == "AHU-9"
        found = await here.read(points[:2])
        assert found["supply"] == 70.0
        assert isinstance(found["nowhere"], PointFault)
        requests = len(device.asked)
        await here.session.locate(AHU, points)
        assert len(device.asked) - requests <= 12, "the same Database_Revision: the object list is not read again"


async def test_another_database_revision_is_noticed_and_the_device_located_anew() -> None:
    device = Device(values={(2, 1, 117, None): enumerated(62), (8, 1, 372, None): text("one")})
    async with site(device) as here:
        kept = await here.session.locate(AHU, [av(1)])
        assert kept["units"] == {"av1": "Cel"}
    device.values |= {(2, 1, 117, None): enumerated(64), (8, 1, 155, None): unsigned(2), (8, 1, 372, None): text("two")}
    async with site(device) as again:  # a restarted agent, with what it had kept
        again.layout = kept
        assert await again.read([av(1)]) == {"av1": 1.0}
        assert again.layout is not None
        assert again.layout["units"] == {"av1": "[degF]"}
        assert again.layout["identity"]["serial"] == "two"
        before = again.layout
        await again.read([av(1)])
        assert again.layout is before


async def test_devices_behind_a_router_share_a_lane() -> None:
    async with site(Device(network=(7, b"\x0c")), parallel=5) as here:
        assert here.session.lane(AHU) == "device 1"
        assert await here.read([av(1)]) == {"av1": 1.0}
        assert here.session.lane(AHU) == "network 7"
        assert here.session.parallel == 5


async def test_a_timeout_names_the_device_and_looks_for_it_anew() -> None:
    device = Device()
    async with site(device) as here:
        await here.read([av(1)])
        device.is_silent = True
        with pytest.raises(DeviceTimeout) as caught:
            await here.read([av(1)])
        assert "ahu-1 (net-1, instance 1)" in str(caught.value)
        assert here.session.client.known(1) is None


@pytest.mark.parametrize("unit", [4_194_303, -1, "kitchen"])
async def test_what_is_no_instance_is_refused(unit: int | str) -> None:
    async with site(Device()) as here:
        [batch] = BacnetDriver().plan([av(1)], Limits(), None, here.link)
        with pytest.raises(ConfigError, match="no device instance"):
            await here.session.read(Address(unit), batch)


async def test_a_link_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="no BACnet"):
        BacnetDriver().open(LinkConfig("tcp-1", "tcp"))


async def test_an_answer_to_another_question_is_no_value() -> None:
    async with site(Device()) as here:
        [near] = BacnetDriver().plan([av(1), av(2)], Limits(), None, here.link)
        await here.session.read(AHU, near)

        def mood(asked: bytes, answers: list[bytes]) -> list[bytes]:
            return [answer.replace(object_id(2, 1), object_id(2, 5)) for answer in answers]

        here.wire.mood = mood
        with pytest.raises(Exception, match="not the 4 asked for") as caught:
            await here.session.read(AHU, near)
        assert type(caught.value).__name__ == "DeviceMismatch"
