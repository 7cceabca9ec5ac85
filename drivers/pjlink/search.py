"""Finds displays of PJLink class 2: one question to a whole network, and who answers it. Believes no other datagram.

Source: JBMIA, PJLink Specifications class 2 version 2.1, section 3.2 (SRCH and ACKN, UDP 4352).
"""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass

from device_profiles.errors import LinkRefused

from .codec import trimmed

EVERYBODY, PORT = "255.255.255.255", 4352
_QUESTION = b"%2SRCH\r"
_TIMES = 3
"""Datagrams are lost; a display that was heard is not counted twice."""
_ANSWER = re.compile(rb"%2ACKN=((?:[0-9A-F]{2}:){5}[0-9A-F]{2})", re.IGNORECASE)
_MOST = 2000
"""Displays."""


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A display that answered: where from, and its hardware address in lower case."""

    host: str
    mac: str


def answer_of(data: bytes) -> str | None:
    """The hardware address in an answer; None for what is none."""
    match = _ANSWER.fullmatch(trimmed(data[:64].partition(b"\r")[0]))
    return None if match is None else match[1].decode().lower()


class _Listener(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.found: set[Found] = set()
        self.trouble: Exception | None = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        mac = answer_of(data)
        if mac is not None and len(self.found) < _MOST:
            self.found.add(Found(addr[0], mac))

    def error_received(self, exc: Exception) -> None:
        if not isinstance(exc, ConnectionRefusedError):  # nobody there: told by silence
            self.trouble = exc


async def search(
    *, within_s: float = 5.0, to: tuple[str, int] = (EVERYBODY, PORT), ours: tuple[str, int] = ("0.0.0.0", PORT)
) -> list[Found]:
    """Who answers within `within_s`, by address. `ours`: where answers come to; another port is taken where that one is in use,
    which displays that answer to 4352 whoever asks do not find. Raises LinkRefused where this machine may not send there.
    """
    transport, listener = await asyncio.get_running_loop().create_datagram_endpoint(_Listener, sock=_bound(ours))
    try:
        for _ in range(_TIMES):
            transport.sendto(_QUESTION, to)
            await asyncio.sleep(within_s / _TIMES)
    finally:
        transport.close()
    if not listener.found and listener.trouble is not None:
        raise _refused(to, listener.trouble) from listener.trouble
    return sorted(listener.found)


def _bound(ours: tuple[str, int]) -> socket.socket:
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        own.setblocking(False)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            own.bind(ours)
        except OSError:
            own.bind((ours[0], 0))
    except OSError as error:
        own.close()
        raise _refused(ours, error) from error
    return own


def _refused(at: tuple[str, int], error: Exception) -> LinkRefused:
    step = "give --to an address or the broadcast address of a network of this machine, as 10.1.2.255"
    what = f"nobody can be asked ({getattr(error, 'strerror', None) or error})"
    return LinkRefused(what, where=f"{at[0]}:{at[1]}", next_step=step)
