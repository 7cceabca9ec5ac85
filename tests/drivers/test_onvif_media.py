"""The onvif driver and cameras of profile T, behind routers, of old firmware; messages as makes send them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from device_profiles.control import Operation
from device_profiles.errors import DeviceRefused
from drivers.base import Address, WireCount
from drivers.listening import Listened
from drivers.onvif.happening import Happening, messages_of
from firmware_sim.onvif import OnvifCamera
from tests.drivers.test_onvif_session import CAMERA, session_of, until, values
from tests.drivers.test_onvif_session import told as told_by
from tests.shipped import LIBRARY

PROFILE = LIBRARY.get("generic-onvif-camera")


@pytest.mark.parametrize("media", [("media2",), ("media",), ("media", "media2")], ids="+".join)
async def test_whichever_media_service_it_has(tmp_path: Path, media: tuple[str, ...]) -> None:
    camera = OnvifCamera(password="s3cret", clock_s=400)
    camera.media = media
    async with camera, session_of(camera, tmp_path, "s3cret") as session:
        found = await values(session)
        assert found["stream_address_text"] == "rtsp://127.0.0.1:554/main1?channel=1"
        assert found["substream_address_text"] == "rtsp://127.0.0.1:554/sub1?channel=1"
        assert found["encoding_text"] == ("H265" if media == ("media2",) else "H264")
        assert (found["resolution_text"], found["substream_resolution_text"]) == ("1920x1080", "640x360")
        assert found["frame_rate"] == 25.0
        assert found["snapshot_address_text"] == f"http://127.0.0.1:{camera.port}/snapshot"
        snapshot: Operation = next(each for each in PROFILE.operations if each.id == "snapshot")
        assert int(str((await session.operate(CAMERA, snapshot, {}, None))["bytes"])) > 100
        assert camera.refused_tokens == 0


async def test_a_first_media_service_in_name_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with OnvifCamera() as camera, session_of(camera, tmp_path) as session:
        right = camera._do_GetProfiles

        def empty(request: Any, envelope: Any, operation: Any) -> Any:
            is_first = "ver10" in operation.tag
            return "<trt:GetProfilesResponse/>" if is_first else right(request, envelope, operation)

        monkeypatch.setattr(camera, "_do_GetProfiles", empty)
        assert (await values(session))["encoding_text"] == "H265"


@pytest.mark.parametrize("answer", ["404", "500 without a fault", "nothing"])
async def test_a_device_that_does_not_know_getservices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    async with OnvifCamera() as camera, session_of(camera, tmp_path) as session:
        answers = {"404": web.Response(status=404, text="<html/>"), "500 without a fault": web.Response(status=500)}
        told = answers.get(answer, "<tds:GetServicesResponse/>")
        monkeypatch.setattr(camera, "_do_GetServices", lambda *_: told)
        assert (await values(session))["encoding_text"] == "H264"


async def test_a_camera_behind_a_router(tmp_path: Path) -> None:
    """It names itself by an address that nobody reaches from here: it is asked where the link says."""
    camera = OnvifCamera(password="s3cret")
    camera.elsewhere = "http://192.168.1.108:8080"
    async with camera, session_of(camera, tmp_path, "s3cret") as session:
        assert (await values(session))["resolution_text"] == "1920x1080"
        await session.listen(Listened(CAMERA, PROFILE.events))
        await until(lambda: "PullMessages" in camera.asked)
        camera.cross()
        assert [each.name for each in await told_by(session, 1)] == ["camera.line_cross"]


async def test_403_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with OnvifCamera(password="s3cret") as camera, session_of(camera, tmp_path, "s3cret") as session:
        monkeypatch.setattr(camera, "_do_GetDeviceInformation", lambda *_: web.Response(status=403, text="Forbidden"))
        with pytest.raises(DeviceRefused) as refused:
            await session.identify(CAMERA)
        assert (refused.value.code, refused.value.status) == (403, "BadUserAccessDenied")
        assert refused.value.next_step


def body(topic: str, operation: str, data: dict[str, str], at: str = "2026-11-23T08:00:00Z", **source: str) -> Any:
    items = [
        {"SimpleItem": [{"@Name": name, "@Value": value} for name, value in each.items()]} for each in (source, data)
    ]
    message = {"@UtcTime": at, "@PropertyOperation": operation, "Source": items[0], "Data": items[1]}
    return {"NotificationMessage": {"Topic": topic, "Message": {"Message": message}}}


def told(happening: Happening, said: Any) -> list[str]:
    device = Listened(Address(0, "camera-1"), PROFILE.events)
    news = [each for each in messages_of(said) if happening.is_news(each)]
    return [found.name for each in news if (found := happening.occurrence(device, each)) is not None]


def test_a_line_that_is_crossed_twice_by_the_same_object() -> None:
    happening = Happening(WireCount())
    line = "tns1:RuleEngine/LineDetector/Crossed"
    assert told(happening, body(line, "Initialized", {"ObjectId": "0"}, Rule="Door")) == []
    assert told(happening, body(line, "Changed", {"ObjectId": "0"}, Rule="Door")) == ["camera.line_cross"]
    again = body(line, "Changed", {"ObjectId": "0"}, "2026-11-23T08:00:09Z", Rule="Door")
    assert told(happening, again) == ["camera.line_cross"]


def test_inputs_are_alarms_of_their_own() -> None:
    happening, device = Happening(WireCount()), Listened(Address(0, "camera-1"), PROFILE.events)
    said = body("tns1:Device/Trigger/DigitalInput", "Changed", {"LogicalState": "true"}, InputToken="In 2#\n")
    found = happening.occurrence(device, messages_of(said)[0])
    assert found is not None
    assert found.data["id"] == "digital_input_in_2"


@pytest.mark.parametrize(
    ("topic", "item", "event"),
    [
        ("tns1:VideoSource/MotionAlarm", "State", "camera.motion"),
        ("tns1:VideoSource/tnsaxis:MotionAlarm", "State", "camera.motion"),
        ("tns1:RuleEngine/CellMotionDetector/Motion", "IsMotion", "camera.motion"),
        ("tns1:RuleEngine/TamperDetector/Tamper", "IsTamper", "camera.tamper"),
        ("tns1:Device/Trigger/DigitalInput", "LogicalState", "alarm.raised"),
    ],
)
@pytest.mark.parametrize("true", ["true", "1"])
def test_a_property_is_an_event_when_it_changes(topic: str, item: str, event: str, true: str) -> None:
    happening = Happening(WireCount())
    assert told(happening, body(topic, "Initialized", {item: true}, Source="1")) == [], "a state is no event"
    assert told(happening, body(topic, "Changed", {item: "false"}, Source="1")) in ([], ["alarm.cleared"])
    assert told(happening, body(topic, "Changed", {item: true}, Source="1")) == [event]
    assert told(happening, body(topic, "Changed", {item: true}, Source="1")) == [], "it was said already"
    assert told(happening, body(topic, "Deleted", {item: true}, Source="1")) == []


@pytest.mark.parametrize(
    ("space", "name"),
    [
        ("http://www.w3.org/2005/08/addressing", "ReferenceParameters"),
        ("http://schemas.xmlsoap.org/ws/2004/08/addressing", "ReferenceParameters"),
        ("http://schemas.xmlsoap.org/ws/2004/08/addressing", "ReferenceProperties"),
    ],
)
def test_what_a_subscription_wants_to_see_again(space: str, name: str) -> None:
    from drivers.onvif.soap import reference_headers

    answer = f'<E xmlns:w="{space}"><w:{name}><x:Id xmlns:x="urn:x">7</x:Id><!-- none --></w:{name}></E>'
    assert [each.text for each in reference_headers(answer.encode())] == ["7"]
