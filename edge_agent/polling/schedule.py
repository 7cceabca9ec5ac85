"""When what is read on one link: due times, marks, spreading and the pace of probing. Pure: every call is told the time.

Order of service is aligned marks, then periodic reads by earliest deadline, then probes of dead devices; commands and people's
diagnostics go before all of them and are the poller's. A read leaves the schedule while it is under way and comes back with
`done`, so it never runs twice at once. Times are monotonic seconds; marks are UTC ms.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from zlib import crc32

SHORTEST_PERIOD_S = 0.002
LATE_S = 1.0
"""A read that begins more than its period, and at least this, after it was due is late."""
FIRST_RETRY_S = 2.0
FIRST_PROBE_S = 5.0
LAST_PROBE_S = 60.0
PROBE_SHARE = 0.02
"""Share of a link's time that probes of dead devices may take."""

Owner = TypeVar("Owner")


@dataclass(slots=True, eq=False)
class Entry(Generic[Owner]):
    """One recurring read: every `period_s`, or at every mark that is a multiple of `align_ms` in UTC."""

    owner: Owner
    period_s: float = 0.0
    phase_s: float = 0.0
    align_ms: int = 0
    due: float = 0.0
    mark_ms: int | None = None
    """The mark that the read now under way, or the next one, stands for; None for the first read of an aligned one."""
    retries: int = 0
    is_late: bool = False
    is_alive: bool = field(default=True)


class Schedule(Generic[Owner]):
    """The reads of one link."""

    def __init__(self) -> None:
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, Entry[Owner]]] = []
        self._ready: list[tuple[float, int, Entry[Owner]]] = []
        self._marks: list[tuple[int, int, Entry[Owner]]] = []
        self._aligned = 0
        self.late = 0
        """Reads that began late."""
        self.skipped = 0
        """Turns and marks that passed while the link was busy; nothing is made up for them."""

    def add(self, owner: Owner, device: str, period_s: float, now: float) -> Entry[Owner]:
        """A periodic read: at once, then on the device's own place in the period, which a stable hash of its id gives."""
        period_s = max(period_s, SHORTEST_PERIOD_S)
        phase_s = crc32(device.encode()) / 2**32 * period_s
        entry = Entry(owner, period_s=period_s, phase_s=phase_s, due=now)
        heapq.heappush(self._waiting, (now, next(self._order), entry))
        return entry

    def add_aligned(self, owner: Owner, align_s: int, now: float) -> Entry[Owner]:
        """A read at once, which stands for no mark, then one at every mark."""
        self._aligned += 1
        entry = Entry(owner, align_ms=align_s * 1000, due=now)
        heapq.heappush(self._waiting, (now, next(self._order), entry))
        return entry

    @property
    def has_marks(self) -> bool:
        """True when some read is at marks: then UTC matters."""
        return self._aligned > 0

    def remove(self, entry: Entry[Owner]) -> None:
        """The read does not come any more; one that is under way is not put back."""
        if entry.is_alive and entry.align_ms:
            self._aligned -= 1
        entry.is_alive = False

    def pop(self, now: float, utc_ms: int, *, marks: bool = True) -> Entry[Owner] | None:
        """Takes out what is to be read now. `marks` False while UTC is not known: then no mark comes."""
        if marks and self._marks:
            entry = self._pop_mark(utc_ms)
            if entry is not None:
                return entry
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            due, number, entry = heapq.heappop(waiting)
            heapq.heappush(self._ready, (due + entry.period_s, number, entry))
        while self._ready:
            entry = heapq.heappop(self._ready)[2]
            if not entry.is_alive:
                continue
            if entry.align_ms and self.is_too_late(entry, utc_ms):
                self._miss_mark(entry, utc_ms)
                continue
            entry.is_late = entry.period_s > 0 and now - entry.due > max(entry.period_s, LATE_S)
            if entry.is_late:
                self.late += 1
            return entry
        return None

    def put_back(self, entry: Entry[Owner]) -> None:
        """A read that was taken out and could not begin keeps its turn."""
        if entry.is_late:
            self.late -= 1
            entry.is_late = False
        if not entry.is_alive:
            return
        if entry.mark_ms is not None:
            heapq.heappush(self._marks, (entry.mark_ms, next(self._order), entry))
        else:
            heapq.heappush(self._ready, (entry.due + entry.period_s, next(self._order), entry))

    def done(self, entry: Entry[Owner], now: float, utc_ms: int) -> None:
        """The read ended; it comes again at its next turn or mark."""
        if not entry.is_alive:
            return
        if entry.align_ms:
            self._await_mark(entry, utc_ms)
            return
        turn = math.floor((now - entry.phase_s) / entry.period_s) + 1
        due = entry.phase_s + turn * entry.period_s
        if due <= now:
            due += entry.period_s
        self.skipped += max(0, math.floor((due - entry.due) / entry.period_s) - 1)
        entry.due, entry.retries = due, 0
        heapq.heappush(self._waiting, (due, next(self._order), entry))

    def retry(self, entry: Entry[Owner], now: float) -> bool:
        """Puts a read back to be tried again after 2, 4, 8 ... s. False, and nothing is done, where that makes no sense.

        For a mark it makes sense while the mark is not too long ago, for a period while the next turn is further away.
        """
        pause_s = FIRST_RETRY_S * 2**entry.retries
        if entry.mark_ms is None and pause_s > entry.period_s / 2:
            return False
        if entry.is_alive:
            entry.due = now + pause_s
            entry.retries += 1
            heapq.heappush(self._waiting, (entry.due, next(self._order), entry))
        return True

    def hasten(self, entry: Entry[Owner], now: float) -> Entry[Owner]:
        """A periodic read is due now; gives the entry that stands for it from now on."""
        self.remove(entry)
        sooner = Entry(entry.owner, period_s=entry.period_s, phase_s=entry.phase_s, due=now)
        heapq.heappush(self._waiting, (now, next(self._order), sooner))
        return sooner

    @staticmethod
    def is_too_late(entry: Entry[Owner], utc_ms: int) -> bool:
        """The mark is so long ago that a reading now would not stand for it: more than half the way to the next."""
        return entry.mark_ms is not None and not 0 <= utc_ms - entry.mark_ms <= entry.align_ms // 2

    def restart(self, now: float) -> None:
        """After an outage: every periodic read is due now, and none is late for it."""
        entries = [entry for _, _, entry in (*self._waiting, *self._ready) if entry.is_alive]
        self._waiting, self._ready = [], []
        for entry in entries:
            entry.due = now
            heapq.heappush(self._waiting, (now, next(self._order), entry))

    def wait_s(self, now: float, utc_ms: int, *, marks: bool = True) -> float:
        """Seconds until something may be due: 0 when it is, infinite when nothing ever is."""
        if self._ready:
            return 0.0
        until = math.inf
        if self._waiting:
            until = self._waiting[0][0] - now
        if marks and self._marks:
            until = min(until, (self._marks[0][0] - utc_ms) / 1000.0)
        return max(0.0, until)

    def __iter__(self) -> Iterator[Entry[Owner]]:
        return (entry for _, _, entry in (*self._waiting, *self._ready, *self._marks) if entry.is_alive)

    def _await_mark(self, entry: Entry[Owner], utc_ms: int) -> None:
        entry.retries = 0
        entry.mark_ms = mark = (utc_ms // entry.align_ms + 1) * entry.align_ms
        heapq.heappush(self._marks, (mark, next(self._order), entry))

    def _miss_mark(self, entry: Entry[Owner], utc_ms: int) -> None:
        self.skipped += 1
        self._await_mark(entry, utc_ms)

    def _pop_mark(self, utc_ms: int) -> Entry[Owner] | None:
        marks = self._marks
        first = marks[0]
        if first[0] - utc_ms > first[2].align_ms:  # UTC was set back: the marks lie elsewhere now
            entries = [entry for _, _, entry in marks if entry.is_alive]
            marks.clear()
            for entry in entries:
                self._await_mark(entry, utc_ms)
        while marks and marks[0][0] <= utc_ms:
            entry = heapq.heappop(marks)[2]
            if not entry.is_alive:
                continue
            if self.is_too_late(entry, utc_ms):
                self._miss_mark(entry, utc_ms)
                continue
            entry.is_late = False
            return entry
        return None


@dataclass(slots=True)
class _Probe(Generic[Owner]):
    owner: Owner
    interval_s: float
    due: float
    last: float
    cost_s: float | None = None


class Probes(Generic[Owner]):
    """Dead devices, each asked at intervals that grow from 5 to 60 s, all of them together inside 2 % of the link's time.

    A probe costs what it takes; after that the next one waits until its share has been earned back. Only where the link has
    nothing else to do for as long as the probe takes, a device that was not asked for a minute is asked beyond the share.
    `share` may be raised by a link that asks many devices at once.
    """

    def __init__(self, now: float) -> None:
        self._probes: dict[Owner, _Probe[Owner]] = {}
        self._free_at = now
        self.share = PROBE_SHARE
        self._longest_s = math.inf
        """What a probe costs that was never made: as much as the longest one here."""

    def __len__(self) -> int:
        return len(self._probes)

    def __contains__(self, owner: Owner) -> bool:
        return owner in self._probes

    def add(self, owner: Owner, now: float, first_s: float = FIRST_PROBE_S) -> None:
        """Begins to ask; nothing happens for one that is asked already."""
        if owner not in self._probes:
            self._probes[owner] = _Probe(owner, first_s, now + first_s, now)

    def remove(self, owner: Owner) -> None:
        self._probes.pop(owner, None)

    def pop(self, now: float, idle_s: float, is_free: Callable[[Owner], bool] = lambda owner: True) -> Owner | None:
        """Whom to ask now, of those that can be asked; `idle_s`: how long the link has nothing else to do.

        Tell what became of it by `done` or `remove`.
        """
        due = [probe for probe in self._probes.values() if probe.due <= now and is_free(probe.owner)]
        if not due:
            return None
        probe = min(due, key=lambda probe: probe.due)
        cost_s = self._longest_s if probe.cost_s is None else probe.cost_s
        is_starving = now - probe.last >= LAST_PROBE_S and idle_s >= cost_s
        return probe.owner if now >= self._free_at or is_starving else None

    def done(self, owner: Owner, now: float, cost_s: float) -> None:
        """The probe took `cost_s` of the link and was not answered."""
        self._free_at = max(self._free_at, now) + cost_s / self.share
        self._longest_s = max(cost_s, 0.0 if self._longest_s == math.inf else self._longest_s)
        probe = self._probes.get(owner)
        if probe is not None:
            probe.interval_s = min(LAST_PROBE_S, probe.interval_s * 2)
            probe.due, probe.last, probe.cost_s = now + probe.interval_s, now, cost_s

    def wait_s(self, now: float) -> float:
        """Seconds until a probe may be due; infinite when there is none."""
        if not self._probes:
            return math.inf
        probe = min(self._probes.values(), key=lambda probe: probe.due)
        allowed = min(self._free_at, probe.last + LAST_PROBE_S)
        return max(0.0, max(probe.due, allowed) - now)
