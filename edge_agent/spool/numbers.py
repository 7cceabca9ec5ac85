"""The number space of the messages: key = base of the epoch + seq. Pure, but for the dice of a new epoch.

Bases lie one above the other, so that keys grow over all epochs and a range of an epoch's numbers is a range of keys: no index
is needed to forget by (epoch, seq).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from edge_agent.spool.database import EpochRow
from edge_agent.spool.entry import Entry
from edge_agent.spool.ranges import Ranges

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32, as in the contract's examples."""
UNREAD_BASE = 2**48
"""Base of the first epoch after a file whose epochs could not be read: every message found in that file goes below."""
EPOCH_SPAN = 2**32
"""Room for an epoch of which only messages are known."""
RANGES_A_REPORT = 400
"""So that an event `system.data_lost` stays far below 64 KiB."""


def expected(rows: Sequence[EpochRow]) -> Ranges:
    """Keys that a file with these epochs held at its last commit, but for those acknowledged out of order."""
    oldest = max(rows, key=lambda row: row.commits).oldest if rows else 0
    return Ranges((max(row.base + 1, oldest), row.base + row.last) for row in rows if oldest)


class Numbers:
    """The epochs of this spool. `adopt` comes before anything else."""

    def __init__(self) -> None:
        self.epoch = "".join(secrets.choice(ALPHABET) for _ in range(10))
        self.previous: tuple[str, int] | None = None
        """(epoch, last committed seq) of the opening before this one."""
        self.committed = 0
        """Last committed seq of the current epoch."""
        self.held = Ranges()
        """Keys that the disk should hold. Of what was acknowledged out of order before this opening it knows nothing."""
        self._spans: dict[str, tuple[int, int]] = {}
        """Epoch -> (base, last seq). Written by the writer's thread, read by both."""

    @property
    def is_adopted(self) -> bool:
        return self.epoch in self._spans

    @property
    def base(self) -> int:
        return self._spans[self.epoch][0]

    def adopt(self, rows: Sequence[EpochRow], *, above: int = 0) -> None:
        """Takes over the epochs of a file; the current one gets its base at the first call, above all of them."""
        former = [row for row in rows if row.epoch != self.epoch]
        for row in former:
            self._spans.setdefault(row.epoch, (row.base, row.last))
        if not self.is_adopted:
            if former:
                self.previous = (former[-1].epoch, former[-1].last)
            self.held = expected(former)
            self._spans[self.epoch] = (max((row.base + row.last for row in former), default=above), 0)

    def adopt_message(self, entry: Entry) -> tuple[Entry, EpochRow | None]:
        """A salvaged message under the key that it has here, with a row for its epoch where that was not known."""
        span = self._spans.get(entry.epoch)
        row = None
        if span is None:
            span = self._room_for(entry)
            self._spans[entry.epoch] = span
            row = EpochRow(0, entry.epoch, *span, 0, 0, 0)
        key = span[0] + entry.seq
        if key == entry.key:
            return entry, row
        moved = Entry(key, entry.epoch, entry.seq, entry.kind, entry.device, entry.cls, entry.t_ms, entry.payload)
        return moved, row

    def _room_for(self, entry: Entry) -> tuple[int, int]:
        """Base and last seq for the unknown epoch of a message: where it was, when nothing else is there."""
        base = entry.key - entry.seq
        above = [low for low, _ in self._spans.values() if low >= entry.key]
        is_taken = any(low < entry.key <= low + last for low, last in self._spans.values())
        if base >= 0 and above and not is_taken:
            return base, min(above) - base
        bases = {low for low, _ in self._spans.values()}
        return next(n * EPOCH_SPAN for n in range(1, UNREAD_BASE) if n * EPOCH_SPAN not in bases), EPOCH_SPAN - 1

    def keys(self, epoch: str, low: int, high: int) -> tuple[int, int] | None:
        """The keys of a range of an epoch's numbers, or None when it holds none of them."""
        span = self._spans.get(epoch)
        if span is None:
            return None
        base, last = span
        low = max(1, low)
        high = min(high, UNREAD_BASE if epoch == self.epoch else last)
        return (base + low, base + high) if low <= high else None

    def locate(self, key: int) -> tuple[str, int] | None:
        """(epoch, seq) of a key."""
        for epoch, (base, last) in self._spans.items():
            if base < key <= base + last:
                return epoch, key - base
        return (self.epoch, key - self.base) if key > self.base else None

    def lost(self, keys: Ranges, times: Sequence[int], reason: str) -> Iterator[dict[str, Any]]:
        """The fields of `system.data_lost` events for these keys, an epoch each, none of them too long.

        `times` are those of the messages, where known; a message of unknown time may be as young as now.
        """
        now = int(time.time() * 1000)
        by_epoch: dict[str, list[list[int]]] = {}
        for low, high in keys:
            found = self.locate(low)
            if found:
                epoch, seq = found
                by_epoch.setdefault(epoch, []).append([seq, seq + high - low])
        for epoch, ranges in by_epoch.items():
            for start in range(0, len(ranges), RANGES_A_REPORT):
                yield {
                    "epoch": epoch,
                    "ranges": ranges[start : start + RANGES_A_REPORT],
                    "t0": min(times, default=now),
                    "t1": max(times, default=now),
                    "reason": reason,
                }
