"""The embedded store: one SQLite file, one writer thread with group commit, reader threads beside it.

It suits one worker on one machine (and the demo); several workers need InfluxDB. What is in the file, and why, is told in
`sqlite_layout`.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Concatenate, ParamSpec, TypeVar

from gateway.stores import sqlite_read
from gateway.stores.base import (
    Bucket,
    EventRow,
    FieldValue,
    Latest,
    LedgerRow,
    QualityRow,
    Refused,
    RowBatch,
    Samples,
    Step,
    StoreHealth,
)
from gateway.stores.sqlite_layout import as_store_error, open_reader, open_writer
from gateway.stores.sqlite_upkeep import Upkeep
from gateway.stores.sqlite_write import Newest, Retention, Writer

P = ParamSpec("P")
T = TypeVar("T")

_READERS = 2
_NEWEST_ROWS = 200
_SLICE_S = 0.02
_PAUSE_S = 1.0


class SqliteStore:
    """See `gateway.stores.base.Store`."""

    name: ClassVar[str] = "sqlite"

    def __init__(
        self,
        path: Path,
        *,
        retention: Retention | None = None,
        zone_of: Callable[[str], str] = lambda site: "UTC",
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`zone_of` gives the time zone of a site, for its days."""
        self.path = path
        self._retention = retention or Retention()
        self._zone_of = zone_of
        self._wall_ms = wall_ms
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._read_threads = ThreadPoolExecutor(_READERS, thread_name_prefix="store-read")
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._writer: Writer | None = None
        self._upkeep: Upkeep | None = None
        self._upkeep_task: asyncio.Task[None] | None = None
        self._quality: dict[tuple[str, str], dict[str, QualityRow]] = {}

    async def open(self) -> None:
        await self._in_writer(self._open)
        self._upkeep_task = asyncio.create_task(self._keep_up(), name="store-upkeep")

    def _open(self) -> None:
        db = open_writer(self.path)
        try:
            writer = Writer(db, self._retention, self._wall_ms)
            for _ in range(_READERS):
                self._readers.put(open_reader(self.path))

            def add(series: tuple[str, str, str], t_ms: int, fields: Mapping[str, FieldValue]) -> None:
                writer.newest.setdefault(series, Newest()).add(t_ms, fields)

            sqlite_read.newest(db, add, _NEWEST_ROWS)
            self._remember(sqlite_read.newest_quality(db))
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error
        self._writer = writer
        self._upkeep = Upkeep(writer, self._zone_of)

    async def close(self) -> None:
        if self._upkeep_task is not None:
            self._upkeep_task.cancel()
            await asyncio.gather(self._upkeep_task, return_exceptions=True)
            self._upkeep_task = None
        self._read_threads.shutdown(wait=True)
        while not self._readers.empty():
            self._readers.get().close()
        if self._writer is not None:
            await self._in_writer(self._writer.db.close)
            self._writer = None
        self._write_thread.shutdown(wait=True)

    async def health(self) -> StoreHealth:
        if self._writer is None:
            return StoreHealth(False, "not open")
        try:
            await self._read(lambda db: db.execute("SELECT 1").fetchone())
            size = self.path.stat().st_size
        except (sqlite3.Error, OSError) as error:
            return StoreHealth(False, str(error))
        return StoreHealth(True, size_bytes=size)

    # --- writing ------------------------------------------------------------------------------------------------------

    async def write(self, batch: RowBatch) -> list[Refused]:
        assert self._writer is not None, "open the store first"
        try:
            refused = await self._in_writer(self._writer.write, batch)
        except (sqlite3.Error, OSError) as error:
            raise as_store_error(error, self.path) from error
        self._remember(row for row in batch.rows if row.__class__ is QualityRow)
        return refused

    def _remember(self, rows: object) -> None:
        for row in rows:  # type: ignore[attr-defined]
            held = self._quality.setdefault((row.site, row.dev), {})
            if row.pt not in held or row.t_ms >= held[row.pt].t_ms:
                held[row.pt] = row

    async def _keep_up(self) -> None:
        """Roll-ups and retention in small slices, so that a write never waits for more than one of them."""
        assert self._upkeep is not None
        while True:
            try:
                more = await self._in_writer(self._upkeep.roll_up, _SLICE_S)
                more |= await self._in_writer(self._upkeep.retain)
            except sqlite3.Error:
                more = False  # the next write meets the same fault and says so
            await asyncio.sleep(0 if more else _PAUSE_S)

    async def roll_up(self) -> None:
        """Sums up all that is over, now."""
        assert self._upkeep is not None
        while await self._in_writer(self._upkeep.roll_up, 1.0):
            pass

    async def retain(self) -> None:
        """Cuts off all that is older than retention keeps, now."""
        assert self._upkeep is not None
        while await self._in_writer(self._upkeep.retain, at_once=True):
            pass

    # --- reading ------------------------------------------------------------------------------------------------------

    async def latest(self, site: str | None = None, device: str | None = None) -> list[Latest]:
        assert self._writer is not None
        found: list[Latest] = []
        for (of_site, dev, cls), newest in sorted(self._writer.newest.items()):
            if (site is None or of_site == site) and (device is None or dev == device):
                quality = self._quality.get((of_site, dev), {})
                found += self._latest_of(of_site, dev, cls, newest, quality)
        for (of_site, dev), quality in sorted(self._quality.items()):
            if (site is None or of_site == site) and (device is None or dev == device):
                known = {latest.pt for latest in found if (latest.site, latest.dev) == (of_site, dev)}
                found += [
                    Latest(of_site, dev, "", pt, row.t_ms, None, row.q, row.sc, row.t_ms)
                    for pt, row in sorted(quality.items())
                    if pt not in known
                ]
        return found

    @staticmethod
    def _latest_of(site: str, dev: str, cls: str, newest: Newest, quality: Mapping[str, QualityRow]) -> list[Latest]:
        found = []
        for pt, (t_ms, newest_value) in sorted(newest.values().items()):
            row = quality.get(pt)
            if row is None:
                found.append(Latest(site, dev, cls, pt, t_ms, newest_value))
            else:
                value = None if row.q == 2 and row.t_ms >= t_ms else newest_value
                found.append(Latest(site, dev, cls, pt, max(t_ms, row.t_ms), value, row.q, row.sc, row.t_ms))
        return found

    async def samples(
        self, site: str, device: str, points: Sequence[str], t0_ms: int, t1_ms: int, *, limit: int = 100_000
    ) -> Samples:
        return await self._read(sqlite_read.samples, site, device, points, t0_ms, t1_ms, limit)

    async def buckets(
        self, site: str, device: str, points: Sequence[str], t0_ms: int, t1_ms: int, step: Step
    ) -> dict[str, list[Bucket]]:
        return await self._read(sqlite_read.buckets, site, device, points, t0_ms, t1_ms, step)

    async def quality(
        self, site: str, device: str, t0_ms: int, t1_ms: int, *, point: str | None = None, before: bool = True
    ) -> list[QualityRow]:
        return await self._read(sqlite_read.quality, site, device, t0_ms, t1_ms, point, before)

    async def events(
        self,
        t0_ms: int,
        t1_ms: int,
        *,
        site: str | None = None,
        device: str | None = None,
        types: Sequence[str] = (),
        limit: int = 1000,
    ) -> list[EventRow]:
        return await self._read(sqlite_read.events, t0_ms, t1_ms, site, device, types, limit)

    async def ledger(self, agent: str, *, t0_ms: int = 0) -> list[LedgerRow]:
        return await self._read(sqlite_read.ledger, agent, t0_ms)

    def figures(self) -> Mapping[str, float]:
        writer, upkeep = self._writer, self._upkeep
        if writer is None or upkeep is None:
            return {}
        return {
            "rows_total": writer.rows,
            "commits_total": writer.commits,
            "commit_seconds_total": writer.commit_s,
            "series": len(writer.series),
            "quarters_waiting": len(writer.dirty),
            "quarters_total": upkeep.quarters,
        }

    # --- threads ------------------------------------------------------------------------------------------------------

    async def _in_writer(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._write_thread, lambda: call(*args, **kwargs))

    async def _read(
        self, ask: Callable[Concatenate[sqlite3.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def run() -> T:
            db = self._readers.get()
            try:
                return ask(db, *args, **kwargs)
            finally:
                self._readers.put(db)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._read_threads, run)
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error
