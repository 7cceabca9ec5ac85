"""Reads agent.yaml: everything that is wrong is told at once, with file, line, observed value and a next step.

Composes the readers of the sections; each of those is pure but for the files that it names. Opens no link, no broker.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel

from device_profiles.findings import did_you_mean, shown
from device_profiles.library import Library
from device_profiles.problems import M, Problems
from device_profiles.yamlfile import Document, KeyPath, read_yaml
from drivers.base import Driver
from drivers.registry import DRIVERS, load_driver
from edge_agent.commands.policy import Policy
from edge_agent.config.commands import read_commands
from edge_agent.config.devices import MAX_DEVICES, DeviceReader
from edge_agent.config.links import Link, read_links, with_files
from edge_agent.config.privacy import read_privacy
from edge_agent.config.schema import (
    AgentEntry,
    AgentFile,
    CommandsEntry,
    DeviceEntry,
    MqttEntry,
    PrivacyEntry,
    VirtualEntry,
)
from edge_agent.config.virtual import PROTOCOL, read_virtual
from edge_agent.events.pseudonym import Privacy
from edge_agent.line_load import link_loads
from edge_agent.model import Config, Device, SpoolSettings
from gateway.mqtt_config import read_mqtt


def load_config(path: Path | str, *, profiles: Library | None = None) -> Config:
    """The configuration in a file. Raises ConfigError whose `problems` are all findings.

    `profiles` None takes the site's and the shipped profiles, and those in the folders that the file names.
    """
    path = Path(path)
    document = read_yaml(path, shown=path.name)
    return build_config(document, path.absolute().parent, profiles=profiles)


def build_config(document: Document, folder: Path, *, profiles: Library | None = None, strict: bool = False) -> Config:
    """The configuration in a document; relative paths in it begin at `folder`. Raises ConfigError.

    `strict` refuses secrets that others can read, which the agent itself only warns of.
    """
    problems = Problems(document, strict=strict)
    data = document.data
    for key in data.keys() - AgentFile.model_fields.keys():
        problems.add((key,), f"unknown key {shown(key)}", did_you_mean(key, AgentFile.model_fields))
    agent = _section(AgentEntry, data, "agent", problems)
    mqtt = _section(MqttEntry, data, "mqtt", problems)
    if agent is not None:
        _check_time_zone(agent.tz, problems)
    settings = read_mqtt(mqtt, folder, problems) if mqtt is not None else None
    commands = problems.parse(CommandsEntry, data.get("commands") or {}, ("commands",))
    policy = read_commands(commands, folder, problems) if commands is not None else Policy()
    links = read_links(data.get("links"), problems)
    folders = [folder / text for text in (agent.profiles if agent else ())]
    for index, profile_folder in enumerate(folders):
        if not profile_folder.is_dir():
            step = "make the folder, or remove it here"
            problems.add(("agent", "profiles", index), f"there is no folder {shown(str(profile_folder))}", step)
    library = profiles or Library.default(folders)
    places: dict[str, KeyPath] = {}
    tz = agent.tz if agent is not None else ""
    devices = _read_devices(data, links, library, folder, tz, places, problems)
    if not problems.count:
        _check_loads(links, devices, places, problems)
        _check_install(devices, places, problems)
    wanted = problems.parse(PrivacyEntry, data.get("privacy") or {}, ("privacy",))
    privacy = read_privacy(wanted, folder, devices, problems) if wanted is not None else Privacy()
    data_dir = folder / (agent.data_dir if agent is not None else "")
    wires = tuple(with_files(link, folder, data_dir, problems) for link in links.values())
    problems.raise_if_any()
    assert agent is not None
    assert mqtt is not None
    assert settings is not None
    if settings.password is not None and settings.username is None:
        settings = replace(settings, username=agent.id)
    return Config(
        agent=agent.id,
        site=agent.site,
        tz=agent.tz,
        name=agent.name or agent.site,
        building=agent.building,
        calendar={"holidays": agent.calendar.holidays, "workdays": agent.calendar.workdays},
        data_dir=data_dir,
        socket=folder / agent.socket,
        spool=SpoolSettings(
            path=data_dir / "spool.db",
            max_bytes=agent.spool.max_bytes,
            floor_free_bytes=agent.spool.floor_free_bytes,
            commit_ms=agent.spool.commit_ms,
            ballast_bytes=agent.spool.ballast,
        ),
        mqtt=settings,
        links=wires,
        devices=tuple(devices),
        snapshot_s=agent.snapshot_s,
        metrics_port=agent.metrics_port,
        delivery=mqtt.delivery,
        log_level=agent.log_level,
        commands=policy,
        privacy=privacy,
        warnings=problems.warnings,
    )


def load_drivers(devices: Iterable[Device]) -> dict[str, Driver]:
    """The drivers that these devices need, by protocol; no other is imported."""
    return {name: load_driver(name) for name in sorted({device.protocol for device in devices} - {PROTOCOL})}


def _section(model: type[M], data: Mapping[str, Any], name: str, problems: Problems) -> M | None:
    if data.get(name) is None:
        problems.add((name,), f"the section {name} is missing", f"add {name}: with {_required(model)}")
        return None
    return problems.parse(model, data[name], (name,))


def _required(model: type[BaseModel]) -> str:
    return ", ".join(name for name, field in model.model_fields.items() if field.is_required())


def _check_time_zone(name: str, problems: Problems) -> None:
    try:
        ZoneInfo(name)
    except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError; a path or a folder gives the others
        known = False
    except KeyError:
        known = False
    else:
        known = True
    if not known:
        step = did_you_mean(name, available_timezones(), otherwise="write it like Asia/Shanghai; there are")
        problems.add(("agent", "tz"), f"time zone {shown(name)} unknown", step)


def _read_devices(
    data: Mapping[str, Any],
    links: Mapping[str, Link],
    library: Library,
    folder: Path,
    tz: str,
    places: dict[str, KeyPath],
    problems: Problems,
) -> list[Device]:
    """The devices in the order of the file, virtual ones last. `places` takes where each polled one is written."""
    entries = data.get("devices")
    if not isinstance(entries, list):
        what = "the section devices is missing" if entries is None else f"devices is {shown(entries)}"
        problems.add(("devices",), what, "write a list, each device with a leading dash")
        return []
    if len(entries) > MAX_DEVICES:
        problems.add(("devices",), f"{len(entries)} devices are too many", "split them over several agents")
        return []
    written = data.get("links")
    reader = DeviceReader(
        links=links,
        known_links=tuple(key for key in written if isinstance(key, str)) if isinstance(written, Mapping) else (),
        library=library,
        protocols=tuple(DRIVERS),
        problems=problems,
        folder=folder,
        tz=tz,
    )
    before = problems.count
    polled: list[Device] = []
    virtual: list[tuple[KeyPath, VirtualEntry]] = []
    for index, raw in enumerate(entries):
        path: KeyPath = ("devices", index)
        if isinstance(raw, Mapping) and raw.get("protocol") == PROTOCOL:
            computed = problems.parse(VirtualEntry, raw, path)
            if computed is not None and reader.claim_id(computed.id, (*path, "id")):
                virtual.append((path, computed))
            continue
        entry = problems.parse(DeviceEntry, raw, path)
        if entry is not None:
            found = reader.read(entry, path)
            places.update((device.id, path) for device in found)
            polled += found
        elif isinstance(raw, Mapping):
            reader.glance(raw, path)
    return polled + read_virtual(virtual, polled, problems, complete=problems.count == before)


def _check_loads(
    links: Mapping[str, Link], devices: Sequence[Device], places: Mapping[str, KeyPath], problems: Problems
) -> None:
    """Refuses points that no read can bring, and what cannot fit on its line, with the arithmetic, unless the link says that
    it may."""
    wired = [device for device in devices if device.link]
    for load in link_loads([link.config for link in links.values()], wired, load_drivers(wired)):
        link = links[load.link.id]
        # The cycle of OSDP is the standard's, not the configuration's: there is nothing to poll slower.
        is_osdp = any(device.protocol == "osdp" for device in wired if device.link == load.link.id)
        remedy = "raise the baud rate or split the line" if is_osdp else "poll slower or raise the baud rate"
        for device_id, error in load.refused:
            problems.add(places[device_id], f"{device_id} {error.where}: {error.what}", error.next_step)
        if load.is_overloaded and not link.allow_overload:
            step = f"{remedy}, or set links.{load.link.id}.allow_overload: true"
            problems.add(link.path, f"{load.text()} ({load.arithmetic()})", step)
        elif load.is_overloaded:
            problems.warn(link.path, f"{load.text()}: readings will be late", remedy)
        elif load.is_tight:
            problems.warn(link.path, f"{load.text()}: little is left for dead devices", remedy)


def _check_install(devices: Sequence[Device], places: Mapping[str, KeyPath], problems: Problems) -> None:
    """Warns of readers that are spoken to with the key that everybody knows: a state for an hour, not for a site."""
    for device in devices:
        if device.protocol != "osdp" or device.options.get("install") != "true":
            continue
        path = (*places[device.id], "options", "install")
        if device.secret is None:
            step = "give the device a secret, or take install out"
            problems.add(path, f"{device.id} has no key that its reader could be given", step)
        else:
            problems.warn(
                path,
                f"{device.id} may be spoken to with the key that everybody knows",
                "give the reader its own key (keyset), then take install out",
            )


def default_path() -> Path:
    """Where the agent looks for its configuration when nobody says: PLANTROOM_CONFIG, or /etc/plantroom/agent.yaml."""
    return Path(os.environ.get("PLANTROOM_CONFIG") or "/etc/plantroom/agent.yaml")
