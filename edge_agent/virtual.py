"""Virtual meters: devices whose points are sums and differences of other devices' readings at the same agent.

It stands between the pollers and their sink and passes everything on. A value exists only while all of its terms are fresh, and
it is uncertain if one of them is; terms are added as decimals, so that 0.1 + 0.2 is 0.3. Results go through the same normaliser
as any reading, so deadband, heartbeat, limits and counters hold. No I/O; `run` only keeps the time.

*Marks.* A point with marks is computed once a mark, when the last of its terms has been read for that very mark; if that has not
happened half the way to the next mark (five minutes at most), what is missing is bad for this mark. *Periods.* Other points are
computed from the latest readings. A reading inside its deadband is not heard here, so a sum is as exact as what the store has of
its terms; and a term is fresh until its heartbeat and three polls have passed without a reading, unless its device is down.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from device_profiles.reading import Acquisition, PointFault, Sample, Severity, Value, severity_of
from device_profiles.schema import Point, Virtual
from drivers.base import Batch, Layout
from edge_agent.clock import Clock
from edge_agent.model import Device
from edge_agent.normalize import Heard
from edge_agent.polling.polled import Group, Polled, Sink
from edge_agent.polling.schedule import Schedule
from gateway.contract.messages import State

DERIVED = "UncertainSubNormal"
"""Derived from several sources, not all of them good (OPC 10000-8, table of data-access status codes)."""
NOT_YET = "BadWaitingForInitialData"
AWAY = "BadNoCommunication"
MARK_WAIT_MS = 300_000
FIRST_WAIT_S = 60.0
"""After the start nothing is called bad for so long because a term was not read yet."""
_MARKS_KEPT = 4
_LOOK_S = 1.0

_Said = tuple[float | None, str]
"""(value, status); a bad one has no value."""


@dataclass(slots=True)
class _Term:
    """What one point said last, and at its last marks."""

    fresh_s: float
    align_s: int | None
    last: _Said = (None, NOT_YET)
    heard_at: float = -math.inf
    by_mark: dict[int, _Said] = field(default_factory=dict)

    def take(self, value: Value | None, status: str, now: float, mark_ms: int | None) -> None:
        is_bad = status != "" and severity_of(status) is Severity.BAD
        number = None if is_bad or value is None or isinstance(value, str) else float(value)
        self.last, self.heard_at = (number, status), now
        if mark_ms is not None and self.by_mark.get(mark_ms, (None, ""))[0] is None:
            self.by_mark[mark_ms] = self.last
            while len(self.by_mark) > _MARKS_KEPT:
                del self.by_mark[next(iter(self.by_mark))]

    def latest(self, now: float) -> _Said:
        return (None, AWAY) if self.last[0] is not None and now - self.heard_at > self.fresh_s else self.last


class _Terms:
    """All points that something is computed from, by device."""

    def __init__(self, devices: Sequence[Device], names: set[str], known: _Terms | None) -> None:
        points = {f"{device.id}/{point.id}": point for device in devices for point in device.points}
        self._devices: dict[str, dict[str, _Term]] = {}
        for name in sorted(names):
            device_id, _, point_id = name.partition("/")
            kept = known._devices.get(device_id, {}).get(point_id) if known is not None else None
            self._devices.setdefault(device_id, {})[point_id] = kept or _term(points.get(name))

    def get(self, name: str) -> _Term:
        device_id, _, point_id = name.partition("/")
        return self._devices[device_id][point_id]

    def hear(self, acquisition: Acquisition, now: float) -> bool:
        """Takes up an acquisition. False when nothing is computed from its device."""
        terms = self._devices.get(acquisition.device)
        if terms is None:
            return False
        flagged = {flag.point: flag for flag in acquisition.flagged}
        for point_id, term in terms.items():
            if point_id in acquisition.good:
                term.take(acquisition.good[point_id], "", now, acquisition.mark_ms)
            elif point_id in flagged:
                flag = flagged[point_id]
                term.take(flag.value, "" if flag.status == "Good" else flag.status, now, acquisition.mark_ms)
        return True

    def lose(self, device_id: str) -> None:
        """The device is down or disabled: nothing it said is fresh any more."""
        for term in self._devices.get(device_id, {}).values():
            term.last = (None, AWAY)


class VirtualMeters:
    """The sink of the pollers where an agent has virtual devices: `devices`, computed from `others` and from each other."""

    def __init__(
        self,
        devices: Sequence[Device],
        others: Sequence[Device],
        *,
        sink: Sink,
        clock: Clock,
        memory: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._memory = memory
        self._terms = _Terms((), set(), None)
        self._meters: list[Polled] = []
        self.replace(devices, others)

    def replace(self, devices: Sequence[Device], others: Sequence[Device]) -> None:
        """Takes up another set of devices. What was heard of terms that stay is kept, and so are counters."""
        memory = {meter.device.id: meter.normalizer.memory()["counters"] for meter in self._meters}
        counters = {**self._memory.get("counters", {}), **memory}
        for meter in self._meters:
            meter.is_gone = True
        enabled = [device for device in devices if device.disabled is None]
        names = {name for device in enabled for point in device.points for name in _names_of(point)}
        self._terms = _Terms((*others, *devices), names, self._terms)
        self._meters = [Polled(device, self._clock, self, {**self._memory, "counters": counters}) for device in devices]
        self._schedule: Schedule[Group] = Schedule()
        self._aligned: list[Group] = []
        self._computed: dict[Group, int] = {}
        self._unsaid: set[Group] = set()
        self._bad_from = self._clock.monotonic() + FIRST_WAIT_S
        for meter in self._meters:
            if meter.device.disabled is not None:
                meter.publish(self._clock.monotonic())
            for group in meter.groups:
                self._enter(group)

    def _enter(self, group: Group) -> None:
        names = tuple(point.id for point in group.points)
        group.batches = ((Batch(names), group.polled.normalizer.prepare(names)),)
        if group.is_aligned:
            self._aligned.append(group)
            self._computed[group] = self._clock.wall_ms()
            self._unsaid.add(group)
        else:
            self._schedule.add(group, group.polled.device.id, group.period_s, self._clock.monotonic())

    async def run(self) -> None:
        """Computes what is due, until cancelled."""
        try:
            while True:
                self._look()
                await self._clock.sleep(
                    min(_LOOK_S, max(0.01, self._schedule.wait_s(self._clock.monotonic(), 0, marks=False)))
                )
        finally:
            for meter in self._meters:
                meter.keep(self._clock.monotonic())

    # As a sink.

    def acquired(self, device: Device, acquisition: Acquisition) -> None:
        self._sink.acquired(device, acquisition)
        if acquisition.src is None and self._terms.hear(acquisition, self._clock.monotonic()):
            mark_ms = acquisition.mark_ms
            if mark_ms is not None:
                for group in tuple(self._aligned):
                    if self._computed.get(group, mark_ms) < mark_ms and self._is_complete(group, mark_ms):
                        self._compute(group, mark_ms)

    def state(self, device: Device, state: State) -> None:
        self._sink.state(device, state)
        if state.state in ("down", "disabled"):
            self._terms.lose(device.id)

    def event(self, device_id: str, name: str, data: Mapping[str, Any], key: str) -> None:
        self._sink.event(device_id, name, data, key)

    def learned(self, device: Device, layout: Layout | None) -> None:
        self._sink.learned(device, layout)

    def remember(self, namespace: str, key: str, value: Any) -> None:
        self._sink.remember(namespace, key, value)

    # Computing.

    def _look(self) -> None:
        now, utc_ms = self._clock.monotonic(), self._clock.wall_ms()
        while (entry := self._schedule.pop(now, utc_ms, marks=False)) is not None:
            if now >= self._bad_from or self._is_heard(entry.owner):
                self._compute(entry.owner, None)
            self._schedule.done(entry, now, utc_ms)
        for group in self._aligned:
            self._look_at_mark(group, utc_ms)

    def _look_at_mark(self, group: Group, utc_ms: int) -> None:
        """Computes a mark that has been waited for long enough; and once without a mark, as soon as all terms were read."""
        align_ms = int(group.period_s * 1000)
        mark_ms = utc_ms // align_ms * align_ms
        if self._computed[group] > utc_ms:  # UTC was set back
            self._computed[group] = utc_ms
        wait_ms = min(align_ms // 2, MARK_WAIT_MS) if any(self._at_marks(group)) else 0
        if self._computed[group] < mark_ms and utc_ms - mark_ms >= wait_ms:
            self._compute(group, mark_ms)
        elif group in self._unsaid and self._is_heard(group):
            self._compute(group, None)

    def _is_heard(self, group: Group) -> bool:
        """Every term has said something."""
        return all(self._terms.get(name).last[1] != NOT_YET for point in group.points for name in _names_of(point))

    def _is_complete(self, group: Group, mark_ms: int) -> bool:
        """Every term of the group that is read at its marks was read for this one."""
        return all(mark_ms in term.by_mark for term in self._at_marks(group))

    def _at_marks(self, group: Group) -> Iterator[_Term]:
        """The terms that are read at the group's own marks."""
        terms = (self._terms.get(name) for point in group.points for name in _names_of(point))
        return (term for term in terms if term.align_s == group.period_s)

    def _compute(self, group: Group, mark_ms: int | None) -> None:
        """One acquisition of a virtual device, from the terms at a mark or as they are."""
        meter, now = group.polled, self._clock.monotonic()
        self._unsaid.discard(group)
        if mark_ms is not None:
            self._computed[group] = mark_ms
        heard = [self._sum(point, group, mark_ms, now) for point in group.points]
        t_ms = meter.next_stamp()
        acquisition = Acquisition(meter.device.id, t_ms, mark_ms=mark_ms)
        form = group.batches[0][1]
        meter.normalizer.take(form, heard, t_ms, acquisition, marked=mark_ms is not None)
        faults = [each.status for each in heard if isinstance(each, PointFault)]
        if len(faults) == len(heard):
            meter.missed(faults[0], "no term of it is known")
        else:
            meter.answered(now, t_ms, 0.0, faults[0] if faults else None)
        if meter.state != "down":
            meter.emit(acquisition)

    def _sum(self, point: Point, group: Group, mark_ms: int | None, now: float) -> Heard:
        """The point's value from its terms; a fault while one is missing, uncertain while one is."""
        total = Decimal(0)
        added = len(point.address.plus) if isinstance(point.address, Virtual) else 0
        is_uncertain = False
        for at, name in enumerate(_names_of(point)):
            term = self._terms.get(name)
            at_mark = mark_ms is not None and term.align_s == group.period_s
            value, status = term.by_mark.get(mark_ms or 0, (None, AWAY)) if at_mark else term.latest(now)
            if value is None:
                return PointFault(status if status and severity_of(status) is Severity.BAD else AWAY, name)
            is_uncertain = is_uncertain or (status != "" and severity_of(status) is Severity.UNCERTAIN)
            total += Decimal(repr(value)) if at < added else -Decimal(repr(value))
        return Sample(float(total), DERIVED) if is_uncertain else float(total)


def _names_of(point: Point) -> tuple[str, ...]:
    """`device/point` of each term, those that are taken away last; none for a point that is not computed."""
    return (*point.address.plus, *point.address.minus) if isinstance(point.address, Virtual) else ()


def _term(point: Point | None) -> _Term:
    if point is None:
        return _Term(0.0, None)
    period_s = point.poll or float(point.align or 0)
    return _Term((point.heartbeat or 0.0) + 3 * period_s, point.align)
