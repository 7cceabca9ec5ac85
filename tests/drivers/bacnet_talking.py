"""A BACnet client that talks to devices of `bacnet_device` on the loopback, and stations that are nobody's peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bacnet_device import Device, Wire, serving

from drivers.bacnet.client import BacnetClient, open_client
from drivers.base import BacnetLink, LinkConfig


def link(*peers: str, port: int = 0, host: str = "127.0.0.1", **more: object) -> LinkConfig:
    own = BacnetLink(peers=peers, **{"apdu_timeout_s": 0.1, "segment_timeout_s": 0.1, **more})  # type: ignore[arg-type]
    return LinkConfig("net-1", "bacnet", host=host, port=port, connect_timeout_s=0.1, bacnet=own)


@asynccontextmanager
async def talking(*devices: Device, **more: object) -> AsyncIterator[tuple[BacnetClient, Wire]]:
    async with serving(*devices) as wire, open_client(link(wire.place, **more)) as client:
        yield client, wire


async def until(condition: object, tries: int = 200) -> None:
    """Gives the loop turns until the condition holds."""
    for _ in range(tries):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came")


async def send(client: BacnetClient, *datagrams: bytes) -> None:
    """From a station that is nobody's peer."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("127.0.0.1", client.port))
    for datagram in datagrams:
        transport.sendto(datagram)
    transport.close()
