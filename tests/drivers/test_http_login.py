"""Logins of devices that are asked over HTTP: several challenges at once, nonces that end, users that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from device_profiles.errors import ConfigError, DeviceRefused
from drivers.base import HttpLink, LinkConfig
from drivers.http_client import open_http
from drivers.http_login import Lockout, challenge_of
from firmware_sim.http_host import HttpHost

BASIC = 'Basic realm="{realm}"'
MD5 = 'Digest realm="{realm}", qop="auth", nonce="{nonce}", algorithm=MD5'
SHA_512_256 = 'Digest realm="{realm}", qop="auth", nonce="{nonce}", algorithm=SHA-512-256'
BOTH_QOPS = 'Digest realm="{realm}", qop="auth,auth-int", nonce="{nonce}"'


class Hello(HttpHost):
    """Says hello to whoever is let in."""

    async def respond(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"body": (await request.read()).decode()})


def link_of(host: HttpHost, tmp_path: Path, password: str, user: str = "admin") -> LinkConfig:
    file = tmp_path / "password"
    file.write_text(password)
    own = HttpLink(user=user, password_file=str(file))
    return LinkConfig("x", "http", host="127.0.0.1", port=host.port, timeout_s=2, connect_timeout_s=2, http=own)


@pytest.mark.parametrize(
    "challenges",
    [
        (BASIC, MD5),
        (MD5, BASIC),
        (SHA_512_256, MD5),
        (BOTH_QOPS,),
        (f"{BASIC}, {MD5}",),
        ('NTLM', 'Negotiate', MD5),
        ('Digest realm="{realm}",nonce="{nonce}",qop="auth",stale=FALSE, Basic realm="Digest me, please"',),
    ],
)  # fmt: skip
async def test_the_digest_that_we_can_is_taken_wherever_it_stands(tmp_path: Path, challenges: tuple[str, ...]) -> None:
    host = Hello(password="s3cret")
    host.challenges = challenges
    async with host, open_http(link_of(host, tmp_path, "s3cret"), Lockout()) as client:
        for once in (False, True):
            reply = await client.request("PUT", "/door?x=%2F", body=b"open", once=once)
            assert reply.body == b'{"body": "open"}'
        assert len(host.seen) == 2, "each was done once"
        assert host.refused_logins == 0


def test_a_challenge_that_nobody_can_answer_is_none() -> None:
    assert challenge_of(["Basic realm=x", 'Digest realm="x", nonce="n", algorithm=SHA-512-256']) == ""
    assert challenge_of(['Digest realm="x", nonce="n", qop="auth-conf"']) == ""
    assert challenge_of(["", "Digest", "Digest ,,,=", ' "', "digest nonce"]) == ""
    assert challenge_of(['Digest realm="a, Digest b", nonce="n"']) == 'Digest realm="a, Digest b", nonce="n"'


async def test_a_login_that_we_cannot_is_no_wrong_password(tmp_path: Path) -> None:
    host = Hello(password="s3cret")
    host.challenges = (SHA_512_256,)
    async with host, open_http(link_of(host, tmp_path, "s3cret"), Lockout()) as client:
        for _ in range(2):
            with pytest.raises(DeviceRefused, match="SHA-512-256") as refused:
                await client.request("GET", "/")
            assert refused.value.status == "BadSecurityModeInsufficient"
        host.challenges = ()
        assert (await client.request("GET", "/")).status == 200


async def test_nonces_that_end_under_a_request_lock_nobody_out(tmp_path: Path) -> None:
    host = Hello(password="s3cret")
    host.challenges = (MD5 + ", stale=true",)
    async with host, open_http(link_of(host, tmp_path, "s3cret"), Lockout()) as client:
        assert (await client.request("GET", "/")).status == 200
        host.refused_logins = 99  # whatever comes now is refused as stale
        with pytest.raises(DeviceRefused, match="nonce"):
            await client.request("GET", "/")
        host.refused_logins = 0
        assert (await client.request("GET", "/")).status == 200, "the password was not the reason"


async def test_a_user_that_cannot_be_sent_is_said(tmp_path: Path) -> None:
    async with Hello(password="s3cret") as host:
        with pytest.raises(ConfigError, match="colon"):
            async with open_http(link_of(host, tmp_path, "s3cret", user="dom:admin"), Lockout()):
                pass


async def test_only_an_accepted_login_ends_the_growing_of_the_pause(tmp_path: Path) -> None:
    lockout = Lockout()
    host = Hello(password="s3cret")
    async with host, open_http(link_of(host, tmp_path, "s3cret"), lockout) as client:
        lockout.pause_s = 600.0
        host.password = ""
        lockout.until = 0.0
        lockout.password = client._stamp
        await client.request("GET", "/")
        assert lockout.pause_s == 600, "nobody asked for a login"
        host.password = "s3cret"
        await client.request("GET", "/")
        assert lockout.pause_s == 0


async def test_a_trace_shows_no_password(tmp_path: Path) -> None:
    seen: list[str] = []
    host = Hello(password="s3cret")
    said = [
        "<Uri>rtsp://admin:leaked@10.0.0.9/x?user=a&amp;password=leaked</Uri>",
        '<w:Password Type="x#PasswordDigest">leaked=</w:Password><w:Nonce E="b">leaked</w:Nonce>',
        '{"password": "leaked", "pwd":"leaked"}',
        "user=admin&pwd=leaked&x=1",
    ]
    async with (
        host,
        open_http(
            link_of(host, tmp_path, "s3cret"), Lockout(), lambda _, data, note: seen.append(f"{data!r} {note}")
        ) as client,
    ):
        for body in said:
            await client.request("PUT", "/", body=body.encode())
    assert sum("(hidden)" in each for each in seen) >= len(said)
    assert not any("leaked" in each or "s3cret" in each for each in seen)
