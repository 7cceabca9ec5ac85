"""An HTTP server where devices dial in: who may, how much they may send, and how long they may take. Knows no device's protocol.

Protocols add routes. A handler answers once what it was brought is stored (drivers.handover), so that a device keeps what we do
not have. Source of the limits: FAULTS F37; an address is checked before a byte of a request is read.
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from aiohttp.http import HttpProcessingError

from device_profiles.errors import PlantroomError

from .accepting import Acceptor, Connection
from .admission import Admission
from .base import LinkConfig, Trace, WireCount

MAX_BODY = 1 << 20
HEAD_S = 10.0
"""A connection that has begun no whole request within this time is closed: slowloris, and idle ones."""
BODY_S = 20.0
ANSWER_S = 30.0
"""How long a handler may take. Longer than handlers wait for the disk: they answer themselves."""
MOST_HELD = 32 << 20
"""Bytes of bodies that are there at the same time, over all connections: who sends many at once gets no further than this."""
_IDLE_S = 75.0
_SLACK = 64 << 10
"""Bytes of head, and of what was sent ahead, beyond the body's limit."""
_SHOWN = 2000
_SECRETS = re.compile(r"(?i)\b([a-z]*(?:key|token|secret|password|pwd))=[^&]*")


@dataclass(frozen=True, slots=True)
class Visit:
    """A whole request of a peer that was let in."""

    host: str
    """Its address."""
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Any case of a name finds it."""
    body: bytes
    parts: Mapping[str, str]
    """Named groups of the route's pattern; `secret` is one that no trace shows."""
    target: str = ""
    """Path and query as they stand in the request line: digest authentication is over these."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    body: bytes = b""
    status: int = 200
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Visit], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    limit: int
    private: bool


class _HttpConnection(Connection):
    """Hands bytes to aiohttp, and ends a peer that takes too long over a request or sends far more than it may."""

    def __init__(self, host: str, inner: asyncio.Protocol) -> None:
        super().__init__(host)
        self._inner = inner
        self._timer: asyncio.TimerHandle | None = None
        self._room = MAX_BODY + _SLACK

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._inner.connection_made(transport)
        self._timer = asyncio.get_running_loop().call_later(HEAD_S, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self.head_is_here(0)
        self._inner.connection_lost(exc)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            self.abort()
            return
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def head_is_here(self, limit: int) -> None:
        """A request has begun; it may have a body of `limit` bytes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._room = max(self._room, limit + _SLACK)

    def answered(self) -> None:
        """Another request may follow, after a pause if it likes, but its head must come in one go."""
        self._room = MAX_BODY + _SLACK
        if self._timer is None and self.transport is not None and not self.transport.is_closing():
            self._timer = asyncio.get_running_loop().call_later(_IDLE_S, self.abort)


class _Complaints(logging.Handler):
    """What aiohttp logs of a request: one that is no HTTP is a peer's fault, anything else one of ours. Counted, a line a second,
    and never the request itself: it may have a secret in it.
    """

    def __init__(self, admission: Admission) -> None:
        super().__init__(logging.ERROR)
        self._admission = admission

    def emit(self, record: logging.LogRecord) -> None:
        host = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
        error = record.exc_info[1] if record.exc_info else None
        if error is None or isinstance(error, HttpProcessingError):
            self._admission.refuse("no_http", host)
            return
        at = traceback.extract_tb(error.__traceback__)[-1:]
        where = f" at {at[0].filename.rpartition('/')[2]}:{at[0].lineno}" if at else ""
        self._admission.refuse("handler_failed", host, f"{type(error).__name__}{where}")


class HttpListener:
    """The open server. Made by `open_listener`; routes are added before the first device comes, or at any time."""

    def __init__(self, link: LinkConfig, trace: Trace | None = None) -> None:
        self.link = link
        self.counts = WireCount()
        self.admission = Admission(link, self.counts)
        self._trace = trace
        self._routes: list[_Route] = []
        self._held = 0
        """Bytes of bodies that were read and not answered yet."""
        complaints = logging.Logger("aiohttp of a listener", logging.ERROR)
        complaints.addHandler(_Complaints(self.admission))
        self._server = web.Server(
            self._serve, access_log=None, logger=complaints, keepalive_timeout=_IDLE_S, lingering_time=1.0,
            auto_decompress=False, max_headers=64, tcp_keepalive=True,
        )  # fmt: skip
        self._acceptor = Acceptor(link, self.admission, self._connect)

    @property
    def own(self) -> tuple[str, int]:
        """Address and port where we listen."""
        return self._acceptor.own

    def add(self, method: str, pattern: str, handler: Handler, *, limit: int = MAX_BODY, private: bool = False) -> None:
        """A path (a regular expression of the whole of it; its named groups are `Visit.parts`), `*` for any method. `private`:
        its bodies have people in them, and no trace shows them.
        """
        self._routes.append(_Route(method, re.compile(pattern), handler, limit, private))

    def check(self) -> None:
        """Raises LinkLost when nobody is let in any more."""
        self._acceptor.check()

    async def open(self) -> None:
        """Raises LinkRefused, ConfigError."""
        await self._acceptor.open()

    async def close(self) -> None:
        await self._acceptor.close()
        await self._server.shutdown(1.0)

    def _connect(self, host: str) -> Connection:
        return _HttpConnection(host, self._server())

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = self._connection_of(request)
        host = connection.host if connection is not None else ""
        self.counts.requests += 1
        route, parts = self._route_of(request.method, request.path)
        if connection is not None:
            connection.head_is_here(route.limit if route else 0)
        try:
            if wait_s := self.admission.wait_s("request", host):  # a flood has the others' time, else
                await asyncio.sleep(wait_s)
            if route is None:
                self.admission.refuse("unknown_path", host)  # the path may be a secret with a slip in it
                return web.Response(status=404, text="not found")
            return await self._ask(route, parts, request, host)
        finally:
            if connection is not None:
                connection.answered()

    async def _ask(
        self, route: _Route, parts: Mapping[str, str], request: web.BaseRequest, host: str
    ) -> web.StreamResponse:
        found = bytearray()
        try:
            return await self._answer(route, parts, request, host, found)
        finally:
            self._held -= len(found)

    async def _answer(
        self, route: _Route, parts: Mapping[str, str], request: web.BaseRequest, host: str, found: bytearray
    ) -> web.StreamResponse:
        """Reads the body into `found`, and asks the handler."""
        try:
            async with asyncio.timeout(BODY_S):
                await self._read(request, route.limit, found)
        except TimeoutError:
            return self._no("slow_body", host, 408)
        except _TooMuch:
            return self._no("body_too_long", host, 413)
        except _NoRoom:
            return self._no("too_much_at_once", host, 503)
        except (web.RequestPayloadError, ConnectionError, ValueError):
            return self._no("bad_body", host, 400)
        body = bytes(found)
        self.counts.bytes_in += len(body)
        visit = Visit(
            host, request.method, request.path, dict(request.query), request.headers, body, parts, str(request.rel_url)
        )
        shown = b"(%d bytes)" % len(body) if route.private and body else body[:_SHOWN]
        self._said("<", f"{host} {request.method} {_masked(visit)}\n".encode() + shown)
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await route.handler(visit)
        except TimeoutError:
            return self._no("answer_too_late", host, 503)
        except PlantroomError as error:
            self.admission.refuse("refused", host, error.what[:120])
            return web.Response(status=503, text="try again later")
        self.counts.replies += 1
        self.counts.bytes_out += len(answer.body)
        self._said(">", f"{answer.status}\n".encode() + answer.body[:_SHOWN])
        headers = {**answer.headers, "Content-Type": answer.content_type}
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    async def _read(self, request: web.BaseRequest, limit: int, found: bytearray) -> None:
        if (request.content_length or 0) > limit:
            raise _TooMuch
        if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= aiohttp.HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # else some wait for it, a second or for ever
            request.writer.output_size = 0
        async for piece in request.content.iter_any():
            found += piece
            self._held += len(piece)
            if len(found) > limit:
                raise _TooMuch
            if self._held > MOST_HELD:
                raise _NoRoom

    def _no(self, why: str, host: str, status: int) -> web.StreamResponse:
        """A refusal, after which the connection is closed: what else stands in it is not read."""
        self.admission.refuse(why, host)
        response = web.Response(status=status)
        response.force_close()
        return response

    def _route_of(self, method: str, path: str) -> tuple[_Route | None, Mapping[str, str]]:
        for route in self._routes:
            match = route.pattern.fullmatch(path) if route.method in ("*", method) else None
            if match is not None:
                return route, match.groupdict(default="")
        return None, {}

    def _connection_of(self, request: web.BaseRequest) -> _HttpConnection | None:
        transport = request.transport
        protocol = None if transport is None else transport.get_protocol()
        return protocol if isinstance(protocol, _HttpConnection) else None

    def _said(self, direction: str, text: bytes) -> None:
        if self._trace is not None:
            self._trace(direction, text, "")


class _TooMuch(Exception):
    """The body is longer than its route takes."""


class _NoRoom(Exception):
    """Other bodies take all the room that there is."""


def _masked(visit: Visit) -> str:
    """The request's target without secrets."""
    text = _SECRETS.sub(r"\1=(hidden)", visit.target)
    return text.replace(visit.parts["secret"], "(hidden)") if visit.parts.get("secret") else text


@asynccontextmanager
async def open_listener(link: LinkConfig, trace: Trace | None = None) -> AsyncIterator[HttpListener]:
    """Listens, and ends at the end. Raises LinkRefused, ConfigError."""
    listener = HttpListener(link, trace)
    await listener.open()
    try:
        yield listener
    finally:
        await listener.close()
