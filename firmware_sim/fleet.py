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
from typing import Any

from firmware_sim.clock import Now, utc_offset_s, world_clock
from firmware_sim.device import Device
from firmware_sim.devices import load_model
from firmware_sim.line import SerialLine
from firmware_sim.tcp import Station, TcpServer
from firmware_sim.wire import Wire


@dataclass(frozen=True, slots=True)
class Placed:
    """A device on a link. `profile` defaults to the model's slug."""

    id: str
    model: str
    unit: int = 1
    name: str = ""
    space: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A link and its devices. `kind`: tcp (one device, or several behind a gateway), rtu+tcp (serial server), serial (pty)."""

    id: str
    kind: str
    devices: tuple[Placed, ...]
    baud: int = 9600
    parity: str = "N"


CAMPUS: tuple[Place, ...] = (
    Place("incomer", "tcp", (Placed("incomer-1", "eastron-sdm630", 1, "Incomer 1", "b1/f0/switchroom"),)),
    Place(
        "rs485-1",
        "serial",
        tuple(
            Placed(f"floor-{floor}", "eastron-sdm630", floor, f"Floor {floor} lighting", f"b1/f{floor}")
            for floor in range(1, 5)
        ),
    ),
)


@dataclass(slots=True)
class Running:
    """A link of the fleet that is open: its url for `--link`, its devices by id."""

    place: Place
    url: str
    devices: dict[str, Device]
    server: TcpServer | None = None
    line: SerialLine | None = None


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
        now, offset = world_clock(self.speed), utc_offset_s()
        for place in self.places:
            self.links.append(await self._open(place, now, offset))

    async def stop(self) -> None:
        for link in reversed(self.links):
            if link.server is not None:
                await link.server.stop()
            if link.line is not None:
                await asyncio.to_thread(link.line.stop)
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

    async def _open(self, place: Place, now: Now, offset: float) -> Running:
        devices = {
            placed.id: Device(
                load_model(placed.model),
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
        server = TcpServer(station, rtu=rtu)
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
