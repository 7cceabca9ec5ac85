"""One UDP socket of ours on a `udp` link: asks devices at their addresses or all at once, and hears what they send.

It knows no protocol. A datagram from an address that is not on the allow-list is counted and not looked at. Nothing is kept:
`received` is called with each datagram as it comes, and must not wait.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from device_profiles.errors import ConfigError, LinkLost

from .admission import Admission, plain
from .base import LinkConfig, Trace, WireCount
from .link import refused_to_listen

_RECEIVE_BYTES = 1 << 20
"""What the kernel may hold while we are busy."""

Received = Callable[[bytes, tuple[str, int]], None]


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, port: UdpPort) -> None:
        self._port = port

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._port.heard(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._port.admission.refuse("icmp", "", str(exc)[:80])  # "port unreachable" of one device: the others go on

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.lost = str(exc) if exc else "the socket was closed"


class UdpPort:
    """The open port. Made by `open_udp`."""

    def __init__(self, link: LinkConfig, received: Received, trace: Trace | None = None) -> None:
        self.link = link
        self.counts = WireCount()
        self.admission = Admission(link, self.counts)
        self.own: tuple[str, int] = (link.host, link.port)
        self.lost: str | None = None
        self._received = received
        self._trace = trace
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self) -> None:
        """Binds. Raises LinkRefused."""
        bound = _bound(self.link)
        self.own = bound.getsockname()[:2]
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Protocol(self), sock=bound
        )

    async def close(self) -> None:
        self.lost = self.lost or "it was closed"
        if self._transport is not None:
            self._transport.abort()

    def check(self) -> None:
        """Raises LinkLost when nothing is heard any more."""
        if self.lost is not None:
            raise LinkLost(self.lost, where=self.link.where, next_step="it is opened again by itself")

    def send(self, data: bytes, at: tuple[str, int]) -> None:
        """Sends a datagram. Raises LinkLost. That it does not arrive is told by nobody."""
        self.check()
        if self._transport is None:
            raise LinkLost("it is not open", where=self.link.where)
        self.counts.bytes_out += len(data)
        if self._trace is not None:
            self._trace(">", data, f"{at[0]}:{at[1]}")
        self._transport.sendto(data, at)

    def heard(self, data: bytes, peer: tuple[str, int]) -> None:
        """Takes a datagram from the socket."""
        host = plain(str(peer[0]))
        self.counts.bytes_in += len(data)
        if not self.admission.admits(host):
            self.admission.refuse("address_not_allowed", host)
            return
        if self._trace is not None:
            self._trace("<", data, f"{host}:{peer[1]}")
        self._received(data, (host, int(peer[1])))


def place_of(at: str, port: int, where: str) -> tuple[str, int]:
    """`host` or `host:port` as an address to send to. Raises ConfigError."""
    host, separator, number = at.rpartition(":") if at.count(":") == 1 else (at, "", "")
    if separator and not (number.isascii() and number.isdecimal() and 0 < int(number) < 65536):
        raise ConfigError(
            f"{at!r} has no port of 1 to 65535", where=where, next_step="write 10.0.0.9 or 10.0.0.9:60000"
        )
    return (host, int(number)) if separator else (at, port)


def _bound(link: LinkConfig) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in link.host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        bound.setblocking(False)
        bound.bind((link.host, link.port))
    except OSError as error:
        bound.close()
        raise refused_to_listen(link, error) from error
    return bound


@asynccontextmanager
async def open_udp(link: LinkConfig, received: Received, trace: Trace | None = None) -> AsyncIterator[UdpPort]:
    """Binds, and closes at the end. Raises LinkRefused, ConfigError."""
    port = UdpPort(link, received, trace)
    await port.open()
    try:
        yield port
    finally:
        await port.close()
