"""The onvif driver against a simulated camera: login with a wrong clock, addresses without passwords, pictures, pull points."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceError, DeviceMismatch, DeviceRefused, DeviceTimeout, LinkRefused
from device_profiles.reading import PointFault
from drivers.base import Address, CanIdentify, CanOperate, HttpLink, Limits, LinkConfig
from drivers.listening import CanListen, Listened, Occurrence
from drivers.onvif.driver import OnvifDriver
from drivers.onvif.session import OnvifSession
from firmware_sim.onvif import OnvifCamera
from tests.shipped import LIBRARY

PROFILE = LIBRARY.get("generic-onvif-camera")
CAMERA = Address(0, "camera-1")


@asynccontextmanager
async def session_of(
    camera: OnvifCamera, tmp_path: Path, password: str = "", driver: OnvifDriver | None = None, timeout_s: float = 3.0
) -> AsyncIterator[OnvifSession]:
    file = tmp_path / "password"
    if password and not (file.is_file() and file.read_text() == password):
        file.write_text(password)
    own = HttpLink(
        user="admin" if password else "",
        password_file=str(file) if password else "",
        pictures=str(tmp_path / "pictures"),
    )
    link = LinkConfig(
        "cam", "http", host="127.0.0.1", port=camera.port, timeout_s=timeout_s, connect_timeout_s=2, http=own
    )
    async with (driver or OnvifDriver()).open(link) as session:
        yield session


async def values(session: OnvifSession, device: Address = CAMERA, profile: Any = PROFILE) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for batch in OnvifDriver().plan(profile.points, Limits(), None, session.link):
        found |= dict(zip(batch.points, await session.read(device, batch), strict=True))
    return found


async def told(session: OnvifSession, count: int) -> list[Occurrence]:
    found: list[Occurrence] = []
    async with asyncio.timeout(10):
        async for turn in session.occurrences():
            found += turn
            session.stored(turn)
            if len(found) >= count:
                return found
    return found


async def until(what: Any) -> None:
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.01)


def operation(name: str) -> Operation:
    return next(each for each in PROFILE.operations if each.id == name)


@pytest.mark.parametrize("digest", [False, True], ids=["username-token", "http-digest"])
async def test_reads_what_it_says_of_itself(tmp_path: Path, *, digest: bool) -> None:
    camera = OnvifCamera(password="s3cret", digest=digest, clock_s=-7200)
    async with camera, session_of(camera, tmp_path, "s3cret") as session:
        found = await values(session)
        assert found.pop("clock_skew") == pytest.approx(-7200, abs=3)
        assert found == {
            "online": True, "model_text": "SIM-CAM", "serial_text": "SIMCAM0001", "firmware_text": "1.2.3",
            "stream_address_text": "rtsp://127.0.0.1:554/main1?channel=1",
            "substream_address_text": "rtsp://127.0.0.1:554/sub1?channel=1", "encoding_text": "H264",
            "resolution_text": "1920x1080", "substream_resolution_text": "640x360", "frame_rate": 25.0,
            "snapshot_address_text": f"http://127.0.0.1:{camera.port}/snapshot",
        }  # fmt: skip
        assert camera.refused_tokens == camera.refused_logins == 0, "the first login has the camera's own time"
        assert (await session.identify(CAMERA))["serial"] == "SIMCAM0001"
        assert all(isinstance(session, can) for can in (CanIdentify, CanOperate, CanListen))


async def test_old_camera_without_getservices_and_without_recording(tmp_path: Path) -> None:
    async with OnvifCamera() as camera, session_of(camera, tmp_path) as session:
        camera.services_known = False
        recorder = LIBRARY.get("generic-onvif-recorder")
        found = await values(session, profile=recorder)
        assert (found["model_text"], found["channels"]) == ("SIM-CAM", 1)
        assert found["recording"] == PointFault("BadNotSupported", "the device has no recording service")


async def test_channels_of_a_recorder(tmp_path: Path) -> None:
    recorder = LIBRARY.get("generic-onvif-recorder")
    async with OnvifCamera(sources=3) as host, session_of(host, tmp_path) as session:
        found = await values(session, Address(3, "channel-3"), recorder)
        assert (found["channels"], found["recording"]) == (3, True)
        assert found["stream_address_text"] == "rtsp://127.0.0.1:554/main3?channel=1"
        assert isinstance((await values(session, Address(4, "channel-4"), recorder))["stream_address_text"], PointFault)
        for unit in (1, 2):
            await session.listen(Listened(Address(unit, f"channel-{unit}"), recorder.events))
        await until(lambda: len(host.asked) and "PullMessages" in host.asked)
        host.say("tns1:VideoSource/MotionAlarm", {"Source": "vs2"}, "State", active=True)
        host.say("tns1:VideoSource/MotionAlarm", {"Source": "vs3"}, "State", active=True)
        host.say("tns1:VideoSource/MotionAlarm", {"Source": "vs1"}, "State", active=True)
        assert [each.device for each in await told(session, 2)] == ["channel-2", "channel-1"]


async def test_a_wrong_password_is_tried_once(tmp_path: Path) -> None:
    driver = OnvifDriver()
    async with OnvifCamera(password="right") as camera:
        for _ in range(3):
            async with session_of(camera, tmp_path, "tr0ng", driver) as session:
                with pytest.raises(DeviceRefused) as refused:
                    await values(session)
                assert refused.value.code == 401
                assert "tr0ng" not in str(refused.value)
        assert camera.refused_tokens == 1, "cameras lock accounts"
        async with session_of(camera, tmp_path, "right", driver) as session:
            assert (await values(session))["online"] is True


async def test_snapshot_stays_on_the_box(tmp_path: Path) -> None:
    async with OnvifCamera(password="s3cret") as camera, session_of(camera, tmp_path, "s3cret") as session:
        first = await session.operate(CAMERA, operation("snapshot"), {}, None)
        second = await session.operate(CAMERA, operation("snapshot"), {}, None)
        assert first["sha256"] != second["sha256"], "the picture changes"
        data = Path(urlsplit(str(first["url"])).path).read_bytes()
        assert data[:3] == b"\xff\xd8\xff"
        assert data[-2:] == b"\xff\xd9"
        assert first["bytes"] == len(data)


async def test_time_is_set_and_read_back(tmp_path: Path) -> None:
    async with (
        OnvifCamera(password="s3cret", clock_s=5000) as camera,
        session_of(camera, tmp_path, "s3cret") as session,
    ):
        done = await session.operate(CAMERA, operation("set_time"), {}, None)
        assert done["before_s"] == pytest.approx(5000, abs=3)
        assert abs(camera.clock_s) < 3
        assert (await values(session))["model_text"] == "SIM-CAM", "logins follow the new time"
        camera.ntp = True
        with pytest.raises(DeviceRefused, match="NTP"):
            await session.operate(CAMERA, operation("set_time"), {}, None)
        wrong = Operation(id="reboot", call={"reboot": "now"})
        with pytest.raises(ConfigError):
            await session.operate(CAMERA, wrong, {}, None)


@pytest.mark.parametrize("references", [False, True], ids=["address", "reference-parameters"])
async def test_what_happens_is_told_once(tmp_path: Path, *, references: bool) -> None:
    camera = OnvifCamera(password="s3cret", references=references)
    camera.active["tamper"] = True
    async with camera, session_of(camera, tmp_path, "s3cret") as session:
        await session.listen(Listened(CAMERA, PROFILE.events))
        await until(lambda: camera.asked.count("PullMessages") > 1)
        camera.happen("motion", True)
        camera.happen("motion", True)
        camera.happen("motion", False)
        camera.cross()
        camera.happen("tamper", False)
        camera.happen("tamper", True)
        found = await told(session, 3)
        assert [each.name for each in found] == ["camera.motion", "camera.line_cross", "camera.tamper"]
        assert [dict(each.data) for each in found[:2]] == [{"region": "MyMotion"}, {"line": "MyLine"}]
        assert all(each.t_ms for each in found)
        assert len({each.key for each in found}) == 3
        await session.forget(CAMERA)
        assert not camera.subscriptions, "the device keeps few of them"


async def test_a_lost_subscription_is_made_again_and_what_was_missed_is_told(tmp_path: Path) -> None:
    async with OnvifCamera() as camera, session_of(camera, tmp_path) as session:
        session.pull._first_s = 0.01
        await session.listen(Listened(CAMERA, PROFILE.events))
        await until(lambda: camera.asked.count("PullMessages") > 1)
        camera.active["motion"] = True
        camera.lose_subscriptions()
        assert [each.name for each in await told(session, 1)] == ["camera.motion"]
        assert session.pull.openings == 2


BOMB = b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><s>&b;</s>'


@pytest.mark.parametrize(
    "answer",
    [b"", b"<", b"no XML", BOMB, b"<a>" * 5000, b"<Envelope><Body/></Envelope>", b'{"json": 1}', b"\xff\xfe\x00"],
)
async def test_answers_that_are_none(tmp_path: Path, answer: bytes) -> None:
    async with OnvifCamera() as camera, session_of(camera, tmp_path) as session:
        camera.answer = answer
        with pytest.raises(DeviceMismatch):
            await values(session)


@pytest.mark.parametrize("operation_name", ["GetProfiles", "GetDeviceInformation", "GetStreamUri", "PullMessages"])
async def test_parts_of_answers_that_are_missing(tmp_path: Path, operation_name: str, monkeypatch: Any) -> None:
    """Whatever is missing, only errors of the house leave the driver."""
    async with OnvifCamera() as camera, session_of(camera, tmp_path) as session:
        monkeypatch.setattr(
            camera, f"_do_{operation_name}", lambda *_: f"<x:{operation_name}Response xmlns:x='urn:x'/>"
        )
        try:
            found: Sequence[Any] = list((await values(session)).values())
        except DeviceError:
            found = []
        assert all(isinstance(each, int | float | str | PointFault) for each in found)


async def test_silent_busy_and_absent(tmp_path: Path) -> None:
    async with OnvifCamera() as camera:
        async with session_of(camera, tmp_path, timeout_s=0.2) as session:
            camera.mood = "busy"
            with pytest.raises(DeviceMismatch, match="503"):
                await values(session)
            camera.mood = "garbage"
            with pytest.raises(DeviceError):
                await values(session)
            camera.mood = ""
            assert (await values(session))["online"] is True
        assert DeviceTimeout.status == "BadTimeout"
    with pytest.raises(LinkRefused):
        async with session_of(camera, tmp_path):
            pass


def test_zeep_is_imported_only_when_a_link_needs_it() -> None:
    code = (
        "import sys; from drivers.registry import load_driver; load_driver('onvif'); "
        "sys.exit(any(name in sys.modules for name in ('zeep', 'onvif', 'aiohttp', 'lxml')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
