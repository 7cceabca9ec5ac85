"""A client of the simulated BACnet devices for their own tests: sends requests over UDP and hands back the datagrams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from firmware_sim.bacnet import names, npdu, tags
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.models import load_model
from firmware_sim.bacnet.npdu import Udp

MONDAY_NOON = 1_795_420_800.0  # 2026-11-23T08:00:00Z: noon in a zone four hours ahead


class World:
    """The simulated clock, moved by hand."""

    def __init__(self, t: float = MONDAY_NOON) -> None:
        self.t = t

    def __call__(self) -> float:
        return self.t


def build(slug: str, now: Callable[[], float] | None = None, **keys: object) -> BacnetDevice:
    return BacnetDevice(load_model(slug), id=slug, now=now or World(), utc_offset_s=4 * 3600, **keys)  # type: ignore[arg-type]


def reading(key: int, prop: int, index: int | None = None) -> bytes:
    body = tags.context_object(0, key) + tags.context_unsigned(1, prop)
    return body if index is None else body + tags.context_unsigned(2, index)


def writing(key: int, value: bytes, priority: int | None = None, prop: int = names.PRESENT_VALUE) -> bytes:
    body = reading(key, prop) + tags.wrapped(3, value)
    return body if priority is None else body + tags.context_unsigned(4, priority)


def subscribing(key: int, *, confirmed: bool = False, lifetime: int = 60, process: int = 7) -> bytes:
    return (
        tags.context_unsigned(0, process) + tags.context_object(1, key) + tags.context_unsigned(2, int(confirmed))
        + tags.context_unsigned(3, lifetime)
    )  # fmt: skip


def value_of(apdu: bytes) -> tags.Value:
    """The one simple value of a ReadProperty acknowledgement."""
    assert apdu[0] == 0x30, apdu.hex()
    reader = tags.Reader(apdu[3:])
    reader.object(0), reader.unsigned(1), reader.optional(2)
    return tags.simple_value(tags.Reader(reader.inside(3)).take())


class Asker(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[bytes, Udp]] = asyncio.Queue()
        self.transport: asyncio.DatagramTransport
        self.invoke = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: Udp) -> None:
        self.heard.put_nowait((data, addr))

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1])

    def send(self, to: Udp, apdu: bytes, *, net: tuple[int, bytes] | None = None, function: int = npdu.UNICAST) -> None:
        self.transport.sendto(npdu.bvlc(function, npdu.npdu(apdu, to=net)), to)

    async def next(self, within_s: float = 5.0) -> npdu.Npdu:
        async with asyncio.timeout(within_s):
            data, _ = await self.heard.get()
        function, body = npdu.open_bvlc(data)
        return npdu.open_npdu(body[6:] if function == npdu.FORWARDED else body)

    async def ask(
        self,
        to: Udp,
        service: int,
        body: bytes,
        *,
        net: tuple[int, bytes] | None = None,
        head: int = 0,
        sizes: int = 0x05,
    ) -> bytes:
        """The answer's APDU. `head` 2: segmented answers are taken; `sizes`: segments and octets we take."""
        self.invoke = self.invoke + 1 & 0xFF
        self.send(to, bytes((head, sizes, self.invoke, service)) + body, net=net)
        return (await self.next()).payload

    async def whole(self, to: Udp, service: int, body: bytes, window: int = 4) -> bytes:
        """An answer that comes in segments of at most 480 octets, put together."""
        first = await self.ask(to, service, body, head=2, sizes=0x73)
        parts = [first]
        while parts[-1][0] & 4:
            number = parts[-1][2]
            if (len(parts) - 1) % window == 0:
                self.send(to, bytes((0x40, self.invoke, number, window)))
            parts.append((await self.next()).payload)
            assert parts[-1][2] == number + 1 & 0xFF
        self.send(to, bytes((0x40, self.invoke, parts[-1][2], window)))
        return b"".join(part[5:] for part in parts)


@asynccontextmanager
async def asker() -> AsyncIterator[Asker]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Asker, local_addr=("127.0.0.1", 0))
    try:
        yield protocol
    finally:
        transport.close()
