"""The writing half of the embedded store: a batch becomes one transaction. Runs in the store's one writer thread.

Rows of the same series and time merge point by point, so writing a batch again changes nothing; the merge costs only where two
rows meet.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from gateway.rollup import QUARTER_MS
from gateway.stores.base import ClassRow, EventRow, FieldValue, LedgerRow, PointRow, QualityRow, Refused, RowBatch
from gateway.stores.sqlite_layout import POINT, TIME_BITS

_READING = (
    "INSERT INTO reading(key, fields) VALUES (?,?) "
    "ON CONFLICT(key) DO UPDATE SET fields=json_patch(fields, excluded.fields)"
)
_QUALITY = "INSERT OR REPLACE INTO quality VALUES (?,?,?,?,?,?,?)"
_EVENT = "INSERT OR REPLACE INTO event VALUES (?,?,?,?,?,?,?)"
_LEDGER = (
    "INSERT INTO ledger VALUES (?,?,?,?,?) "
    "ON CONFLICT(agent, epoch, a) DO UPDATE SET b=max(b, excluded.b), t=max(t, excluded.t)"
)
_DIRTY = "INSERT OR IGNORE INTO dirty VALUES (?)"

_to_json = msgspec.json.Encoder().encode
_day_ms = 86_400_000


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days are kept; None = for ever. `classes` overrides `raw_days` by device class."""

    raw_days: float | None = 400
    quarter_days: float | None = 1830
    event_days: float | None = None
    classes: Mapping[str, float | None] = field(default_factory=dict)

    def raw_cut(self, cls: str, now_ms: int) -> int:
        """Readings before this time are not kept."""
        days = self.classes.get(cls, self.raw_days)
        return 0 if days is None else now_ms - int(days * _day_ms)


class Newest:
    """The newest value of each point of one series, by time of acquisition.

    The last row is kept as it is and folded in only when the next one lacks points of it: a device that sends all its points each
    time costs nothing a point.
    """

    __slots__ = ("_last", "_older")

    def __init__(self) -> None:
        self._last: tuple[int, Mapping[str, FieldValue]] = (0, {})
        self._older: dict[str, tuple[int, FieldValue]] = {}

    def add(self, t_ms: int, fields: Mapping[str, FieldValue]) -> None:
        last_t, last = self._last
        if t_ms < last_t:
            self._fold(t_ms, fields)
            return
        if not last.keys() <= fields.keys():
            self._fold(last_t, last)
        self._last = (t_ms, fields)

    def _fold(self, t_ms: int, fields: Mapping[str, FieldValue]) -> None:
        older = self._older
        for point, value in fields.items():
            if point not in older or t_ms >= older[point][0]:
                older[point] = (t_ms, value)

    def values(self) -> dict[str, tuple[int, FieldValue]]:
        """(time, value) by point. May be called from another thread than `add`."""
        found = self._older.copy()
        t_ms, fields = self._last
        for point, value in fields.items():
            if point not in found or t_ms >= found[point][0]:
                found[point] = (t_ms, value)
        return found


class Writer:
    """Owns the writing connection and what it remembers between batches: series numbers, open ledger ranges, dirty quarters."""

    def __init__(self, db: sqlite3.Connection, retention: Retention, wall_ms: Callable[[], int]) -> None:
        self.db = db
        self.retention = retention
        self.wall_ms = wall_ms
        self.series: dict[tuple[str, str, str], int] = {
            (site, dev, cls): number for number, site, dev, cls in db.execute("SELECT id, site, dev, cls FROM series")
        }
        self._last_number = max(self.series.values(), default=0)
        self.newest: dict[tuple[str, str, str], Newest] = {}
        self.dirty: set[int] = {key for (key,) in db.execute("SELECT key FROM dirty")}
        self._open_range: dict[tuple[str, str], tuple[int, int]] = {}
        self.rows = 0
        self.commits = 0
        self.commit_s = 0.0

    def write(self, batch: RowBatch) -> list[Refused]:
        """One transaction. Raises sqlite3.Error with nothing written."""
        refused: list[Refused] = []
        readings: list[tuple[int, str]] = []
        quality: list[tuple[object, ...]] = []
        events: list[tuple[object, ...]] = []
        ledger: list[LedgerRow] = []
        own: dict[tuple[str, str, int], dict[str, FieldValue]] = {}
        fresh: list[ClassRow] = []
        now = self.wall_ms()
        cuts: dict[str, int] = {}
        new_series: list[tuple[str, str, str]] = []
        dirty: set[int] = set()
        for index, row in enumerate(batch.rows):
            if row.__class__ is ClassRow:
                t_ms, cls = row.t_ms, row.cls
                cut = cuts.get(cls)
                if cut is None:
                    cut = cuts[cls] = self.retention.raw_cut(cls, now)
                if t_ms < cut:
                    refused.append(_too_old(index, t_ms, cut))
                    continue
                key = (self._number(row.site, row.dev, cls, new_series) << TIME_BITS) | t_ms
                dirty.add(key - t_ms % QUARTER_MS)
                readings.append((key, row.text or _to_json(row.fields).decode()))
                fresh.append(row)
            elif row.__class__ is PointRow:
                cut = self.retention.raw_cut(POINT, now)
                if row.t_ms < cut:
                    refused.append(_too_old(index, row.t_ms, cut))
                    continue
                own.setdefault((row.site, row.dev, row.t_ms), {})[row.pt] = row.value
            elif row.__class__ is QualityRow:
                quality.append((row.site, row.dev, row.pt, row.t_ms, row.q, row.sc, row.flags))
            elif row.__class__ is EventRow:
                events.append((row.t_ns, row.site, row.dev, row.type, row.id, row.agent, _to_json(row.data).decode()))
            elif row.__class__ is LedgerRow:
                ledger.append(row)
        for (site, dev, t_ms), fields in own.items():
            key = (self._number(site, dev, POINT, new_series) << TIME_BITS) | t_ms
            dirty.add(key - t_ms % QUARTER_MS)
            readings.append((key, _to_json(fields).decode()))
            fresh.append(ClassRow(site, dev, POINT, t_ms, fields))
        dirty -= self.dirty
        ranges, open_range = self._ranges(ledger)
        self._commit(new_series, readings, quality, events, ranges, dirty)
        self._open_range = open_range
        self.dirty |= dirty
        self.rows += len(readings) + len(quality) + len(events)
        for row in fresh:
            newest = self.newest.get((row.site, row.dev, row.cls))
            if newest is None:
                newest = self.newest[row.site, row.dev, row.cls] = Newest()
            newest.add(row.t_ms, row.fields)
        return refused

    def _number(self, site: str, dev: str, cls: str, new: list[tuple[str, str, str]]) -> int:
        key = (site, dev, cls)
        number = self.series.get(key)
        if number is None:
            self._last_number += 1
            number = self.series[key] = self._last_number
            new.append(key)
        return number

    def _ranges(self, rows: list[LedgerRow]) -> tuple[list[tuple[object, ...]], dict[tuple[str, str], tuple[int, int]]]:
        """Ledger rows with each that continues the one before it grown onto it, and what is open afterwards."""
        open_range = dict(self._open_range)
        statements: list[tuple[object, ...]] = []
        for row in rows:
            a, b = row.a, row.b
            before = open_range.get((row.agent, row.epoch))
            if before is not None and before[0] <= a <= before[1] + 1:
                a, b = before[0], max(before[1], b)
            open_range[row.agent, row.epoch] = (a, b)
            statements.append((row.agent, row.epoch, a, b, row.t_ms))
        return statements, open_range

    def _commit(
        self,
        series: list[tuple[str, str, str]],
        readings: list[tuple[int, str]],
        quality: list[tuple[object, ...]],
        events: list[tuple[object, ...]],
        ledger: list[tuple[object, ...]],
        dirty: set[int],
    ) -> None:
        db = self.db
        begun = time.perf_counter()
        db.execute("BEGIN IMMEDIATE")
        try:
            for key in series:
                db.execute("INSERT INTO series VALUES (?,?,?,?)", (self.series[key], *key))
            db.executemany(_READING, readings)
            if quality:
                db.executemany(_QUALITY, quality)
            if events:
                db.executemany(_EVENT, events)
            if ledger:
                db.executemany(_LEDGER, ledger)
            if dirty:
                db.executemany(_DIRTY, ((key,) for key in dirty))
            db.execute("COMMIT")
        except sqlite3.Error:
            for key in series:
                del self.series[key]
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self.commits += 1
        self.commit_s += time.perf_counter() - begun


def _too_old(index: int, t_ms: int, cut: int) -> Refused:
    return Refused(index, "retention", f"time {t_ms} is before {cut}, where what is kept begins")
