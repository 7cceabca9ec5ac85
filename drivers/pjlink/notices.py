"""What displays of class 2 tell by themselves: datagrams to a UDP port of ours, for as long as a session listens.

One socket a port, whatever the number of displays; a datagram counts for the session of the address that it came from. It may be
lost and anybody can send one: a hint between two polls, never instead of them. Source: JBMIA, PJLink Specifications class 2
version 2.1, section 3.3 (status notification: LKUP, ERST, POWR, INPT).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from drivers.base import LinkConfig
from drivers.link import refused_to_listen

Take = Callable[[bytes], None]
_MOST_BYTES = 512


@dataclass(slots=True)
class _Port(asyncio.DatagramProtocol):
    """One socket, and who wants to hear whom."""

    takers: dict[str, list[Take]] = field(default_factory=dict)
    transport: asyncio.DatagramTransport | None = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(data) <= _MOST_BYTES:
            for take in self.takers.get(addr[0], ()):
                take(data)

    def error_received(self, exc: Exception) -> None:
        """Nothing was sent."""


@dataclass(slots=True)
class Notices:
    """The sockets of a driver, by port."""

    _ports: dict[int, _Port] = field(default_factory=dict)

    async def listen(self, link: LinkConfig, take: Take) -> Callable[[], None]:
        """From now on `take` is given what the link's host sends; call what is returned to end it. Raises LinkRefused."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(link.connect_timeout_s):
                rows = await loop.getaddrinfo(link.host, None, family=socket.AF_INET, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError):
            rows = []  # who cannot be found is told when he is asked
        hosts = {str(row[4][0]) for row in rows}
        port = self._ports.get(link.notices)
        if port is None:
            port = self._ports[link.notices] = await self._open(link)
        for host in hosts:
            port.takers.setdefault(host, []).append(take)
        return lambda: self._end(link.notices, port, take)

    async def _open(self, link: LinkConfig) -> _Port:
        port = self._ports[link.notices] = _Port()  # at once: other displays want it meanwhile
        own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            own.setblocking(False)
            own.bind(("0.0.0.0", link.notices))
            port.transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: port, sock=own)
        except OSError as error:
            own.close()
            del self._ports[link.notices]
            raise refused_to_listen(replace(link, host="0.0.0.0", port=link.notices), error) from error
        return port

    def _end(self, number: int, port: _Port, take: Take) -> None:
        for host, takers in list(port.takers.items()):
            if take in takers:
                takers.remove(take)
            if not takers:
                del port.takers[host]
        if not port.takers and self._ports.get(number) is port:
            del self._ports[number]
            if port.transport is not None:
                port.transport.close()
