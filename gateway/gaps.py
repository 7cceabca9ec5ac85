"""Where a series has nothing usable, and why: what a chart must show as a gap instead of a line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from gateway.answers import Gap
from gateway.inventory import StateChange
from gateway.stores.base import QualityRow

BAD = 2
_SILENT_SLOTS = 2.5
"""A sample may come a heartbeat after the one before it, and once a beat may be late; beyond this the point was silent."""


def gaps_of(
    times: Sequence[int],
    quality: Sequence[QualityRow],
    states: Sequence[StateChange],
    *,
    slot_s: float | None,
    t0_ms: int,
    t1_ms: int,
) -> list[Gap]:
    """Gaps in [t0, t1), oldest first, not overlapping.

    `times` are the samples' times, oldest first; `quality` the changes of the point's quality and `states` the changes of its
    device's state, each with the last one before the range. A silence counts as a gap after 2.5 slots.
    """
    told = _merged([*_bad_ranges(quality, t1_ms), *_down_ranges(states, t1_ms)], t0_ms, t1_ms)
    edges = sorted({t0_ms, t1_ms, *times, *(gap.a for gap in told), *(gap.b for gap in told)})
    longest = (slot_s or float("inf")) * 1000 * _SILENT_SLOTS
    silent = [
        Gap(a=a, b=b, reason="no data")
        for a, b in pairwise(edges)
        if b - a > longest and not any(gap.a <= a < gap.b for gap in told)
    ]
    return sorted((*told, *silent), key=lambda gap: gap.a)


def _merged(ranges: Sequence[Gap], t0_ms: int, t1_ms: int) -> list[Gap]:
    """Cut to the range and to one another, oldest first; what began first keeps its reason."""
    merged: list[Gap] = []
    for gap in sorted(ranges, key=lambda gap: gap.a):
        a, b = max(gap.a, t0_ms), min(gap.b, t1_ms)
        if merged:
            a = max(a, merged[-1].b)
        if a < b:
            merged.append(Gap(a=a, b=b, reason=gap.reason))
    return merged


def _bad_ranges(quality: Sequence[QualityRow], t1_ms: int) -> list[Gap]:
    ranges: list[Gap] = []
    since: QualityRow | None = None
    for row in quality:
        if row.q == BAD and since is None:
            since = row
        elif row.q != BAD and since is not None:
            ranges.append(Gap(a=since.t_ms, b=row.t_ms, reason=since.sc or "bad"))
            since = None
    if since is not None:
        ranges.append(Gap(a=since.t_ms, b=t1_ms, reason=since.sc or "bad"))
    return ranges


def _down_ranges(states: Sequence[StateChange], t1_ms: int) -> list[Gap]:
    ranges: list[Gap] = []
    since: StateChange | None = None
    for change in states:
        is_off = change.state in ("down", "disabled")
        if since is not None and (not is_off or change.state != since.state):
            ranges.append(Gap(a=since.t_ms, b=change.t_ms, reason=_why(since)))
            since = None
        if is_off and since is None:
            since = change
    if since is not None:
        ranges.append(Gap(a=since.t_ms, b=t1_ms, reason=_why(since)))
    return ranges


def _why(change: StateChange) -> str:
    return " ".join(filter(None, (change.state, change.sc, change.note)))
