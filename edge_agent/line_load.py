"""How much of each line's time the configured polls need, before anything runs: bytes, gaps and plan, no I/O.

The arithmetic is the least that physics allows: every byte at the line's rate, the protocol's silence after request and
reply, and the link's turnaround, with devices that answer at once. What does not fit by it cannot fit at all. For TCP the
round trips are estimated for people to see; nothing is refused by an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.base import Batch, CanCycle, CanMeasure, Driver, LinkConfig, NotLocated
from edge_agent.model import Device

ROUND_TRIP_S = 0.02
"""What one request over TCP is taken to cost: a meter's own time, mostly."""
FULL = 1.0
TIGHT = 0.8
"""Beyond this share nothing is left for retries, dead devices and people."""


@dataclass(frozen=True, slots=True)
class GroupLoad:
    """All reads of one period on one link. `seconds` is the time to do them once."""

    period_s: float
    is_aligned: bool
    devices: int
    requests: int
    wire_bytes: int
    seconds: float
    link: LinkConfig
    """With the settings of these devices, on a mixed line."""

    @property
    def share(self) -> float:
        """Part of the line's time."""
        return self.seconds / self.period_s


@dataclass(frozen=True, slots=True)
class LinkLoad:
    """The load of one link.

    `unplanned` counts devices whose reads are known only once they were looked at (SunSpec); `refused` are devices with a
    point that no read can bring.
    """

    link: LinkConfig
    groups: tuple[GroupLoad, ...]
    devices: int
    points: int
    unplanned: int = 0
    refused: tuple[tuple[str, ConfigError], ...] = ()

    @property
    def share(self) -> float:
        return sum(group.share for group in self.groups)

    @property
    def is_overloaded(self) -> bool:
        """True when a line cannot carry what is asked of it. A network link is never said to be."""
        return self.link.is_line and self.share > FULL

    @property
    def is_tight(self) -> bool:
        return self.link.is_line and TIGHT < self.share <= FULL

    def text(self) -> str:
        """`rs485-1 at 2400 8E1: 137 % of the line, the 60 s group needs 82 s`."""
        link = self.link
        settings = sorted({group.link.line_settings for group in self.groups}) or [link.line_settings]
        at = " at " + " and ".join(f"{baud} {bits}{parity}{stop}" for baud, parity, stop, bits in settings)
        at = at if link.is_line else ""
        worst = max(self.groups, key=lambda group: group.share, default=None)
        needs = f", the {worst.period_s:g} s group needs {_time(worst.seconds)}" if worst else ""
        return f"{link.id}{at}: {percent(self.share)} of the line{needs}"

    def arithmetic(self) -> str:
        """The sum behind `text`, for people who want to change it."""
        link = self.link
        if not link.is_line:
            return f"{sum(group.requests for group in self.groups)} round trips of {ROUND_TRIP_S * 1000:g} ms"
        terms = [
            f"{group.requests} requests of {group.devices} devices, {group.wire_bytes} bytes x "
            f"{group.link.bits_per_char} bits / {group.link.baud} Bd + {2 * group.requests} gaps x "
            f"{gap_s(group.link) * 1000:.3g} ms"
            + (f" + {group.requests} x {link.turnaround_s * 1000:g} ms turnaround" if link.turnaround_s else "")
            + f" = {_time(group.seconds)} every {group.period_s:g} s ({percent(group.share)})"
            for group in self.groups
        ]
        return "; ".join(terms)


def percent(share: float) -> str:
    """`137 %`, `0.4 %`."""
    value = share * 100
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def gap_s(link: LinkConfig) -> float:
    """The silence around a frame: 3.5 characters, fixed at 1.75 ms above 19200 Bd (MODBUS over Serial Line V1.02, 2.5.1.1)."""
    return 0.00175 if link.baud > 19200 else 3.5 * link.bits_per_char / link.baud


def request_s(link: LinkConfig, batch: Batch) -> float:
    """Time of the link that one read takes, with a device that answers at once."""
    if not link.is_line:
        return ROUND_TRIP_S
    wire_bytes = batch.request_bytes + batch.reply_bytes
    return wire_bytes * link.bits_per_char / link.baud + 2 * gap_s(link) + link.turnaround_s


def groups_of(points: Iterable[Point]) -> dict[tuple[float, bool], tuple[Point, ...]]:
    """Points that are read together, by (period in seconds, whether at marks). Internal points go with those that need them."""
    everything = tuple(points)
    internal = {point.id: point for point in everything if point.internal}
    groups: dict[tuple[float, bool], list[Point]] = {}
    for point in everything:
        if point.internal:
            continue
        keys = [(float(point.poll), False)] if point.poll is not None else []
        keys += [(float(point.align), True)] if point.align is not None else []
        for key in keys:
            groups.setdefault(key, []).append(point)
    return {key: (*members, *_needed(members, internal)) for key, members in groups.items()}


def _needed(members: Sequence[Point], internal: Mapping[str, Point]) -> list[Point]:
    ids = {point.scale_from.point for point in members if point.scale_from is not None}
    return [internal[name] for name in sorted(ids & internal.keys())]


Plan = dict[tuple[float, bool], tuple[Batch, ...]]
"""The batches of one device by group."""


def link_loads(
    links: Sequence[LinkConfig], devices: Iterable[Device], drivers: Mapping[str, Driver]
) -> tuple[LinkLoad, ...]:
    """The load of each link, in order. Disabled devices cost nothing. Equal devices are planned once."""
    by_link: dict[str, list[Device]] = {link.id: [] for link in links}
    for device in devices:
        if device.link in by_link and device.disabled is None:
            by_link[device.link].append(device)
    plans: dict[tuple[Any, ...], Plan | ConfigError] = {}
    return tuple(_link_load(link, by_link[link.id], drivers, plans) for link in links)


def _link_load(
    link: LinkConfig,
    devices: Sequence[Device],
    drivers: Mapping[str, Driver],
    plans: dict[tuple[Any, ...], Plan | ConfigError],
) -> LinkLoad:
    sums: dict[tuple[float, bool, LinkConfig], _Sum] = {}
    unplanned = 0
    refused: list[tuple[str, ConfigError]] = []
    for device in devices:
        own = device.on(link)
        key = (
            id(device.points),
            device.limits,
            device.secret is None,
            own.kind,
            own.baud,
            own.bits_per_char,
            own.turnaround_s,
        )
        if key not in plans:
            plans[key] = _plan(device, own, drivers[device.protocol])
        plan = plans[key]
        if isinstance(plan, NotLocated):
            unplanned += 1
            continue
        if isinstance(plan, ConfigError):
            refused.append((device.id, plan))
            continue
        unplanned += any(batch.suspect for batches in plan.values() for batch in batches)
        for group, batches in plan.items():
            wanted = [batch for batch in batches if not batch.suspect]
            sums.setdefault((*group, own), _Sum()).add(wanted, own)
    in_order = sorted(sums, key=lambda group: (group[0], group[1], group[2].line_settings))
    groups = tuple(sums[group].load(*group) for group in in_order)
    points = sum(not point.internal for device in devices for point in device.points)
    return LinkLoad(link, groups, len(devices), points, unplanned, tuple(refused))


@dataclass(slots=True)
class _Sum:
    """Adds up one group of one link."""

    devices: int = 0
    requests: int = 0
    wire_bytes: int = 0
    seconds: float = 0.0

    def add(self, batches: Sequence[Batch], link: LinkConfig) -> None:
        self.devices += 1
        self.requests += len(batches)
        self.wire_bytes += sum(batch.request_bytes + batch.reply_bytes for batch in batches)
        self.seconds += sum(request_s(link, batch) for batch in batches)

    def load(self, period_s: float, is_aligned: bool, link: LinkConfig) -> GroupLoad:
        return GroupLoad(period_s, is_aligned, self.devices, self.requests, self.wire_bytes, self.seconds, link)


def _plan(device: Device, link: LinkConfig, driver: Driver) -> Plan | ConfigError:
    """Batches by group, or why there can be none. Where the driver polls all the time that is the load, and no read is."""
    try:
        plan = {
            group: driver.plan(points, device.limits, None, link) for group, points in groups_of(device.points).items()
        }
    except ConfigError as error:
        return error
    if isinstance(driver, CanCycle):
        return {(driver.cycle_s, False): (driver.poll(is_secure=device.secret is not None),)}
    if isinstance(driver, CanMeasure):
        return {group: driver.measured(batches, device.address) for group, batches in plan.items()}
    return plan
