"""The ISAPI driver against simulated terminals, recorders and cameras: points, operations, events, and what they kept."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceMismatch, DeviceRefused, LinkRefused
from device_profiles.reading import PointFault
from drivers.base import Address, CanIdentify, CanOperate, HttpLink, LinkConfig
from drivers.isapi.driver import IsapiDriver
from drivers.isapi.session import IsapiSession
from drivers.listening import CanListen, CanRecallEvents
from firmware_sim.isapi import IsapiHost, PlateCamera, Recorder
from firmware_sim.isapi_terminal import Terminal
from tests.drivers.isapi_world import WAIT_S, hearing, listened, operation, recalled, session_of, values


async def test_a_terminal_is_read(tmp_path: Path) -> None:
    async with Terminal(password="pw") as terminal, session_of(terminal, tmp_path) as session:
        assert all(isinstance(session, able) for able in (CanIdentify, CanOperate, CanListen, CanRecallEvents))
        terminal.door_open, terminal.skew_s = True, 120
        found = await values(session, "hikvision-ds-k1t")
        assert found.pop("clock_skew") == pytest.approx(120, abs=2)
        assert found == {
            "door_locked": True, "door_open": True, "door_mode": 4, "online_1": True, "tamper": False, "cards_stored": 2.0,
            "model_text": "DS-K1T671M", "serial_text": "DS-K1T671M0000000000SIM", "firmware_text": "V3.2.30",
        }  # fmt: skip
        assert len(terminal.seen) == 3
        identity = {"model": "DS-K1T671M", "serial": "DS-K1T671M0000000000SIM", "firmware": "V3.2.30"}
        assert await session.identify(Address(0, "dev-1")) == identity


async def test_a_recorder_is_read(tmp_path: Path) -> None:
    async with Recorder(password="pw", channels=4) as recorder, session_of(recorder, tmp_path) as session:
        recorder.cameras[3] = False
        recorder.disks[2] = "error"
        found = await values(session, "hikvision-ds-7x")
        assert (found["channels"], found["channels_online"]) == (4, 3)
        assert (found["disks"], found["disks_ok"], found["disk_state_1"]) == (2, 1, 0)
        recorder.disks[1] = "haunted"
        fault = (await values(session, "hikvision-ds-7x"))["disk_state_1"]
        assert fault == PointFault("BadDecodingError", "'haunted' is none of its words")


async def test_stream_addresses_hold_no_login(tmp_path: Path) -> None:
    async with IsapiHost(password="pw") as camera, session_of(camera, tmp_path) as session:
        found = await values(session, "hikvision-ds-2cd")
        assert found["stream_address_text"] == "rtsp://127.0.0.1:554/Streaming/Channels/101"
        assert found["substream_address_text"] == "rtsp://127.0.0.1:554/Streaming/Channels/102"


async def test_a_door_is_opened_held_and_closed(tmp_path: Path) -> None:
    async with Terminal(password="pw", open_s=60) as terminal, session_of(terminal, tmp_path) as session:
        door = Address(1, "door-1")
        assert await session.operate(door, operation("hikvision-ds-k1t", "open"), {}, None) == {"readback": 1}
        assert await session.operate(door, operation("hikvision-ds-k1t", "hold"), {}, None) == {"readback": 2}
        assert await session.operate(door, operation("hikvision-ds-k1t", "close"), {}, None) == {"readback": 0}
        assert await session.operate(door, operation("hikvision-ds-k1t", "lock_down"), {}, None) == {"readback": 3}
        puts = [path for method, path in terminal.seen if method == "PUT"]
        assert puts == ["/ISAPI/AccessControl/RemoteControl/door/1"] * 4, "each once"
        wrong = Operation(
            id="x", call={"put": "/ISAPI/AccessControl/RemoteControl/door/1", "body": "<cmd>explode</cmd>"}
        )
        with pytest.raises(DeviceRefused, match="HTTP 403"):
            await session.operate(door, wrong, {}, None)


async def test_the_clock_is_set_and_ntp_left_alone(tmp_path: Path) -> None:
    async with IsapiHost(password="pw") as camera, session_of(camera, tmp_path) as session:
        camera.skew_s = -7200
        answer = await session.operate(Address(0, "cam"), operation("hikvision-ds-2cd", "set_time"), {}, None)
        assert answer["before_s"] == pytest.approx(-7200, abs=2)
        assert abs(camera.skew_s) < 2
        camera.time_mode = "NTP"
        with pytest.raises(DeviceRefused, match="takes its time from NTP"):
            await session.operate(Address(0, "cam"), operation("hikvision-ds-2cd", "set_time"), {}, None)


async def test_a_snapshot_stays_on_the_box(tmp_path: Path) -> None:
    async with IsapiHost(password="pw") as camera, session_of(camera, tmp_path) as session:
        wanted = operation("hikvision-ds-2cd", "snapshot")
        first = await session.operate(Address(0, "cam-1"), wanted, {}, None)
        second = await session.operate(Address(0, "cam-1"), wanted, {}, None)
        assert first["sha256"] != second["sha256"]
        file = Path(urlsplit(str(first["url"])).path)
        assert file.parent == tmp_path / "pictures"
        assert hashlib.sha256(file.read_bytes()).hexdigest() == first["sha256"]
        assert file.stat().st_mode & 0o777 == 0o640
        session.link = replace(session.link, http=HttpLink())
        with pytest.raises(ConfigError, match="no folder"):
            await session.operate(Address(0, "cam-1"), wanted, {}, None)


async def test_cards_are_told_as_they_are_swiped(tmp_path: Path) -> None:
    door = listened("hikvision-ds-k1t", device="door-1", direction="in")
    async with Terminal(password="pw") as terminal, session_of(terminal, tmp_path) as session:
        terminal.torn = 7
        async with hearing(session, door) as reader:
            terminal.swipe("1234567")
            terminal.swipe("7654321", is_known=False)
            terminal.record(3, 80)  # a login at its own page is no event
            terminal.record(5, 27)
            told = await reader.until(lambda told: len(told) == 3)
        assert [(each.name, each.index, each.key) for each in told] == [
            ("access.granted", 1, "record:1"), ("access.denied", 2, "record:2"), ("access.forced", 4, "record:4"),
        ]  # fmt: skip
        assert told[0].clear["card"].text == "1234567"
        assert "1234567" not in repr(told)
        assert told[0].data == {"dir": "in"}
        assert told[1].data == {"dir": "in", "reason": "unknown_card"}
        assert told[0].t_ms is not None
        assert not told[0].from_memory


@pytest.mark.parametrize("with_length", [True, False])
async def test_motion_is_told_once_and_heartbeats_never(tmp_path: Path, with_length: bool) -> None:
    async with Recorder(password="pw") as recorder, session_of(recorder, tmp_path) as session:
        recorder.heartbeat_s, recorder.torn, recorder.with_length = 0.01, 3, with_length
        yard = listened("hikvision-ds-2cd", unit=2, device="yard")
        async with hearing(session, listened("hikvision-ds-7x", device="nvr"), yard) as reader:
            for channel in (1, 2):
                await recorder.motion(channel, seconds=5, pause_s=0.005)
            recorder.say(recorder.alert("videoloss", 3))
            recorder.say(recorder.alert("diskerror", 0))
            await recorder.motion(1, seconds=2, pause_s=0)
            told = await reader.until(lambda told: len(told) == 5)
        assert [(each.device, each.name) for each in told] == [
            ("nvr", "camera.motion"), ("yard", "camera.motion"), ("nvr", "camera.offline"), ("nvr", "alarm.raised"),
            ("nvr", "camera.motion"),
        ]  # fmt: skip
        assert told[3].data.keys() == {"id", "sev", "since"}
        assert session.counts.errors == {}


async def test_plates_are_told_and_pictures_passed_over(tmp_path: Path) -> None:
    async with PlateCamera(password="pw") as camera, session_of(camera, tmp_path) as session:
        async with hearing(session, listened("hikvision-anpr", device="gate-cam")) as reader:
            camera.passes("京A·12345", lane=2)
            camera.passes("KH 35192", direction="reverse", confidence=55)
            camera.passes("unknown")
            told = await reader.until(lambda told: len(told) == 3)
        assert [each.name for each in told] == ["vehicle.entered", "vehicle.left", "vehicle.entered"]
        assert [each.clear["plate"].text for each in told[:2]] == ["京A12345", "KH35192"]
        assert told[2].clear == {}
        assert told[0].data == {"lane": "2", "confidence": 0.98, "dir": "in"}
        assert told[0].key.startswith("uuid:sim-")
        assert "12345" not in repr(told[0]).replace("sim-SIM0000000001", "")


async def test_the_stream_is_opened_again(tmp_path: Path) -> None:
    async with PlateCamera(password="pw") as camera, session_of(camera, tmp_path) as session:
        async with hearing(session, listened("hikvision-anpr")) as reader:
            for number in range(1, 4):
                camera.passes(f"A{number}")
                await reader.until(lambda told, number=number: len(told) == number)  # type: ignore[misc]
                camera.hang_up()
                async with asyncio.timeout(WAIT_S):
                    while session.stream.openings <= number or not camera.listeners:
                        await asyncio.sleep(0.01)
        assert len(reader.told) == 3


async def test_a_stream_that_falls_silent_is_opened_again_with_a_new_nonce(tmp_path: Path) -> None:
    camera = PlateCamera(password="pw")
    camera.heartbeat_s = 60.0
    async with camera, session_of(camera, tmp_path, idle_s=0.2) as session:
        async with hearing(session, listened("hikvision-anpr")) as reader:
            camera.stale()
            async with asyncio.timeout(WAIT_S):
                while session.stream.openings < 3:
                    await asyncio.sleep(0.01)
            async with asyncio.timeout(WAIT_S):
                while not reader.told:
                    camera.passes("A1")
                    await asyncio.sleep(0.02)
        assert camera.refused_logins == 0
        assert session.counts.timeouts >= 2


async def test_a_stream_that_cannot_begin_is_said(tmp_path: Path) -> None:
    class NoStream(IsapiHost):
        async def respond(self, request):  # type: ignore[no-untyped-def]
            from aiohttp import web

            return web.Response(text="<html></html>", content_type="text/html")

    async with NoStream() as host, session_of(host, tmp_path) as session:
        with pytest.raises(DeviceMismatch, match="no multipart"):
            await session.listen(listened("hikvision-anpr"))
    async with Terminal(password="pw") as terminal, session_of(terminal, tmp_path) as session:
        (tmp_path / "password").write_text("wrong")
        with pytest.raises(DeviceRefused, match="login"):
            await session.listen(listened("hikvision-ds-k1t"))
        with pytest.raises(DeviceRefused, match="login"):
            await session.listen(listened("hikvision-ds-k1t"))
        assert terminal.refused_logins == 1


async def test_nobody_is_there(tmp_path: Path) -> None:
    async with Terminal() as terminal:
        pass
    with pytest.raises(LinkRefused):
        async with session_of(terminal, tmp_path):
            pass


async def test_no_card_and_no_plate_stands_in_a_trace(tmp_path: Path) -> None:
    seen: list[str] = []

    def trace(direction: str, frame: bytes, remark: str) -> None:
        seen.append(f"{direction} {frame!r} {remark}")

    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal(password="pw-9-secret") as terminal:
        terminal.swipe("7712345")
        (tmp_path / "password").write_text("pw-9-secret")
        own = HttpLink(user="admin", password_file=str(tmp_path / "password"))
        link = LinkConfig("host", "http", host="127.0.0.1", port=terminal.port, timeout_s=3, http=own)
        async with IsapiDriver().open(link, trace) as session:
            assert isinstance(session, IsapiSession)
            async with hearing(session, door) as reader:
                assert len(await recalled(session, door, 0)) == 1
                terminal.swipe("7754321")
                await reader.until(lambda told: len(told) == 1)
    text = "\n".join(seen)
    assert "AcsEvent" in text
    assert "(hidden)" in text
    for secret in ("7712345", "7754321", "Somebody", "pw-9-secret"):
        assert secret not in text
