"""Devices of agent.yaml: names resolved, points final, instances told apart, no two at one address.

Linear in the number of devices: equal devices share one tuple of points, so 100,000 meters cost one profile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from device_profiles.errors import ProfileError
from device_profiles.findings import shown
from device_profiles.library import Library
from device_profiles.problems import Problems
from device_profiles.resolve import instance_id, needs_prefix, options_of, points_of, prefixed
from device_profiles.schema import Point, Profile
from device_profiles.secrets import Secret, read_secret
from device_profiles.yamlfile import KeyPath
from drivers.base import Limits, LineSettings
from drivers.link import CARRIERS, MIXABLE, UNSHARED
from edge_agent.config import dialling_in
from edge_agent.config.commands import narrowed
from edge_agent.config.links import Link
from edge_agent.config.points import planned
from edge_agent.config.schema import DeviceEntry, InstanceEntry, LimitsEntry
from edge_agent.config.units import wrong_unit
from edge_agent.model import Device
from gateway.contract.topics import is_id

_OSDP_KEY = re.compile(r"[0-9A-Fa-f]{32}")

MAX_DEVICES = 250_000
"""More is no site but a mistake in a generator."""


@dataclass(slots=True)
class DeviceReader:
    """Turns the entries of one file into devices; remembers what it has seen to find what is there twice."""

    links: Mapping[str, Link]
    known_links: Sequence[str]
    """Ids of all links that are written down, the wrong ones too: those have been told."""
    library: Library
    protocols: Sequence[str]
    problems: Problems
    folder: Path = Path()
    """Where relative paths of secrets begin."""
    tz: str = ""
    _protocols: dict[str, tuple[str, str]] = field(default_factory=dict)
    """(protocol, device) that each line has so far."""
    _ids: dict[str, str] = field(default_factory=dict)
    _addresses: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _profiles: dict[str, Profile | None] = field(default_factory=dict)
    _points: dict[Any, tuple[Point, ...]] = field(default_factory=dict)

    def claim_id(self, device_id: str, path: KeyPath, said: str = "device id") -> bool:
        """False, with the problem noted, when the id is taken."""
        taken_by = self._ids.setdefault(device_id, self._place(path))
        if taken_by == self._place(path):
            return True
        self.problems.add(path, f"{said} {shown(device_id)} is taken by {taken_by}", "give each device its own id")
        return False

    def _place(self, path: KeyPath) -> str:
        return f"devices[{path[1]}]" + (f".instances[{path[3]}]" if len(path) > 3 else "")

    def read(self, entry: DeviceEntry, path: KeyPath) -> list[Device]:
        """The device, or the head and its instances. Empty, with problems noted, when something is wrong."""
        before = self.problems.count
        self.claim_id(entry.id, (*path, "id"))
        link = self._link(entry.link, path)
        profile = self._profile(entry.profile, path)
        if link is not None and profile is not None and self._check_unit(entry, link, profile, path):
            self._check_address(entry, link, profile, path)
            self._check_line(entry, link, profile, path)
        if profile is None:
            return []
        self._check_prefix(entry, profile, path)
        self._check_names(entry, profile, path)
        params = self._params(entry, profile, path)
        if self.problems.count > before:
            return []
        options = options_of(profile, entry.options)
        device = Device(
            id=entry.id,
            name=entry.name or entry.id,
            link=entry.link,
            unit=entry.unit if entry.unit is not None else entry.prefix or 0,
            protocol=profile.protocol,
            profile=profile,
            points=self._resolved(entry, profile, options, None, path),
            cls=profile.class_,
            system=profile.system,
            space=entry.space,
            parent=entry.parent,
            asset=entry.asset,
            serial=entry.serial,
            codes=entry.codes,
            params=params,
            options=options,
            ext=entry.ext,
            limits=_limits(profile, entry.limits),
            disabled=entry.disabled,
            at=entry.at or "",
            secret=self._secret(entry, profile.protocol, path),
            direction=entry.dir,
            line=None if entry.line is None else LineSettings(**entry.line.model_dump()),
            tz=self.tz,
        )
        devices = [device] if device.points else []
        if profile.instances is not None:
            devices += self._instances(device, entry, path)
        if not devices:
            self.problems.add((*path, "points"), "no point of this device is left to read", "remove the device")
        return devices

    def glance(self, raw: Mapping[Any, Any], path: KeyPath) -> None:
        """Checks the names in an entry whose shape was refused, so that a person sees those findings in the same go."""
        device_id, link, profile = (raw.get(key) for key in ("id", "link", "profile"))
        if isinstance(device_id, str) and is_id(device_id):
            self.claim_id(device_id, (*path, "id"))
        if isinstance(link, str) and is_id(link):
            self._link(link, path)
        if isinstance(profile, str) and profile.isprintable():
            self._profile(profile, path)

    def _link(self, link_id: str, path: KeyPath) -> Link | None:
        link = self.links.get(link_id)
        if link is None and link_id not in self.known_links:
            self.problems.unknown((*path, "link"), "link", link_id, self.known_links)
        return link

    def _profile(self, profile_id: str, path: KeyPath) -> Profile | None:
        if profile_id not in self._profiles:
            self._profiles[profile_id] = None
            try:
                profile = self.library.get(profile_id)
            except ProfileError as error:
                if error.problems:
                    self.problems.adopt(error.problems)
                else:
                    where = f"{error.where}: " if error.where else ""
                    self.problems.add((*path, "profile"), f"{where}{error.what}", error.next_step)
                return None
            if profile.protocol not in self.protocols:
                self.problems.unknown((*path, "profile"), "its protocol", profile.protocol, self.protocols)
                return None
            self._profiles[profile_id] = profile
        return self._profiles[profile_id]  # None: said with the first device of this profile

    def _check_unit(self, entry: DeviceEntry, link: Link, profile: Profile, path: KeyPath) -> bool:
        carriers = CARRIERS.get(profile.protocol)
        if carriers is not None and link.config.kind not in carriers:
            what = f"{profile.profile} speaks {profile.protocol}, which a {link.config.kind} link does not carry"
            self.problems.add((*path, "link"), what, f"use a link of kind {' or '.join(carriers)}")
            return False
        found = wrong_unit(profile.protocol, entry.unit, link.config)
        if profile.strings is not None and profile.strings.has_unit and entry.unit is None:
            found = f"{profile.profile} tells its devices apart by unit", "add unit: the device's address on its line"
        if found is not None:
            self.problems.add((*path, "unit"), *found)
        if profile.protocol == "strings" and link.config.listen is not None and not entry.at:
            what = f"a device that speaks in strings on a {link.config.kind} link is told by its address"
            self.problems.add((*path, "at"), what, "add at: its IP address")
        else:
            self._check_admission(entry, link, profile, path)
        return found is None

    def _check_admission(self, entry: DeviceEntry, link: Link, profile: Profile, path: KeyPath) -> None:
        at, has_secret, config = entry.at or "", entry.secret is not None, link.config
        if (never := dialling_in.refused(profile.protocol, at, has_secret=has_secret, link=config)) is not None:
            self.problems.add((*path, never[0]), *never[1:])
        elif (others := dialling_in.open_to(profile.protocol, at, has_secret=has_secret, link=config)) is not None:
            self.problems.warn((*path, others[0]), *others[1:])

    def _check_line(self, entry: DeviceEntry, link: Link, profile: Profile, path: KeyPath) -> None:
        """A line has one protocol and one setting, unless it says that it is mixed."""
        config, protocol = link.config, profile.protocol
        if entry.line is not None and not (config.mixed and config.kind == "serial"):
            what = f"{config.id} is a {config.kind} link" + ("" if config.mixed else " that is not mixed")
            step = f"remove line, or set links.{config.id}.mixed: true on a serial port"
            self.problems.add((*path, "line"), f"{what}: its devices have no settings of their own", step)
        if not config.is_line:
            return
        first, other = self._protocols.setdefault(config.id, (protocol, entry.id))
        alone = next((one for one in (protocol, first) if one in UNSHARED), None)
        if alone is not None and (config.mixed or first != protocol):
            what = f"{alone} shares no line with other protocols: {UNSHARED[alone]}"
            self.problems.add((*path, "link"), what, f"give it a line of its own; {', '.join(MIXABLE)} can share one")
        elif not config.mixed and first != protocol:
            what = f"{profile.profile} speaks {protocol}, and {other} on {config.id} speaks {first}"
            step = f"set links.{config.id}.mixed: true if both are on one line, or use another link"
            self.problems.add((*path, "link"), what, step)

    def _check_address(self, entry: DeviceEntry, link: Link, profile: Profile, path: KeyPath) -> None:
        address = (*link.wire, profile.protocol if link.config.mixed else "", entry.unit, entry.prefix, entry.at)
        other = self._addresses.setdefault(address, entry.id)
        if other != entry.id:
            what = f"{entry.id} has the address of {other} ({link.config.place} unit {entry.unit})"
            self.problems.add((*path, "unit"), what, "give each device its own unit, or remove one")

    def _secret(self, entry: DeviceEntry, protocol: str, path: KeyPath) -> Secret | None:
        """Where the device's secret is, its file as a whole path; that it cannot be read, or can be no key, is noted."""
        secret = entry.secret
        if secret is None or (text := read_secret(secret, self.folder, (*path, "secret"), self.problems)) is None:
            return None
        if protocol == "osdp" and _OSDP_KEY.fullmatch(text.strip()) is None:
            are = f"{len(text)} characters" if len(text) != 32 else "32 characters, not all of them digits"
            what = f"a reader's key is 32 hexadecimal digits; this one is {are}"
            self.problems.add((*path, "secret"), what, "make one as with: openssl rand -hex 16")
        return secret if secret.file is None else Secret(file=str(self.folder / secret.file))

    def _check_prefix(self, entry: DeviceEntry, profile: Profile, path: KeyPath) -> None:
        if needs_prefix(profile) and entry.prefix is None:
            step = "add prefix: what the names of this device's objects or nodes begin with"
            self.problems.add((*path, "prefix"), f"{profile.profile} needs a prefix", step)
        elif entry.prefix is not None and not needs_prefix(profile):
            self.problems.add((*path, "prefix"), f"{profile.profile} has no {{prefix}} to put it in", "remove prefix")

    def _check_names(self, entry: DeviceEntry, profile: Profile, path: KeyPath) -> None:
        for name, value in entry.options.items():
            if name not in profile.options:
                self.problems.unknown((*path, "options", name), "option", name, tuple(profile.options))
            elif value not in profile.options[name].values:
                self.problems.unknown((*path, "options", name), f"{name}:", value, profile.options[name].values)
        points = {point.id for point in profile.points if not point.internal} if entry.points else ()
        for name in entry.points:
            if name not in points:
                self.problems.unknown((*path, "points", name), "point", name, tuple(points))
        count = profile.instances.count if profile.instances else 0
        for n in entry.instances:
            if n > count:
                what = f"{profile.profile} has {count} instances, there is no number {n}"
                self.problems.add((*path, "instances", n), what, "correct the number" if count else "remove instances")

    def _params(self, entry: DeviceEntry, profile: Profile, path: KeyPath) -> dict[str, float]:
        """Values for the params that the configuration or a default decides; those of a register are read there."""
        values: dict[str, float] = {}
        for name in entry.params:
            if name not in profile.params:
                self.problems.unknown((*path, "params", name), "param", name, tuple(profile.params))
        for name, param in profile.params.items():
            at = (*path, "params", name)
            if name in entry.params:
                values[name] = entry.params[name]
                if values[name] == 0:
                    self.problems.add(at, f"{name} is 0, which makes every value 0", "give the ratio, 1 for none")
            elif param.register_ is None and param.default is None:
                self.problems.add((*path, "params"), f"param {name} is missing", f"add params: {{{name}: ...}}")
            elif param.register_ is None and param.default is not None:
                values[name] = param.default
        return values

    def _resolved(
        self, entry: DeviceEntry, profile: Profile, options: Mapping[str, str], instance: int | None, path: KeyPath
    ) -> tuple[Point, ...]:
        overrides = tuple((name, own if own is False else own.model_dump_json()) for name, own in entry.points.items())
        key = (profile.profile, instance, tuple(options.items()), overrides, entry.poll, entry.heartbeat, entry.prefix)
        points = self._points.get(key)
        if points is None:
            chosen = prefixed(points_of(profile, options, instance=instance), entry.prefix)
            points = planned(chosen, profile, entry.points, entry.poll, entry.heartbeat)
            points = narrowed(points, {point.id: point for point in chosen}, entry.points, path, self.problems)
            self._points[key] = points
            self._check_limits(points, path)
        return points

    def _check_limits(self, points: Sequence[Point], path: KeyPath) -> None:
        """min and max may come from two places, so that only together they can be wrong."""
        for point in points:
            if point.min is not None and point.max is not None and point.min > point.max:
                at = (*path, "points", point.id)
                self.problems.add(at, f"min {point.min:g} is above max {point.max:g} (one of the profile)", "give both")

    def _instances(self, head: Device, entry: DeviceEntry, path: KeyPath) -> Iterator[Device]:
        instances = head.profile.instances
        assert instances is not None
        for n in range(1, instances.count + 1):
            own = entry.instances.get(n, InstanceEntry())
            at = (*path, "instances", n)
            device_id = own.id or instance_id(instances, head.id, n)
            if not is_id(device_id):
                step = "shorten the device's id, or give the instance an id"
                self.problems.add(at, f"instance id {shown(device_id)} is not valid", step)
                continue
            points = self._resolved(entry, head.profile, head.options, n, path)
            if not points:
                continue
            is_heads = device_id == head.id and not head.points
            if not is_heads and not self.claim_id(device_id, at, "instance id"):
                continue
            yield replace(
                head,
                id=device_id,
                name=own.name or f"{head.name} {n}",
                points=points,
                space=own.space or head.space,
                parent=own.parent or (head.id if head.points else head.parent),
                asset=own.asset,
                serial=own.serial,
                codes={**head.codes, **own.codes},
                ext={**head.ext, **own.ext},
                disabled=own.disabled or head.disabled,
            )


def _limits(profile: Profile, own: LimitsEntry) -> Limits:
    base = profile.limits
    return Limits(
        max_registers=own.max_registers or base.max_registers,
        max_bits=own.max_bits or base.max_bits,
        max_gap=own.max_gap if own.max_gap is not None else base.max_gap,
        forbidden=(*base.forbidden, *own.forbidden),
    )
