"""The ISAPI driver against simulated terminals, recorders and cameras: points, operations, events, and what they kept."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceMismatch, DeviceRefused, LinkRefused
from device_profiles.library import SHIPPED, Library
from device_profiles.reading import PointFault
from drivers.base import Address, CanIdentify, CanOperate, HttpLink, Limits, LinkConfig
from drivers.isapi.driver import IsapiDriver
from drivers.isapi.session import IsapiSession
from drivers.isapi.stream import AlertStream
from drivers.listening import CanListen, CanRecallEvents, Listened, Occurrence
from firmware_sim.isapi import IsapiHost, PlateCamera, Recorder
from firmware_sim.isapi_terminal import Terminal

LIBRARY = Library([SHIPPED])
WAIT_S = 5


def listened(profile: str, unit: int = 0, device: str = "dev-1", **more: object) -> Listened:
    found = LIBRARY.get(profile)
    return Listened(Address(unit, device), found.events, found.credential, **more)  # type: ignore[arg-type]


@asynccontextmanager
async def session_of(host: IsapiHost, tmp_path: Path, *, idle_s: float = 5.0) -> AsyncIterator[IsapiSession]:
    file = tmp_path / "password"
    file.write_text(host.password)
    own = HttpLink(
        user=host.user if host.password else "",
        password_file=str(file) if host.password else "",
        pictures=str(tmp_path / "pictures"),
    )
    link = LinkConfig("host", "http", host="127.0.0.1", port=host.port, timeout_s=3, connect_timeout_s=3, http=own)
    async with IsapiDriver().open(link) as session:
        assert isinstance(session, IsapiSession)
        session.stream = AlertStream(session._client, session._take, idle_s=idle_s, first_s=0.01)
        yield session


async def values(session: IsapiSession, profile: str, unit: int = 0) -> dict[str, object]:
    found: dict[str, object] = {}
    for batch in IsapiDriver().plan(LIBRARY.get(profile).points, Limits(), None, session.link):
        found |= dict(zip(batch.points, await session.read(Address(unit, "dev-1"), batch), strict=True))
    return found


def operation(profile: str, name: str) -> Operation:
    return next(each for each in LIBRARY.get(profile).operations if each.id == name)


class Reader:
    """Takes turns as the agent does: word goes back that they are stored."""

    def __init__(self, session: IsapiSession) -> None:
        self.told: list[Occurrence] = []
        self._session = session
        self._more = asyncio.Condition()
        self._task = asyncio.create_task(self._read(), name="reader")

    async def _read(self) -> None:
        async for turn in self._session.occurrences():
            async with self._more:
                self.told += turn
                self._more.notify_all()
            self._session.stored(turn)

    async def until(self, fits: Callable[[list[Occurrence]], bool]) -> list[Occurrence]:
        async with asyncio.timeout(WAIT_S), self._more:
            await self._more.wait_for(lambda: fits(self.told))
        return self.told

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def hearing(session: IsapiSession, *devices: Listened) -> AsyncIterator[Reader]:
    reader = Reader(session)
    try:
        for device in devices:
            await session.listen(device)
        yield reader
    finally:
        await reader.end()


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


async def recalled(session: IsapiSession, device: Listened, after: int) -> list[Occurrence]:
    return [each async for portion in session.recall_events(device.address, after) for each in portion]


@pytest.mark.parametrize("knows_begin", [True, False])
async def test_records_are_recalled_by_number(tmp_path: Path, knows_begin: bool) -> None:
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal(password="pw", room=200) as terminal, session_of(terminal, tmp_path) as session:
        terminal.knows_begin, terminal.replays = knows_begin, 20
        assert await session.kept(door.address) is None, "nobody listens yet"
        await session.listen(door)
        assert await session.kept(door.address) is None
        for number in range(250):
            terminal.record(5, 1 if number % 5 else 21, cardNo=str(1000 + number))
        assert await session.kept(door.address) == (51, 250)
        told = await recalled(session, door, 0)
        assert [each.index for each in told] == [index for index in range(51, 251) if (index - 1) % 5]
        assert all(each.from_memory and each.key == f"record:{each.index}" for each in told)
        assert told[0].clear["card"].text == "1051"
        assert [each.index for each in await recalled(session, door, 240)] == [242, 243, 244, 245, 247, 248, 249, 250]


async def test_a_terminal_that_wants_times_is_asked_with_times(tmp_path: Path) -> None:
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal() as terminal, session_of(terminal, tmp_path) as session:
        terminal.needs_times = True
        terminal.is_deaf = True
        for number in range(40):
            terminal.swipe(str(1000 + number))
        await session.listen(door)
        assert await session.kept(door.address) == (1, 40)
        assert [each.index for each in await recalled(session, door, 0)] == list(range(1, 41))


async def test_each_door_of_one_controller_recalls_its_own_records(tmp_path: Path) -> None:
    first, second = (listened("hikvision-ds-k1t", unit=number, device=f"door-{number}") for number in (1, 2))
    async with Terminal() as terminal, session_of(terminal, tmp_path) as session:
        await session.listen(first)
        await session.listen(second)
        for number in range(6):
            terminal.record(5, 1, cardNo=str(1000 + number), doorNo=1 + number % 2)
        assert [each.index for each in await recalled(session, first, 0)] == [1, 3, 5]
        assert [each.index for each in await recalled(session, second, 0)] == [2, 4, 6]


async def test_numbers_that_began_anew_beside_older_records(tmp_path: Path) -> None:
    """A terminal that counts from 1 again after a restart and keeps what it had: only the new ones are told, as 1, 2, 3."""
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal() as terminal, session_of(terminal, tmp_path) as session:
        await session.listen(door)
        terminal.next_serial = 4000
        for _ in range(70):
            terminal.swipe("1")
        assert await session.kept(door.address) == (4000, 4069)
        terminal.next_serial = 1
        for _ in range(3):
            terminal.swipe("2")
        assert await session.kept(door.address) == (1, 3)
        told = await recalled(session, door, 0)
        assert [(each.index, each.clear["card"].text) for each in told] == [(1, "2"), (2, "2"), (3, "2")]


async def test_an_alarm_is_the_same_live_and_recalled(tmp_path: Path) -> None:
    """Raised live and cleared in the memory, it would stay active for ever under another name."""
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal() as terminal, session_of(terminal, tmp_path) as session, hearing(session, door) as reader:
        terminal.record(1, 1028)
        (live,) = await reader.until(lambda told: len(told) == 1)
        (again,) = await recalled(session, door, 0)
        assert again == replace(live, from_memory=True, data={**live.data, "since": again.data["since"]})
        assert live.data["id"] == again.data["id"]


async def test_a_face_has_the_number_of_the_person_and_no_card(tmp_path: Path) -> None:
    """cardNo is "0" or missing where no card was shown: everybody would be the same card."""
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal() as terminal, session_of(terminal, tmp_path) as session:
        await session.listen(door)
        terminal.record(5, 75, employeeNoString="1001", attendanceStatus="checkOut")
        terminal.record(5, 75, employeeNoString="1002", cardNo="0")
        terminal.record(5, 104, cardNo="")
        out, other, picture = await recalled(session, door, 0)
        assert (out.name, out.data, out.clear["card"].text) == ("access.granted", {"dir": "out"}, "pin:1001")
        assert other.clear["card"].text == "pin:1002"
        assert (picture.name, picture.data) == ("access.denied", {"reason": "no_live_person"})
        assert picture.clear == {}
        assert "1001" not in repr(out)


async def test_records_without_an_event_are_asked_for_once(tmp_path: Path) -> None:
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal() as terminal, session_of(terminal, tmp_path) as session:
        await session.listen(door)
        terminal.swipe("1")
        for _ in range(100):
            terminal.record(3, 80)
        assert await session.kept(door.address) == (1, 101)
        assert [each.index for each in await recalled(session, door, 0)] == [1]
        assert await session.kept(door.address) == (1, 1), "nothing new"
        terminal.swipe("2")
        before = terminal.searches
        assert await session.kept(door.address) == (1, 102)
        assert [each.index for each in await recalled(session, door, 1)] == [102]
        assert terminal.searches - before <= 3, "the hundred were not read again"
        terminal.clear()
        terminal.swipe("3")
        assert await session.kept(door.address) == (1, 1)
        assert [each.index for each in await recalled(session, door, 0)] == [1]


async def test_a_thousand_swipes_through_outages_exactly_once_and_in_order(tmp_path: Path) -> None:
    """The way the agent goes: a cursor, live records that follow it, and the memory for those that do not."""
    door = listened("hikvision-ds-k1t", device="door-1")
    got: list[int] = []

    def take(each: Occurrence) -> bool:
        assert each.index is not None
        if each.index == (got[-1] if got else 0) + 1:
            got.append(each.index)
            return True
        return each.index <= (got[-1] if got else 0)

    async with Terminal(password="pw") as terminal:
        for part in range(5):
            terminal.is_deaf = True
            for number in range(150):
                terminal.swipe(str(10_000 + 200 * part + number))
            async with session_of(terminal, tmp_path) as session, hearing(session, door) as reader:
                async for portion in session.recall_events(door.address, got[-1] if got else 0):
                    assert all(take(each) for each in portion)
                terminal.is_deaf = False
                seen = 0
                for number in range(50):
                    terminal.swipe(str(10_150 + 200 * part + number))
                told = await reader.until(lambda told: bool(told) and told[-1].index == terminal.next_serial - 1)
                for each in told[seen:]:
                    assert take(each)
                terminal.hang_up()
    assert got == list(range(1, 1001))


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


async def test_a_terminal_without_a_search_tells_its_records_live_and_without_a_number(tmp_path: Path) -> None:
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal(password="pw") as terminal, session_of(terminal, tmp_path) as session:
        terminal.has_search = False
        async with hearing(session, door) as reader:
            assert await session.kept(door.address) is None
            terminal.swipe("1234567")
            [told] = await reader.until(lambda told: len(told) == 1)
        assert (told.index, told.key) == (None, f"record:1:{told.t_ms}"), (
            "a number would have the agent wait for its memory"
        )
        assert await recalled(session, door, 0) == []
