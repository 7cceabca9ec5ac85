"""Opening whatever lies on the disk: what is not ours or not whole is set aside under a dated name, and a new file begun.

Opening never fails because of content. Nothing set aside is deleted here, but for damaged files whose messages have been
taken over: of those the newest `KEEP` stay as evidence.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_agent.spool.database import Database, EpochRow, Unusable
from edge_agent.spool.entry import Seal
from edge_agent.spool.ranges import Ranges

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32, as in the contract's examples."""
UNREAD_BASE = 2**48
"""Base of the first epoch after a file whose epochs could not be read: every message found in that file lies below."""
EPOCH_SPAN = 2**32
RANGES_A_REPORT = 400
"""So that an event `system.data_lost` stays far below 64 KiB."""


def new_epoch() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(10))


def is_damage(error: sqlite3.Error) -> bool:
    """The content is wrong, not the disk."""
    return _primary(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_full(error: sqlite3.Error) -> bool:
    return _primary(error) == sqlite3.SQLITE_FULL


def _primary(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class Shelf:
    """The place of the spool file, and the number space of its messages: key = base of the epoch + seq."""

    def __init__(self, path: Path, seal: Seal, *, site: str, agent: str) -> None:
        self.path = path
        self.epoch = new_epoch()
        self.previous: tuple[str, int] | None = None
        self.spans: dict[str, tuple[int, int]] = {}
        """Epoch -> (base, last seq). The current epoch is in it from the first opening on."""
        self.last = 0
        """Last committed seq of the current epoch."""
        self.aside: list[tuple[Path, str, str]] = []
        """Files set aside and not yet told: (new path, reason, detail)."""
        self._seal = seal
        self._site = site
        self._agent = agent

    def open(self) -> Database:
        """The database, with the current epoch begun in it. Raises `sqlite3.Error` or `OSError` when the disk refuses."""
        for _ in range(3):
            try:
                return self._open()
            except Unusable as error:
                self.set_aside(error.reason, str(error))
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self.set_aside("damaged", str(error))
        return self._open()

    def _open(self) -> Database:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        database = Database.open(self.path, self._seal, site=self._site, agent=self._agent)
        try:
            rows = database.epochs()
            self._adopt(rows)
            database.begin(self.epoch, self.spans[self.epoch][0], self.last)
        except BaseException:
            database.close()
            raise
        return database

    def _adopt(self, rows: Sequence[EpochRow]) -> None:
        """Takes over the epochs of the file; the current one gets its base once, above all of them."""
        former = [row for row in rows if row.epoch != self.epoch]
        for row in former:
            self.spans.setdefault(row.epoch, (row.base, row.last))
        if self.epoch in self.spans:
            return
        if former:
            self.previous = (former[-1].epoch, former[-1].last)
            base = max(row.base + row.last for row in former)
        else:
            base = UNREAD_BASE if self.aside else 0
        self.spans[self.epoch] = (base, 0)

    def begin_without_disk(self) -> None:
        """Numbers for messages that stay in memory; the file may come later, with whatever is in it."""
        self.spans.setdefault(self.epoch, (UNREAD_BASE * 2, 0))

    def set_aside(self, reason: str, detail: str) -> None:
        """Renames the file and its log. The shared-memory index is worthless and goes."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        target = self.path.with_name(f"{self.path.name}.{reason}-{stamp}")
        count = 1
        while target.exists():
            count += 1
            target = self.path.with_name(f"{self.path.name}.{reason}-{stamp}-{count}")
        self.path.rename(target)
        with suppress(FileNotFoundError):
            _beside(self.path, "-wal").rename(_beside(target, "-wal"))
        with suppress(FileNotFoundError):
            _beside(self.path, "-shm").unlink()
        self.aside.append((target, reason, detail))

    def keys(self, epoch: str, low: int, high: int) -> tuple[int, int] | None:
        """The keys of a range of an epoch's numbers, or None when it holds none of them."""
        span = self.spans.get(epoch)
        if span is None:
            return None
        base, last = span
        low, high = max(1, low), high if epoch == self.epoch else min(high, last)
        return (base + low, base + high) if low <= high else None

    def locate(self, key: int) -> tuple[str, int] | None:
        """(epoch, seq) of a key."""
        found = max(((base, epoch) for epoch, (base, _) in self.spans.items() if base < key), default=None)
        return (found[1], key - found[0]) if found else None

    def lost(self, keys: Ranges, times: Sequence[int], reason: str) -> Iterator[dict[str, Any]]:
        """The fields of `system.data_lost` events for these keys, an epoch each, none of them too long."""
        by_epoch: dict[str, list[tuple[int, int]]] = {}
        for low, high in keys:
            found = self.locate(low)
            if found:
                epoch, seq = found
                by_epoch.setdefault(epoch, []).append((seq, seq + high - low))
        for epoch, ranges in by_epoch.items():
            for start in range(0, len(ranges), RANGES_A_REPORT):
                yield {
                    "epoch": epoch,
                    "ranges": [list(pair) for pair in ranges[start : start + RANGES_A_REPORT]],
                    "t0": min(times, default=None),
                    "t1": max(times, default=None),
                    "reason": reason,
                }


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
