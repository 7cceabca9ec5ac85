"""A simulated device with an HTTP interface on loopback: digest login as RFC 7616 has it, accounts that lock, and bad moods.

What it serves is its subclass's business. It shares no code with the drivers.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from base64 import b64encode
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from aiohttp import web
from multidict import CIMultiDict

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PARAMETER = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')
LOCK_AFTER = 5


class HttpHost:
    """Listens while it is entered. `mood`: "" answers, "silent" never does, "busy" says 503, "garbage" sends no HTTP."""

    realm = "plantroom-sim"

    def __init__(self, *, port: int = 0, user: str = "admin", password: str = "") -> None:
        self.port = port
        self.user = user
        self.password = password
        """"" asks for no login."""
        self.basic = False
        """Asks for basic authentication instead of digest."""
        self.challenges: tuple[str, ...] = ()
        """The headers of a refusal, `{realm}` and `{nonce}` filled in, instead of the usual one."""
        self.mood = ""
        self.seen: list[tuple[str, str]] = []
        """(method, path with query) of every request that was logged in."""
        self.refused_logins = 0
        """Wrong passwords; the account is locked after five."""
        self._nonce = secrets.token_hex(16)
        self._counts: set[tuple[str, str]] = set()
        self._runner: web.AppRunner | None = None
        self._closing = asyncio.Event()

    @property
    def url(self) -> str:
        """As a link of the agent names it."""
        return f"http://127.0.0.1:{self.port}"

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """What the device answers to a request that is logged in."""
        raise NotImplementedError

    def stale(self) -> None:
        """Nonces end, as they do every few minutes."""
        self._nonce = secrets.token_hex(16)
        self._counts.clear()

    async def __aenter__(self) -> Self:
        self._closing = asyncio.Event()
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.mood == "silent":
            await self._closing.wait()
        if self.mood == "busy":
            return web.Response(status=503, text="busy")
        if self.mood == "garbage":
            assert request.transport is not None
            request.transport.write(b"\x00\xffno http at all\r\n\r\n")
            request.transport.close()
            return web.Response()
        if self.password and not self._is_logged_in(request):
            usual = (
                'Basic realm="{realm}"'
                if self.basic
                else 'Digest realm="{realm}", qop="auth", nonce="{nonce}", algorithm=MD5'
            )
            headers = CIMultiDict[str]()
            for each in self.challenges or (usual,):
                headers.add("WWW-Authenticate", each.format(realm=self.realm, nonce=self._nonce))
            return web.Response(status=401, headers=headers, text="login")
        self.seen.append((request.method, request.path_qs))
        return await self.respond(request)

    def _is_logged_in(self, request: web.Request) -> bool:
        header = request.headers.get("Authorization", "")
        if self.refused_logins >= LOCK_AFTER:
            return False
        if self.basic:
            right = header == "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()
            self.refused_logins += bool(header) and not right
            return right
        if not header.startswith("Digest "):
            return False
        said = {key: quoted or plain for key, quoted, plain in _PARAMETER.findall(header)}
        if said.get("nonce") != self._nonce:
            return False  # an old nonce is no wrong password
        once = (said.get("nc", ""), said.get("cnonce", ""))
        right = (
            said.get("username") == self.user
            and said.get("uri") == request.path_qs
            and said.get("response") == self._response(request.method, said)
        )
        self.refused_logins += not right
        if not right or once in self._counts:
            return False
        self._counts.add(once)
        self.refused_logins = 0
        return True

    def _response(self, method: str, said: dict[str, str]) -> str:
        secret = _md5(f"{self.user}:{self.realm}:{self.password}")
        what = _md5(f"{method}:{said.get('uri')}")
        return _md5(f"{secret}:{self._nonce}:{said.get('nc')}:{said.get('cnonce')}:{said.get('qop')}:{what}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
