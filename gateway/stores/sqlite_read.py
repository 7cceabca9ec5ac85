"""The questions to the embedded store's file. Plain functions over a reading connection; they run in reader threads."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

import msgspec

from gateway import rollup
from gateway.rollup import QUARTER_MS, Summary
from gateway.stores.base import Bucket, EventRow, EventValue, FieldValue, LedgerRow, QualityRow, Samples, Step
from gateway.stores.sqlite_layout import TIME_BITS, TIME_MASK

_fields = msgspec.json.Decoder(dict[str, float | str])
_summaries = msgspec.json.Decoder(dict[str, Summary])
_data = msgspec.json.Decoder(dict[str, bool | float | str])

Decoded = dict[str, list[Summary]]


def series_of(db: sqlite3.Connection, site: str, device: str) -> list[tuple[int, str]]:
    """(number, measurement) of each series of a device."""
    return db.execute("SELECT id, cls FROM series WHERE site=? AND dev=? ORDER BY id", (site, device)).fetchall()


def span(series: int, t0_ms: int, t1_ms: int) -> tuple[int, int]:
    """The keys of [t0, t1) of a series: for BETWEEN, both included."""
    low, high = max(0, min(t0_ms, TIME_MASK)), max(0, min(t1_ms - 1, TIME_MASK))
    return (series << TIME_BITS) | low, ((series << TIME_BITS) | high) if t1_ms > t0_ms else -1


def samples(
    db: sqlite3.Connection, site: str, device: str, points: Sequence[str], t0_ms: int, t1_ms: int, limit: int
) -> Samples:
    """Raw samples, oldest first, the newest `limit` of each point."""
    found: Samples = {point: [] for point in points}
    wanted = set(points)
    for number, _ in series_of(db, site, device):
        rows = db.execute(
            "SELECT key, fields FROM reading WHERE key BETWEEN ? AND ? ORDER BY key DESC", span(number, t0_ms, t1_ms)
        )
        open_points = set(wanted)
        for key, text in rows:
            fields = _fields.decode(text)
            t_ms = key & TIME_MASK
            for point in open_points & fields.keys():
                found[point].append((t_ms, fields[point]))
                if len(found[point]) >= limit:
                    open_points.discard(point)
            if not open_points:
                break
    for values in found.values():
        values.reverse()
    return found


def buckets(
    db: sqlite3.Connection, site: str, device: str, points: Sequence[str], t0_ms: int, t1_ms: int, step: Step
) -> dict[str, list[Bucket]]:
    """From the roll-ups where they are good, from the readings where they are not (yet)."""
    edges = rollup.edges(t0_ms, t1_ms, step)
    whole_quarters = rollup.is_whole_quarters(step)
    near = rollup.near_ms(step)
    low, high = edges[0] - near, edges[-1] + near
    summaries: Decoded = {point: [] for point in points}
    for number, _ in series_of(db, site, device):
        found = (
            _by_quarters(db, number, points, low, high, step)
            if whole_quarters
            else _by_readings(db, number, points, low, high, edges)
        )
        for point, parts in found.items():
            summaries[point] += parts
    return {
        point: rollup.buckets(sorted(parts, key=_first_t), edges, counter=rollup.is_counter(point))
        for point, parts in summaries.items()
    }


def _first_t(summary: Summary) -> int:
    return summary.first_t


def _by_readings(
    db: sqlite3.Connection, number: int, points: Sequence[str], low: int, high: int, edges: Sequence[int]
) -> Decoded:
    width = edges[1] - edges[0]
    rows = db.execute("SELECT key, fields FROM reading WHERE key BETWEEN ? AND ? ORDER BY key", span(number, low, high))
    return {point: rollup.cut(values, width) for point, values in _columns(rows, set(points)).items() if values}


def _columns(rows: Iterable[tuple[int, str]], wanted: set[str]) -> Samples:
    """Readings as one list a point."""
    columns: Samples = {point: [] for point in wanted}
    for key, text in rows:
        fields = _fields.decode(text)
        t_ms = key & TIME_MASK
        for point in wanted & fields.keys():
            columns[point].append((t_ms, fields[point]))
    return columns


def _by_quarters(
    db: sqlite3.Connection, number: int, points: Sequence[str], low: int, high: int, step: Step
) -> Decoded:
    """Summaries of quarter hours, or of whole days where the day roll-up is of the same zone and nothing in it is dirty."""
    wanted = set(points)
    found: Decoded = {point: [] for point in points}
    bounds = span(number, low, high)
    dirty = {key for (key,) in db.execute("SELECT key FROM dirty WHERE key BETWEEN ? AND ?", bounds)}
    days: list[tuple[int, int]] = []
    if step.unit != "second":
        dirty_t = sorted(key & TIME_MASK for key in dirty)
        for key, _, text in db.execute(
            "SELECT key, tz, fields FROM day WHERE key BETWEEN ? AND ? AND tz=? ORDER BY key", (*bounds, step.tz)
        ):
            start, end = rollup.day_edges(key & TIME_MASK, step.tz)
            if not any(start <= t_ms < end for t_ms in dirty_t):
                days.append((start, end))
                _take(found, wanted, text)
    for a, b in _outside(days, low, high):
        for key, text in db.execute(
            "SELECT key, fields FROM quarter WHERE key BETWEEN ? AND ? ORDER BY key", span(number, a, b)
        ):
            if key not in dirty:
                _take(found, wanted, text)
    for key in sorted(dirty):
        for point, summary in quarter(db, key).items():
            if point in wanted:
                found[point].append(summary)
    return found


def _take(found: Decoded, wanted: set[str], text: str) -> None:
    summaries = _summaries.decode(text)
    for point in wanted & summaries.keys():
        found[point].append(summaries[point])


def _outside(days: Sequence[tuple[int, int]], low: int, high: int) -> list[tuple[int, int]]:
    """What is left of [low, high) without the days."""
    left, at = [], low
    for start, end in days:
        if start > at:
            left.append((at, start))
        at = max(at, end)
    if at < high:
        left.append((at, high))
    return left


def quarter(db: sqlite3.Connection, key: int) -> dict[str, Summary]:
    """The summaries of the quarter hour whose first millisecond is `key`, from the readings."""
    rows = db.execute(
        "SELECT key, fields FROM reading WHERE key BETWEEN ? AND ? ORDER BY key", (key, key + QUARTER_MS - 1)
    )
    columns: dict[str, list[tuple[int, FieldValue]]] = {}
    for found, text in rows:
        t_ms = found & TIME_MASK
        for point, value in _fields.decode(text).items():
            columns.setdefault(point, []).append((t_ms, value))
    return {point: rollup.summarise(values) for point, values in columns.items()}


def day(db: sqlite3.Connection, number: int, start: int, end: int) -> dict[str, Summary]:
    """The summaries of a day [start, end) of a series, from its quarter hours."""
    parts: Decoded = {}
    for _, text in db.execute(
        "SELECT key, fields FROM quarter WHERE key BETWEEN ? AND ? ORDER BY key", span(number, start, end)
    ):
        for point, summary in _summaries.decode(text).items():
            parts.setdefault(point, []).append(summary)
    return {point: rollup.merge(found) for point, found in parts.items()}


def quality(
    db: sqlite3.Connection, site: str, device: str, t0_ms: int, t1_ms: int, point: str | None, before: bool
) -> list[QualityRow]:
    """Changes in the range and, with `before`, the last one of each point ahead of it; oldest first."""
    only = "AND pt=?" if point is not None else ""
    one = (point,) if point is not None else ()
    rows = db.execute(
        f"SELECT * FROM quality WHERE site=? AND dev=? {only} AND t>=? AND t<?", (site, device, *one, t0_ms, t1_ms)
    ).fetchall()
    if before:
        rows += db.execute(
            f"SELECT site, dev, pt, max(t), q, sc, flags FROM quality WHERE site=? AND dev=? {only} AND t<? GROUP BY pt",
            (site, device, *one, t0_ms),
        ).fetchall()
    return sorted((QualityRow(*row) for row in rows), key=lambda row: (row.t_ms, row.pt))


def events(
    db: sqlite3.Connection,
    t0_ms: int,
    t1_ms: int,
    site: str | None,
    device: str | None,
    types: Sequence[str],
    limit: int,
) -> list[EventRow]:
    """Events, newest first."""
    clauses, values = ["t_ns>=?", "t_ns<?"], [t0_ms * 1_000_000, t1_ms * 1_000_000]
    arguments: list[object] = list(values)
    for column, value in (("site", site), ("dev", device)):
        if value is not None:
            clauses.append(f"{column}=?")
            arguments.append(value)
    if types:
        clauses.append("(" + " OR ".join("type=? OR type GLOB ?" for _ in types) + ")")
        for name in types:
            arguments += (name, f"{name}.*")
    rows = db.execute(
        f"SELECT site, dev, type, t_ns, id, data, agent FROM event WHERE {' AND '.join(clauses)} ORDER BY t_ns DESC LIMIT ?",
        (*arguments, limit),
    )
    found = []
    for site_, dev, name, t_ns, id_, data, agent in rows:
        fields: dict[str, EventValue] = _data.decode(data)
        found.append(EventRow(site_, dev, name, t_ns, id_, fields, agent))
    return found


def ledger(db: sqlite3.Connection, agent: str, t0_ms: int) -> list[LedgerRow]:
    rows = db.execute("SELECT agent, epoch, a, b, t FROM ledger WHERE agent=? AND t>=? ORDER BY t, a", (agent, t0_ms))
    return [LedgerRow(*row) for row in rows]


def newest(
    db: sqlite3.Connection, add: Callable[[tuple[str, str, str], int, Mapping[str, FieldValue]], None], most_rows: int
) -> None:
    """Tells the newest rows of every series, oldest first: what `latest` knows after a start."""
    for number, site, dev, cls in db.execute("SELECT id, site, dev, cls FROM series").fetchall():
        rows = db.execute(
            "SELECT key, fields FROM reading WHERE key BETWEEN ? AND ? ORDER BY key DESC LIMIT ?",
            (*span(number, 0, TIME_MASK + 1), most_rows),
        ).fetchall()
        for key, text in reversed(rows):
            add((site, dev, cls), key & TIME_MASK, _fields.decode(text))


def newest_quality(db: sqlite3.Connection) -> list[QualityRow]:
    """The last change of quality of every point."""
    rows = db.execute("SELECT site, dev, pt, t, q, sc, flags FROM quality ORDER BY site, dev, pt, t").fetchall()
    return [QualityRow(*list(group)[-1]) for _, group in groupby(rows, key=lambda row: row[:3])]
