"""ONVIF cameras as they misbehave: clocks that are lost, users that may little, subscriptions shorter than asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from device_profiles.errors import DeviceRefused
from device_profiles.reading import PointFault
from drivers.base import Address, WireCount
from drivers.listening import Listened
from drivers.onvif.device import bare
from drivers.onvif.driver import OnvifDriver
from drivers.onvif.happening import Happening, Message
from firmware_sim.onvif import OnvifCamera
from tests.drivers.test_onvif_session import CAMERA, PROFILE, operation, session_of, told, until, values
from tests.shipped import LIBRARY


@pytest.mark.parametrize("status", [400, 401])
async def test_a_clock_that_is_lost_under_the_session_locks_nobody_out(tmp_path: Path, status: int) -> None:
    camera = OnvifCamera(password="s3cret")
    camera.refusal_status = status
    async with camera, session_of(camera, tmp_path, "s3cret") as session:
        assert (await values(session))["model_text"] == "SIM-CAM"
        camera.clock_s = -20 * 365 * 86_400  # power was gone, and its clock begins anew
        assert (await session.identify(CAMERA))["model"] == "SIM-CAM"
        assert camera.refused_tokens == 1
        camera.clock_s = 10 * 3600
        await session.listen(Listened(CAMERA, PROFILE.events))
        camera.clock_s = -10 * 3600
        camera.happen("motion", True)
        assert [each.name for each in await told(session, 1)] == ["camera.motion"]


@pytest.mark.parametrize("status", [400, 401])
async def test_a_wrong_password_is_tried_once_however_it_is_refused(tmp_path: Path, status: int) -> None:
    driver, camera = OnvifDriver(), OnvifCamera(password="right")
    camera.refusal_status = status
    async with camera:
        for _ in range(3):
            async with session_of(camera, tmp_path, "tr0ng", driver) as session:
                with pytest.raises(DeviceRefused) as refused:
                    await values(session)
                assert refused.value.code == 401
        assert camera.refused_tokens == 1


async def test_a_wrong_password_for_http_is_tried_once_and_a_clock_is_no_reason(tmp_path: Path) -> None:
    driver, camera = OnvifDriver(), OnvifCamera(password="right", digest=True, clock_s=86_400)
    async with camera:
        for _ in range(3):
            async with session_of(camera, tmp_path, "tr0ng", driver) as session:
                with pytest.raises(DeviceRefused, match=r"correct|not tried"):
                    await values(session)
        assert camera.refused_logins == 1


async def test_what_a_user_may_not_do_is_no_wrong_password(tmp_path: Path) -> None:
    camera = OnvifCamera(password="s3cret")
    camera.forbidden = {"SetSystemDateAndTime"}
    async with camera, session_of(camera, tmp_path, "s3cret") as session:
        await values(session)
        with pytest.raises(DeviceRefused, match="higher level") as refused:
            await session.operate(CAMERA, operation("set_time"), {}, None)
        assert refused.value.code == 403
        assert (await values(session))["model_text"] == "SIM-CAM", "all else goes on"
        camera.wsse = "another"
        with pytest.raises(DeviceRefused, match="correct the password"):
            await values(session)
        before = camera.refused_tokens
        with pytest.raises(DeviceRefused, match="not tried"):
            await values(session)
        assert camera.refused_tokens == before


async def test_a_subscription_lives_as_long_as_the_device_grants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.onvif.pull._SHORTEST_S", 0.1)
    camera = OnvifCamera()
    camera.grants_s = 0.6
    async with camera, session_of(camera, tmp_path) as session:
        await session.listen(Listened(CAMERA, PROFILE.events))
        await until(lambda: camera.asked.count("Renew") > 2)
        assert session.pull.openings == 1
        camera.happen("motion", True)
        assert [each.name for each in await told(session, 1)] == ["camera.motion"]


async def test_a_device_that_does_not_wait_is_not_asked_without_a_pause(tmp_path: Path) -> None:
    camera = OnvifCamera()
    camera.waits_s = 0
    async with camera, session_of(camera, tmp_path) as session:
        session.pull._first_s = 0.2
        await session.listen(Listened(CAMERA, PROFILE.events))
        await until(lambda: camera.asked.count("PullMessages") > 2)
        assert camera.asked.count("PullMessages") < 10
        camera.happen("motion", True)
        assert [each.name for each in await told(session, 1)] == ["camera.motion"]


async def test_a_device_that_grants_shorter_waits_is_asked_for_those(tmp_path: Path) -> None:
    camera = OnvifCamera()
    camera.waits_s = 6.0
    async with camera, session_of(camera, tmp_path) as session:
        session.pull._first_s = session.pull._pause_s = 0.01
        await session.listen(Listened(CAMERA, PROFILE.events))
        await until(lambda: session.pull.openings == 3)  # 20 s, 10 s, 5 s
        camera.happen("motion", True)
        assert [each.name for each in await told(session, 1)] == ["camera.motion"]


async def test_pauses_grow_where_nothing_can_be_pulled(tmp_path: Path) -> None:
    camera = OnvifCamera()
    async with camera, session_of(camera, tmp_path) as session:
        camera.forbidden = {"PullMessages"}
        session.pull._first_s = session.pull._pause_s = 0.001
        await session.listen(Listened(CAMERA, PROFILE.events))
        await until(lambda: session.pull.openings == 4)
        assert session.pull._pause_s >= 0.004


async def test_what_changed_between_two_connections_is_told(tmp_path: Path) -> None:
    driver = OnvifDriver()
    async with OnvifCamera() as camera:
        async with session_of(camera, tmp_path, driver=driver) as session:
            await session.listen(Listened(CAMERA, PROFILE.events))
            await until(lambda: camera.asked.count("PullMessages") > 1)
        camera.happen("tamper", True)
        async with session_of(camera, tmp_path, driver=driver) as session:
            await session.listen(Listened(CAMERA, PROFILE.events))
            assert [each.name for each in await told(session, 1)] == ["camera.tamper"]


@pytest.mark.parametrize(
    ("said", "published"),
    [
        ("rtsp://admin:s3cret@10.0.0.9:554/a?user=admin&password=s3cret&channel=1", "rtsp://10.0.0.9:554/a?channel=1"),
        (
            "rtsp://10.0.0.9:554/user=admin_password=s3cret_channel=1_stream=0.sdp?real_stream",
            "rtsp://10.0.0.9:554/channel=1_stream=0.sdp?real_stream",
        ),
        ("rtsp://10.0.0.9/user=admin&password=s3cret&channel=1&stream=0.sdp", "rtsp://10.0.0.9/channel=1&stream=0.sdp"),
        ("rtsp://admin:s3c@ret@10.0.0.9/x", "rtsp://10.0.0.9/x"),
        ("rtsp://admin:12/s3cret@10.0.0.9/x", ""),
        ("rtsp://admin:12#s3cret@10.0.0.9/x", ""),
        ("rtsp://10.0.0.9/x?channel=1&pwd=s3cret", "rtsp://10.0.0.9/x?channel=1"),
        ("rtsp://10.0.0.9/x?%70assword=s3cret", "rtsp://10.0.0.9/x"),
        ("rtsp://10.0.0.9/x?profile_token=main&unicast=true", "rtsp://10.0.0.9/x?profile_token=main&unicast=true"),
        ("rtsp://[fe80::1]:554/a_b/c_d.sdp", "rtsp://[fe80::1]:554/a_b/c_d.sdp"),
        ("", ""),
        ("rtsp://[/x", ""),
    ],
)
def test_addresses_without_passwords(said: str, published: str) -> None:
    assert bare(said) == published
    assert "s3c" not in bare(said)


def test_a_state_that_is_said_without_an_operation_is_told_once_while_it_lasts() -> None:
    now = 0.0
    happening = Happening(WireCount(), clock=lambda: now)

    def said(active: object, operation: str = "") -> bool:
        return happening.is_news(Message("VideoSource/MotionAlarm", operation, "", {"Source": "1"}, {"State": active}))

    assert [said(True), said(True), said(False), said(False), said(True)] == [True, False, True, False, True]
    now = 61.0
    assert said(True), "it ended meanwhile, and nobody said so"
    crossed = Message("RuleEngine/LineDetector/Crossed", "", "", {"Rule": "1"}, {"ObjectId": 7})
    assert happening.is_news(crossed)
    assert happening.is_news(crossed), "a moment has no state"
    assert not said(True, "Deleted")


_LOCAL = (
    "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>Manual</tt:DateTimeType>"
    "<tt:DaylightSavings>false</tt:DaylightSavings>{zone}<tt:LocalDateTime><tt:Time><tt:Hour>{at.hour}</tt:Hour><tt:Minute>"
    "{at.minute}</tt:Minute><tt:Second>{at.second}</tt:Second></tt:Time><tt:Date><tt:Year>{at.year}</tt:Year><tt:Month>"
    "{at.month}</tt:Month><tt:Day>{at.day}</tt:Day></tt:Date></tt:LocalDateTime></tds:SystemDateAndTime>"
    "</tds:GetSystemDateAndTimeResponse>"
)


@pytest.mark.parametrize("zone", ["<tt:TimeZone><tt:TZ>CST-8</tt:TZ></tt:TimeZone>", ""])
async def test_a_clock_without_utc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """By its zone, where it says one; a device that says no time at all is asked with ours."""
    camera = OnvifCamera(password="s3cret")
    at = datetime.now(UTC) + timedelta(hours=8)
    monkeypatch.setattr(camera, "_do_GetSystemDateAndTime", lambda *_: _LOCAL.format(at=at, zone=zone))
    async with camera, session_of(camera, tmp_path, "s3cret") as session:
        found = await values(session)
        assert (found["online"], found["model_text"]) == (True, "SIM-CAM")
        if zone:
            assert abs(found["clock_skew"]) < 5
        else:
            assert found["clock_skew"] == PointFault("BadNoData", "it says no time")


async def test_a_profile_without_snapshots(tmp_path: Path) -> None:
    async with OnvifCamera() as camera, session_of(camera, tmp_path) as session:
        camera.pictureless = {"main1"}
        assert (await values(session))["snapshot_address_text"] == PointFault(
            "BadNotSupported",
            "the device refused GetSnapshotUri: ActionNotSupported (no snapshot in this profile)",
        )
        assert (await session.operate(CAMERA, operation("snapshot"), {}, None))["bytes"], "another profile has them"
        camera.pictureless = {"main1", "sub1"}
        with pytest.raises(DeviceRefused, match="no snapshot"):
            await session.operate(CAMERA, operation("snapshot"), {}, None)


async def test_channels_whose_tokens_look_like_numbers(tmp_path: Path) -> None:
    recorder = LIBRARY.get("generic-onvif-recorder")
    camera = OnvifCamera(sources=3)
    camera.token = "{n:05}"
    async with camera, session_of(camera, tmp_path) as session:
        for unit in (1, 2):
            await session.listen(Listened(Address(unit, f"channel-{unit}"), recorder.events))
        await until(lambda: "PullMessages" in camera.asked)
        for token in ("00003", "00002", "2", "00001"):
            camera.say("tns1:VideoSource/MotionAlarm", {"Source": token}, "State", active=True)
        assert [each.device for each in await told(session, 2)] == ["channel-2", "channel-1"]
