"""The pjlink driver against a simulated projector: login, classes, warm-up, and displays that answer nonsense."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import ConfigError, DeviceMismatch, DeviceRefused, DeviceTimeout, LinkLost, LinkRefused
from device_profiles.reading import PointFault
from device_profiles.secrets import Secret
from drivers.base import Address, CanIdentify, CanOperate, CanRehearse, CanSubscribe, CanWrite, Limits, LinkConfig
from drivers.link import parse_link
from drivers.pjlink import codec
from drivers.pjlink.driver import PjlinkDriver
from drivers.pjlink.session import PjlinkSession
from firmware_sim.pjlink import PjlinkProjector
from tests.shipped import LIBRARY

FIRST = LIBRARY.get("generic-pjlink-1")
SECOND = LIBRARY.get("generic-pjlink-2")
HALL = Address(1, "projector-1")


@asynccontextmanager
async def session_of(projector: PjlinkProjector, timeout_s: float = 2.0, **more: Any) -> AsyncIterator[PjlinkSession]:
    link = LinkConfig("hall", "tcp", host="127.0.0.1", port=projector.port, timeout_s=timeout_s)
    async with PjlinkDriver().open(link, **more) as session:
        yield session


async def values(session: PjlinkSession, device: Address = HALL, profile: Any = SECOND) -> dict[str, Any]:
    [batch] = PjlinkDriver().plan(profile.points, Limits(), None, session.link)
    return dict(zip(batch.points, await session.read(device, batch), strict=True))


async def test_reads_all_that_it_tells_in_one_visit() -> None:
    async with PjlinkProjector() as projector, session_of(projector) as session:
        projector.switch(True)
        projector.errors["filter"] = 1
        projector.muted["audio"] = True
        found = await values(session)
        assert found == {
            "power_state": 1, "input_source": 31, "picture_muted": False, "audio_muted": True, "lamp_hours_1": 1234,
            "fan_health": 0, "lamp_health": 0, "temperature_health": 0, "cover_health": 0, "filter_health": 1,
            "other_health": 0, "model_text": "SIM-PJ2", "picture_frozen": False, "filter_hours": 88,
            "serial_text": "PJ000042", "firmware_text": "2.10", "resolution_text": "1920x1080",
            "recommended_resolution_text": "1920x1200", "inputs_text": "11 21 31 32 51 3A 61", "lamp_model_text": "LMP-1",
            "filter_model_text": "FLT-1",
        }  # fmt: skip
        assert len(projector.asked) == len(set(projector.asked)) == 16, "each command once, and the class"
        assert projector.connections == 2, "a look when the link is opened, and one visit"
        assert isinstance(session, CanIdentify | CanWrite | CanRehearse)
        assert await session.identify(HALL) == {
            "vendor": "Plantroom", "model": "SIM-PJ2", "name": "Hall 2 front", "serial": "PJ000042", "firmware": "2.10",
        }  # fmt: skip


async def test_in_standby_power_is_good_and_the_rest_says_why_not() -> None:
    async with PjlinkProjector() as projector, session_of(projector) as session:
        found = await values(session)
        assert found["power_state"] == 0
        assert found["input_source"] == PointFault(
            "BadInvalidState", "not now (in standby, warming up or cooling down)"
        )


async def test_a_display_that_answers_everything_with_its_power_in_standby() -> None:
    async with PjlinkProjector() as projector, session_of(projector, timeout_s=0.5) as session:
        projector.is_stubborn, projector.input = True, "3A"
        found = await values(session)
        assert found["power_state"] == 0
        assert {each.status for each in found.values() if isinstance(each, PointFault)} == {"BadInvalidState"}
        projector.switch(True)
        assert (await values(session))["input_source"] == 310, "its class was not taken from that"


async def test_a_display_that_says_nothing_to_some_commands_is_there() -> None:
    async with PjlinkProjector() as projector, session_of(projector, timeout_s=0.05) as session:
        projector.says_nothing_to = frozenset({"CLSS", "INPT", "AVMT", "LAMP"})
        found = await values(session)
        assert found["power_state"] == 0
        assert found["lamp_hours_1"] == PointFault("BadTimeout", "it said nothing to this, and answered before")
        projector.says_nothing_to |= {"POWR"}
        with pytest.raises(DeviceTimeout):
            await values(session)


async def test_a_step_of_volume_is_sent_once() -> None:
    up, *_, quieter = SECOND.operations
    async with PjlinkProjector() as projector, session_of(projector) as session:
        assert isinstance(session, CanOperate)
        with pytest.raises(DeviceRefused):
            await session.operate(HALL, up, {}, None)
        projector.switch(True)
        await session.operate(HALL, up, {}, None)
        await session.operate(HALL, quieter, {}, None)
        assert projector.volumes == {"SVOL": 11, "MVOL": 9}
        with pytest.raises(ConfigError):
            await session.operate(HALL, up.model_copy(update={"call": {"volume": "loud"}}), {}, None)


def test_answers_that_are_nearly_right() -> None:
    assert codec.body_of("%1POWR", b"%1powr=0") == "0", "as some displays write it"
    refused = codec.body_of("%2SNUM", b"%1SNUM=ERR1")
    assert isinstance(refused, codec.Refusal)
    assert refused.code == 1
    assert codec.body_of("%2INPT", b"%1INPT=31") is None
    assert [codec.level_of(each) for each in ("1", "2", "Class 1", "Class 2")] == [1, 2, 1, 2]


async def test_what_class_1_does_not_know_is_a_fault_of_its_points() -> None:
    async with PjlinkProjector(level=1) as projector, session_of(projector) as session:
        found = await values(session)
        assert found["serial_text"] == PointFault("BadNotSupported", "it does not know this command")
        assert found["lamp_hours_1"] == 1234
        assert not any(line.startswith("%2") for line in projector.asked[: len(FIRST.points) - 6])


async def test_password(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("JBMIAProjectorLink\n")
    seen: list[tuple[str, bytes, str]] = []
    device = Address(1, "projector-1", secret=Secret(file=str(file)))
    async with PjlinkProjector(password="JBMIAProjectorLink") as projector:
        async with session_of(projector, trace=lambda *line: seen.append(line)) as session:
            assert (await values(session, device))["power_state"] == 0
            with pytest.raises(DeviceRefused, match="asks for a password"):
                await values(session)
            file.write_text("wrong")
            with pytest.raises(DeviceRefused, match="refused the password"):
                await values(session, device)
        assert projector.refused_logins == 1
    assert not any(b"JBMIAProjector" in data or len(data) > 100 for _, data, _ in seen)


async def test_a_display_that_takes_sha_256_only(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("JBMIAProjectorLink")
    device = Address(1, "projector-1", secret=Secret(file=str(file)))
    projector = PjlinkProjector(password="JBMIAProjectorLink")
    projector.is_strong = True
    async with projector:
        async with session_of(projector) as session:
            assert (await values(session, device))["power_state"] == 0
            assert projector.refused_logins == 1, "MD5 was tried first"
            await session.write(device, SECOND.point("power_state"), 1, None)
            assert (await values(session, device))["power_state"] == 1
            assert projector.refused_logins == 1, "and not again"
            assert projector.asked.count("%1POWR 1") == 1
        file.write_text("wrong")
        async with session_of(projector) as session:
            for _ in range(3):
                with pytest.raises(DeviceRefused, match="refused the password"):
                    await values(session, device)
        assert projector.refused_logins == 1 + 2 + 2, "by both ways once, then by one"


async def test_a_display_that_knows_no_sha_256_is_not_asked_for_it(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("right")
    device = Address(1, "projector-1", secret=Secret(file=str(file)))
    async with PjlinkProjector(password="right", level=1) as projector, session_of(projector) as session:
        assert (await values(session, device))["power_state"] == 0
        assert projector.refused_logins == 0


def test_digest_of_the_specification() -> None:
    """PJLink class 1 version 1.05, 5.1: salt 498e4a67, password JBMIAProjectorLink."""
    assert codec.login("498e4a67", "JBMIAProjectorLink") == "5d8409bc1c3fa39749434aa3a5c38682"
    assert hashlib.md5(b"498e4a67JBMIAProjectorLink").hexdigest() == codec.login("498e4a67", "JBMIAProjectorLink")


async def test_power_input_and_mute_are_written_and_read_back() -> None:
    now = [100.0]
    async with (
        PjlinkProjector(warm_s=30, cool_s=60, now=lambda: now[0]) as projector,
        session_of(projector) as session,
    ):
        power, source, muted = (SECOND.point(name) for name in ("power_state", "input_source", "picture_muted"))
        assert session.rehearse(HALL, power, 1, None) == "%1POWR 1"
        await session.write(HALL, power, 1, None)
        assert (await session.standing(HALL, power, None)).value == 3
        with pytest.raises(DeviceRefused, match="not now") as refused:
            await session.write(HALL, source, 32, None)
        assert refused.value.code == 3
        now[0] += 31
        assert (await session.standing(HALL, power, None)).value == 1
        await session.write(HALL, source, 310, None)
        assert (projector.input, (await session.standing(HALL, source, None)).value) == ("3A", 310)
        await session.write(HALL, muted, True, None)
        assert projector.muted == {"picture": True, "audio": False}
        await session.write(HALL, power, 0, None)
        assert (await session.standing(HALL, power, None)).value == 2
        now[0] += 61
        await session.write(HALL, power, 1, None)
        now[0] += 61
        with pytest.raises(DeviceRefused, match="does not take this value"):
            await session.write(HALL, source, 59, None)
        for wrong in (None, 2, 3, 0.5, "on"):
            with pytest.raises(ConfigError):
                await session.write(HALL, power, wrong, None)
        with pytest.raises(ConfigError):
            await session.write(HALL, source, 100, None)


@pytest.mark.parametrize(
    ("mood", "error"), [("garbage", DeviceMismatch), ("long", DeviceMismatch), ("silent", DeviceTimeout)]
)
async def test_bad_moods(mood: str, error: type[Exception]) -> None:
    async with PjlinkProjector() as projector, session_of(projector, timeout_s=0.3) as session:
        projector.mood = mood
        with pytest.raises(error):
            await values(session)
        projector.mood = ""
        assert (await values(session))["power_state"] == 0


async def test_failure_of_the_projector_and_a_display_that_hangs_up() -> None:
    async with PjlinkProjector() as projector, session_of(projector, timeout_s=1) as session:
        projector.failed = True
        found = await values(session)
        assert found["power_state"] == PointFault("BadDeviceFailure", "its projector has a failure")
        assert found["fan_health"] == 0
        projector.idle_s = 0.0
        with pytest.raises(LinkLost):
            await values(session)
    with pytest.raises(LinkRefused):
        async with session_of(projector):
            pass


@given(st.binary(max_size=200))
def test_no_line_brings_down_the_codec(line: bytes) -> None:
    for attempt in (codec.salt_of, lambda data: codec.body_of("%1POWR", data)):
        try:
            attempt(line)
        except (codec.BadLine, PermissionError):
            continue


@given(st.text(max_size=140), st.sampled_from([point.address.pjlink for point in SECOND.points]))  # type: ignore[union-attr]
def test_no_body_brings_down_the_codec(body: str, fact: str) -> None:
    try:
        assert isinstance(codec.value_of(fact, body), int | str | PointFault)
    except codec.BadLine:
        return


@given(st.integers(-10, 1000))
def test_inputs_there_and_back(number: int) -> None:
    text = codec.input_text(number)
    assert text is None or codec.input_number(text) == number


def test_every_answer_of_the_specification() -> None:
    table: dict[str, dict[str, Any]] = {
        "power": {"0": 0, "1": 1, "2": 2, "3": 3}, "input": {"11": 11, "36": 36, "5Z": 535, "61": 61},
        "picture_mute": {"11": True, "21": False, "31": True, "30": False}, "audio_mute": {"11": False, "21": True},
        "lamp_hours:2": {"10 1 20 0": 20}, "lamp_on:2": {"10 1 20 0": False}, "error:temperature": {"002000": 2},
    }  # fmt: skip
    for fact, cases in table.items():
        for body, value in cases.items():
            assert codec.value_of(fact, body) == value
    assert codec.value_of("lamp_hours:3", "10 1") == PointFault("BadNodeIdUnknown", "it has 1 lamps")
    for fact, body in (("power", "4"), ("input", "10"), ("error:fan", "00000"), ("lamp_hours:1", "123456 1")):
        with pytest.raises(codec.BadLine):
            codec.value_of(fact, body)


async def test_inputs_of_class_2_are_asked_as_such() -> None:
    for level, text, number in ((2, "3A", 310), (2, "61", 61), (1, "31", 31)):
        async with PjlinkProjector(level=level) as projector, session_of(projector) as session:
            projector.switch(True)
            projector.input = text
            assert (await values(session))["input_source"] == number
            await values(session)
            assert sum("CLSS" in line for line in projector.asked) == 1, "the class is asked once"


async def test_packets_filled_with_zeros_and_strange_lines_between() -> None:
    async with PjlinkProjector() as projector, session_of(projector) as session:
        projector.padding = b"%2LKUP=00:11:22:33:44:55\r\n\x00\x00\x00"
        assert (await values(session))["power_state"] == 0


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_what_a_display_tells_by_itself_is_heard_at_once() -> None:
    port = free_udp_port()
    link = parse_link(f"tcp://127.0.0.1:4352?notices={port}")
    driver = PjlinkDriver()
    async with PjlinkProjector() as projector:
        link = replace(link, port=projector.port)
        projector.tells = ("127.0.0.1", port)
        async with driver.open(link) as session, driver.open(link) as other:
            assert isinstance(session, CanSubscribe)
            assert await session.subscribe(HALL, SECOND.points, None) == frozenset(), "all stay polled"
            await other.subscribe(Address(1, "another"), SECOND.points, None)
            projector.tell("%2POWR=2", host="127.0.0.2")  # a stranger
            for nonsense in ("%2POWR=9", "%1POWR=1", "%2ERST=9", "%2SRCH", "\x00" * 600, "%2LKUP=00:11:22:33:44:55"):
                projector.tell(nonsense)
            projector.padding = b"\x00\x00"
            projector.switch(True)
            projector.tell("%2INPT=3A\r%2ERST=010002")
            heard: list[Any] = []
            async with asyncio.timeout(5):
                async for turn in session.changes():
                    heard += turn
                    if len(heard) >= 3:
                        break
            assert [dict(zip(each.points, each.values, strict=True)) for each in heard] == [
                {"power_state": 1}, {"input_source": 310},
                {"fan_health": 0, "lamp_health": 1, "temperature_health": 0, "cover_health": 0, "filter_health": 0,
                 "other_health": 2},
            ]  # fmt: skip
            assert {each.device for each in heard} == {"projector-1"}
            assert session.counts.errors == {"bad_notice": 2}
        await asyncio.sleep(0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("0.0.0.0", port))  # it is free again
            with pytest.raises(LinkRefused, match="cannot listen"):
                async with driver.open(link) as session:
                    await session.subscribe(HALL, SECOND.points, None)
    with pytest.raises(ConfigError, match="notices"):
        parse_link("tcp://127.0.0.1:4352?notices=70000")


@given(st.binary(max_size=600))
def test_no_datagram_brings_down_the_session(data: bytes) -> None:
    session = PjlinkSession(LinkConfig("hall", "tcp"))
    session._facts["projector-1"] = {"power": "power_state", "error:fan": "fan_health"}
    session._hear(data)
    session._hear(b"%2POWR=" + data)
