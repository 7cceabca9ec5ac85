"""Devices dial in over HTTP: who is let in, what is refused before it costs anything, and secrets that show nowhere."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from device_profiles.errors import ConfigError, DeviceError, LinkRefused
from drivers import accepting, http_listener
from drivers.admission import Admission, host_of, plain
from drivers.base import Address, LinkConfig, ListenLink, WireCount
from drivers.http_listener import Answer, HttpListener, Visit, open_listener
from drivers.http_secrets import Digest, by_basic

pytestmark = pytest.mark.asyncio


def link(*allow: str, port: int = 0) -> LinkConfig:
    return LinkConfig(id="push", kind="http-listen", host="127.0.0.1", port=port, listen=ListenLink(allow=allow))


async def echo(visit: Visit) -> Answer:
    return Answer(visit.body or b"nothing")


@asynccontextmanager
async def listening(*allow: str) -> AsyncIterator[tuple[HttpListener, str]]:
    async with open_listener(link(*(allow or ("127.0.0.0/8",)))) as listener:
        listener.add("*", "/echo", echo, limit=100_000)
        yield listener, f"http://127.0.0.1:{listener.own[1]}"


async def raw(listener: HttpListener, *pieces: bytes) -> bytes:
    """What comes back for these bytes until the connection ends."""
    reader, writer = await asyncio.open_connection(*listener.own)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_request_is_handed_over_and_answered() -> None:
    async with listening() as (listener, url), aiohttp.ClientSession() as session:
        async with session.post(f"{url}/echo", data=b"hello") as response:
            assert (response.status, await response.read()) == (200, b"hello")
        async with session.get(f"{url}/elsewhere") as response:
            assert response.status == 404
        assert listener.counts.errors == {"unknown_path": 1}


async def test_an_address_that_is_not_on_the_list_is_not_read() -> None:
    async with listening("10.0.0.0/8") as (listener, _):
        assert await raw(listener, b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        assert listener.counts.errors == {"address_not_allowed": 1}
        assert listener.counts.requests == 0


async def test_without_a_list_the_devices_own_addresses_are_it() -> None:
    counts = WireCount()
    door = Admission(link(), counts)
    assert not door.admits("127.0.0.1")
    door.expect(Address("1", "door-1", at="127.0.0.1:60000"))
    assert door.admits("127.0.0.1")
    assert not door.admits("127.0.0.2")
    door.forget(Address("1", "door-1"))
    assert not door.admits("127.0.0.1")
    with pytest.raises(DeviceError, match="no IP address"):
        door.expect(Address("1", "door-1", at="door.local"))
    with pytest.raises(ConfigError, match="no network"):
        Admission(link("10.0.0.0/99"), counts)


async def test_addresses_in_all_their_forms() -> None:
    assert [host_of(at) for at in ("10.0.0.9", "10.0.0.9:80", "[fd00::9]:80", "fd00::9")] == [
        "10.0.0.9", "10.0.0.9", "fd00::9", "fd00::9",
    ]  # fmt: skip
    assert plain("::ffff:10.0.0.9") == "10.0.0.9"
    assert plain("fe80::1%eth0") == "fe80::1"


async def test_a_long_body_is_refused_by_its_announcement_and_by_its_bytes() -> None:
    async with listening() as (listener, _):
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
        assert b" 413 " in await raw(listener, head)
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await raw(listener, head, *([chunk] * 200))
        assert answer == b"" or b" 413 " in answer
        assert listener.counts.errors["body_too_long"] >= 1


async def test_many_long_bodies_at_once_take_no_more_than_the_room_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_listener, "MOST_HELD", 150_000)
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n"
    async with listening() as (listener, url):
        _, first = await asyncio.open_connection(*listener.own)
        first.write(head + b"a" * 80_000)  # and no more: it is held
        async with asyncio.timeout(10):
            while listener._held < 80_000:
                await asyncio.sleep(0.01)
        assert b" 503 " in await raw(listener, head + b"b" * 80_000)
        assert listener.counts.errors == {"too_much_at_once": 1}
        first.close()
        async with asyncio.timeout(10):
            while listener._held:
                await asyncio.sleep(0.01)
        async with aiohttp.ClientSession() as session, session.post(f"{url}/echo", data=b"c" * 90_000) as response:
            assert response.status == 200


async def test_who_waits_for_leave_to_send_its_body_gets_it() -> None:
    async with listening() as (listener, _):
        reader, writer = await asyncio.open_connection(*listener.own)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        async with asyncio.timeout(5):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"hello")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(5) == b"hello"
        writer.close()
        too_long = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\nExpect: 100-continue\r\n\r\n"
        assert (await raw(listener, too_long)).startswith(b"HTTP/1.1 413 "), "and is not let send what is not taken"


async def test_a_zip_bomb_stays_zipped() -> None:
    async with listening() as (listener, _):
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
        assert (await raw(listener, head, b"\x1f\x8b\x08\x00")).endswith(b"\x1f\x8b\x08\x00")


async def test_slow_heads_and_slow_bodies_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_listener, "HEAD_S", 0.1)
    monkeypatch.setattr(http_listener, "BODY_S", 0.1)
    async with listening() as (listener, _):
        assert await raw(listener, b"POST /ec") == b""
        assert b" 408 " in await raw(listener, b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12")
        assert listener.counts.errors == {"slow_body": 1}


async def test_many_headers_long_lines_and_noise_get_no_further() -> None:
    async with listening() as (listener, _):
        many = b"".join(b"X-%d: y\r\n" % n for n in range(1000))
        assert b" 400 " in await raw(listener, b"GET /echo HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n")
        assert b" 400 " in await raw(listener, b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 400 " in await raw(listener, bytes(range(256)) * 4 + b"\r\n\r\n")
        assert listener.counts.requests == 0


async def test_what_is_no_http_is_counted_and_said_once_a_second() -> None:
    async with listening() as (listener, _):
        with structlog.testing.capture_logs() as lines:
            for wrong in (b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n", b"Content-Length: -5\r\n\r\n",
                          b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"Content-Length: 1\r\n"
                          b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):  # fmt: skip
                answer = await raw(listener, b"POST /s3cret/echo HTTP/1.1\r\nHost: x\r\n" + wrong)
                assert b" 400 " in answer
        assert listener.counts.errors == {"no_http": 4}
        assert [line["event"] for line in lines] == ["no_http"]
        assert "s3cret" not in str(lines)


async def test_headers_without_an_end_are_cut_off() -> None:
    async with listening() as (listener, _):
        _, writer = await asyncio.open_connection(*listener.own)
        sent = 0
        with suppress(ConnectionError):
            writer.write(b"GET /echo HTTP/1.1\r\n")
            while sent < 10 << 20:
                writer.write(b"X-Y: z\r\n" * 1000)
                sent += 8000
                await writer.drain()
        writer.close()
        assert sent < 10 << 20


async def test_a_fault_of_ours_in_a_handler_is_said_and_the_listener_goes_on() -> None:
    async def breaks(visit: Visit) -> Answer:
        raise TypeError(visit.body.decode())

    async with listening() as (listener, url), aiohttp.ClientSession() as session:
        listener.add("POST", "/breaks", breaks)
        with structlog.testing.capture_logs() as lines:
            async with session.post(f"{url}/breaks", data=b"card 1234567") as response:
                assert response.status == 500
        (line,) = lines
        assert (line["event"], line["detail"].partition(" at ")[0]) == ("handler_failed", "TypeError")
        assert "1234567" not in str(lines)
        async with session.post(f"{url}/echo", data=b"hello") as response:
            assert response.status == 200


async def test_more_connections_than_are_taken_leave_it_listening() -> None:
    async with listening() as (listener, url):
        held = []
        for number in range(560):
            where = (f"127.0.{1 + number // 200}.{1 + number % 200}", 0)
            held.append(await asyncio.open_connection(*listener.own, local_addr=where))
        async with asyncio.timeout(10):
            while listener.counts.errors.get("too_many_connections", 0) < 560 - 512:
                await asyncio.sleep(0.01)
            for _, writer in held:
                writer.close()
            while listener._acceptor._open:
                await asyncio.sleep(0.01)
        async with aiohttp.ClientSession() as session, session.post(f"{url}/echo", data=b"hello") as response:
            assert response.status == 200


async def test_connections_of_one_address_are_counted() -> None:
    async with listening() as (listener, url):
        held = [await asyncio.open_connection(*listener.own) for _ in range(8)]
        assert await raw(listener, b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        assert listener.counts.errors == {"too_many_connections": 1}
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        async with aiohttp.ClientSession() as session:
            for _ in range(100):
                try:
                    async with session.get(f"{url}/echo") as response:
                        assert response.status == 200
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0)
            else:
                pytest.fail("nobody is let in any more")


async def test_a_handler_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_listener, "ANSWER_S", 0.05)

    async def hang(visit: Visit) -> Answer:
        await asyncio.Event().wait()
        return Answer()

    async with listening() as (listener, url), aiohttp.ClientSession() as session:
        listener.add("GET", "/hang", hang)
        async with session.get(f"{url}/hang") as response:
            assert response.status == 503


async def test_a_port_in_use_is_said() -> None:
    async with listening() as (listener, _):
        with pytest.raises(LinkRefused, match="cannot listen at 127"):
            async with open_listener(link(port=listener.own[1])):
                pass


async def test_closing_ends_open_connections() -> None:
    async with listening() as (listener, _):
        reader, writer = await asyncio.open_connection(*listener.own)
        await asyncio.sleep(0)
        writer.write(b"POST /echo HTTP/1.1\r\n")
    async with asyncio.timeout(5):
        with suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()


async def test_closing_ends_connections_that_are_just_being_taken() -> None:
    """A device whose connection was left open would wait for its answer as long as it likes, and keep its records."""
    for turns in range(6):
        with socket.socket() as client:
            client.settimeout(5)
            gc.disable()
            try:
                async with listening() as (listener, _):
                    client.connect(listener.own)
                    for _ in range(turns):
                        await asyncio.sleep(0)
                for _ in range(5):
                    await asyncio.sleep(0)
                with suppress(ConnectionError):
                    assert client.recv(1) == b"", f"after {turns} turns"
            finally:
                gc.enable()


async def test_a_broken_certificate_is_told(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("nothing")
    own = ListenLink(allow=("127.0.0.1",), certificate=str(tmp_path / "c.pem"))
    with pytest.raises(ConfigError, match="cannot be used"):
        accepting._tls(LinkConfig(id="push", kind="http-listen", host="127.0.0.1", listen=own))


def certificate(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 signed by itself, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gw-01")])
    made = datetime.now(UTC)
    own = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(made - timedelta(days=1)).not_valid_after(made + timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "own.pem").write_bytes(own.public_bytes(serialization.Encoding.PEM))
    (folder / "own.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "own.pem"), str(folder / "own.key")


async def test_tls_where_a_certificate_is_given(tmp_path: Path) -> None:
    own, key = certificate(tmp_path)
    listen = ListenLink(allow=("127.0.0.1",), certificate=own, key=key)
    where = LinkConfig(id="push", kind="http-listen", host="127.0.0.1", port=0, listen=listen)
    async with open_listener(where) as listener, aiohttp.ClientSession() as session:
        listener.add("POST", "/echo", echo)
        url = f"https://127.0.0.1:{listener.own[1]}/echo"
        async with session.post(url, data=b"hello", ssl=False) as response:
            assert await response.read() == b"hello"
        await raw(listener, b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            while "no_tls" not in listener.counts.errors:
                await asyncio.sleep(0.01)
        assert listener.counts.requests == 1


def visit(**headers: str) -> Visit:
    return Visit("10.0.0.9", "POST", "/in", {}, headers, b"", {}, "/in?sn=1")


async def test_basic_secrets_and_what_is_no_text() -> None:
    assert by_basic(visit(Authorization="Basic dXNlcjpzM2NyZXQ="), "s3cret")
    assert not by_basic(visit(Authorization="Basic dXNlcjpzM2NyZXQ="), "other")
    assert not by_basic(visit(Authorization="Basic ???"), "s3cret")
    assert not by_basic(visit(), "")
    assert not Digest().holds(
        visit(Authorization='Digest realm="plantroom", nonce="\udcff", response="\udcff"'), "s3cret"
    )


async def test_digest_is_good_for_its_address_path_and_time() -> None:
    now = [1000.0]
    digest = Digest(lambda: now[0])
    asked = digest.challenge(visit()).headers["WWW-Authenticate"]
    nonce = asked.partition('nonce="')[2].partition('"')[0]

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    response = md5(f"{md5('u:plantroom:s3cret')}:{nonce}:00000001:abc:auth:{md5('POST:/in?sn=1')}")
    text = (
        f'Digest username="u", realm="plantroom", nonce="{nonce}", uri="/in?sn=1", qop=auth, nc=00000001, '
        f'cnonce="abc", response="{response}", algorithm=MD5'
    )
    assert digest.holds(visit(Authorization=text), "s3cret")
    assert not digest.holds(visit(Authorization=text), "other")
    assert not digest.holds(visit(Authorization=text.replace("sn=1", "sn=2")), "s3cret")
    assert not Digest(lambda: now[0]).holds(visit(Authorization=text), "s3cret")
    now[0] += 301
    assert not digest.holds(visit(Authorization=text), "s3cret")


async def test_guessing_secrets_shuts_an_address_out_for_a_while() -> None:
    now = [0.0]
    door = Admission(link("10.0.0.0/8"), WireCount(), clock=lambda: now[0])
    for _ in range(20):
        assert door.admits("10.0.0.9")
        door.guessed("10.0.0.9")
    assert not door.admits("10.0.0.9")
    assert door.admits("10.0.0.8")
    now[0] = 61
    assert door.admits("10.0.0.9")


async def test_a_trace_shows_no_secret() -> None:
    seen: list[bytes] = []
    async with open_listener(link("127.0.0.1"), lambda way, frame, remark: seen.append(frame)) as listener:
        listener.add("GET", "/(?P<secret>[^/]+)/in", echo)
        url = f"http://127.0.0.1:{listener.own[1]}"
        async with aiohttp.ClientSession() as session, session.get(f"{url}/hunter2/in?PushCommKey=hunter3&sn=1") as got:
            assert got.status == 200
    assert b"sn=1" in seen[0]
    assert b"hunter" not in b"".join(seen)
