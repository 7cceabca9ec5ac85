"""Which readings of a range are there, which are missing for a known reason, and which are simply missing.

Slots come from the meta: `align_s` marks, or `hb_s` heartbeats. A slot is filled by a sample, explained by what store and
inventory know of that time, or missing. Only slots that are over count, and none from before the device was first heard of.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway.contract.messages import PointMeta
from gateway.inventory import DeviceInfo, Inventory
from gateway.stores.base import EventRow, QualityRow, Store

_GRACE_MS = 2_000
_START_MS = 120_000
"""After a restart the first reading of a point may take so long."""
_MOST_SAMPLES = 1_000_000
_LATE_MS = 60_000
"""A slot counts once it has been over for so long: its reading may still be on the way."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why nothing can be expected in [a, b)."""

    a: int
    b: int
    text: str


@dataclass(frozen=True, slots=True)
class PointCompleteness:
    """Slots of one point: `slots` = `filled` + explained + `missing`."""

    pt: str
    slot_s: int
    slots: int
    filled: int
    explained: dict[str, int]
    """Slots by reason."""
    missing: int
    missing_slots: tuple[tuple[int, int], ...]
    """Ranges [from, to) in ms of neighbouring missing slots."""


@dataclass(frozen=True, slots=True)
class DeviceCompleteness:
    """The sum over the points of a device."""

    site: str
    dev: str
    t0_ms: int
    t1_ms: int
    points: tuple[PointCompleteness, ...]

    @property
    def slots(self) -> int:
        return sum(point.slots for point in self.points)

    @property
    def filled(self) -> int:
        return sum(point.filled for point in self.points)

    @property
    def explained(self) -> int:
        return sum(sum(point.explained.values()) for point in self.points)

    @property
    def missing(self) -> int:
        return sum(point.missing for point in self.points)


class Completeness:
    """Answers for one device at a time."""

    def __init__(
        self, store: Store, inventory: Inventory, *, wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._wall_ms = wall_ms

    async def device(self, site: str, dev: str, t0_ms: int, t1_ms: int) -> DeviceCompleteness | None:
        """None for a device that the inventory does not know, or whose meta it does not have."""
        info = self._inventory.device(site, dev)
        if info is None or info.meta is None:
            return None
        points = {pt: meta for pt, meta in info.points.items() if slot_of(meta) is not None}
        widest = max((_width(meta) + slack_of(meta) for meta in points.values()), default=0)
        samples = await self._store.samples(site, dev, list(points), t0_ms - widest, t1_ms, limit=_MOST_SAMPLES)
        times = {pt: [t_ms for t_ms, _ in found] for pt, found in samples.items()}
        quality = await self._store.quality(site, dev, t0_ms, t1_ms)
        reasons = await self._reasons(info, t0_ms, t1_ms, times.values())
        end = min(t1_ms, self._wall_ms() - _LATE_MS)
        earliest = min((found[0] for found in times.values() if found), default=end)
        begin = max(t0_ms, min(earliest, info.first_seen_ms or earliest))
        found = []
        for pt, meta in sorted(points.items()):
            told = [*reasons, *bad_spells([row for row in quality if row.pt == pt], end)]
            found.append(count_slots(pt, meta, times[pt], told, begin, end))
        return DeviceCompleteness(site, dev, t0_ms, t1_ms, tuple(found))

    async def _reasons(self, info: DeviceInfo, t0_ms: int, t1_ms: int, times: Iterable[Sequence[int]]) -> list[Reason]:
        """What concerns all points of the device."""
        changes = await self._inventory.state_changes(info.site, info.id, t0_ms, t1_ms)
        found = []
        for at, change in enumerate(changes):
            until = changes[at + 1].t_ms if at + 1 < len(changes) else t1_ms
            if change.state in ("down", "disabled"):
                found.append(Reason(change.t_ms, until, "disabled" if change.state == "disabled" else "device_down"))
        events = await self._store.events(t0_ms, t1_ms, site=info.site, types=("system",), limit=10_000)
        ours = sorted((row for row in events if row.agent in ("", info.agent)), key=lambda row: row.t_ns)
        found += _down_spells([row for row in ours if row.dev == info.id], t1_ms)
        found += _losses(ours)
        found += _restarts(ours, sorted({t_ms for one in times for t_ms in one}))
        agent = self._inventory.agent(info.site, info.agent)
        if agent is not None and not agent.online and agent.status_ms is not None:
            found.append(Reason(agent.status_ms, t1_ms, "agent_offline"))
        return found


def slot_of(meta: PointMeta) -> int | None:
    """The width of a slot in seconds: marks before heartbeats; None for a point that promises neither."""
    if meta.align_s:
        return meta.align_s
    return int(meta.hb_s) if meta.hb_s and meta.hb_s >= 1 else None


def slack_of(meta: PointMeta) -> int:
    """How much earlier than its slot a sample may lie, ms. A heartbeat is due at a poll, so it drifts by up to one poll."""
    if meta.align_s:
        return 0
    return int((meta.poll_s or (meta.hb_s or 0) / 10) * 1000) + _GRACE_MS


def _width(meta: PointMeta) -> int:
    return (slot_of(meta) or 0) * 1000


def count_slots(
    pt: str, meta: PointMeta, times: Sequence[int], reasons: Sequence[Reason], begin: int, end: int
) -> PointCompleteness:
    """Goes through the whole slots in [begin, end). `times` in order."""
    width, slack = _width(meta), slack_of(meta)
    slots = filled = 0
    explained: Counter[str] = Counter()
    missing: list[tuple[int, int]] = []
    for a in range(-(-begin // width) * width, end - width + 1, width):
        b = a + width
        slots += 1
        at = bisect_left(times, a - slack)
        if at < len(times) and times[at] < b:
            filled += 1
            continue
        text = next((reason.text for reason in reasons if reason.a < b and reason.b > a - slack), None)
        if text is not None:
            explained[text] += 1
        elif missing and missing[-1][1] == a:
            missing[-1] = (missing[-1][0], b)
        else:
            missing.append((a, b))
    count = slots - filled - sum(explained.values())
    return PointCompleteness(pt, width // 1000, slots, filled, dict(explained), count, tuple(missing))


def bad_spells(rows: Sequence[QualityRow], end: int) -> list[Reason]:
    """Times in which a point was not good, by its status; rows of one point in order."""
    found = []
    for at, row in enumerate(rows):
        if row.q > 0:
            until = rows[at + 1].t_ms if at + 1 < len(rows) else end
            found.append(Reason(row.t_ms, max(until, row.t_ms + 1), row.sc or "bad"))
    return found


def _down_spells(events: Sequence[EventRow], end: int) -> list[Reason]:
    """From `system.device_down` to `system.device_up`."""
    found: list[Reason] = []
    since: int | None = None
    for row in events:
        if row.type == "system.device_down":
            said = row.data.get("since")
            since = int(said) if isinstance(said, int | float) else row.t_ms
        elif row.type == "system.device_up" and since is not None:
            found.append(Reason(since, row.t_ms, "device_down"))
            since = None
    if since is not None:
        found.append(Reason(since, end, "device_down"))
    return found


def _losses(events: Sequence[EventRow]) -> list[Reason]:
    """What the edge had to drop, and said so."""
    found = []
    for row in events:
        if row.type == "system.data_lost":
            a, b = row.data.get("t0"), row.data.get("t1")
            if isinstance(a, int | float) and isinstance(b, int | float):
                found.append(Reason(int(a), int(b) + 1, "data_lost"))
    return found


def _restarts(events: Sequence[EventRow], times: Sequence[int]) -> list[Reason]:
    """While the agent was not running: from its last sign before a `system.restart` to shortly after it.

    The last sign is a sample of this device or an event of the agent, whichever is later.
    """
    found = []
    signs = sorted([*times, *(row.t_ms for row in events)])
    for row in events:
        if row.type == "system.restart":
            at = bisect_left(signs, row.t_ms)
            since = signs[at - 1] if at else 0
            found.append(Reason(since, row.t_ms + _START_MS, "agent_restart"))
    return found
