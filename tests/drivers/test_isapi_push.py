"""Terminals and cameras that push (`httpHosts`): who is let in, what is taken, and the answer only after it is stored."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from device_profiles.errors import DeviceTimeout
from device_profiles.secrets import Secret
from drivers.base import Address, Limits, LinkConfig, ListenLink
from drivers.isapi.driver import IsapiDriver
from drivers.isapi.push import PushSession
from drivers.listening import Listened, Occurrence
from tests.shipped import LIBRARY

PROFILE = LIBRARY.get("hikvision-push")
CARD = (
    b'{"dateTime":"2026-11-22T21:47:25+08:00","eventType":"AccessControllerEvent","AccessControllerEvent":'
    b'{"majorEventType":5,"subEventType":1,"cardNo":"1234567","serialNo":7}}'
)
FORM = {"Content-Type": "multipart/form-data; boundary=MIME_boundary"}


def form(body: bytes) -> bytes:
    """As terminals push: the event, then its picture."""
    return (
        b'--MIME_boundary\r\nContent-Disposition: form-data; name="event_log"\r\nContent-Type: application/json\r\n\r\n'
        + body + b'\r\n--MIME_boundary\r\nContent-Disposition: form-data; name="Picture"; filename="p.jpg"\r\n'
        b"Content-Type: image/jpeg\r\nContent-Length: 3\r\n\r\n\xff\xd8\xff\r\n--MIME_boundary--\r\n"
    )  # fmt: skip


@asynccontextmanager
async def listening(tmp_path: Path, *, stores: bool = True) -> AsyncIterator[tuple[PushSession, str, list[Occurrence]]]:
    (tmp_path / "token").write_text("a-long-secret-1\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    link = LinkConfig("push", "http-listen", host="127.0.0.1", port=port, listen=ListenLink(allow=("127.0.0.1",)))
    got: list[Occurrence] = []
    async with IsapiDriver().open(link) as session:
        assert isinstance(session, PushSession)
        address = Address(1, "door-1", secret=Secret(file=str(tmp_path / "token")))
        await session.listen(Listened(address, PROFILE.events, PROFILE.credential))
        plain = Address("2", "door-2", at="127.0.0.1")
        await session.listen(Listened(plain, PROFILE.events, PROFILE.credential))

        async def store() -> None:
            async for turn in session.occurrences():
                got.extend(turn)
                if stores:
                    session.stored(turn)

        task = asyncio.create_task(store(), name="store")
        try:
            yield session, f"http://127.0.0.1:{port}", got
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def push(url: str, data: bytes, headers: dict[str, str] | None = None) -> int:
    async with aiohttp.ClientSession() as client, client.post(url, data=data, headers=headers) as answer:
        await answer.read()
        return answer.status


async def test_a_push_is_stored_and_then_answered(tmp_path: Path) -> None:
    async with listening(tmp_path) as (session, url, got):
        assert await push(f"{url}/isapi/a-long-secret-1", form(CARD), FORM) == 200
        assert await push(f"{url}/isapi/a-long-secret-1", CARD, {"Content-Type": "application/json"}) == 200
        assert await push(f"{url}/isapi/2", CARD) == 200
        key = "record:7:1795355245000"
        assert [(each.device, each.key) for each in got] == [("door-1", key), ("door-1", key), ("door-2", key)]
        assert {(each.name, each.index) for each in got} == {("access.granted", None)}, "retransmitted ones come late"
        assert got[0].clear["card"].text == "1234567"
        heartbeat = b'{"eventType":"heartBeat","eventState":"active","dateTime":"2026-11-22T21:47:25+08:00"}'
        assert await push(f"{url}/isapi/a-long-secret-1", heartbeat) == 200
        assert len(got) == 3
        assert session.dropped == 0


async def test_what_a_terminal_sends_anew_after_a_break_is_taken(tmp_path: Path) -> None:
    """Retransmitted records say that they are not current: there is no other way to them."""
    async with listening(tmp_path) as (_, url, got):
        late = CARD.replace(b'"serialNo":7', b'"serialNo":7,"currentEvent":false')
        assert await push(f"{url}/isapi/a-long-secret-1", form(late), FORM) == 200
        assert [(each.key, each.from_memory) for each in got] == [("record:7:1795355245000", True)]


async def test_the_secret_may_be_the_password_of_a_login(tmp_path: Path) -> None:
    async with listening(tmp_path) as (session, url, got):
        digest = aiohttp.DigestAuthMiddleware("plantroom", "a-long-secret-1")
        async with aiohttp.ClientSession(middlewares=(digest,)) as client:
            for _ in range(2):
                async with client.post(f"{url}/isapi/1", data=CARD) as answer:
                    assert answer.status == 200
        basic = {"Authorization": aiohttp.encode_basic_auth("any", "a-long-secret-1")}
        async with aiohttp.ClientSession(headers=basic) as client, client.post(f"{url}/isapi/1", data=CARD) as answer:
            assert answer.status == 200
        assert [each.device for each in got] == ["door-1"] * 3
        assert session.counts.errors == {}
        for wrong in ("wrong", ""):
            basic = {"Authorization": aiohttp.encode_basic_auth("any", wrong)}
            async with (
                aiohttp.ClientSession(headers=basic) as client,
                client.post(f"{url}/isapi/1", data=CARD) as answer,
            ):
                assert answer.status == 401
        assert session.counts.errors["wrong_secret"] == 2
        assert len(got) == 3


async def test_a_stranger_is_named_by_what_it_says_of_itself(tmp_path: Path) -> None:
    async with listening(tmp_path) as (session, url, _):
        own = CARD.replace(b'{"dateTime"', b'{"macAddress":"e0:ba:ad:00:00:01","dateTime"')
        assert await push(f"{url}/isapi/mistyped", form(own), FORM) == 404
        assert await push(f"{url}/isapi/mistyped", b"<nonsense") == 404
        assert [(each.who, each.peer) for each in session.counts.strangers] == [
            ("e0:ba:ad:00:00:01", "127.0.0.1"), ("(ISAPI)", "127.0.0.1"),
        ]  # fmt: skip


async def test_values_of_wrong_types_and_half_characters_cost_one_message(tmp_path: Path) -> None:
    bad = [
        CARD.replace(b'"eventType"', b'"channelID":[2],"eventType"'),
        CARD.replace(b'"1234567"', b'["1234567"]').replace(b'"serialNo":7', b'"serialNo":{"a":1}'),
        CARD.replace(b'"cardNo":"1234567"', b'"employeeNoString":"\\udfff"'),
        b'{"eventType":["a"],"eventState":{"b":2},"dateTime":5}',
    ]
    async with listening(tmp_path) as (session, url, got):
        for body in bad:
            assert await push(f"{url}/isapi/a-long-secret-1", body) == 200
        assert "handler_failed" not in session.counts.errors
        assert session.counts.errors["bad_message"] == 1
        for each in got:
            for clear in each.clear.values():
                clear.text.encode()


async def test_a_body_of_a_hundred_thousand_parts_costs_no_time(tmp_path: Path) -> None:
    async with listening(tmp_path) as (_, url, got):
        body = form(CARD).removesuffix(b"--MIME_boundary--\r\n") + b"--MIME_boundary\r\n\r\n{}\r\n" * 100_000
        before = time.process_time()
        assert await push(f"{url}/isapi/a-long-secret-1", body, FORM) == 200
        assert time.process_time() - before < 1.0
        assert len(got) == 1


async def test_what_is_not_stored_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.isapi.push._STORED_S", 0.05)
    async with listening(tmp_path, stores=False) as (_, url, got):
        assert await push(f"{url}/isapi/a-long-secret-1", CARD) == 503, "the terminal keeps it and says it again"
        assert len(got) == 1


async def test_strangers_and_nonsense(tmp_path: Path) -> None:
    async with listening(tmp_path) as (session, url, got):
        assert await push(f"{url}/isapi/wrong", CARD) == 404
        assert await push(f"{url}/isapi/1", CARD) == 401, "a unit is no secret where there is one"
        assert await push(f"{url}/else", CARD) == 404
        for body in (b"", b"\xff\x00", b"<!DOCTYPE a><a/>", b"{" * 5000, b"[]"):
            assert await push(f"{url}/isapi/a-long-secret-1", body) == 200, "said again it would be the same"
            assert await push(f"{url}/isapi/a-long-secret-1", body, FORM) == 200
        assert await push(f"{url}/isapi/a-long-secret-1", b"x" * (5 << 20)) == 413
        assert got == []
        assert session.counts.errors["bad_message"] >= 3


async def test_online_is_what_was_heard(tmp_path: Path) -> None:
    async with listening(tmp_path) as (session, url, _):
        [batch] = IsapiDriver().plan(PROFILE.points, Limits(), None, session.link)
        door = Address(1, "door-1")
        with pytest.raises(DeviceTimeout, match="nothing was heard of it"):
            await session.read(door, batch)
        await push(f"{url}/isapi/a-long-secret-1", CARD)
        assert await session.read(door, batch) == [True]
        session._silent_s = 0.0
        with pytest.raises(DeviceTimeout, match="not heard for"):
            await session.read(door, batch)
