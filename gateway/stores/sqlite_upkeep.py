"""Keeps the embedded store's roll-ups true and its file bounded. Runs in the writer thread, in slices of a few milliseconds.

A quarter hour is summed up once it is over, and again whenever something late falls into it; its day follows. What retention
removes has been summed up before, because a dirty quarter is never cut off.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from gateway import rollup
from gateway.rollup import QUARTER_MS
from gateway.stores import sqlite_read
from gateway.stores.sqlite_layout import TIME_BITS, TIME_MASK
from gateway.stores.sqlite_write import Writer

_SETTLE_MS = 60_000
"""A quarter hour is left alone this long after its end: most of what is late comes within a minute."""
_DAY_MS = 86_400_000
_ROWS_A_CUT = 500
_to_json = msgspec.json.Encoder().encode


class Upkeep:
    """One slice of work a call."""

    def __init__(self, writer: Writer, zone_of: Callable[[str], str]) -> None:
        self._writer = writer
        self._zone_of = zone_of
        self._next_cut_s = 0.0
        self.quarters = 0
        """Quarter hours summed up since the start."""

    def roll_up(self, budget_s: float) -> bool:
        """Sums up quarters that are over, as many as the budget allows. True when more are waiting."""
        writer = self._writer
        limit = writer.wall_ms() - _SETTLE_MS - QUARTER_MS
        due = [key for key in writer.dirty if key & TIME_MASK <= limit]
        if not due:
            return False
        due.sort()
        names = {number: (site, dev, cls) for (site, dev, cls), number in writer.series.items()}
        until = time.perf_counter() + budget_s
        done: list[int] = []
        days: set[tuple[int, int, int, str]] = set()
        db = writer.db
        db.execute("BEGIN IMMEDIATE")
        try:
            for key in due:
                found = sqlite_read.quarter(db, key)
                if found:
                    db.execute("INSERT OR REPLACE INTO quarter VALUES (?,?)", (key, _to_json(found).decode()))
                db.execute("DELETE FROM dirty WHERE key=?", (key,))
                done.append(key)
                number = key >> TIME_BITS
                tz = self._zone_of(names[number][0])
                days.add((number, *rollup.day_edges(key & TIME_MASK, tz), tz))
                if time.perf_counter() > until:
                    break
            for number, start, end, tz in days:
                self._sum_day(number, start, end, tz)
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
        writer.dirty.difference_update(done)
        self.quarters += len(done)
        return len(done) < len(due)

    def _sum_day(self, number: int, start: int, end: int, tz: str) -> None:
        db = self._writer.db
        db.execute("DELETE FROM day WHERE key BETWEEN ? AND ?", sqlite_read.span(number, start, end))
        found = sqlite_read.day(db, number, start, end)
        if found:
            db.execute("INSERT INTO day VALUES (?,?,?)", ((number << TIME_BITS) | start, tz, _to_json(found).decode()))

    def retain(self, *, at_once: bool = False) -> bool:
        """Cuts off what is older than retention keeps, some hundred rows a call. True when there may be more.

        When nothing is left it rests for ten minutes, unless told to look `at_once`.
        """
        now_s = time.monotonic()
        if now_s < self._next_cut_s and not at_once:
            return False
        writer, more = self._writer, False
        keep, now = writer.retention, writer.wall_ms()
        db = writer.db
        oldest_dirty = min((key & TIME_MASK for key in writer.dirty), default=now)
        db.execute("BEGIN IMMEDIATE")
        try:
            for (_, _, cls), number in writer.series.items():
                more |= self._cut("reading", number, min(keep.raw_cut(cls, now), oldest_dirty))
                if keep.quarter_days is not None:
                    more |= self._cut("quarter", number, now - int(keep.quarter_days * _DAY_MS))
            if keep.event_days is not None:
                before = now - int(keep.event_days * _DAY_MS)
                db.execute("DELETE FROM event WHERE t_ns<?", (before * 1_000_000,))
            if keep.raw_days is not None:
                self._cut_quality(now - int(keep.raw_days * _DAY_MS))
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
        if not more:
            self._next_cut_s = now_s + 600
            db.execute("PRAGMA incremental_vacuum(256)")
        return more

    def _cut(self, table: str, number: int, before_ms: int) -> bool:
        if before_ms <= 0:
            return False
        low, high = sqlite_read.span(number, 0, before_ms)
        cursor = self._writer.db.execute(
            f"DELETE FROM {table} WHERE key IN (SELECT key FROM {table} WHERE key BETWEEN ? AND ? LIMIT {_ROWS_A_CUT})",
            (low, high),
        )
        return cursor.rowcount >= _ROWS_A_CUT

    def _cut_quality(self, before_ms: int) -> None:
        """Keeps the last change of each point, however old: it still holds."""
        self._writer.db.execute(
            "DELETE FROM quality WHERE t<? AND EXISTS (SELECT 1 FROM quality AS later WHERE later.site=quality.site "
            "AND later.dev=quality.dev AND later.pt=quality.pt AND later.t>quality.t AND later.t<?)",
            (before_ms, before_ms),
        )
