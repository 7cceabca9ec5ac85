"""`plantroom scan bacnet`: devices that answer Who-Is, what they hold, one device in full, a profile proposed from it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from device_profiles.errors import ConfigError, DeviceTimeout
from edge_agent.cli.target import AsTrace, tracer

from .scan_bacnet_show import (
    as_ede,
    bar,
    found_objects,
    from_ede_rows,
    object_document,
    show_objects,
    show_stations,
    station_document,
)

if TYPE_CHECKING:
    from drivers.bacnet.client import BacnetClient
    from drivers.bacnet.discovery import ObjectCache, ObjectFacts, Station
    from drivers.base import LinkConfig, Trace

HIGHEST = 4_194_303


def bacnet(
    link: Annotated[
        str | None,
        typer.Option("--link", help="bacnet://192.168.1.10/24[:port][?bbmd=host:port&peers=host:port,host:port]"),
    ] = None,
    instances: Annotated[str | None, typer.Option("--range", help="Only these device instances, as 0-4194303.")] = None,
    network: Annotated[
        list[int] | None, typer.Option(help="Only this network; may be repeated.", min=1, max=65534)
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for I-Am.", min=0.1, max=120)] = 3.0,
    objects: Annotated[
        int | None, typer.Option(help="Show all objects of this device.", min=0, max=HIGHEST - 1)
    ] = None,
    schedules: Annotated[
        int | None, typer.Option(help="Show schedules and calendars of this device.", min=0, max=HIGHEST - 1)
    ] = None,
    propose: Annotated[
        int | None, typer.Option(help="Propose profiles for this device, to be accepted.", min=0, max=HIGHEST - 1)
    ] = None,
    ede: Annotated[Path | None, typer.Option(help="Write the objects as an EDE file too.")] = None,
    from_ede: Annotated[
        Path | None, typer.Option(help="Take the objects of --objects or --propose from an EDE file, without a link.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder where object lists are kept.")] = None,
    trace: AsTrace = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Find BACnet devices: who answers Who-Is, who they are and what they hold. Exit code 1 when none is found."""
    from drivers.base import parse_link

    if sum(one is not None for one in (objects, schedules, propose)) > 1:
        raise typer.BadParameter("give one of --objects, --schedules and --propose")
    if (link is None) == (from_ede is None):
        raise typer.BadParameter("give --link, or --from-ede")
    if from_ede is not None:
        _report_device(
            _planned(from_ede, objects if propose is None else propose), propose is not None, as_json=as_json
        )
        return
    assert link is not None
    config = parse_link(link, link_id=link.partition("?")[0])
    if config.kind != "bacnet":
        raise ConfigError(
            f"a {config.kind} link carries no BACnet", where=link, next_step="use bacnet://our-address/24"
        )
    low, high = range_of(instances)
    one = next((number for number in (objects, schedules, propose) if number is not None), None)
    seen = tracer(config) if trace else None
    try:
        if one is None:
            found = asyncio.run(_scan(config, low, high, network or (), wait, _folder(cache), ede, seen))
            _report(config, found, as_json=as_json)
        elif schedules is not None:
            print(
                json.dumps(
                    asyncio.run(_schedules(config, one, seen)), ensure_ascii=False, indent=None if as_json else 2
                )
            )
        else:
            _report_device(
                asyncio.run(_walk(config, one, _folder(cache), ede, seen)), propose is not None, as_json=as_json
            )
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def range_of(text: str | None) -> tuple[int | None, int | None]:
    """`100-199` or `505` as (low, high); (None, None) for all. Raises typer.BadParameter."""
    if text is None:
        return None, None
    low, dash, high = text.partition("-")
    if not low.strip().isdecimal() or (dash and not high.strip().isdecimal()):
        raise typer.BadParameter(f"--range {text!r} is no range; write 0-{HIGHEST}")
    first, last = int(low), int(high) if dash else int(low)
    if not 0 <= first <= last <= HIGHEST:
        raise typer.BadParameter(f"--range {text!r} is not within 0 to {HIGHEST}, the lower one first")
    return first, last


def _folder(given: Path | None) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return given if given is not None else Path(base) / "plantroom" / "bacnet"


async def _scan(
    config: LinkConfig,
    low: int | None,
    high: int | None,
    networks: Sequence[int],
    wait_s: float,
    folder: Path,
    ede: Path | None,
    trace: Trace | None,
) -> list[Station]:
    from drivers.bacnet.client import open_client
    from drivers.bacnet.discovery import ObjectCache, describe, find_stations

    async with open_client(config, trace) as client:
        with bar("waiting for I-Am") as progress:
            stations = await find_stations(
                client, low=low, high=high, networks=networks, wait_s=wait_s,
                heard=lambda count: progress(0, 0, f"{count} devices answered"),
            )  # fmt: skip
        cache = ObjectCache(folder)
        with bar("asking who they are") as progress:
            described = await describe(client, stations, cache=cache, progress=progress)
        if ede is not None:
            rows = []
            for station in described:
                if not station.problem and not station.is_duplicate:
                    rows += as_ede(station.peer.instance, await _objects(client, station, cache))
            _write_ede(ede, rows)
    return described


def _planned(path: Path, instance: int | None) -> tuple[Station, list[ObjectFacts]]:
    """A device of an EDE file, as if it had been asked. Raises ConfigError."""
    from drivers.bacnet.directory import Peer
    from drivers.bacnet.discovery import Station
    from drivers.bacnet.ede import read_ede

    file = read_ede(path)
    devices = sorted({one.device for one in file.objects})
    if instance is None and len(devices) == 1:
        [instance] = devices
    if instance not in devices:
        listed = ", ".join(map(str, devices[:12])) + (" ..." if len(devices) > 12 else "")
        what = "no device is named" if instance is None else f"no device {instance}"
        raise ConfigError(what, where=str(path), next_step=f"give --objects or --propose with one of {listed}")
    assert instance is not None
    return Station(Peer(instance, "")), from_ede_rows(file.of_device(instance))


async def _walk(
    config: LinkConfig, instance: int, folder: Path, ede: Path | None, trace: Trace | None
) -> tuple[Station, list[ObjectFacts]]:
    from drivers.bacnet.client import open_client
    from drivers.bacnet.discovery import ObjectCache, Station, describe

    async with open_client(config, trace) as client:
        peer = await client.resolve(instance)
        cache = ObjectCache(folder)
        [station] = await describe(client, [Station(peer)], with_counts=False)
        if station.problem:
            raise DeviceTimeout(
                station.problem,
                where=f"device {instance} at {peer.address}",
                next_step="check its network and try again",
            )
        found = await _objects(client, station, cache)
    if ede is not None:
        _write_ede(ede, as_ede(instance, found), station.facts.get("name", ""))
    return station, found


async def _objects(client: BacnetClient, station: Station, cache: ObjectCache) -> list[ObjectFacts]:
    from drivers.bacnet.discovery import object_list, walk

    facts = {"revision": station.revision, "identity": station.facts}
    with bar(f"device {station.peer.instance}: object list") as progress:
        there = await object_list(client, station.peer, facts, cache, progress)
    with bar(f"device {station.peer.instance}: objects") as progress:
        return await walk(client, station.peer, there, progress)


async def _schedules(config: LinkConfig, instance: int, trace: Trace | None) -> dict[str, Any]:
    from drivers.bacnet.calendar import read_schedules
    from drivers.bacnet.client import open_client

    async with open_client(config, trace) as client:
        return await read_schedules(client, await client.resolve(instance))


def _write_ede(path: Path, rows: Sequence[Any], project: str = "") -> None:
    from drivers.bacnet.ede import write_ede

    for written in write_ede(path, rows, project=project):
        print(f"plantroom scan: wrote {written}", file=sys.stderr)


def _report(config: LinkConfig, found: Sequence[Station], *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps({"link": config.place, "devices": [station_document(one) for one in found]}, ensure_ascii=False)
        )
    elif found:
        show_stations(found)
    if not found:
        print(f"plantroom scan: no device answered on {config.place}. {_hint(config)}", file=sys.stderr)
        raise typer.Exit(1)


def _hint(config: LinkConfig) -> str:
    """What to try next, from how the link is set up."""
    own = config.bacnet
    assert own is not None
    if own.bbmd is not None:
        return f"The BBMD {own.bbmd} registered us: check its broadcast distribution table, and --range and --network"
    if own.peers:
        return "Nor did the peers: check their addresses and ports, and a firewall that stops UDP"
    if "/" not in config.host and config.host != "0.0.0.0":
        return (
            "Give our address with its network, as bacnet://192.168.1.10/24, so that broadcasts go out; across routers add "
            "?bbmd=host:47808, or name devices with ?peers=host:47808"
        )
    return (
        "Broadcasts do not pass IP routers: across them add ?bbmd=host:47808, or name devices with ?peers=host:47808. "
        "Check the port (47808), --range, and a firewall that stops UDP"
    )


def _report_device(walked: tuple[Station, list[ObjectFacts]], is_proposal: bool, *, as_json: bool) -> None:
    station, found = walked
    if is_proposal:
        _propose(station, found)
    elif as_json:
        document = {
            "device": station_document(replace(station, counts={})),
            "objects": [object_document(one) for one in found],
        }
        print(json.dumps(document, ensure_ascii=False))
    else:
        show_objects(found)
    if not found:
        print(f"plantroom scan: device {station.peer.instance} lists no objects", file=sys.stderr)
        raise typer.Exit(1)


def _propose(station: Station, found: Sequence[ObjectFacts]) -> None:
    from device_profiles.propose import propose as proposal_of
    from device_profiles.propose_found import FoundDevice
    from device_profiles.propose_yaml import proposed_profiles

    facts = station.facts
    device = FoundDevice(
        id=str(station.peer.instance),
        name=facts.get("name", ""),
        vendor=facts.get("vendor", ""),
        model=facts.get("model", ""),
    )
    profiles = proposed_profiles(proposal_of(found_objects(found), device=device))
    print("\n---\n".join(profile.text for profile in profiles), end="")
    print(f"plantroom scan: {len(found)} objects, {len(profiles)} profiles proposed", file=sys.stderr)
