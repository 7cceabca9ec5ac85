"""Gets messages, epochs and state out of a spool file that is damaged, page by page, and believes only what its checksum proves.

It reads the file and its write-ahead log, never writes, and holds one page at a time, so that 2 GB take no memory. A message
that was already acknowledged may come back when the list of free pages is damaged too; the store takes it twice without harm.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import cast

from edge_agent.spool.database import EPOCH_ROOT, PAGE, STATE_ROOT, EpochRow, epoch_row
from edge_agent.spool.entry import Entry, Row, Seal
from edge_agent.spool.pages import Record, Value, children, frames, free_pages, records
from edge_agent.spool.ranges import Ranges

MAX_LOG = 64 * 1024**2
"""A write-ahead log longer than this is not looked into: ours are cut back at 8 MB."""
BATCH = 256


class Log:
    """A write-ahead log, read into memory before SQLite touches it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.versions: dict[int, list[int]] = {}
        """Page number -> offsets of its versions, oldest first."""
        for number, offset in frames(data):
            self.versions.setdefault(number, []).append(offset)

    @classmethod
    def read(cls, path: Path) -> Log:
        """The log at `path`; empty when there is none or it is too long to be ours."""
        try:
            data = path.read_bytes() if path.stat().st_size <= MAX_LOG else b""
        except FileNotFoundError:
            data = b""
        return cls(data)

    def __bool__(self) -> bool:
        return bool(self.versions)

    def page(self, offset: int) -> bytes:
        return self._data[offset : offset + PAGE]

    def epochs(self, seal: Seal) -> tuple[list[tuple[int, EpochRow]], bool]:
        """(offset, newest epoch row of ours there) in the order of writing, and whether there are rows of that kind at all."""
        found: list[tuple[int, EpochRow]] = []
        is_any = False
        for offset in self.versions.get(EPOCH_ROOT, ()):
            rows, _ = records(self.page(offset), EPOCH_ROOT, lambda _: b"")
            is_any = is_any or any(len(values) == 8 for _, values in rows)
            ours = epoch_rows(rows, seal)
            if ours:
                found.append((offset, max(ours, key=lambda row: row.commits)))
        return found, is_any

    def messages(self, seal: Seal, behind: int) -> Iterator[Entry]:
        """Every message of ours in a frame behind an offset, the same one perhaps several times."""
        for number, offsets in self.versions.items():
            for offset in offsets:
                if offset > behind:
                    for record in records(self.page(offset), number, self._newest)[0]:
                        entry = message(record, seal)
                        if entry is not None:
                            yield entry

    def _newest(self, number: int) -> bytes:
        offsets = self.versions.get(number)
        return self.page(offsets[-1]) if offsets else b""


class Remains:
    """A spool file set aside, with its log."""

    def __init__(self, path: Path, seal: Seal) -> None:
        self.path = path
        self.expected: Ranges | None = None
        """Keys that it should hold, where that is known better than it says itself."""
        self._seal = seal
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._log = Log.read(path.with_name(path.name + "-wal"))
        self._pages = -(-os.fstat(self._file).st_size // PAGE)

    def close(self) -> None:
        os.close(self._file)

    def epochs(self) -> list[EpochRow]:
        """Openings whose row is whole, oldest first."""
        return sorted(epoch_rows(self._walk(EPOCH_ROOT), self._seal), key=lambda row: row.id)

    def state(self) -> Iterator[tuple[str, str, bytes]]:
        """(namespace, key, value) of each row that is whole."""
        for _, values in self._walk(STATE_ROOT):
            if len(values) == 5 and self._seal.fields(*values[1:4]) == values[4]:
                yield cast("tuple[str, str, bytes]", tuple(values[1:4]))

    def messages(self) -> Iterator[list[Entry]]:
        """All messages that are whole, in batches, in the order of the file's pages."""
        freed = free_pages(self._newest)
        batch: list[Entry] = []
        beyond = sorted(number for number in self._log.versions if number > self._pages)
        for number in chain(range(1, self._pages + 1), beyond):
            if number in freed:
                continue
            for record in self._leaf(number):
                entry = message(record, self._seal)
                if entry is not None:
                    batch.append(entry)
            if len(batch) >= BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _leaf(self, number: int) -> Iterator[Record]:
        """The rows of the newest version of a page; of older versions too, as long as none is whole."""
        for page in self._versions(number):
            found, whole = records(page, number, self._newest)
            yield from found
            if whole and all(len(values) != 9 or message((key, values), self._seal) for key, values in found):
                return

    def _versions(self, number: int) -> Iterator[bytes]:
        for offset in reversed(self._log.versions.get(number, ())):
            yield self._log.page(offset)
        if not 0 < number <= self._pages:
            return
        try:
            yield os.pread(self._file, PAGE, (number - 1) * PAGE)
        except OSError:
            return  # an unreadable sector

    def _newest(self, number: int) -> bytes:
        return next(self._versions(number), b"")

    def _walk(self, root: int) -> Iterator[Record]:
        """The rows of one small table."""
        pending, seen = [root], set[int]()
        while pending:
            number = pending.pop()
            if number in seen:
                continue
            seen.add(number)
            below = children(self._newest(number), number)
            if below:
                pending += below
            else:
                yield from self._leaf(number)


def epoch_rows(found: list[Record] | Iterator[Record], seal: Seal) -> list[EpochRow]:
    rows = [epoch_row([rowid, *values[1:]], seal) for rowid, values in found if len(values) == 8]
    return [row for row in rows if row is not None]


def message(record: Record, seal: Seal) -> Entry | None:
    """The message of a record, or None when it is something else or not whole."""
    rowid, values = record
    if len(values) != 9 or values[0] is not None:
        return None
    row: list[Value] = [rowid, *values[1:]]
    return seal.entry(cast("Row", tuple(row)))
