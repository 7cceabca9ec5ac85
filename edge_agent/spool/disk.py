"""The spool file with all that can go wrong with it: making room, mending, giving up, trying again, rescuing. One thread only.

The ladder of failure: mend (release the ballast, close and open again, set a damaged file aside) and do the same again; if it
fails again there is no disk until `RETRY_S` later. `sqlite3.Error` and `OSError` end here.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from edge_agent.spool.database import DAMAGED, Database, EpochRow, Unusable
from edge_agent.spool.entry import Entry, Row, Seal, SpoolFill
from edge_agent.spool.numbers import Numbers
from edge_agent.spool.ranges import Ranges
from edge_agent.spool.recovery import Shelf, is_damage, is_full
from edge_agent.spool.rescue import Rescue
from edge_agent.spool.space import Space
from edge_agent.spool.thinning import Thinner

RETRY_S = 2.0
CHECK_BYTES = 64 * 1024**2
"""A file up to this size is looked through at opening; what is wrong in a larger one is found when it is read."""
SHED_STEPS = 64
"""Most deletions in one go before new messages get their turn."""
SHED_BYTES = 256 * 1024
"""Least that is deleted at a time, so that not every commit of a full spool reports a loss."""
SPARE_BYTES = 64 * 1024**2
"""Free pages that the file keeps for the next outage; what is beyond goes back to the file system, a little with each commit."""
GIVE_BACK_PAGES = 1024
ROW_BYTES = 64
"""What a row takes besides its payload."""

LOST = "spool.lost"
"""Namespace of reports of loss that are not in the spool as an event yet: a crash must not make a loss silent."""

Tell = Callable[[str, Mapping[str, Any], str | None], None]
"""(kind, fields, receipt): with a receipt, `(LOST, receipt)` is removed from the state after the telling."""
State = Mapping[tuple[str, str], bytes | None]
Done = TypeVar("Done")


class Disk:
    """`tell` takes what `Spool` passes to `on_trouble`."""

    def __init__(self, shelf: Shelf, space: Space, numbers: Numbers, seal: Seal, tell: Tell) -> None:
        self._shelf = shelf
        self._space = space
        self._numbers = numbers
        self._seal = seal
        self._tell = tell
        self._thinner = Thinner()
        self._database: Database | None = None
        self._retry_at = 0.0
        self._has_failed = False
        self._rescue: Rescue | None = None
        self._batches: Iterator[tuple[list[Entry], list[EpochRow]]] = iter(())
        self._batch: tuple[list[Entry], list[EpochRow]] | None = None

    def open(self) -> bool:
        """True when there is a file to work with; tries again at most every `RETRY_S`."""
        if self._database is None and time.monotonic() >= self._retry_at:
            try:
                self._database = self._shelf.open()
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
            self._tell_found()
        return self._database is not None

    @property
    def retry_at(self) -> float | None:
        """Monotonic time of the next attempt; None while there is a disk."""
        return self._retry_at if self._database is None else None

    def prepare(self) -> None:
        """What may take a moment and need not be done before the agent runs."""
        self._space.restore()
        self._attempt(_check)

    def close(self) -> None:
        self._drop()
        while self._shelf.remains:
            self._shelf.remains.pop().close()

    def load_state(self) -> list[tuple[str, str, bytes]]:
        """Everything that was saved; empty without a disk. Losses that nobody was told of are told now."""
        found = self._attempt(Database.load_state) or []
        for namespace, receipt, value in found:
            if namespace == LOST:
                self._tell("data_lost", msgspec.msgpack.decode(value), receipt)
        return [row for row in found if row[0] != LOST]

    # -- writing

    def store(self, entries: Sequence[Entry], forget: Ranges, state: State) -> bool:
        """One commit. True: it is on the disk. False: there is none."""
        rows = [self._seal.row(entry) for entry in entries]
        committed = max(self._numbers.committed, *(e.seq for e in entries if e.epoch == self._numbers.epoch), 0)

        def write(database: Database) -> bool:
            self._make_room(database, entries, forget)
            database.write(rows, forget, state, committed)
            return True

        if not self._attempt(write):
            return False
        self._numbers.committed = committed
        if entries:
            self._numbers.held.add(entries[0].key, entries[-1].key)
        for low, high in forget:
            self._numbers.held.remove(low, high)
        if self._has_failed:
            self._has_failed = False
            self._tell("storage_recovered", {"path": str(self._shelf.path)}, None)
        return True

    def _make_room(self, database: Database, entries: Sequence[Entry], forget: Ranges) -> None:
        """Deletes until the entries fit under the allowance; first what need not be kept, which is no loss."""
        need = sum(len(entry.payload) + ROW_BYTES for entry in entries) * 3 // 2  # rows do not fill their pages
        for _ in range(SHED_STEPS if need else 0):
            used, size = database.sizes()
            excess = used + need - self._space.allowance(size)
            if excess <= 0:
                return
            if forget:
                database.write((), forget, {}, self._numbers.committed)
                for low, high in forget:
                    self._numbers.held.remove(low, high)
                forget = Ranges()
            elif not self._shed(database, max(excess, SHED_BYTES)):
                return

    def _shed(self, database: Database, want_bytes: int) -> bool:
        """Deletes one step of victims and reports them. False when nothing is left to delete."""
        bounds = database.bounds()
        victims = self._thinner.next(database.scan, sum(bounds) // 2, want_bytes) if bounds else None
        if victims is None:
            self._thinner.rewind()
            return False
        keys = Ranges((key, key) for key in victims.keys)
        try:
            self._lose(database, keys, victims.times, victims.reason, delete=True)
        except sqlite3.Error:
            self._thinner.rewind()
            raise
        return True

    def _lose(
        self, database: Database, keys: Ranges, times: Sequence[int], reason: str, *, delete: bool = False
    ) -> None:
        """Keeps the report of a loss in the transaction that makes it, then tells it."""
        reports = {f"{r['epoch']}-{r['ranges'][0][0]}": r for r in self._numbers.lost(keys, times, reason)}
        state: State = {(LOST, receipt): msgspec.msgpack.encode(report) for receipt, report in reports.items()}
        database.write((), keys if delete else (), state, self._numbers.committed)
        for low, high in keys:
            self._numbers.held.remove(low, high)
        for receipt, report in reports.items():
            self._tell("data_lost", report, receipt)

    # -- reading

    def read(self, after_key: int, limit: int, max_bytes: int, newest_first: bool, skip: Ranges) -> list[Entry]:
        """Whole entries beyond a key, in reading order, without those of `skip`. Broken rows are put away and reported."""
        found: list[Entry] | None = None
        for _ in range(2):  # reading may find the file damaged: then once more from the new one
            while self.can_rescue:
                self.rescue_some()
            found = self._attempt(
                lambda database: self._read(database, after_key, limit, max_bytes, newest_first, skip)
            )
            if not self.can_rescue:
                break
        return found or []

    def _read(
        self, database: Database, after_key: int, limit: int, max_bytes: int, newest_first: bool, skip: Ranges
    ) -> list[Entry]:
        found: list[Entry] = []
        broken: list[Row] = []
        size = 0
        more = True
        while more and len(found) < limit and size < max_bytes:
            more = False
            for row in database.read(after_key, limit - len(found), newest_first=newest_first):
                if (row[0] >= after_key) if newest_first else (row[0] <= after_key):
                    raise Unusable(DAMAGED, f"its messages are out of order at {row[0]}")
                more = True
                after_key = row[0]
                if after_key in skip:
                    continue
                entry = self._seal.entry(row)
                if entry is None or self._numbers.locate(entry.key) != (entry.epoch, entry.seq):
                    broken.append(row)
                    continue
                found.append(entry)
                size += len(entry.payload)
                if size >= max_bytes:
                    break
        if broken:
            for row in broken:
                if self._numbers.locate(row[0]) != row[1:3]:
                    raise Unusable(DAMAGED, f"message {row[0]} says that it is {row[1]!r} {row[2]!r}")
            keys = Ranges((row[0], row[0]) for row in broken)
            database.put_away(keys)
            self._lose(database, keys, [row[6] for row in broken if isinstance(row[6], int)], "checksum")
        return found

    def fill(self) -> SpoolFill:
        """How full the file is; gives back to the file system what it does not need."""
        return self._attempt(_fill) or SpoolFill(0, 0, None)

    # -- damaged files

    @property
    def can_rescue(self) -> bool:
        """Whether messages of a damaged file wait to be taken over."""
        return bool(self._shelf.remains) and self._database is not None

    def rescue_some(self) -> None:
        """Takes over one batch of a damaged file. A batch that cannot be written now is tried again with the next disk."""
        remains = self._shelf.remains[0]
        if self._rescue is None or self._rescue.remains is not remains:
            self._rescue = Rescue(remains, self._numbers)
            self._batches = self._rescue.batches()
            self._batch = None
            self._thinner.rewind()
        if self._batch is None:
            self._batch = next(self._batches, None)
        if self._batch is None:
            self._finish(self._rescue)
            return
        entries, epochs = self._batch

        def write(database: Database) -> bool:
            database.adopt(epochs)
            self._make_room(database, entries, Ranges())
            database.write([self._seal.row(entry) for entry in entries], (), {}, self._numbers.committed)
            return True

        if self._attempt(write):
            self._batch = None

    def _finish(self, rescue: Rescue) -> None:
        def lose(database: Database) -> bool:
            self._lose(database, rescue.missing(), rescue.times or (), "damaged")
            return True

        if self._attempt(lose):
            self._rescue = None
            self._shelf.finish(rescue.remains)
            self._tell("salvaged", {"path": str(rescue.remains.path), "msgs": rescue.count}, None)

    def _tell_found(self) -> None:
        """What opening found out."""
        while self._shelf.aside:
            self._tell("set_aside", self._shelf.aside.pop(0), None)
        while self._shelf.lost:
            keys, reason = self._shelf.lost.pop(0)
            for report in self._numbers.lost(keys, (), reason):
                self._tell("data_lost", report, None)

    # -- failure

    def _attempt(self, work: Callable[[Database], Done]) -> Done | None:
        """Does it, with one repair in between. None: there is no disk."""
        for is_last in (False, True):
            database = self._database
            if database is None:
                break
            try:
                return work(database)
            except (sqlite3.Error, OSError) as error:
                if is_last:
                    self._give_up(error)
                else:
                    self._mend(database, error)
        return None

    def _mend(self, database: Database, error: Exception) -> None:
        if isinstance(error, sqlite3.Error) and is_full(error):
            with suppress(sqlite3.Error):
                self._space.found_full(database.sizes()[1])
                database.checkpoint()
            return
        self._drop()
        try:
            if isinstance(error, sqlite3.Error) and is_damage(error):
                self._shelf.set_aside(DAMAGED, str(error))
            self._database = self._shelf.open()
            # After a failed sync the log's pages count as clean though the disk may not have them: what SQLite still reads
            # of it goes into the database, synced, before anything is appended behind it.
            self._database.checkpoint()
        except (sqlite3.Error, OSError) as again:
            self._give_up(again)
        self._tell_found()

    def _give_up(self, error: Exception) -> None:
        self._drop()
        self._retry_at = time.monotonic() + RETRY_S
        if not self._has_failed:
            self._has_failed = True
            self._tell("storage_failed", {"path": str(self._shelf.path), "error": str(error)}, None)

    def _drop(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error):  # closing checkpoints, which the disk may refuse: the log stays for next time
                database.close()


def _fill(database: Database) -> SpoolFill:
    used, size = database.sizes()
    if size - used > SPARE_BYTES + used:
        database.give_back(GIVE_BACK_PAGES)
    return SpoolFill(database.held, used, database.oldest_ms())


def _check(database: Database) -> None:
    if database.sizes()[1] <= CHECK_BYTES:
        database.check()
