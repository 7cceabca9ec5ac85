"""The rest driver against a gate with a JSON controller: login, reading, operations with their effect, and bad answers."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from device_profiles.control import Operation
from device_profiles.errors import (
    ConfigError,
    DeviceError,
    DeviceMismatch,
    DeviceRefused,
    DeviceTimeout,
    LinkError,
    LinkLost,
    LinkRefused,
)
from device_profiles.reading import PointFault
from device_profiles.schema import Point
from drivers.base import Address, HttpLink, Limits, LinkConfig
from drivers.http_login import Lockout
from drivers.rest.driver import RestDriver, RestSession
from firmware_sim.http_host import HttpHost
from firmware_sim.rest_gate import RestGate
from tests.shipped import LIBRARY

PROFILE = LIBRARY.get("generic-rest-barrier")
GATE = Address(1, "gate-1")


def link_of(host: HttpHost, tmp_path: Path, password: str = "", **more: float) -> LinkConfig:
    file = tmp_path / "password"
    if password:
        file.write_text(password + "\n")
    own = HttpLink(user=host.user if password else "", password_file=str(file) if password else "")
    return LinkConfig(
        "gate", "http", host="127.0.0.1", port=host.port, http=own, **({"timeout_s": 2.0, "connect_timeout_s": 2.0} | more)
    )  # fmt: skip


@asynccontextmanager
async def session_of(host: HttpHost, tmp_path: Path, password: str = "", **more: float) -> AsyncIterator[RestSession]:
    async with RestDriver().open(link_of(host, tmp_path, password, **more)) as session:
        yield session


async def values(session: RestSession, *points: Point) -> dict[str, object]:
    found: dict[str, object] = {}
    for batch in RestDriver().plan(points or PROFILE.points, Limits(), None, session.link):
        found |= dict(zip(batch.points, await session.read(GATE, batch), strict=True))
    return found


def operation(name: str) -> Operation:
    return next(each for each in PROFILE.operations if each.id == name)


async def test_reads_state_counts_and_identity(tmp_path: Path) -> None:
    async with RestGate(password="s3cret", travel_s=0) as gate, session_of(gate, tmp_path, "s3cret") as session:
        gate.pass_through("in")
        gate.pass_through("out")
        assert await values(session) == {
            "gate_state": 0, "obstructed": False, "vehicle_present": False, "passes_in": 1.0, "passes_out": 1.0,
            "model_text": "SIM-barrier", "serial_text": "SIM0001", "firmware_text": "1.4.2",
        }  # fmt: skip
        assert len(gate.seen) == 2, "one request a resource"
        gate.stale()
        assert (await values(session))["gate_state"] == 0, "a nonce that is over is no wrong password"
        assert gate.refused_logins == 0


async def test_operations_show_their_effect(tmp_path: Path) -> None:
    async with RestGate(password="s3cret", travel_s=0.05) as gate, session_of(gate, tmp_path, "s3cret") as session:
        assert (await session.operate(GATE, operation("open"), {}, None))["readback"] in ("open", "opening")
        assert await session.operate(GATE, operation("hold"), {}, None) == {"readback": True}
        with pytest.raises(DeviceRefused, match=r"gate-1 .*: it answered .*refused"):
            await session.operate(GATE, operation("close"), {}, None)
        assert await session.operate(GATE, operation("release"), {}, None) == {"readback": False}
        assert (await session.operate(GATE, operation("close"), {}, None))["readback"] in ("closed", "closing")
        assert [path for method, path in gate.seen if method == "POST"] == ["/api/gate"] * 5, "each was sent once"


async def test_an_effect_that_does_not_show_is_said(tmp_path: Path) -> None:
    call = {"post": "/api/gate", "body": {"action": "open"}}
    check = {"get": "/api/status", "pick": "gate/held", "equals": True, "within": 0.01}
    wrong = Operation(id="x", call={**call, "check": check})
    async with RestGate() as gate, session_of(gate, tmp_path) as session:
        with pytest.raises(DeviceMismatch, match=r"its effect did not show within 0\.01 s"):
            await session.operate(GATE, wrong, {}, None)
        with pytest.raises(ConfigError, match="a call has one of get, put, post and delete"):
            await session.operate(GATE, Operation(id="x", call={"body": "1"}), {}, None)


async def test_inputs_are_quoted_for_where_they_stand(tmp_path: Path) -> None:
    class Echo(HttpHost):
        async def respond(self, request):  # type: ignore[no-untyped-def]
            from aiohttp import web

            return web.json_response({"path": request.raw_path, "body": (await request.read()).decode()})

    told = {"path": "path", "body": "body"}
    async with Echo() as host, session_of(host, tmp_path) as session:
        inputs = {"text": "a/b?<c>&", "seconds": 5}
        form = Operation(id="x", call={"put": "/say/{text}/{unit}", "body": "<a>{text}</a>", "answer": told})
        assert await session.operate(GATE, form, inputs, None) == {
            "path": "/say/a%2Fb%3F%3Cc%3E%26/1", "body": "<a>a/b?&lt;c&gt;&amp;</a>",
        }  # fmt: skip
        json_ = Operation(
            id="x", call={"post": "/x", "body": {"t": "{text}", "n": "{seconds}"}, "answer": {"b": "body"}}
        )
        assert await session.operate(GATE, json_, inputs, None) == {"b": '{"t": "a/b?<c>&", "n": 5}'}


async def test_a_refused_login_is_not_tried_again(tmp_path: Path) -> None:
    async with RestGate(password="right") as gate:
        driver, link = RestDriver(), link_of(gate, tmp_path, "wrong")
        [batch, *_] = driver.plan(PROFILE.points, Limits(), None, link)
        for _ in range(3):  # reconnecting does not try it again either
            async with driver.open(link) as session:
                for _ in range(5):
                    with pytest.raises(DeviceRefused, match="login") as caught:
                        await session.read(GATE, batch)
                    assert "wrong" not in str(caught.value)
                    assert caught.value.next_step.startswith("correct")
        assert gate.refused_logins == 1
        async with driver.open(link) as session:
            (tmp_path / "password").write_text("right, and it has another length\n")
            with pytest.raises(DeviceRefused):
                await session.read(GATE, batch)
            (tmp_path / "password").write_text("right\n")
            assert (await session.read(GATE, batch))[0] == 0, "a corrected password is tried at once"


def test_the_pause_grows_and_ends() -> None:
    now = 0.0
    lockout = Lockout(clock=lambda: now)
    assert lockout.remaining_s(None) == 0
    for wait in (300, 600, 1200, 2400, 3600, 3600):
        lockout.refused((1, 1))
        assert lockout.remaining_s((1, 1)) == wait
        now += wait
        assert lockout.remaining_s((1, 1)) == 0
    lockout.refused((1, 1))
    assert lockout.remaining_s((2, 1)) == 0, "another file"


async def test_basic_only_within_tls(tmp_path: Path) -> None:
    gate = RestGate(password="s3cret")
    gate.basic = True
    async with gate, session_of(gate, tmp_path, "s3cret") as session:
        with pytest.raises(DeviceRefused, match="in clear only"):
            await values(session)
        assert gate.seen == []
        assert gate.refused_logins == 0, "the password did not go out"


async def test_no_login_where_one_is_asked_for(tmp_path: Path) -> None:
    async with RestGate(password="s3cret") as gate, session_of(gate, tmp_path) as session:
        with pytest.raises(DeviceRefused, match=r"asks for a login.*password_file"):
            await values(session)


@pytest.mark.parametrize(
    ("mood", "error", "text"),
    [("silent", DeviceTimeout, "no answer within 0.1 s"), ("garbage", DeviceMismatch, "no HTTP")],
)
async def test_bad_moods(tmp_path: Path, mood: str, error: type[Exception], text: str) -> None:
    async with RestGate() as gate, session_of(gate, tmp_path, timeout_s=0.1, connect_timeout_s=0.1) as session:
        gate.mood = mood
        with pytest.raises(error, match=text):
            await values(session)
        gate.mood = ""
        assert (await values(session))["gate_state"] == 0


async def test_busy_is_a_fault_of_its_points(tmp_path: Path) -> None:
    async with RestGate() as gate, session_of(gate, tmp_path) as session:
        gate.mood = "busy"
        found = await values(session)
        assert {each.status for each in found.values() if isinstance(each, PointFault)} == {"BadTooManyOperations"}


async def test_nobody_listens(tmp_path: Path) -> None:
    async with RestGate() as gate:
        link = link_of(gate, tmp_path)
    with pytest.raises(LinkRefused, match="no connection"):
        async with RestDriver().open(link):
            pass
    with pytest.raises(ConfigError, match="asks no host"):
        async with RestDriver().open(replace(link, kind="tcp", http=None)):
            pass


async def test_bytes_that_are_no_http_or_too_many(tmp_path: Path) -> None:
    """Whatever a peer sends: an error of the house, in bounded memory."""
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"{" * 2_000_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\xfe\x00",
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/9.9 banana\r\n\r\n",
        b"",
    ]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(65536) and current:
            writer.write(current[0])
        writer.close()

    current: list[bytes] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    own = HttpLink()
    link = LinkConfig("x", "http", host="127.0.0.1", port=port, timeout_s=2, connect_timeout_s=2, http=own)
    try:
        async with RestDriver().open(link) as session:
            for answer in answers:
                current[:] = [answer]
                try:
                    found = await values(session)
                except (DeviceMismatch, DeviceRefused, LinkError):
                    continue
                assert all(isinstance(each, PointFault) for each in found.values())
            current[:] = [b""]
            with pytest.raises(LinkLost):
                await values(session)
    finally:
        server.close()


def kinds_of(of: type[BaseException]) -> list[type[BaseException]]:
    return [one for child in of.__subclasses__() for one in (child, *kinds_of(child))]


@pytest.mark.parametrize(
    "kind", [*kinds_of(aiohttp.ClientError), OSError, TimeoutError], ids=lambda kind: kind.__name__
)
async def test_every_error_of_aiohttp_becomes_one_of_ours(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = kind.__new__(kind)
    key = SimpleNamespace(host="h", port=1, ssl=True, is_ssl=True)
    own = {"_conn_key": key, "_os_error": OSError(113, "no route"), "_certificate_error": ValueError("expired")}
    for name, value in own.items():
        with contextlib.suppress(AttributeError):
            setattr(error, name, value)
    async with RestGate() as gate, session_of(gate, tmp_path) as session:

        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("aiohttp.ClientSession.request", fail)
        with pytest.raises((LinkError, DeviceError)) as caught:
            await values(session)
        assert str(caught.value)


async def test_what_is_posted_to_ask_and_to_look(tmp_path: Path) -> None:
    """As an Axis door controller has it: every question is a POST with a JSON body, and the door is its token."""

    class Door(HttpHost):
        mode = "Locked"

        async def respond(self, request):  # type: ignore[no-untyped-def]
            from aiohttp import web

            [(what, about)] = (await request.json()).items()
            if about != {"Token": "Axis-1:2.3"} or request.path != "/vapix/doorcontrol":
                return web.json_response({"Fault": "no such door"}, status=400)
            self.mode = {"tdc:AccessDoor": "Accessed", "tdc:LockDoor": "Locked", "tdc:UnlockDoor": "Unlocked"}.get(
                what, self.mode
            )
            state = {"DoorPhysicalState": "Closed", "Alarm": "Normal", "DoorMode": self.mode}
            return web.json_response({"DoorState": state} if what == "tdc:GetDoorState" else {})

    profile = LIBRARY.get("axis-a1001")
    device = Address("Axis-1:2.3", "door-1")
    async with Door() as door, session_of(door, tmp_path) as session:
        [batch] = RestDriver().plan(profile.points, Limits(), None, session.link)
        assert await session.read(device, batch) == [False, 1, False]
        shown = [
            (await session.operate(device, each, {}, None))["readback"]
            for each in profile.operations
        ]  # fmt: skip
        assert shown == ["Accessed", "Locked", "Unlocked"]
        assert len(await session.read(Address("other"), batch)) == 3


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head: list[bytes] = []
        while line := await reader.readline():
            head.append(line)
            if line == b"\r\n":
                login = b"Authorization: Basic YWRtaW46czNjcmV0\r\n" in head
                if asks and not login:
                    writer.write(b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n')
                    head.clear()
                    continue
                head.clear()
                body = b'{"model": "X"}'
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                    + body
                )
        writer.close()

    asks: list[bool] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    link = LinkConfig(
        "x", "http", host="127.0.0.1", port=port, timeout_s=2, connect_timeout_s=2, http=HttpLink(tls=True)
    )
    model = next(point for point in PROFILE.points if point.id == "model_text")
    try:
        async with RestDriver().open(link) as session:
            with pytest.raises(LinkRefused, match=r"certificate is not accepted.*ca_file"):
                await values(session, model)
        for own in (HttpLink(tls=True, verify=False), HttpLink(tls=True, ca_file=str(cert))):
            async with RestDriver().open(replace(link, http=own)) as session:
                assert await values(session, model) == {"model_text": "X"}
        asks.append(True)
        (tmp_path / "password").write_text("s3cret")
        own = HttpLink(tls=True, ca_file=str(cert), user="admin", password_file=str(tmp_path / "password"))
        async with RestDriver().open(replace(link, http=own)) as session:
            assert await values(session, model) == {"model_text": "X"}, "basic authentication within TLS"
        (tmp_path / "other.pem").write_text("none")
        with pytest.raises(ConfigError, match="no certificate in PEM"):
            async with RestDriver().open(replace(link, http=HttpLink(tls=True, ca_file=str(tmp_path / "other.pem")))):
                pass
    finally:
        server.close()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) of a device that made its own, for a name that is not its address."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "DS-2CD2146")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert, secret = folder / "device.pem", folder / "device.key"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert, secret
