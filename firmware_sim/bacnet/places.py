"""BACnet links of a fleet: the servers behind one link, and the link's address for a configuration."""

from __future__ import annotations

import socket
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.models import load_model
from firmware_sim.bacnet.server import BacnetServer, Network
from firmware_sim.clock import Now

if TYPE_CHECKING:
    from firmware_sim.fleet import Place

MSTP_NETWORK, IP_NETWORK = 20, 30
"""Numbers of the networks behind a router: its MS/TP line, and devices on a faster one."""


@dataclass(slots=True)
class BacnetSide:
    """A BACnet link that is open."""

    url: str
    devices: dict[str, tuple[BacnetDevice, BacnetServer]]
    servers: list[BacnetServer]

    async def stop(self) -> None:
        for server in self.servers:
            await server.stop()


async def open_bacnet(place: Place, *, seed: int, now: Now, utc_offset_s: float) -> BacnetSide:
    """Kind `bacnet`: each device at a port of its own. Kind `bacnet-router`: all behind one router, MS/TP makes on one line.
    Raises OSError for a port that is taken.
    """
    built = {
        placed.id: BacnetDevice(
            load_model(placed.model),
            id=placed.id,
            instance=placed.unit,
            name=placed.id,
            prefix=placed.prefix or None,
            seed=zlib.crc32(f"{seed}/{placed.id}".encode()),
            now=now,
            utc_offset_s=utc_offset_s,
        )
        for placed in place.devices
    }
    if place.kind == "bacnet-router":
        servers = [BacnetServer(networks=_networks(built, place.turnaround_s), port=place.port)]
    else:
        servers = [BacnetServer(device, port=place.port if len(built) == 1 else 0) for device in built.values()]
    started: list[BacnetServer] = []
    try:
        for server in servers:
            await server.start()
            started.append(server)
    except OSError:
        for server in started:
            await server.stop()
        raise
    peers = ",".join(f"{server.host}:{server.port}" for server in servers)
    owners = servers * len(built) if place.kind == "bacnet-router" else servers
    devices = {id: (device, owner) for (id, device), owner in zip(built.items(), owners, strict=True)}
    return BacnetSide(f"bacnet://127.0.0.1:{_free_port()}?peers={peers}", devices, servers)


def _networks(devices: dict[str, BacnetDevice], turnaround_s: tuple[float, float]) -> list[Network]:
    """MAC addresses from 1 in the order of the devices."""
    slow = {bytes((mac,)): one for mac, one in enumerate(devices.values(), 1) if one.model.mstp}
    fast = {bytes((mac,)): one for mac, one in enumerate(devices.values(), 1) if not one.model.mstp}
    found = [Network(MSTP_NETWORK, slow, mstp=True, turnaround_s=turnaround_s)] if slow else []
    return [*found, Network(IP_NETWORK, fast)] if fast else found


def _free_port() -> int:
    """A UDP port for the one who reads: a client on a simulator's own port would talk to itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
