"""A BACnet device for tests that answers as it is told to, octet by octet, and a client beside it. Shares nothing with the driver
but the client under test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from drivers.bacnet.client import BacnetClient, open_client
from drivers.base import BacnetLink, LinkConfig

INSTANCE = 505
Answer = Callable[[bytes], bytes | None]


def object_id(kind: int, instance: int) -> bytes:
    """An object identifier."""
    return (kind << 22 | instance).to_bytes(4)


def simple_ack(request: bytes) -> bytes:
    """SimpleACK of a request."""
    return bytes((0x20, request[2], request[3]))


def error(request: bytes, error_class: int, code: int) -> bytes:
    """Error of a request."""
    return bytes((0x50, request[2], request[3], 0x91, error_class, 0x91, code))


def reject(request: bytes, reason: int) -> bytes:
    """Reject of a request."""
    return bytes((0x60, request[2], reason))


def abort(request: bytes, reason: int) -> bytes:
    """Abort of a request by the device."""
    return bytes((0x71, request[2], reason))


class ScriptedDevice(asyncio.DatagramProtocol):
    """Answers a confirmed request with what `answer` makes of its APDU; None keeps silent. Who-Is is answered by itself."""

    def __init__(self, answer: Answer, instance: int = INSTANCE) -> None:
        self.answer = answer
        self.instance = instance
        self.requests: list[bytes] = []
        self.acks: list[bytes] = []
        self.client: tuple[str, int] = ("", 0)
        self.is_silent = False
        self.heard = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.address: tuple[str, int] = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.client = addr
        at = 6 if not data[5] & 0x20 else 10 + data[8]
        apdu = data[at:]
        if self.is_silent or not apdu or data[5] & 0x80:
            return
        if apdu[0] == 0x10 and apdu[1] == 8:
            self.i_am()
        elif apdu[0] >> 4 == 0:
            self.requests.append(apdu)
            reply = self.answer(apdu)
            if reply is not None:
                self.send(reply)
        else:
            self.acks.append(apdu)
        self.heard.set()

    def i_am(self) -> None:
        """Says I-Am, to the client."""
        self.send(b"\x10\x00\xc4" + object_id(8, self.instance) + b"\x22\x05\xc4\x91\x03\x21\x0f")

    def send(self, apdu: bytes) -> None:
        """Sends an APDU to the client."""
        self.transport.sendto(  # type: ignore[attr-defined]
            b"\x81\x0a" + (len(apdu) + 6).to_bytes(2) + b"\x01\x00" + apdu, self.client
        )

    def of(self, service: int) -> list[bytes]:
        """The requests of one service."""
        return [request for request in self.requests if request[3] == service]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until something it heard makes the condition true."""
        async with asyncio.timeout(10):
            while not condition():
                self.heard.clear()
                await self.heard.wait()


def free_port() -> int:
    """A UDP port of the loopback that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def scripted(answer: Answer, timeout_s: float = 2.0) -> AsyncIterator[tuple[ScriptedDevice, BacnetClient]]:
    """The device and a client that knows where it is."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: ScriptedDevice(answer), local_addr=("127.0.0.1", 0)
    )
    peers = ("{}:{}".format(*protocol.address),)
    own = BacnetLink(apdu_timeout_s=timeout_s, peers=peers)
    link = LinkConfig("bms", "bacnet", host="127.0.0.1", port=free_port(), bacnet=own)
    try:
        async with open_client(link) as client:
            yield protocol, client
    finally:
        transport.close()
