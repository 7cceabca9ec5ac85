"""HTTP controllers as they come: answers without an end, drips, redirects, wrong encodings, numbers that are none."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from device_profiles.control import Operation
from device_profiles.errors import DeviceError, DeviceMismatch, DeviceRefused, DeviceTimeout, LinkError
from device_profiles.reading import PointFault
from device_profiles.schema import Point
from drivers.base import Address, HttpLink, Limits, LinkConfig
from drivers.rest.driver import RestDriver, RestSession

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GATE = Address(1, "gate-1")
STATE = Point.model_validate({"id": "x_state", "get": "/state", "pick": "state", "type": "f64"})
OPEN = Operation(id="open", call={"post": "/gate", "body": {"do": "open"}})
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@asynccontextmanager
async def host(serve: Serve, timeout_s: float = 1.0, own: HttpLink | None = None) -> AsyncIterator[RestSession]:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(closing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = LinkConfig(
        "x", "http", host="127.0.0.1", port=port, timeout_s=timeout_s, connect_timeout_s=0.2, http=own or HttpLink()
    )
    try:
        async with RestDriver().open(link) as session:
            yield session
    finally:
        server.close()


def answers(*whole: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(65536):
            for part in whole:
                writer.write(part)
            await writer.drain()

    return serve


def with_length(body: bytes, kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind, len(body), body)


async def value(session: RestSession, point: Point = STATE) -> Any:
    [batch] = RestDriver().plan([point], Limits(), None, session.link)
    return (await session.read(GATE, batch))[0]


async def test_chunks_without_an_end_take_bounded_memory() -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read(65536)
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            await writer.drain()
            sent += 65536

    async with host(serve, timeout_s=10) as session:
        tracemalloc.start()
        with pytest.raises(DeviceMismatch, match="more than 1048576 bytes"):
            await value(session)
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
        tracemalloc.stop()
    assert sent < 24 << 20


@pytest.mark.parametrize("head", [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", HEAD + b"\r\n", b"HTTP/1.1 200 OK\r\n"])
async def test_drips_end_with_the_time_limit(head: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(head)
        while True:
            writer.write(b"1\r\n \r\n" if b"chunked" in head else b" " if b"Type" in head else b"X: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with host(serve, timeout_s=0.1) as session:
        async with asyncio.timeout(5):
            with pytest.raises((DeviceTimeout, DeviceMismatch)):
                await value(session)


async def test_provisional_answers_without_an_end() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.005)

    async with host(serve, timeout_s=0.1) as session, asyncio.timeout(5):
        with pytest.raises((DeviceError, LinkError)):
            await value(session)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nobody_follows_to_another_host(tmp_path: Path, status: int) -> None:
    thief: list[bytes] = []

    async def steal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        thief.append(await reader.read(65536))
        writer.close()

    other = await asyncio.start_server(steal, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    (tmp_path / "password").write_text("s3cret")
    own = HttpLink(user="admin", password_file=str(tmp_path / "password"))
    to = b"HTTP/1.1 %d Moved\r\nLocation: http://127.0.0.1:%d/state\r\nContent-Length: 0\r\n\r\n" % (status, port)
    async with host(answers(to), own=own) as session:
        found = await value(session)
        assert isinstance(found, PointFault)
        with pytest.raises(DeviceRefused, match="we do not follow"):
            await session.operate(GATE, OPEN, {}, None)
    other.close()
    assert thief == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"state": NaN}', b'{"state": Infinity}', b'{"state": -Infinity}', b'{"state": 1e999}', b'{"state": 1',
        b'{"state": ' + b"9" * 5000 + b"}", b'{"state": "\xff\xfe"}', b"[" * 5000, b'{"a":' * 100, b"\x1f\x8b\x08\x00",
        gzip.compress(b'{"state": 1}', mtime=0), b"<html><body>Login</body></html>", b"state=1", b"", b"null", b"\x00" * 100,
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"<state>" * 100, b'{"state": "NaN"}', b'{"state": "inf"}',
        b'{"state": {"deep": 1}}', b'{"state": []}', b'{"state": null}', b'{"state": true, "state": "x"}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [b"application/json", b"text/html; charset=nonsense"])
async def test_answers_that_say_nothing_are_no_value(body: bytes, kind: bytes) -> None:
    async with host(answers(with_length(body, kind))) as session:
        try:
            found = await value(session)
        except DeviceMismatch:
            return
        assert isinstance(found, PointFault)
        assert found.status.startswith("Bad")


async def test_json_under_a_wrong_name_is_json() -> None:
    for kind in (b"text/plain", b"text/html", b"application/octet-stream", b"", b"application/json; charset=utf-8"):
        async with host(answers(with_length(b' \r\n{"state": 2.5}', kind))) as session:
            assert await value(session) == 2.5
    async with host(answers(with_length(b'\xef\xbb\xbf{"state": "7"}'))) as session:
        assert await value(session) == 7.0


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"state": "开启"}'.encode("gbk"), b"application/json; charset=GBK"),
        ('{"state": "开启"}'.encode("gb18030"), b"text/html;charset=gb2312"),
        ('<?xml version="1.0" encoding="GB2312"?><state>开启</state>'.encode("gb2312"), b"text/xml"),
        ("<?xml version='1.0' encoding='gbk'?><state>开启</state>".encode("gbk"), b"application/xml; charset=gbk"),
        ('<?xml version="1.0" encoding="UTF-8"?><state>开启</state>'.encode(), b"text/xml"),
        (json.dumps({"state": "开启"}).encode(), b""),
    ],
)
async def test_answers_in_the_national_encoding(body: bytes, kind: bytes) -> None:
    point = Point.model_validate({"id": "x_state", "get": "/state", "pick": "state", "words": {"开启": 1, "关闭": 0}})
    async with host(answers(with_length(body, kind))) as session:
        assert await value(session, point) == 1


async def test_what_is_sent_once_is_sent_once() -> None:
    """A controller that closes the connection after it heard the order: nobody knows, and nobody says it again."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65536))

    async with host(serve) as session:
        with pytest.raises(LinkError):
            await session.operate(GATE, OPEN, {}, None)
        assert len([each for each in heard if each]) == 1
