"""What one device reports by itself: which points, what they said last, and whether the reports are complete. Pure, no clock.

Reports are believed and checked: a slow audit reads every reported point, so that each heartbeat slot has its sample whatever
the device does, and compares. A value that moved by more than its increment or deadband without a report is a missed change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Point
from edge_agent.model import Device

FIRST_RETRY_S = 30.0
LAST_RETRY_S = 3600.0
SETTLED_S = 600.0
"""A subscription that held for so long starts with the first retry again."""
AUDIT_S = 900.0
"""Between audits of a point without a heartbeat."""
_GRACE_S = 2.0
"""A report may arrive this long after the audit read that saw the change first."""
_UNKNOWN_STEP = 0.05
"""Where nobody knows the increment at which a device reports, a change by this part of the value should have been told."""

Heard = Raw | Sample | PointFault


def is_offered(point: Point) -> bool:
    """A device may report this point instead of being polled: it stands for no mark, and no other point is needed with it."""
    return not point.internal and point.align is None and point.scale_from is None and point.cov is not False


def audit_period_s(point: Point) -> float:
    """Twice a heartbeat slot, so that each slot surely gets a sample; never more often than it would be polled."""
    return max(point.poll or 0.0, AUDIT_S if point.heartbeat is None else point.heartbeat / 2)


class Subscription:
    """Of one device. `step_of` gives the largest difference of two raw values of a point that is no news; None = unknown."""

    def __init__(self, device: Device, step_of: Callable[[Point], float | None]) -> None:
        self.offered = tuple(point for point in device.points if is_offered(point))
        self._ids = frozenset(point.id for point in self.offered)
        self._points = {point.id: point for point in self.offered}
        self._step_of = step_of
        self.taken: frozenset[str] = frozenset()
        self.changes = 0
        self.missed = 0
        self._said: dict[str, tuple[Heard, float]] = {}
        self._doubts: dict[str, float] = {}
        self._is_doubted = False
        self._tried_at = -math.inf
        self._pause_s = 0.0

    # Getting it.

    def is_due(self, now: float) -> bool:
        """It is time to subscribe (again): some points are not reported, or changes were missed."""
        return (self.taken != self._ids or self._is_doubted) and now >= self._tried_at + self._pause_s

    def begin(self, now: float) -> None:
        """A `subscribe` is under way."""
        has_settled = now - self._tried_at > SETTLED_S + self._pause_s
        self._pause_s = FIRST_RETRY_S if has_settled else min(LAST_RETRY_S, self._pause_s * 2)
        self._tried_at = now
        self._is_doubted = False
        self._said.clear()
        self._doubts.clear()

    def took(self, taken: Iterable[str]) -> bool:
        """The device reports these points from now on. True when they are others than before."""
        before, self.taken = self.taken, self._ids.intersection(taken)
        return before != self.taken

    def lost(self, points: Iterable[str]) -> bool:
        """These are not reported any more. True when some of them were."""
        return self.took(self.taken.difference(points))

    def over(self) -> bool:
        """The device or its link went away: nothing is reported until the next `subscribe`, which is due at once."""
        self._tried_at, self._pause_s = -math.inf, 0.0
        self._is_doubted = False
        self._said.clear()
        self._doubts.clear()
        return self.took(())

    # What is heard.

    def hear(self, point: str, raw: Heard, now: float) -> None:
        """The device reported a point."""
        self.changes += 1
        self._said[point] = (raw, now)
        if self._doubts:
            self._doubts.pop(point, None)

    def heard_at(self, point: str) -> float | None:
        """When it reported this point last, monotonic."""
        said = self._said.get(point)
        return None if said is None else said[1]

    def audit(self, points: Sequence[str], heard: Sequence[Heard], now: float) -> None:
        """An audit read brought these values."""
        for name, raw in zip(points, heard, strict=True):
            point = self._points.get(name)
            if point is None or isinstance(raw, PointFault):
                continue
            said = self._said.setdefault(name, (raw, now))[0]
            if _differs(said, raw, self._step_of(point)):
                self._doubts.setdefault(name, now)
            else:
                self._doubts.pop(name, None)

    def check(self, now: float) -> tuple[str, ...]:
        """The points whose last change was not reported, once each; the subscription is due again for them."""
        if not self._doubts:
            return ()
        missed = tuple(name for name, since in self._doubts.items() if now - since >= _GRACE_S)
        for name in missed:
            del self._doubts[name]
        self.missed += len(missed)
        self._is_doubted = self._is_doubted or bool(missed)
        return missed


def _differs(said: Heard, read: Heard, step: float | None) -> bool:
    """The value read is news after the value said."""
    before = said.value if isinstance(said, Sample) else said
    after = read.value if isinstance(read, Sample) else read
    if isinstance(before, PointFault) or before is None or after is None:
        return isinstance(before, PointFault) != (after is None)
    if isinstance(before, str | bool) or isinstance(after, str | bool | PointFault):
        return before != after
    if not (math.isfinite(before) and math.isfinite(after)):
        return math.isfinite(before) != math.isfinite(after)
    if step is None:
        step = _UNKNOWN_STEP * max(abs(before), abs(after))
    return abs(after - before) > step * (1 + 1e-6)
