"""Our UDP port on a BACnet/IP network: bound by us, never shared by accident, with a second socket for broadcasts on Linux.

Owns sockets only. Source: ANSI/ASHRAE 135-2020, annex J.2 (port 47808 unless agreed otherwise).
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Callable

from device_profiles.errors import ConfigError, LinkError, LinkRefused
from drivers.base import LinkConfig
from drivers.link import BACNET_PORT

_RECEIVE_BYTES = 4 << 20
"""What the kernel may hold while we are busy: a storm of I-Am or of notifications comes at once."""

_MOST_SOURCES = 4096

Received = Callable[[bytes, tuple[str, int]], None]


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, port: UdpPort) -> None:
        self._port = port

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._port.received(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._port.troubled(str(exc))

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.gone(str(exc) if exc else "the socket was closed")


class UdpPort:
    """The open port. `received` is called with each datagram and who sent it; `lost` says why nothing comes any more."""

    def __init__(self, link: LinkConfig, received: Received, on_lost: Callable[[], None]) -> None:
        self.link = link
        self.received = received
        self._on_lost = on_lost
        self.lost: str | None = None
        self.deaf = ""
        """Why broadcasts are not heard."""
        self._trouble = ("", -1e9)
        self._is_local: dict[str, bool] = {}
        self.broadcasts: tuple[tuple[str, int], ...] = ()
        """Where a local broadcast goes; none on a loopback address, where there are no broadcasts."""
        self.own: tuple[str, int] = ("", 0)
        self._transports: list[asyncio.DatagramTransport] = []

    async def open(self) -> None:
        """Binds. Raises LinkRefused, ConfigError."""
        host, broadcast = _addresses(self.link)
        bound = _socket((host, self.link.port), self.link)
        self.own = bound.getsockname()
        await self._listen(bound)
        if broadcast is None:
            return
        ports = (self.own[1],) if self.link.port == BACNET_PORT else (self.own[1], BACNET_PORT)
        self.broadcasts = tuple((broadcast, port) for port in ports)
        if host == "0.0.0.0":
            return
        for port in ports if os.name == "posix" else ():
            try:
                await self._listen(_socket((broadcast, port), self.link, is_shared=True))
            except LinkError as error:
                self.deaf = error.what  # another program has it for itself: directed answers still come

    async def _listen(self, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(self), sock=bound)
        self._transports.append(transport)

    def send(self, data: bytes, destination: tuple[str, int] | None) -> None:
        """Sends to a station, or by broadcast (None), where there are broadcasts."""
        if self.lost is not None:
            return
        for target in self.broadcasts if destination is None else (destination,):
            self._transports[0].sendto(data, target)

    def troubled(self, reason: str) -> None:
        """The network said something against sending, and not to whom."""
        self._trouble = (reason, asyncio.get_running_loop().time())

    def trouble(self, since: float) -> str:
        """What the network said last, if that was after this time of the loop; "" otherwise."""
        reason, at = self._trouble
        return reason if at >= since else ""

    def is_own(self, source: tuple[str, int]) -> bool:
        """True for what we sent ourselves: a broadcast comes back to its sender, from whichever address of ours it left by."""
        host, port = self.own
        if source[1] != port or host != "0.0.0.0":
            return source == self.own
        is_local = self._is_local.get(source[0])
        if is_local is None:
            if len(self._is_local) >= _MOST_SOURCES:
                self._is_local.clear()
            is_local = self._is_local[source[0]] = _can_bind(source[0])
        return is_local

    def gone(self, reason: str) -> None:
        """A socket ended."""
        if self.lost is None:
            self.lost = reason
            self._on_lost()

    def close(self) -> None:
        """Closes the sockets."""
        self.gone("the link was closed")
        for transport in self._transports:
            transport.close()


def _can_bind(host: str) -> bool:
    """True for an address of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _addresses(link: LinkConfig) -> tuple[str, str | None]:
    """Our own address and that of broadcasts. Raises ConfigError."""
    try:
        interface = ipaddress.IPv4Interface(link.host or "0.0.0.0")
    except ValueError as error:
        raise ConfigError(
            f"{link.host!r} is no address of ours ({error})", where=link.id, next_step="write it as 192.168.1.10/24"
        ) from error
    host = str(interface.ip)
    if interface.ip.is_loopback:
        return host, None
    if interface.ip.is_unspecified:
        return host, "255.255.255.255"
    return host, None if interface.network.prefixlen >= 31 else str(interface.network.broadcast_address)


def _socket(address: tuple[str, int], link: LinkConfig, *, is_shared: bool = False) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        if is_shared:
            for option in (
                "SO_REUSEADDR",
                "SO_REUSEPORT",
            ):  # the other program may have set either; broadcasts come to both
                if hasattr(socket, option):
                    bound.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        steps = {
            errno.EADDRINUSE: f"end the other BACnet program, or choose another port for this link, as {BACNET_PORT + 1}",
            errno.EADDRNOTAVAIL: "give the address of this machine on the BACnet network, as `ip addr` shows it",
            errno.EACCES: "use a port above 1023",
        }
        raise LinkRefused(
            f"UDP {address[0]}:{address[1]}: {error.strerror or error}",
            where=link.where,
            next_step=steps.get(error.errno or 0, "check the address and the network"),
        ) from error
    return bound
