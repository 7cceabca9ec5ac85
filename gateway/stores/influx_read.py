"""The questions of the HTTP API to InfluxDB, in whichever language it speaks.

Raw samples are fetched and taken together here by the same pure functions as in the embedded store, so that both give the same
buckets, days of the site's zone and rises of counters.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from gateway import rollup
from gateway.stores.base import Bucket, EventRow, Latest, LedgerRow, QualityRow, Samples, Step
from gateway.stores.influx_dialect import Dialect, Flux, InfluxQL, Sql
from gateway.stores.influx_http import InfluxHttp

_OURS = frozenset({"quality", "event", "ledger", "point"})
_MOST_ROWS = 1_000_000
_MS = 1_000_000
_EVENT_TAGS = frozenset(
    {"time", "_time", "dev", "site", "type", "id", "agent", "result", "table", "_start", "_stop", "_measurement"}
)
_NAMES_S = 30.0
"""How long the measurements of a device are believed."""


def dialect_of(http: InfluxHttp) -> Dialect:
    match http.settings.version:
        case "v1":
            return InfluxQL(http)
        case "v2":
            return Flux(http)
    return Sql(http)


class Questions:
    """See `gateway.stores.base.Store`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._names: dict[tuple[str | None, str | None], tuple[float, list[str]]] = {}

    async def ping(self) -> None:
        await self._dialect.ping()

    async def close(self) -> None:
        await self._dialect.close()

    async def _classes(self, site: str | None, device: str | None) -> list[str]:
        """The class measurements of a device, a site or everything."""
        known = self._names.get((site, device))
        if known is not None and time.monotonic() - known[0] < _NAMES_S:
            return known[1]
        found = [name for name in await self._dialect.measurements(_tags(site, device)) if name not in _OURS]
        if len(self._names) > 10_000:
            self._names.clear()
        if found:
            self._names[site, device] = (time.monotonic(), found)
        return found

    async def latest(self, site: str | None, device: str | None) -> list[Latest]:
        tags = _tags(site, device)
        quality: dict[tuple[str, str, str], tuple[int, int, str]] = {}
        for row in _joined(await self._dialect.last("quality", tags, ("site", "dev", "pt"))):
            t_ms = row["time"] // _MS
            quality[row["site"], row["dev"], row["pt"]] = (t_ms, int(row.get("q", 0)), row.get("sc") or "")
        found: list[Latest] = []
        for cls in await self._classes(site, device):
            rows = await self._dialect.last(cls, tags, ("site", "dev"))
            found += [_latest(row, cls, row["field"], quality) for row in rows]
        rows = await self._dialect.last("point", tags, ("site", "dev", "pt"))
        found += [_latest(row, "point", row["pt"], quality) for row in rows]
        found += [
            Latest(of_site, dev, "", pt, t_ms, None, q, sc, t_ms)
            for (of_site, dev, pt), (t_ms, q, sc) in quality.items()
        ]
        return sorted(found, key=lambda one: (one.site, one.dev, one.pt))

    async def samples(
        self, site: str, device: str, points: Sequence[str], t0_ms: int, t1_ms: int, limit: int
    ) -> Samples:
        found: Samples = {point: [] for point in points}
        tags, t0, t1 = _tags(site, device), t0_ms * _MS, t1_ms * _MS
        own = [point for point in points if point.startswith(("x_", "harmonic_"))]
        for cls in await self._classes(site, device) if len(own) < len(points) else ():
            for point in points:
                if point not in own:
                    # A query a point: the newest rows of one point are not the newest rows of another.
                    rows = await self._dialect.rows(cls, tags, (point,), t0, t1, limit)
                    found[point] += [
                        (row["time"] // _MS, row[point]) for row in reversed(rows) if row.get(point) is not None
                    ]
        for point in own:
            for row in reversed(await self._dialect.rows("point", {**tags, "pt": point}, (), t0, t1, limit)):
                value = row.get("text") if row.get("value") is None else row["value"]
                if value is not None:
                    found[point].append((row["time"] // _MS, value))
        return found

    async def buckets(
        self, site: str, device: str, points: Sequence[str], t0_ms: int, t1_ms: int, step: Step
    ) -> dict[str, list[Bucket]]:
        edges = rollup.edges(t0_ms, t1_ms, step)
        near = rollup.near_ms(step)
        samples = await self.samples(site, device, points, edges[0] - near, edges[-1] + near, _MOST_ROWS)
        width = rollup.QUARTER_MS if rollup.is_whole_quarters(step) else edges[1] - edges[0]
        return {
            point: rollup.buckets(rollup.cut(values, width), edges, counter=rollup.is_counter(point))
            for point, values in samples.items()
        }

    async def quality(
        self, site: str, device: str, t0_ms: int, t1_ms: int, point: str | None, before: bool
    ) -> list[QualityRow]:
        tags = {**_tags(site, device), **({"pt": point} if point is not None else {})}
        rows = await self._dialect.rows("quality", tags, (), t0_ms * _MS, t1_ms * _MS, _MOST_ROWS)
        if before:
            seen: set[str] = set()
            for row in await self._dialect.rows("quality", tags, (), 0, t0_ms * _MS, 10_000):
                if row["pt"] not in seen:
                    seen.add(row["pt"])
                    rows.append(row)
        found = [
            QualityRow(
                site, device, row["pt"], row["time"] // _MS, int(row["q"]), row.get("sc") or "", row.get("f") or ""
            )
            for row in rows
        ]
        return sorted(found, key=lambda one: (one.t_ms, one.pt))

    async def events(
        self, t0_ms: int, t1_ms: int, site: str | None, device: str | None, types: Sequence[str], limit: int
    ) -> list[EventRow]:
        # Types are chosen here: a class (`access`) would need a pattern in three languages.
        asked = limit if not types else _MOST_ROWS
        rows = await self._dialect.rows("event", _tags(site, device), (), t0_ms * _MS, t1_ms * _MS, asked)
        found = []
        for row in rows:
            name = row["type"]
            if types and not any(name == kind or name.startswith(f"{kind}.") for kind in types):
                continue
            data = {key: value for key, value in row.items() if key not in _EVENT_TAGS and value is not None}
            found.append(EventRow(row["site"], row["dev"], name, row["time"], row["id"], data, row.get("agent") or ""))
        return found[:limit]

    async def ledger(self, agent: str, t0_ms: int) -> list[LedgerRow]:
        rows = await self._dialect.rows("ledger", {"agent": agent}, (), t0_ms * _MS, 2**62, _MOST_ROWS)
        return [
            LedgerRow(agent, row["epoch"], int(row["a"]), int(row["b"]), row["time"] // _MS) for row in reversed(rows)
        ]


def _tags(site: str | None, device: str | None) -> dict[str, str]:
    tags = {} if device is None else {"dev": device}
    return tags if site is None else {**tags, "site": site}


def _latest(
    row: dict[str, Any], cls: str, pt: str, quality: dict[tuple[str, str, str], tuple[int, int, str]]
) -> Latest:
    """The newest value with what is said of its quality, which is then taken out of `quality`."""
    site, dev, t_ms, value = row["site"], row["dev"], row["time"] // _MS, row["value"]
    said = quality.pop((site, dev, pt), None)
    if said is None:
        return Latest(site, dev, cls, pt, t_ms, value)
    since, q, sc = said
    return Latest(site, dev, cls, pt, max(t_ms, since), None if q == 2 and since >= t_ms else value, q, sc, since)


def _joined(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`last` of several fields of one series as one row each, with the newest of their times."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in found:
        row = rows.setdefault((one["site"], one["dev"], one["pt"]), {**one, "time": 0})
        row[one["field"]] = one["value"]
        row["time"] = max(row["time"], one["time"])
    return list(rows.values())
