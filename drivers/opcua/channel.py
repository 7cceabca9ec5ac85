"""One connection to an OPC UA server: socket, secure channel and session, renewed before they end, watched while they last.

asyncua brings the handshake, the cryptography and every service that is not called thousands of times a second; its own client
reconnects, probes and logs in ways that would compete with the poller's, so only its single steps are used. What arrives is
bounded before it is believed: a chunk by its announced size, a message by chunks and bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from asyncua import Client, ua
from asyncua.client.ua_client import UaClient, UASocketProtocol
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.ua.ua_binary import nodeid_to_binary, uatcp_to_binary

from device_profiles.errors import DeviceMismatch, DeviceTimeout, LinkError, LinkLost, PlantroomError
from drivers.base import LinkConfig, Trace, WireCount

from . import binary
from .status import LIBRARY_ERRORS, Broken, failure, translated

MAX_CHUNK = 65_536
MAX_CHUNKS = 512
MAX_MESSAGE = 16 * 1024 * 1024
CHANNEL_LIFETIME_MS = 600_000
SESSION_TIMEOUT_MS = 60_000
_CLOSE_S = 1.0
_HEAD = 8
_KINDS = (b"ACK", b"ERR", b"OPN", b"MSG", b"CLO")

_Result = TypeVar("_Result")


class _Limits(TransportLimits):  # type: ignore[misc]
    """What we take stays as we said it; only what we send follows the server's acknowledgement."""

    def update_client_limits(self, msg: ua.Acknowledge) -> None:
        if msg.ReceiveBufferSize:
            self.max_send_buffer: int = min(self.max_send_buffer, msg.ReceiveBufferSize)


class _Connection(SecureConnection):  # type: ignore[misc]
    """Remembers why a chunk was not taken, which asyncua tells its log only."""

    trouble: Exception | None = None

    def receive_from_header_and_body(self, header: ua.Header, body: Any) -> Any:
        try:
            return super().receive_from_header_and_body(header, body)
        except LIBRARY_ERRORS as error:
            self.trouble = error
            raise


class _Traced:
    """A transport whose writes are shown."""

    def __init__(self, transport: Any, trace: Trace) -> None:
        self._transport, self._trace = transport, trace

    def write(self, data: bytes) -> None:
        self._trace(">", data, "")
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Protocol(UASocketProtocol):  # type: ignore[misc]
    """asyncua's, with whole chunks only, bounded before they are kept, and a request from bytes."""

    def __init__(self, timeout_s: float, policy: Any, counts: WireCount, trace: Trace | None) -> None:
        super().__init__(timeout_s, security_policy=policy)
        self._connection = _Connection(policy, _Limits(MAX_CHUNK, MAX_CHUNK, MAX_CHUNKS, MAX_MESSAGE))
        self._counts, self._trace = counts, trace
        self._buffer = bytearray()
        self.heard_at = time.monotonic()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Traced(transport, self._trace) if self._trace else transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc or self._connection.trouble)

    def data_received(self, data: bytes) -> None:
        self.heard_at = time.monotonic()
        self._counts.bytes_in += len(data)
        if self._trace:
            self._trace("<", data, "")
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _HEAD:
            kind, size = self._buffer[at : at + 3], int.from_bytes(self._buffer[at + 4 : at + 8], "little")
            if bytes(kind) not in _KINDS or not _HEAD <= size <= MAX_CHUNK:
                self._refuse(f"the server announced a chunk {bytes(kind)!r} of {size} bytes")
                return
            if len(self._buffer) - at < size:
                break
            self._process_received_data(bytes(self._buffer[at : at + size]))
            at += size
        del self._buffer[:at]

    def _refuse(self, why: str) -> None:
        self._buffer.clear()
        self._connection.trouble = Broken(why)
        self._fail_all_pending(self._connection.trouble)
        self.disconnect_socket()

    async def send_hello(self, url: str, max_messagesize: int = 0, max_chunkcount: int = 0) -> ua.Acknowledge:
        hello = ua.Hello(0, MAX_CHUNK, MAX_CHUNK, MAX_MESSAGE, MAX_CHUNKS, url)
        answer: asyncio.Future[ua.Acknowledge] = asyncio.get_running_loop().create_future()
        self._callbackmap[0] = answer
        if self.transport is None:
            raise ConnectionError("the server closed the connection at once")
        self.transport.write(uatcp_to_binary(ua.MessageType.Hello, hello))
        async with asyncio.timeout(self.timeout):
            return await answer

    def send(self, kind: int, token: bytes, timeout_s: float, parameters: bytes) -> asyncio.Future[Any]:
        """Sends a request that is encoded already. Raises ConnectionError."""
        if self.transport is None:
            raise ConnectionError("the connection is closed")
        self._request_id += 1
        self._request_handle += 1
        now_ms, timeout_ms = time.time_ns() // 1_000_000, int(timeout_s * 1000)
        body = binary.request(kind, token, now_ms, self._request_handle, timeout_ms, parameters)
        self.revolve_security_token()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._callbackmap[self._request_id] = answer
        message = self._connection.message_to_binary(body, request_id=self._request_id)
        self._counts.bytes_out += len(message)
        self.transport.write(message)
        return answer


class Transport(UaClient):  # type: ignore[misc]
    """asyncua's low-level client on our protocol."""

    def __init__(self, timeout_s: float, counts: WireCount, trace: Trace | None = None) -> None:
        super().__init__(timeout_s)
        self._counts, self._trace = counts, trace

    def _make_protocol(self) -> UASocketProtocol:
        protocol = _Protocol(self._timeout, self.security_policy, self._counts, self._trace)
        protocol.on_connection_lost = self._on_transport_lost
        protocol.is_session_closing = self._is_session_closing
        self.protocol = protocol
        return protocol


def client_of(link: LinkConfig, counts: WireCount, trace: Trace | None) -> Client:
    """asyncua's client of the endpoint, unconnected, with our transport and names."""
    assert link.opcua is not None
    logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)  # it logs tracebacks of what our errors say
    client = Client(link.place, timeout=link.timeout_s)
    client.uaclient = Transport(link.timeout_s, counts, trace)
    client.application_uri = link.opcua.application_uri
    client.product_uri = "urn:plantroom"
    client.name = client.description = "plantroom"
    client.secure_channel_timeout = CHANNEL_LIFETIME_MS
    client.session_timeout = SESSION_TIMEOUT_MS
    return client


def only(results: Any, where: str) -> Any:
    """The one result of a service that was asked for one thing. Raises DeviceMismatch."""
    if not isinstance(results, list) or len(results) != 1:
        step = "record the traffic with tshark and show it to the server's maker"
        raise DeviceMismatch("not one result for one request", where=where, next_step=step)
    return results[0]


class Channel:
    """An activated session. `lost` is set once, by whoever finds out first; `when_lost` is then called."""

    def __init__(self, link: LinkConfig, client: Client, counts: WireCount) -> None:
        self.link, self.counts = link, counts
        self.where = link.where
        self.lost: LinkError | None = None
        self.when_lost: list[Callable[[], None]] = []
        self._client = client
        self._token = nodeid_to_binary(client.uaclient.session.authentication_token)
        protocol = client.uaclient.protocol
        assert isinstance(protocol, _Protocol)
        self._protocol = protocol
        protocol.on_connection_lost = self._gone
        self._keeper = asyncio.create_task(self._keep(), name=f"opcua keep {link.id}")

    @property
    def heard_at(self) -> float:
        """Monotonic time of the last bytes of the server."""
        return self._protocol.heard_at

    def fail(self, error: LinkError) -> None:
        """The link is lost; everything that waits is told."""
        if self.lost is None:
            self.lost = error
            for tell in self.when_lost:
                tell()
            self._protocol._fail_all_pending(ConnectionError(error.what))
            self._protocol.disconnect_socket()

    def check(self) -> None:
        """Raises LinkError when the link is lost."""
        if self.lost is not None:
            raise type(self.lost)(self.lost.what, where=self.lost.where, next_step=self.lost.next_step)

    async def ask(self, kind: int, parameters: bytes, what: str, timeout_s: float | None = None) -> tuple[bytes, int]:
        """The body of the good answer and where its parameters begin. Raises DeviceError, LinkError."""
        self.check()
        self.counts.requests += 1
        limit_s = timeout_s or self.link.timeout_s
        try:
            async with asyncio.timeout(limit_s):
                body = bytes(await self._protocol.send(kind, self._token, limit_s, parameters))
            found = binary.response(body)
        except LIBRARY_ERRORS as error:
            raise self._failed(error, what) from error
        self.counts.replies += 1
        if found.status >> 30 >= 2 or found.kind == binary.SERVICE_FAULT:
            raise self._noted(failure(found.status or 0x8001_0000, self.where, what))
        return body, found.at

    async def service(self, what: str, call: Callable[..., Awaitable[_Result]], *arguments: Any) -> _Result:
        """One of asyncua's service calls: `call` is a method of UaSession. Raises DeviceError, LinkError."""
        self.check()
        self.counts.requests += 1
        try:
            async with asyncio.timeout(self.link.timeout_s):
                result = await call(self._client.uaclient.session, *arguments)
        except LIBRARY_ERRORS as error:
            raise self._failed(error, what) from error
        self.counts.replies += 1
        return result

    def _failed(self, error: BaseException, what: str) -> PlantroomError:
        if self.lost is not None:
            return self.lost
        trouble = self._protocol._connection.trouble
        if self._protocol.is_closed or trouble is not None:
            said = trouble or error
            return self._gone(said if isinstance(said, Exception) else None)
        return self._noted(translated(error, self.where, what))

    def _noted(self, error: PlantroomError) -> PlantroomError:
        """Counts an error; one of the session or channel ends the link."""
        self.counts.timeouts += isinstance(error, DeviceTimeout)
        name = getattr(error, "status", type(error).__name__)
        self.counts.errors[name] = self.counts.errors.get(name, 0) + 1
        if isinstance(error, LinkError):
            self.fail(error)
        return error

    def _gone(self, error: Exception | None) -> LinkError:
        said = f" ({str(error).splitlines()[0][:200]})" if error is not None and str(error) else ""
        step = "nothing to do: it is opened anew; see the server's log when it repeats"
        lost = LinkLost(f"the connection was closed{said}", where=self.where, next_step=step)
        self.fail(lost)
        return self.lost or lost

    async def _keep(self) -> None:
        """Renews the channel at 75 % of its lifetime (OPC 10000-4, 5.5.2) and keeps an idle session from timing out."""
        client = self._client
        renew_at = time.monotonic() + 0.75e-3 * client.secure_channel_timeout
        idle_s = client.session_timeout / 4000
        while True:
            now = time.monotonic()
            quiet_s = idle_s - (now - self.heard_at)
            await asyncio.sleep(max(0.01, min(renew_at - now, quiet_s)))
            try:
                if time.monotonic() >= renew_at:
                    async with asyncio.timeout(self.link.timeout_s):
                        await client.open_secure_channel(renew=True)
                    client.uaclient.revolve_security_token()
                    self.counts.errors["channel_renewed"] = self.counts.errors.get("channel_renewed", 0) + 1
                    renew_at = time.monotonic() + 0.75e-3 * client.secure_channel_timeout
                elif time.monotonic() - self.heard_at >= idle_s:
                    await self.ask(binary.READ_REQUEST, binary.read_parameters([b"\1\0\xd3\x08"]), "reading its state")
            except (*LIBRARY_ERRORS, PlantroomError) as error:
                why = f"the channel could not be kept ({str(error).splitlines()[0] if str(error) else 'no answer'})"
                self.fail(LinkLost(why, where=self.where, next_step="check the server; everything is opened anew"))
                return

    async def close(self) -> None:
        """Ends session and channel as well as they can be ended, within a second."""
        self._keeper.cancel()
        await asyncio.wait([self._keeper])
        if self.lost is None:
            with contextlib.suppress(*LIBRARY_ERRORS):
                async with asyncio.timeout(_CLOSE_S):
                    await self._client.uaclient.close_session(True)
                    await self._client.uaclient.close_secure_channel()
        self.fail(LinkLost("the link was closed", where=self.where))
        self._client.disconnect_socket()
