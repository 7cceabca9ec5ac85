"""Opening whatever lies on the disk: what is not ours or not whole is set aside under a dated name, and a new file begun.

Opening never fails because of content. What is set aside is never deleted before its messages have been taken over, and a
file of another agent or format never at all. The write-ahead log is judged before SQLite sees it, because SQLite replays any
log whose checksums agree, and silently ends at the first damaged frame.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from edge_agent.spool.database import DAMAGED, EPOCH_ROOT, PAGE, Database, EpochRow, Unusable
from edge_agent.spool.entry import Entry, Seal
from edge_agent.spool.numbers import UNREAD_BASE, Numbers
from edge_agent.spool.pages import records
from edge_agent.spool.ranges import Ranges
from edge_agent.spool.salvage import Log, Remains, epoch_rows

SALVAGING = "salvaging"
"""In the name of a damaged file until its messages have been taken over: a crash in between begins again."""
HEADER = b"SQLite format 3\0" + PAGE.to_bytes(2, "big") + bytes((2, 2, 0, 64, 32, 32))
"""Magic, page size, write-ahead logging, and constants (sqlite.org/fileformat2.html, section 1.3)."""
KEEP = 2
"""Damaged files that stay as evidence after they have been taken over."""


def is_damage(error: sqlite3.Error) -> bool:
    """The content is wrong, not the disk."""
    if isinstance(error, Unusable):
        return error.reason == DAMAGED
    return _primary(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_full(error: sqlite3.Error) -> bool:
    return _primary(error) == sqlite3.SQLITE_FULL


def _primary(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


class Shelf:
    """The place of the spool file, and what lies beside it."""

    def __init__(self, path: Path, seal: Seal, numbers: Numbers, *, site: str, agent: str, log_bytes: int) -> None:
        self.path = path
        self.numbers = numbers
        self.aside: list[dict[str, str]] = []
        """What was set aside and has not been told yet: path, reason, detail."""
        self.lost: list[tuple[Ranges, str]] = []
        """Keys found missing and not told yet, with the reason."""
        self.remains: list[Remains] = []
        """Damaged files whose messages have not been taken over."""
        self._seal = seal
        self._site = site
        self._agent = agent
        self._log_bytes = log_bytes
        self._is_first = True

    def open(self) -> Database:
        """The database, with the current epoch begun in it. Raises `sqlite3.Error` or `OSError` when the disk refuses."""
        if self._is_first:
            self._find_unfinished()
            self._is_first = False
        for _ in range(3):
            try:
                return self._open(self._judge_log())
            except Unusable as error:
                self.set_aside(error.reason, str(error))
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self.set_aside(DAMAGED, str(error))
        return self._open(Log(b""))

    def _open(self, log: Log) -> Database:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        database = Database.open(self.path, self._seal, site=self._site, agent=self._agent, log_bytes=self._log_bytes)
        try:
            self._read_on(database, log)
            for remains in self.remains:
                database.adopt(remains.epochs())
            if not database.has_state():
                for remains in self.remains:
                    database.restore(remains.state())
            rows = database.epochs()
            self.numbers.adopt(rows, above=UNREAD_BASE if self.remains and not rows else 0)
            database.begin(self.numbers.epoch, self.numbers.base, self.numbers.committed)
        except BaseException:
            database.close()
            raise
        return database

    def _find_unfinished(self) -> None:
        for path in sorted(self.path.parent.glob(f"{self.path.name}.{SALVAGING}-*")):
            if not path.name.endswith("-wal"):
                self._take_up(path)

    # -- the write-ahead log

    def _judge_log(self) -> Log:
        """The log beside the file. One that belongs to another file, or is older than the file, is set aside first."""
        log = Log.read(beside(self.path, "-wal"))
        if not log:
            return log
        if not self.path.exists() or not self.path.stat().st_size:
            self.path.touch()
            raise Unusable(DAMAGED, "the database is gone, its write-ahead log is not")
        if not self._has_header():
            raise Unusable(DAMAGED, "the header of the database is not what it was")  # SQLite would delete the log
        in_file = self._epoch_in_file()
        in_log, is_any = log.epochs(self._seal)
        if in_file is None or not is_any:
            return log
        if not in_log:
            self._set_log_aside("foreign", "the write-ahead log belongs to another spool")
        elif max(row.commits for _, row in in_log) < in_file.commits:
            self._set_log_aside("stale", "the write-ahead log is older than the database")
        else:
            return log
        return Log(b"")

    def _has_header(self) -> bool:
        with self.path.open("rb") as file:
            return file.read(len(HEADER)) == HEADER

    def _epoch_in_file(self) -> EpochRow | None:
        """The newest epoch row of ours in the file alone."""
        with self.path.open("rb") as file:
            file.seek((EPOCH_ROOT - 1) * PAGE)
            page = file.read(PAGE)
        found = epoch_rows(records(page, EPOCH_ROOT, lambda _: b"")[0], self._seal)
        return max(found, key=lambda row: row.commits, default=None)

    def _read_on(self, database: Database, log: Log) -> None:
        """Takes over what lies in the log behind the point where SQLite stopped reading it."""
        rows = database.epochs()
        commits = max((row.commits for row in rows), default=-1)
        in_log, _ = log.epochs(self._seal)
        behind = max((offset for offset, row in in_log if row.commits <= commits), default=0)
        unseen = [row for offset, row in in_log if offset > behind]
        newest = max(unseen or rows, key=lambda row: row.commits, default=None)
        if newest is None:
            return
        seen = next((row.last for row in rows if row.epoch == newest.epoch), 0)
        found: dict[int, Entry] = {
            entry.key: entry
            for entry in log.messages(self._seal, behind)
            if entry.epoch == newest.epoch and entry.seq > seen and entry.key == newest.base + entry.seq
        }
        last = max(newest.last, *(entry.seq for entry in found.values()), 0)
        if last <= seen:
            return
        database.adopt([replace(newest, last=last)])
        database.rescue([self._seal.row(found[key]) for key in sorted(found)])
        if newest.epoch != self.numbers.epoch:  # what is missing of the current epoch is in memory, waiting
            missing = Ranges([(newest.base + seen + 1, newest.base + last)])
            for key in found:
                missing.remove(key)
            self.lost.append((missing, "the write-ahead log was damaged"))

    # -- setting aside

    def set_aside(self, reason: str, detail: str) -> None:
        """Renames the file and its log. The shared-memory index is worthless and goes."""
        is_damaged = reason == DAMAGED
        target = self._free_name(SALVAGING if is_damaged else reason)
        log = beside(self.path, "-wal")
        # The log goes first: alone it would be taken for the log of the new file.
        with suppress(FileNotFoundError):
            log.rename(beside(target, "-wal"))
        self.path.rename(target)
        with suppress(FileNotFoundError):
            beside(self.path, "-shm").unlink()
        self.aside.append({"path": str(target), "reason": reason, "detail": detail})
        if is_damaged:
            self._take_up(target)

    def _set_log_aside(self, reason: str, detail: str) -> None:
        target = self._free_name(f"{reason}-wal")
        beside(self.path, "-wal").rename(target)
        with suppress(FileNotFoundError):
            beside(self.path, "-shm").unlink()
        self.aside.append({"path": str(target), "reason": reason, "detail": detail})

    def _free_name(self, reason: str) -> Path:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        target = self.path.with_name(f"{self.path.name}.{reason}-{stamp}")
        count = 1
        while target.exists() or beside(target, "-wal").exists():
            count += 1
            target = self.path.with_name(f"{self.path.name}.{reason}-{stamp}-{count}")
        return target

    def _take_up(self, path: Path) -> None:
        with suppress(OSError):  # what cannot even be opened stays where it is, under its name
            remains = Remains(path, self._seal)
            self.remains.append(remains)
            if self.numbers.is_adopted:
                remains.expected = Ranges(self.numbers.held)

    def finish(self, remains: Remains) -> None:
        """The messages of a damaged file have been taken over."""
        self.remains.remove(remains)
        remains.close()
        done = remains.path.with_name(remains.path.name.replace(f".{SALVAGING}-", f".{DAMAGED}-"))
        with suppress(OSError):
            with suppress(FileNotFoundError):
                beside(remains.path, "-wal").rename(beside(done, "-wal"))
            remains.path.rename(done)
            self._prune()

    def _prune(self) -> None:
        found = sorted(self.path.parent.glob(f"{self.path.name}.{DAMAGED}-*"))
        for path in [path for path in found if not path.name.endswith("-wal")][:-KEEP]:
            path.unlink(missing_ok=True)
            beside(path, "-wal").unlink(missing_ok=True)


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
