"""One device on a link as the poller sees it: its reads, whether it answers, and what is remembered of it. No I/O.

The state follows CONTRACT.md section 5: `ok`, `degraded` (it answers, but not to everything, or it just missed an answer), `down`
(three reads in a row without an answer, or its link is gone) and `disabled`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import structlog

from device_profiles.reading import Acquisition, PointFault, Sample
from device_profiles.schema import Expect, Param, Point
from drivers.base import Batch, Driver, Layout, LinkConfig
from drivers.listening import Occurrence
from edge_agent.clock import Clock
from edge_agent.events.derived import Derived, derives
from edge_agent.form import Form
from edge_agent.line_load import groups_of
from edge_agent.model import Device
from edge_agent.normalize import Heard, Normalizer
from edge_agent.polling.group import Group as Group
from edge_agent.polling.learned import IDENTITY, identity_of
from edge_agent.polling.recalling import Gaps
from edge_agent.polling.subscription import Subscription, audit_period_s
from gateway.contract.messages import MAX_SAMPLES, State

DOWN_AFTER = 3
"""Reads in a row without an answer."""
STATE_EVERY_S = 60.0
NAMESPACES = ("counters", "params", "layouts", "identity", "heard", "recalls")
"""Of the state that is kept over restarts, each by device id."""
SUSPECT_PERIOD_S = 900.0
"""Points that the device refused are asked for again this seldom."""
KEEP_EVERY_S = 900.0
"""Counters are remembered this often: a crash costs nothing but the sharpness of the next decision about a fall."""
_SERIAL = "serial_number"
_log = structlog.get_logger("poller")
CARE_S = 30.0
"""Between two looks at a device's subscription."""
STALE_AFTER = 3
"""Polls without a fresh value."""
Mode = Literal["cov", "polled", "stale"]
Reachability = Literal["ok", "degraded", "down", "disabled"]


class Sink(Protocol):
    """Where a poller hands over what it has; implemented by the agent."""

    def acquired(self, device: Device, acquisition: Acquisition) -> None: ...

    def state(self, device: Device, state: State) -> None: ...

    def event(self, device_id: str, name: str, data: Mapping[str, Any], key: str) -> None: ...

    def learned(self, device: Device, layout: Layout | None) -> None: ...

    def remember(self, namespace: str, key: str, value: Any) -> None: ...


class Polled:
    """One device while it is polled. `memory` is the kept state by namespace and device."""

    def __init__(
        self,
        device: Device,
        clock: Clock,
        sink: Sink,
        memory: Mapping[str, Mapping[str, Any]],
        tell: Callable[[Occurrence], object] | None = None,
    ) -> None:
        """`tell` takes the events that changes of its points are."""
        self.device = device
        self._derived = Derived(device) if tell is not None and derives(device) else None
        self._tell = tell
        self.address = device.address
        kept = {name: memory.get(name, {}).get(device.id) for name in NAMESPACES}
        self.normalizer = Normalizer(device, {"counters": kept["counters"] or {}, "params": kept["params"] or {}})
        self.layout: Layout | None = kept["layouts"]
        self.identity: str | dict[str, str] | None = kept["identity"]
        """The serial number that was read from a register, or what the driver found out (`learned.IDENTITY`)."""
        self.gaps = Gaps(device.id, sink.remember, kept["heard"], kept["recalls"] or ())
        self.groups: list[Group] = []
        self.params: Group | None = None
        self.subscription: Subscription | None = None
        """None where the link's devices report nothing."""
        self.care: Group | None = None
        self.places: dict[str, tuple[Form, int]] = {}
        """Where a reported value belongs: the form of its point, and its place there."""
        self.lane = ""
        """The lane of the read that is under way, or was last."""
        self.is_planned = False
        self.is_gone = False
        """Replaced or removed: what still arrives for it is dropped."""
        self._clock = clock
        self._sink = sink
        self._kept_at = clock.monotonic()
        self._kept: dict[str, Any] = {}
        self.state: Reachability = "disabled" if device.disabled else "ok"
        self.is_known = device.disabled is not None
        """It answered, or was declared down or disabled, in the life of this process."""
        self.since_ms = clock.wall_ms()
        self.status: str | None = None
        self.note: str | None = device.disabled
        self.failures = 0
        self.first_failure_ms = 0
        self.ok = 0
        self.err = 0
        self.last_ok_ms: int | None = None
        self.rtt_s: float | None = None
        self.stamp_ms = 0
        self._state_due = 0.0
        if device.disabled is None:
            self._form_groups()

    def _form_groups(self) -> None:
        self.regroup()
        wanted = dict(self._param_points())
        serial = self.device.profile.serial
        if serial is not None:
            wanted[_SERIAL] = _serial_point(serial)
        if wanted:
            params = self.device.profile.params
            period_s = min((params[name].reread for name in wanted if name in params), default=3600.0)
            self.params = Group(self, tuple(wanted.values()), period_s)
            self.params.is_params = True

    def regroup(self) -> None:
        """Makes groups anew, none of them planned: what the device reports by itself is only audited."""
        taken = self.subscription.taken if self.subscription is not None else frozenset()
        points = [point for point in self.device.points if point.id not in taken]
        self.groups = [
            Group(self, members, period_s, is_aligned=is_aligned)
            for (period_s, is_aligned), members in groups_of(points).items()
        ]
        audits: dict[float, list[Point]] = {}
        for point in self.device.points:
            if point.id in taken:
                audits.setdefault(audit_period_s(point), []).append(point)
        for period_s, members in audits.items():
            group = Group(self, members, period_s)
            group.is_audit = True
            self.groups.append(group)
        self.is_planned = False

    def longest_period_s(self) -> float:
        """Seconds between the reads that come most seldom, marks and refused points aside."""
        periods = [group.period_s for group in self.groups if not group.is_aligned and not group.is_suspect]
        return max(periods, default=900.0)

    def offer(self) -> None:
        """From now on the device may report points by itself."""
        if self.subscription is None:
            self.subscription = Subscription(self.device, self.normalizer.raw_step)
            self.care = Group(self, (), CARE_S)
            self.care.is_care = True

    def reads(self) -> tuple[Group, ...]:
        """Everything that is done for it again and again, as far as it is known."""
        params = (self.params,) if self.params is not None and self.params.batches else ()
        care = (self.care,) if self.care is not None else ()
        return (*care, *self.groups, *params)

    def _param_points(self) -> dict[str, Point]:
        """A point for each ratio that lives in a register and is not given in the configuration."""
        return {
            name: _param_point(name, param)
            for name, param in self.device.profile.params.items()
            if param.register_ is not None and name not in self.device.params
        }

    def plan(self, driver: Driver, link: LinkConfig) -> None:
        """Makes the batches. Raises ConfigError for points that cannot be read."""
        for point, misfit in self.normalizer.adopt(self.layout):
            _log.error("a point's unit does not fit", device=self.device.id, point=point, reason=misfit)
        for group in self.groups:
            group.batches = group.missing = ()
        self.groups = [group for group in self.groups if not group.is_suspect]
        limits = self.device.limits
        for group in tuple(self.groups):
            batches = driver.plan(group.points, limits, self.layout, link)
            group.batches = tuple(
                (batch, self.normalizer.prepare(batch.points)) for batch in batches if not batch.suspect
            )
            suspects = [batch for batch in batches if batch.suspect]
            if suspects:
                seldom = Group(self, (), max(SUSPECT_PERIOD_S, group.period_s))
                seldom.is_suspect = True
                seldom.batches = tuple((batch, self.normalizer.prepare(batch.points)) for batch in suspects)
                self.groups.append(seldom)
        if self.params is not None:
            batches = driver.plan(self.params.points, limits, self.layout, link)
            self.params.batches = tuple((batch, _NO_FORM) for batch in batches)
        self.places = {
            name: (form, at)
            for group in self.groups
            if not group.is_aligned
            for _, form in group.batches
            for name, at in form.places().items()
        }
        self.is_planned = True

    def take_params(self, batch: Batch, heard: Sequence[Heard], t_ms: int) -> None:
        """Takes up ratios and the serial number that were read."""
        for name, raw in zip(batch.points, heard, strict=True):
            if name != _SERIAL:
                self.normalizer.set_param(name.removeprefix(_PARAM), raw, t_ms)
            elif not isinstance(raw, PointFault | Sample) and str(raw):
                self._identify(str(raw))

    def _identify(self, serial: str) -> None:
        before, self.identity = self.identity, serial
        if before != serial:
            self._sink.remember("identity", self.device.id, serial)
            if isinstance(before, str):
                self._another(before, serial)

    def _compare(self, found: dict[str, str]) -> None:
        """Takes up who the device says it is; a fact that one of both lacks tells nothing."""
        before = self.identity if isinstance(self.identity, dict) else {}
        self.identity = {**before, **found}
        if self.identity == before:
            return
        self._sink.remember("identity", self.device.id, self.identity)
        if any(before[name] != found[name] for name in before.keys() & found.keys()):
            self._another(_spelled(before), _spelled(found))

    def _another(self, before: str, after: str) -> None:
        data = {"before": before, "after": after}
        self._sink.event(self.device.id, "device.identity_changed", data, f"{before}:{after}")
        self.normalizer.identity_changed()

    def next_stamp(self) -> int:
        """UTC ms for the next acquisition: later than the one before, and unlike it."""
        self.stamp_ms = stamp = self._clock.stamp(self.stamp_ms)
        return stamp

    def emit(self, acquisition: Acquisition | None) -> None:
        """Hands over an acquisition and whatever the normaliser noticed."""
        if self.is_gone:
            return
        if acquisition is not None and (acquisition.good or acquisition.flagged):
            count = len(acquisition.good) + len(acquisition.flagged)
            if count > MAX_SAMPLES:
                self.stamp_ms += count // MAX_SAMPLES  # it leaves in parts, a millisecond apart
            self._sink.acquired(self.device, acquisition)
        if acquisition is not None and self._derived is not None and self._tell is not None:
            # One without a value says that nothing changed, and time passes.
            for told in self._derived.take(acquisition):
                self._tell(told)
        if self.normalizer.notices:
            notices, self.normalizer.notices = self.normalizer.notices, []
            for notice in notices:
                self._sink.event(self.device.id, notice.name, notice.data, notice.key)
            self.keep(self._clock.monotonic())

    def keep(self, now: float) -> None:
        """Remembers counters and ratios, where they changed."""
        self._kept_at = now
        memory = self.normalizer.memory()
        for namespace, value in memory.items():
            if value and value != self._kept.get(namespace):
                self._sink.remember(namespace, self.device.id, value)
        self._kept = memory

    def learn(self, layout: Layout | None) -> None:
        """Takes up another layout; the next read plans anew."""
        self.layout = layout
        self.is_planned = False
        self._sink.remember("layouts", self.device.id, None if layout is None else dict(layout))
        found = identity_of(layout)
        if found and self.device.profile.serial is None:
            self._compare(found)
        self._sink.learned(self.device, layout)

    def heard_at(self, point: str) -> float | None:
        """When the device last said this point, monotonic; None for never."""
        times = [
            group.heard_at
            for group in self.groups
            if group.heard_at is not None and any(point in form.points for _, form in group.batches)
        ]
        if self.subscription is not None and (reported_at := self.subscription.heard_at(point)) is not None:
            times.append(reported_at)
        return max(times, default=None)

    def modes(self, now: float) -> dict[str, Mode]:
        """How each point is kept up to date: `stale` when the device said nothing of it for three polls, or its audit failed."""
        modes: dict[str, Mode] = {point.id: "stale" for point in self.device.points if not point.internal}
        if self.state in ("down", "disabled"):
            return modes
        for group in self.groups:
            mode = self._mode_of(group, now)
            for _, form in group.batches:
                modes |= {name: mode for name in form.points if modes.get(name) == "stale"}
        return modes

    def _mode_of(self, group: Group, now: float) -> Mode:
        if group.heard_at is None:
            return "stale"
        if group.is_audit:
            return "stale" if group.is_failing else "cov"
        return "stale" if now - group.heard_at > STALE_AFTER * max(group.period_s, 1.0) else "polled"

    # Whether it answers.

    def answered(self, now: float, t_ms: int, rtt_s: float, status: str | None) -> bool:
        """A read brought something; `status` when a part of it failed. True when the device is back from being down."""
        self.ok += 1
        self.last_ok_ms = t_ms
        self.rtt_s = rtt_s
        self.failures = 0
        was_down = self.state == "down"
        state: Reachability = "ok" if status is None else "degraded"
        if state != self.state or status != self.status or not self.is_known:
            if was_down:
                outage = {"since": self.since_ms, "down_ms": max(0, t_ms - self.since_ms)}
                self._sink.event(self.device.id, "system.device_up", outage, str(self.since_ms))
            self._change(state, status, t_ms)
        elif now >= self._state_due:
            self.publish(now)
        if now - self._kept_at >= KEEP_EVERY_S:
            self.keep(now)
        return was_down

    def missed(self, status: str, detail: str) -> bool:
        """A read brought nothing. True when the device is declared down by it."""
        self.err += 1
        self.failures += 1
        if self.failures == 1:
            self.first_failure_ms = self._clock.wall_ms()
        if self.state == "down":
            if self._clock.monotonic() >= self._state_due:
                self.publish(self._clock.monotonic())
            return False
        if self.failures >= DOWN_AFTER:
            self.down(status, detail)
            return True
        if self.state != "degraded" or self.status != status:
            self._change("degraded", status, self.first_failure_ms)
        return False

    def down(self, status: str, detail: str, *, since_ms: int | None = None) -> None:
        """Declares it down: the state and the event, once."""
        if self.state in ("down", "disabled"):
            return
        since_ms = since_ms or (self.first_failure_ms if self.failures else self._clock.wall_ms())
        self.note = detail[:200] or None
        self.normalizer.resend()
        self._change("down", status, since_ms)
        self._sink.event(self.device.id, "system.device_down", {"since": since_ms, "sc": status}, str(since_ms))

    def _change(self, state: Reachability, status: str | None, since_ms: int) -> None:
        if state != self.state or not self.is_known:
            self.since_ms = since_ms
        if state in ("ok", "degraded"):
            self.note = None
        self.state, self.status, self.is_known = state, status, True
        self.publish(self._clock.monotonic())

    def publish(self, now: float) -> None:
        """Says how it is."""
        self._state_due = now + STATE_EVERY_S
        if not self.is_gone:
            self._sink.state(self.device, self.as_state())

    def as_state(self) -> State:
        """How it is now."""
        return State(
            t=self._clock.wall_ms(),
            state=self.state,
            since=self.since_ms,
            ok=self.ok,
            err=self.err,
            sc=self.status,
            last_ok=self.last_ok_ms,
            rtt_ms=None if self.rtt_s is None else round(self.rtt_s * 1000, 1),
            note=self.note,
        )


def _spelled(identity: Mapping[str, str]) -> str:
    return " ".join(identity[name] for name in IDENTITY if name in identity)


_PARAM = "param_"
_NO_FORM = Form((), (), {})


def _param_point(name: str, param: Param) -> Point:
    return Point(id=_PARAM + name, address=param.register_ or {}, type=param.type, internal=True)


def _serial_point(serial: Expect) -> Point:
    return Point(id=_SERIAL, address=serial.address, type=serial.type, length=serial.length, internal=True)
