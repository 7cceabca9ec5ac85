"""The demo campus: what stands where, and the servers that make it reachable.

A fleet is a list of links, each with its devices; starting it opens ports and ptys and says where everything is. The
description is what `plantroom demo` writes its agent.yaml from.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firmware_sim.clock import Now, utc_offset_s, world_clock
from firmware_sim.device import Device
from firmware_sim.devices import build
from firmware_sim.line import SerialLine
from firmware_sim.tcp import Station, TcpServer
from firmware_sim.wire import Wire

if TYPE_CHECKING:
    from firmware_sim.bacnet.device import BacnetDevice
    from firmware_sim.bacnet.places import BacnetSide
    from firmware_sim.bacnet.server import BacnetServer


@dataclass(frozen=True, slots=True)
class Placed:
    """A device on a link. `profile` defaults to the model's slug."""

    id: str
    model: str
    unit: int = 1
    name: str = ""
    space: str = ""
    prefix: str = ""
    """What the names of a BACnet device's objects begin with; "" = as its make has it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A link and its devices. `kind`: tcp (one device, or several behind a gateway), rtu+tcp (serial server), serial (pty),
    bacnet (each device at a UDP port of its own), bacnet-router (all behind one router). The unit of a BACnet device is its
    instance.
    """

    id: str
    kind: str
    devices: tuple[Placed, ...]
    baud: int = 9600
    parity: str = "N"
    port: int = 0
    """TCP or UDP port of this machine; 0 takes a free one."""
    turnaround_s: tuple[float, float] = (0.02, 0.3)
    """Shortest and longest pause before an answer of a device on MS/TP."""


def _on_line(start: int, *rows: tuple[str, str, str, str]) -> tuple[Placed, ...]:
    return tuple(Placed(id, model, unit, name, space) for unit, (id, model, name, space) in enumerate(rows, start))


CAMPUS: tuple[Place, ...] = (
    Place("incomer", "tcp", (Placed("incomer-1", "schneider-pm5000", 1, "Incomer 1", "b1/f0/switchroom"),)),
    Place("chiller", "tcp", (Placed("chiller-1", "siemens-pac3200", 1, "Chiller 1", "b1/f0/plant"),)),
    Place("datacentre", "tcp", (Placed("datacentre-1", "janitza-umg96rm-e", 1, "Data centre", "b1/f1/dc"),)),
    Place(
        "board-2a", "tcp", (Placed("board-2a", "generic-branch-meter-24", 1, "Board 2A, 24 circuits", "b1/f2/riser"),)
    ),
    Place("pv", "tcp", (Placed("pv-1", "sunspec-inverter-three-phase", 1, "PV inverter, roof", "b1/roof"),)),
    Place("ahu", "tcp", (Placed("ahu-1-fan", "abb-acs580", 1, "AHU 1 supply fan", "b1/roof/ahu1"),)),
    Place(
        "gateway-1",
        "tcp",
        _on_line(
            1,
            ("tenant-1", "abb-b23", "Tenant 1", "b1/f3"),
            ("tenant-2", "carlo-gavazzi-em24", "Tenant 2", "b1/f3"),
            ("lifts", "socomec-diris", "Lifts", "b1/roof/lifts"),
            ("kitchen", "schneider-iem3000", "Kitchen", "b1/f0/kitchen"),
        ),
        baud=19_200,
        parity="E",
    ),
    Place(
        "rs485-1",
        "serial",
        _on_line(
            1,
            ("floor-1", "eastron-sdm630", "Floor 1 lighting and sockets", "b2/f1"),
            ("floor-2", "chint-dtsu666", "Floor 2 lighting and sockets", "b2/f2"),
            ("workshop", "acrel-dtsd1352", "Workshop (CT 200/5)", "b2/f0/workshop"),
            ("laundry", "acrel-adw300", "Laundry", "b2/f0/laundry"),
            ("carport", "deye-dtsd422", "Carport PV meter", "b2/carport"),
        ),
    ),
    Place(
        "rs485-2",
        "rtu+tcp",
        _on_line(
            1,
            ("room-301", "generic-air-quality", "Air quality, room 301", "b1/f3/r301"),
            ("room-302", "generic-air-quality", "Air quality, room 302", "b1/f3/r302"),
            ("relays-1", "waveshare-relay-8ch-d", "Relays and door contacts", "b1/f0/security"),
            ("pump-1", "danfoss-vlt-fc102", "Heating pump 1", "b1/f0/plant"),
        ),
    ),
)
"""Nineteen devices of eighteen makes on nine links: own ports, a gateway, an RS-485 line and a serial server."""

PLANT_ROOM: tuple[Place, ...] = (
    Place(
        "bacnet-1",
        "bacnet",
        (
            Placed("ahu-1", "bacnet-ahu", 1001, "AHU 1, offices", "b1/roof/ahu1"),
            Placed("chiller-plant-1", "bacnet-chiller-plant", 2001, "Chiller plant", "b1/f0/plant"),
            Placed("lift-bank-1", "bacnet-lift-bank", 3001, "Lifts 1 to 3", "b1/lifts"),
        ),
    ),
    Place(
        "bacnet-2",
        "bacnet-router",
        tuple(
            Placed(f"vav-3-{n:02}", "bacnet-vav", 4000 + n, f"VAV box 3-{n:02}", f"b1/f3/z{n:02}", f"VAV-3-{n:02}.")
            for n in range(1, 41)
        ),
        turnaround_s=(0.01, 0.04),
    ),
)
"""Air handler, chillers and lifts on one BACnet/IP network; forty VAV boxes on MS/TP behind a router."""


@dataclass(slots=True)
class Running:
    """A link of the fleet that is open: its url for `--link`, its devices by id."""

    place: Place
    url: str
    devices: dict[str, Device]
    server: TcpServer | None = None
    line: SerialLine | None = None
    bacnet: BacnetSide | None = None


@dataclass(slots=True)
class Fleet:
    """Devices that run. `async with Fleet(places) as fleet: fleet.describe()`."""

    places: Sequence[Place] = CAMPUS
    directory: Path | None = None
    """Where the symlinks to serial ports go; None: the pty's own path is told."""
    seed: int = 1
    speed: float = 1.0
    links: list[Running] = field(default_factory=list)

    async def start(self) -> None:
        """Raises OSError for a port that is taken or a path that cannot be made."""
        now, offset = world_clock(self.speed), utc_offset_s()
        try:
            for place in self.places:
                self.links.append(await self._open(place, now, offset))
        except OSError:  # a port or path is taken: what is already open goes
            await self.stop()
            raise

    async def stop(self) -> None:
        for link in reversed(self.links):
            if link.server is not None:
                await link.server.stop()
            if link.line is not None:
                await asyncio.to_thread(link.line.stop)
            if link.bacnet is not None:
                await link.bacnet.stop()
        self.links.clear()

    async def __aenter__(self) -> Fleet:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def device(self, device_id: str) -> tuple[Running, Device]:
        """Raises KeyError."""
        for link in self.links:
            if device_id in link.devices:
                return link, link.devices[device_id]
        raise KeyError(device_id)

    def bacnet_device(self, device_id: str) -> tuple[BacnetServer, BacnetDevice] | None:
        """A BACnet device and the server in front of it; None where no BACnet link has it."""
        for link in self.links:
            if link.bacnet is not None and device_id in link.bacnet.devices:
                device, server = link.bacnet.devices[device_id]
                return server, device
        return None

    async def _open(self, place: Place, now: Now, offset: float) -> Running:
        if place.kind.startswith("bacnet"):
            from firmware_sim.bacnet.places import open_bacnet

            side = await open_bacnet(place, seed=self.seed, now=now, utc_offset_s=offset)
            return Running(place, side.url, {}, bacnet=side)
        devices = {
            placed.id: build(
                placed.model,
                id=placed.id,
                unit=placed.unit,
                seed=zlib.crc32(f"{self.seed}/{placed.id}".encode()),
                now=now,
                utc_offset_s=offset,
            )
            for placed in place.devices
        }
        wire = Wire(place.baud, place.parity)
        if place.kind == "serial":
            link = self.directory / place.id if self.directory else None
            line = SerialLine(devices.values(), wire, link=link)
            line.start()
            url = f"serial:{link or line.path}?baud={place.baud}&parity={place.parity}"
            return Running(place, url, devices, line=line)
        rtu = place.kind == "rtu+tcp"
        alone = len(devices) == 1
        station = Station(
            devices.values(),
            any_unit=alone and not rtu,
            wire=wire if rtu or not alone else None,
            unknown=None if rtu else 0x0B,
        )
        server = TcpServer(station, port=place.port, rtu=rtu)
        await server.start()
        suffix = f"?baud={place.baud}&parity={place.parity}" if rtu else ""
        return Running(place, f"{place.kind}://{server.host}:{server.port}{suffix}", devices, server=server)

    def describe(self) -> dict[str, Any]:
        """Every device and where it is reached: `{"devices": [{"id","model","link","link_id","unit","name","space"}]}`."""
        return {
            "devices": [
                {
                    "id": placed.id,
                    "model": placed.model,
                    "link_id": link.place.id,
                    "link": link.url,
                    "unit": placed.unit,
                    "name": placed.name or placed.id,
                    "space": placed.space,
                }
                | ({"prefix": placed.prefix} if placed.prefix else {})
                for link in self.links
                for placed in link.place.devices
            ]
        }

    def write_description(self, path: Path) -> None:
        """The description as a file that is there whole or not at all."""
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(self.describe(), indent=1), encoding="utf-8")
        fresh.replace(path)

    def stats(self) -> Mapping[str, Any]:
        """Requests a device and what each serial line saw."""
        lines = {link.place.id: line_report(link.line) for link in self.links if link.line is not None}
        requests = {id: device.requests for link in self.links for id, device in link.devices.items()}
        for link in self.links:
            if link.bacnet is not None:
                requests |= {id: device.requests for id, (device, _) in link.bacnet.devices.items()}
        return {"requests": requests, "lines": lines}


def line_report(line: SerialLine) -> dict[str, Any]:
    """A line's figures; the shortest gap in character times."""
    stats = line.stats
    shortest = None if stats.shortest_gap_s is None else round(stats.shortest_gap_s / line.wire.char_s, 3)
    return {
        "baud": line.wire.baud,
        "requests": stats.requests,
        "replies": stats.replies,
        "bad_frames": stats.bad_frames,
        "collisions": stats.collisions,
        "shortest_gap_chars": shortest,
        "gap_chars_owed": round(line.wire.gap_s / line.wire.char_s, 3),
        "broken_gaps": stats.broken_gaps,
        "exchange_s": round(stats.exchange_s, 4),
        "bytes_in": stats.bytes_in,
        "bytes_out": stats.bytes_out,
    }
