"""One host that is asked over HTTP: login, time limits, bounded answers, and errors of the house instead of aiohttp's.

It knows no device and no document. A login that was refused is not tried again for long: cameras lock an account after a handful
of wrong passwords. Nothing here logs, and the password is in no error and no trace.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import aiohttp
from yarl import URL

from device_profiles.errors import (
    ConfigError,
    DeviceError,
    DeviceMismatch,
    DeviceRefused,
    DeviceTimeout,
    LinkError,
    LinkLost,
    LinkRefused,
    LinkTimeout,
)
from device_profiles.secrets import Secret, secret_text

from .base import HttpLink, LinkConfig, Trace, WireCount
from .http_login import Lockout, challenge_of, challenges, stamp_of
from .http_tls import tls_context

MAX_BODY = 1 << 20
_STATUS = {
    400: "BadInvalidArgument", 401: "BadUserAccessDenied", 403: "BadUserAccessDenied", 404: "BadNodeIdUnknown",
    405: "BadNotSupported", 429: "BadTooManyOperations", 501: "BadNotSupported", 503: "BadTooManyOperations",
}  # fmt: skip
_PERSONAL = re.compile(
    r"((?:cardNo|card|employeeNoString|employeeNo|name|userName|uuid|licensePlate|originalLicensePlate|plate)[\"']?\s*[:=>]\s*[\"']?)"
    r"[^\"'<>,}&\s]+(?: [^\"'<>,}&]*)?",
    re.IGNORECASE,
)
"""What names a person or a vehicle in XML, JSON and forms: a trace shows that it was there."""
_SECRET = re.compile(
    r"(://)[^/\s\"'<>@]*@|(<(?:\w+:)?(?:Password|Nonce)\b[^>]*>)[^<]*"
    r"|(\b(?:password|passwd|pwd)[\\\"']*\s*[:=]\s*[\\\"']*)[^&\s\\\"'<>]*",
    re.IGNORECASE,
)
"""Passwords in addresses, SOAP headers, JSON and forms."""
_SHOWN = 2000
"""Bytes of a body that a trace shows."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that was read to its end. `status` is 200 to 299, where not any was asked for."""

    status: int
    content_type: str
    body: bytes
    is_logged_in: bool = False
    """The request carried a login of HTTP, accepted or not."""


class _Shown:
    """A response as aiohttp's digest login looks at it: with the one challenge that it is to answer. It reads only the first."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.status = response.status
        self.url = response.url
        own = challenge_of(response.headers.getall("WWW-Authenticate", []))
        self.headers = {"www-authenticate": own} if own else {}


class HttpClient:
    """One host. Made by `open_http`."""

    def __init__(
        self, link: LinkConfig, own: HttpLink, context: ssl.SSLContext | bool, lockout: Lockout, trace: Trace | None
    ) -> None:
        self.link = link
        self.counts = WireCount()
        self._own = own
        self._trace = trace
        self._lockout = lockout
        self._basic = ""
        """The header of a basic login, once the device asked for one within TLS."""
        self._base = URL.build(scheme="https" if own.tls else "http", host=link.host, port=link.port)
        self._stamp = stamp_of(own.password_file)
        self._password = secret_text(Secret(file=own.password_file)) if own.password_file else ""
        self._digest = self._new_digest()
        self._limit = asyncio.Semaphore(own.parallel)
        self._context = context
        self._session = self._make(aiohttp.TCPConnector(ssl=context, limit=own.parallel + 4, force_close=False))
        self._once = self._make(aiohttp.TCPConnector(ssl=context, limit=2, force_close=True))
        """A connection of its own for what must not be done twice: aiohttp repeats a PUT on a kept connection that had gone."""

    def _make(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            middlewares=(self._log_in,),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "plantroom", "Accept-Encoding": "identity"},
            max_line_size=8190,
            max_field_size=8190,
        )

    def _new_digest(self) -> aiohttp.DigestAuthMiddleware | None:
        try:
            return aiohttp.DigestAuthMiddleware(self._own.user, self._password) if self._own.user else None
        except ValueError as error:
            step = "give the user without a domain"
            raise ConfigError("a user with a colon cannot log in", where=self.link.id, next_step=step) from error

    async def _log_in(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._digest is None or self._basic:
            return await handler(request)

        async def ask(request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
            return _Shown(await handler(request))  # type: ignore[return-value]  # it looks at no more than is shown

        shown: Any = await self._digest(request, ask)
        response: aiohttp.ClientResponse = shown.response
        return response

    async def close(self) -> None:
        await self._session.close()
        await self._once.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "",
        limit: int = MAX_BODY,
        once: bool = False,
        where: str = "",
        waits_s: float = 0.0,
        any_status: bool = False,
    ) -> Reply:
        """Asks, and reads the answer. `once`: on a connection of its own, never repeated. `where` names the device in errors.
        `waits_s`: the device keeps its answer so long (a long poll), beside other requests. `any_status`: a status other than
        2xx is an answer like others: a SOAP fault, also one with 401, whose caller says what became of the login.

        Raises DeviceRefused for a status other than 2xx, DeviceTimeout, DeviceMismatch for what is no HTTP or
        too long; LinkError.
        """
        async with contextlib.nullcontext() if waits_s else self._limit:
            timeout = aiohttp.ClientTimeout(total=self.link.timeout_s + self.link.connect_timeout_s + waits_s)
            async with self._response(
                method, path, body, content_type, timeout, where, once=once, any_status=any_status
            ) as response:
                data = await _whole(response, limit, where or self.link.where)
                self._said("<", f"{response.status} {response.content_type}\n".encode() + data[:_SHOWN])
                self.counts.replies += 1
                self.counts.bytes_in += len(data)
                if not 200 <= response.status < 300 and not any_status:
                    raise _refused(response.status, method, path, where or self.link.where, data)
                is_logged_in = "Authorization" in response.request_info.headers
                return Reply(response.status, response.headers.get("Content-Type", ""), data, is_logged_in)

    @asynccontextmanager
    async def stream(
        self, path: str, *, idle_s: float, where: str = ""
    ) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """(content type, chunks) of an answer without an end. Raises as `request`; the chunks raise LinkLost at their end and
        DeviceTimeout after `idle_s` of silence.
        """
        timeout = aiohttp.ClientTimeout(total=None, connect=self.link.connect_timeout_s, sock_read=idle_s)
        async with self._response("GET", path, None, "", timeout, where) as response:
            if not 200 <= response.status < 300:
                data = await _whole(response, MAX_BODY, where or self.link.where)
                raise _refused(response.status, "GET", path, where or self.link.where, data)
            self._said("<", f"{response.status} {response.content_type}, a stream".encode())
            yield response.headers.get("Content-Type", ""), self._chunks(response, where or self.link.where)

    async def _chunks(self, response: aiohttp.ClientResponse, where: str) -> AsyncIterator[bytes]:
        async for chunk in response.content.iter_any():
            self.counts.bytes_in += len(chunk)
            self._said("<", b"%d bytes of the stream" % len(chunk))  # a piece may begin within a card's number
            yield chunk
        raise LinkLost("the device ended its stream", where=where)

    @asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        body: bytes | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
        where: str,
        *,
        once: bool = False,
        any_status: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        place = where or self.link.where
        self._refresh(place)
        url = self._base.join(URL(self._own.path + path, encoded=True))
        headers = {"Content-Type": content_type} if content_type else {}
        headers |= {"Authorization": self._basic} if self._basic else {}
        session = self._once if once else self._session
        self._said(">", f"{method} {self._own.path}{path}\n".encode() + (body or b"")[:_SHOWN])
        self.counts.requests += 1
        self.counts.bytes_out += len(body or b"")
        try:
            async with session.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status != 401 or any_status:
                    if "Authorization" in response.request_info.headers and response.status != 401:
                        self._lockout.accepted()
                    yield response
                    return
                self._check_login(response, place)
            self._basic = "Basic " + b64encode(f"{self._own.user}:{self._password}".encode()).decode()
            headers["Authorization"] = self._basic
            async with session.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status == 401:
                    self._basic = ""
                    self._refuse_login(place)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, aiohttp.SocketTimeoutError | TimeoutError) and not _is_connecting(error):
                self.counts.timeouts += 1
            raise mapped(error, place, self.link) from error

    def _refresh(self, place: str) -> None:
        """Keeps away from a device that refused the login, and takes up a password file that was changed."""
        if not self._own.user:
            return
        stamp = stamp_of(self._own.password_file)
        wait_s = self._lockout.remaining_s(stamp)
        if wait_s:
            raise _denied(
                f"the login of {self._own.user!r} was refused and is not tried for another {wait_s:.0f} s",
                place,
                f"correct the password in {self._own.password_file}: it is then tried at once",
            )
        if stamp != self._stamp:
            self._stamp = stamp
            self._password = secret_text(Secret(file=self._own.password_file))
            self._basic = ""
            self._digest = self._new_digest()

    def _check_login(self, response: aiohttp.ClientResponse, place: str) -> None:
        """Returns where basic authentication may be tried. Raises DeviceRefused."""
        if not self._own.user:
            step = "add http: {user: .., password_file: ..} to the link, or --user and --password-file"
            raise _denied("the device asks for a login", place, step)
        offered = challenges(response.headers.getall("WWW-Authenticate", []))
        digests = [each for each in offered if each.scheme == "digest"]
        if offered and not self._basic and not any(each.is_possible for each in digests):
            is_basic = any(each.scheme == "basic" for each in offered)
            if is_basic and self._own.tls:
                return
            names = ", ".join(dict.fromkeys(each.fields.get("algorithm", each.scheme)[:20] for each in offered))
            what = (
                "the device takes the password in clear only (basic authentication), and the link has no TLS"
                if is_basic and not digests
                else f"the device asks for a login that we cannot ({names})"
            )
            step = "switch the device to digest authentication (MD5 or SHA-256), or use https"
            raise _denied(what, place, step, "BadSecurityModeInsufficient")
        if any(each.is_possible and each.fields.get("stale", "").lower() == "true" for each in digests):
            raise _denied("the device's nonce ended under the request, twice", place, "", "BadCommunicationError")
        self._refuse_login(place)

    def _refuse_login(self, place: str) -> NoReturn:
        self._lockout.refused(self._stamp)
        raise _denied(
            f"the device refused the login of {self._own.user!r}; it is not tried for {self._lockout.pause_s:.0f} s, "
            "because devices lock accounts",
            place,
            f"correct user or password in {self._own.password_file}; it is then tried at once",
        )

    def _said(self, direction: str, data: bytes) -> None:
        if self._trace is not None:
            text = _SECRET.sub(r"\1\2\3(hidden)", data[:_SHOWN].decode("utf-8", "replace"))
            text = _PERSONAL.sub(r"\1(hidden)", text)
            self._trace(direction, text.encode()[:48], " ".join(text.split())[:300])


async def _whole(response: aiohttp.ClientResponse, limit: int, where: str) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > limit:
            raise DeviceMismatch(f"an answer of more than {limit} bytes", where=where)
    return bytes(data)


def _denied(what: str, where: str, next_step: str, status: str = "BadUserAccessDenied") -> DeviceRefused:
    return DeviceRefused(what, code=401, status=status, where=where, next_step=next_step)


def _refused(status: int, method: str, path: str, where: str, body: bytes) -> DeviceRefused:
    said = " ".join(body[:120].decode("utf-8", "replace").split())
    words = f": {said!r}" if said and said.isprintable() else ""
    step = "check its address and firmware: it has no such resource" if status == 404 else ""
    if 300 <= status < 400:
        step = "give the address that it points to; we do not follow"
    kind = _STATUS.get(status, "BadDeviceFailure" if status >= 500 else "BadCommunicationError")
    return DeviceRefused(
        f"HTTP {status} to {method} {path}{words}", code=status, status=kind, where=where, next_step=step
    )


def _is_connecting(error: BaseException) -> bool:
    return isinstance(error, aiohttp.ConnectionTimeoutError | aiohttp.ClientConnectorError)


def mapped(error: Exception, where: str, link: LinkConfig) -> LinkError | DeviceError:
    """The error of the house for one of aiohttp's."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        reason = getattr(error, "certificate_error", error)
        step = "give ca_file: the authority that signed the device's certificate, or that certificate"
        return LinkRefused(f"its TLS certificate is not accepted ({_words(reason)})", where=where, next_step=step)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        step = "check that this port speaks HTTPS, and which TLS versions the device knows"
        return LinkRefused(f"TLS does not begin ({_words(error)})", where=where, next_step=step)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return LinkTimeout(
            f"no connection within {link.connect_timeout_s:g} s", where=where, next_step="check host and port"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return LinkRefused(
            f"no connection ({_words(error.os_error)})", where=where, next_step="check host, port and cable"
        )
    if isinstance(error, TimeoutError):
        return DeviceTimeout(f"no answer within {link.timeout_s:g} s", where=where)
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | OSError):
        return LinkLost(f"the connection was closed ({_words(error)})", where=where)
    if isinstance(error, aiohttp.ClientPayloadError):
        return LinkLost("the answer ended before its end", where=where)
    return DeviceMismatch(f"what came is no HTTP that we take ({type(error).__name__})", where=where)


def _words(error: object) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


@asynccontextmanager
async def open_http(link: LinkConfig, lockout: Lockout, trace: Trace | None = None) -> AsyncIterator[HttpClient]:
    """A client of the link's host. Raises LinkRefused when nobody listens, LinkTimeout; ConfigError for a wrong link."""
    own = link.http
    if own is None:
        raise ConfigError(f"a {link.kind!r} link asks no host over HTTP", where=link.id, next_step="use kind: http")
    client = HttpClient(link, own, tls_context(link, own) if own.tls else False, lockout, trace)
    try:
        await _knock(link)
        yield client
    finally:
        await client.close()


async def _knock(link: LinkConfig) -> None:
    """A connection and nothing more: the link's own trouble is told when it is opened."""
    try:
        async with asyncio.timeout(link.connect_timeout_s):
            _, writer = await asyncio.open_connection(link.host, link.port)
    except TimeoutError as error:
        step = "check host and port"
        raise LinkTimeout(
            f"no connection within {link.connect_timeout_s:g} s", where=link.where, next_step=step
        ) from error
    except OSError as error:
        step = "check host, port and cable"
        raise LinkRefused(f"no connection ({_words(error)})", where=link.where, next_step=step) from error
    writer.close()
