"""The one thread that touches the spool's database: group commit, reading, making room, and what to do when the disk fails.

It owns the `Database` and the ladder of failure: mend and write again from memory; then memory only, bounded, trying the
disk again every `RETRY_S`. Whatever it has to say goes to the event loop by `call_soon_threadsafe`; it never blocks the loop
and the loop never waits for it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from edge_agent.spool.buffer import Buffer
from edge_agent.spool.database import Database
from edge_agent.spool.entry import Entry, Row, Seal, SpoolFill
from edge_agent.spool.ranges import Ranges
from edge_agent.spool.recovery import Shelf, is_damage, is_full
from edge_agent.spool.space import Space
from edge_agent.spool.thinning import Thinner

BATCH = 256
RETRY_S = 2.0
SHED_STEPS = 64
"""Most deletions in one go before new messages get their turn."""

Trouble = Callable[[str, Mapping[str, Any]], None]


class Writer:
    """See the module. All methods may be called from the event loop; none of them waits."""

    def __init__(
        self,
        shelf: Shelf,
        database: Database | None,
        buffer: Buffer,
        space: Space,
        *,
        seal: Seal,
        commit_s: float,
        loop: AbstractEventLoop,
        on_commit: Callable[[Sequence[Entry]], None],
        on_trouble: Trouble,
    ) -> None:
        self._shelf = shelf
        self._database = database
        self._buffer = buffer
        self._space = space
        self._seal = seal
        self._commit_s = commit_s
        self._loop = loop
        self._on_commit = on_commit
        self._on_trouble = on_trouble
        self._thinner = Thinner()
        self._condition = threading.Condition()
        self._due: float | None = None
        self._jobs: deque[Callable[[], None]] = deque()
        self._forget = Ranges()
        self._state: dict[tuple[str, str], bytes | None] = {}
        self._stopping = False
        self._has_ended = False
        self._retry_at = 0.0
        self._is_failed = False
        self._disk_fill = SpoolFill(0, 0, None)
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    # -- called from the event loop

    def start(self, failure: Exception | None) -> None:
        """Starts the thread. `failure` says why there is no database."""
        if failure is not None:
            self._give_up(failure)
        self._tell_aside()
        self._note()
        self._thread.start()

    def wake(self, *, now: bool = False) -> None:
        """Something waits to be written: within the commit interval, or at once."""
        with self._condition:
            if now:
                self._due = 0.0
            elif self._due is None:
                self._due = time.monotonic() + self._commit_s
            else:
                return
            self._condition.notify()

    def forget(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Keys that need not be kept any more."""
        with self._condition:
            for low, high in ranges:
                self._forget.add(low, high)
        self.wake()

    def save(self, namespace: str, key: str, value: bytes | None) -> None:
        with self._condition:
            self._state[namespace, key] = value
        self.wake()

    def fill(self) -> SpoolFill:
        disk = self._disk_fill
        msgs, size, oldest = self._buffer.fill()
        return SpoolFill(disk.msgs + msgs, disk.bytes + size, oldest if disk.oldest_ms is None else disk.oldest_ms)

    def call(self, work: Callable[[], Any]) -> Future[Any]:
        """Runs `work` in the thread, between two commits."""
        future: Future[Any] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except sqlite3.Error as error:
                future.set_exception(error)

        with self._condition:
            if self._has_ended:
                future.cancel()
            self._jobs.append(job)
            self._condition.notify()
        return future

    def stop(self) -> None:
        """Ends the thread after a last commit. `join` waits for it."""
        with self._condition:
            self._stopping = True
            self._condition.notify()

    def join(self) -> None:
        self._thread.join()

    # -- the thread

    def _run(self) -> None:
        self._space.restore()
        while True:
            with self._condition:
                while not (self._stopping or self._jobs or self._is_due()):
                    self._condition.wait(self._timeout())
                jobs, self._jobs = self._jobs, deque()
                due, stopping = self._is_due(), self._stopping
            if due or stopping:
                self.commit_all()
            for job in jobs:
                job()
            with self._condition:
                self._has_ended = stopping and not self._jobs
                if self._has_ended:
                    break
        if self._database is not None:
            self._drop_connection()

    def _is_due(self) -> bool:
        if self._due is not None and (len(self._buffer) >= BATCH or time.monotonic() >= self._due):
            return True
        return self._database is None and time.monotonic() >= self._retry_at

    def _timeout(self) -> float | None:
        times = [] if self._due is None else [self._due]
        if self._database is None:
            times.append(self._retry_at)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def commit_all(self) -> None:
        """Writes what waits now, in batches. In the thread only."""
        with self._condition:
            self._due = None
        more = True
        while more:
            batch = self._buffer.take(BATCH)
            with self._condition:
                forget, self._forget = self._forget, Ranges()
                state, self._state = self._state, {}
            if batch or forget or state or self._database is None:
                self._commit(batch, forget, state)
            more = len(self._buffer) > 0
        self._note()

    def _commit(self, batch: list[Entry], forget: Ranges, state: dict[tuple[str, str], bytes | None]) -> None:
        self._buffer.forget(forget.__contains__)
        if self._reopen() and self._store(batch, forget, state):
            self._buffer.done(batch)
        else:
            self._buffer.keep(batch)
            with self._condition:
                for low, high in forget:
                    self._forget.add(low, high)
                self._state = {**state, **self._state}
        if batch:
            self._tell(self._on_commit, batch)

    def _store(self, batch: list[Entry], forget: Ranges, state: Mapping[tuple[str, str], bytes | None]) -> bool:
        """Writes with one repair in between. False: there is no disk any more."""
        for attempt in (1, 2):
            database = self._database
            if database is None:
                return False
            try:
                self._write_resident(database)
                self._make_room(database, batch)
                rows = [self._seal.row(entry) for entry in batch]
                last = max(self._shelf.last, batch[-1].seq if batch else 0)
                database.write(rows, forget, state, last)
                self._shelf.last = last
            except sqlite3.Error as error:
                self._mend(error, last=attempt == 2)
            else:
                if self._is_failed:
                    self._is_failed = False
                    self._tell(self._on_trouble, "storage_recovered", {"path": str(self._shelf.path)})
                return True
        return False

    def _write_resident(self, database: Database) -> None:
        while entries := self._buffer.resident(BATCH):
            self._shelf.last = max(self._shelf.last, entries[-1].seq)
            database.write([self._seal.row(entry) for entry in entries], (), {}, self._shelf.last)
            self._buffer.written(entries[-1].key)

    # -- room

    def _make_room(self, database: Database, batch: Sequence[Entry]) -> None:
        """Deletes until the batch fits under the allowance."""
        need = sum(len(entry.payload) + 128 for entry in batch)
        for _ in range(SHED_STEPS):
            used, size = database.sizes()
            if used + need <= self._space.allowance(size) or not self._shed(database):
                return

    def _shed(self, database: Database) -> bool:
        """Deletes one step of victims and reports them. False when nothing is left to delete."""
        bounds = database.bounds()
        if bounds is None:
            return False
        victims = self._thinner.next(database.scan, sum(bounds) // 2)
        if victims is None:
            self._thinner.rewind()
            return False
        keys = Ranges()
        for key in victims.keys:
            keys.add(key)
        try:
            database.write((), keys, {}, self._shelf.last)
        except sqlite3.Error:
            self._thinner.rewind()
            raise
        self.report_lost(keys, victims.times, victims.reason)
        return True

    def report_lost(self, keys: Ranges, times: Sequence[int], reason: str) -> None:
        """Says by epoch and seq what is gone. Any thread."""
        for report in self._shelf.lost(keys, times, reason):
            self._tell(self._on_trouble, "data_lost", report)

    # -- failure

    def _mend(self, error: sqlite3.Error, *, last: bool) -> None:
        """Repairs what can be repaired at once; leaves no database when it is the last attempt."""
        if last:
            self._give_up(error)
        elif is_full(error):
            self._space.release()
            database = self._database
            assert database is not None
            try:
                for _ in range(SHED_STEPS // 8):
                    if not self._shed(database):
                        break
                database.checkpoint()
            except sqlite3.Error as again:
                self._give_up(again)
        else:
            self._drop_connection()
            try:
                if is_damage(error):
                    self._shelf.set_aside("damaged", str(error))
                self._database = self._open()
            except (sqlite3.Error, OSError) as again:
                self._give_up(again)

    def _give_up(self, error: Exception) -> None:
        self._drop_connection()
        self._retry_at = time.monotonic() + RETRY_S
        if not self._is_failed:
            self._is_failed = True
            self._tell(self._on_trouble, "storage_failed", {"error": str(error), "path": str(self._shelf.path)})

    def _drop_connection(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(
                sqlite3.Error
            ):  # closing checkpoints, which the disk may refuse: the log stays for the next opening
                database.close()

    def _reopen(self) -> bool:
        if self._database is not None:
            return True
        if time.monotonic() < self._retry_at and not self._stopping:
            return False
        try:
            self._database = self._open()
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            return False
        return True

    def _open(self) -> Database:
        database = self._shelf.open()
        self._tell_aside()
        return database

    def _tell_aside(self) -> None:
        while self._shelf.aside:
            path, reason, detail = self._shelf.aside.pop(0)
            self._tell(self._on_trouble, "set_aside", {"path": str(path), "reason": reason, "detail": detail})

    # -- reading

    def read(self, after_key: int, limit: int, max_bytes: int, *, newest_first: bool = False) -> list[Entry]:
        """Committed entries beyond a key, in reading order. In the thread only."""
        if newest_first and after_key == 0:
            after_key = 2**63 - 1
        found: list[Entry] = []
        if newest_first:
            found += self._buffer.beyond(after_key, limit, newest_first=True)
        if self._database is not None and len(found) < limit:
            try:
                found += self._read_disk(self._database, after_key, limit - len(found), max_bytes, newest_first)
            except sqlite3.Error as error:
                self._mend(error, last=False)
        if not newest_first and len(found) < limit:
            found += self._buffer.beyond(after_key, limit - len(found))
        return _within(found, max_bytes)

    def _read_disk(
        self, database: Database, after_key: int, limit: int, max_bytes: int, newest_first: bool
    ) -> list[Entry]:
        found: list[Entry] = []
        broken: list[Row] = []
        size = 0
        while len(found) < limit and size < max_bytes:
            rows = 0
            for row in database.read(after_key, limit - len(found), newest_first=newest_first):
                rows += 1
                after_key = row[0]
                if after_key in self._forget:
                    continue
                entry = self._seal.entry(row)
                if entry is None:
                    broken.append(row)
                    continue
                found.append(entry)
                size += len(entry.payload)
                if size >= max_bytes:
                    break
            if not rows:
                break
        if broken:
            self._put_away(database, broken)
        return found

    def _put_away(self, database: Database, broken: Sequence[Row]) -> None:
        """Takes rows whose checksum is wrong out of the way and reports them."""
        keys = Ranges((row[0], row[0]) for row in broken)
        database.put_away(keys)
        self.report_lost(keys, (), "damaged")

    # -- telling

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(function, *arguments)

    def _note(self) -> None:
        """Takes the figures that `fill` shows."""
        database = self._database
        if database is None:
            return
        try:
            self._disk_fill = SpoolFill(database.held, database.sizes()[0], database.oldest_ms())
        except sqlite3.Error as error:
            self._mend(error, last=False)


def _within(entries: list[Entry], max_bytes: int) -> list[Entry]:
    """As many from the front as fit, but one at least."""
    size = 0
    for index, entry in enumerate(entries):
        size += len(entry.payload)
        if size > max_bytes and index:
            return entries[:index]
    return entries
