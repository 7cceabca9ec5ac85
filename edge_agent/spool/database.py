"""The spool's SQLite file: schema, one transaction, one read. Synchronous, one thread at a time, raises `sqlite3.Error`.

It decides nothing: what to do about an error, what to drop and when to commit is the writer's. Three tables, each an ordinary
rowid table whose rows carry a checksum, so that `salvage` can find them in a file that SQLite no longer reads:

    message(key, epoch, seq, kind, device, cls, t_ms, crc, payload)     key = base of the epoch + seq
    epoch(id, epoch, base, last, oldest, held, commits, crc)            one row an opening; the newest counts the commits
    state(id, namespace, key, value, crc)                               id = hash of (namespace, key)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from edge_agent.spool.entry import Row, Seal

APPLICATION_ID = 0x504C5253  # "PLRS"
FORMAT = 1
EPOCH_ROOT, STATE_ROOT = 3, 4
"""Root pages: the first tables made; page 2 is the pointer map of incremental vacuum."""
CHUNKS = (256, 64, 16, 4, 1)
"""Rows of the multi-row INSERTs. A single statement releases the GIL once; `executemany` does it once a row and waits up to
5 ms each time while the event loop is busy (measured: 2,200 us against 98 us a message)."""
BUSY_S = 2.0
DAMAGED = "damaged"
PAGE = 4096

_ROW = "(?,?,?,?,?,?,?,?,?)"
_COLUMNS = "key, epoch, seq, kind, device, cls, t_ms, crc, payload"
_INSERTS = tuple((n, f"INSERT OR IGNORE INTO message({_COLUMNS}) VALUES{','.join([_ROW] * n)}") for n in CHUNKS)
_SCHEMA = (
    "CREATE TABLE epoch(id INTEGER PRIMARY KEY, epoch TEXT, base INTEGER, last INTEGER, oldest INTEGER, held INTEGER,"
    " commits INTEGER, crc INTEGER)",
    "CREATE TABLE state(id INTEGER PRIMARY KEY, namespace TEXT, key TEXT, value BLOB, crc INTEGER)",
    "CREATE TABLE message(key INTEGER PRIMARY KEY, epoch TEXT, seq INTEGER, kind INTEGER, device TEXT, cls TEXT,"
    " t_ms INTEGER, crc INTEGER, payload BLOB)",
    "CREATE TABLE identity(id INTEGER PRIMARY KEY, site TEXT, agent TEXT)",
)


class Unusable(sqlite3.DatabaseError):
    """The file is not a spool of ours. `reason` is a word for its new name: `damaged`, `foreign`, `format-7`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One opening of the spool."""

    id: int
    epoch: str
    base: int
    last: int
    oldest: int
    """Lowest key that the spool still held at the last commit; 0 when it held none."""
    held: int
    """Messages that the spool held at the last commit."""
    commits: int
    """Counts up over all epochs of the file: an older write-ahead log is known by a lower count."""

    def row(self, seal: Seal) -> tuple[int | str, ...]:
        values = (self.id, self.epoch, self.base, self.last, self.oldest, self.held, self.commits)
        return (*values, seal.fields(*values))


def epoch_row(values: Sequence[object], seal: Seal) -> EpochRow | None:
    """The row, or None when its checksum is wrong."""
    *fields, crc = values
    return EpochRow(*fields) if len(fields) == 7 and seal.fields(*fields) == crc else None  # type: ignore[arg-type]


def state_id(namespace: str, key: str) -> int:
    return int.from_bytes(blake2b(f"{namespace}\0{key}".encode(), digest_size=8).digest(), "big") >> 1


class Database:
    """An open spool file."""

    def __init__(self, connection: sqlite3.Connection, seal: Seal) -> None:
        self._connection = connection
        self._seal = seal
        self._now: EpochRow | None = None

    @classmethod
    def open(cls, path: Path, seal: Seal, *, site: str, agent: str, log_bytes: int) -> Database:
        """Opens or makes the file. Raises `Unusable` for a file that is not a spool of this agent, `sqlite3.Error` else.

        `log_bytes`: what the write-ahead log may take; it is checkpointed at half of that, at most every 4 MB.
        """
        path.touch(mode=0o640)  # SQLite gives its log the same mode
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rwc",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        connection.text_factory = _text
        try:
            _check(connection)
            _configure(connection, log_bytes)
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables:
                _create(connection, site, agent)
            elif not {"epoch", "message", "state", "identity"} <= tables:
                raise Unusable("foreign", f"tables {sorted(tables)} are not those of a spool")
            owner = connection.execute("SELECT site, agent FROM identity").fetchone()
            if owner is None:
                raise Unusable(DAMAGED, "it does not say whose it is")
            if owner != (site, agent):
                raise Unusable("foreign", f"it belongs to {owner[0]}/{owner[1]}")
        except BaseException:
            connection.close()
            raise
        return cls(connection, seal)

    def close(self) -> None:
        self._connection.close()

    # -- epochs

    def epochs(self) -> list[EpochRow]:
        """All openings that matter, oldest first. Raises `Unusable` when one cannot be believed."""
        rows = self._connection.execute("SELECT * FROM epoch ORDER BY id").fetchall()
        found = [epoch_row(row, self._seal) for row in rows]
        if None in found:
            raise Unusable(DAMAGED, "a row of its epochs has a wrong checksum")
        return [row for row in found if row is not None]

    def begin(self, epoch: str, base: int, last: int) -> None:
        """Makes `epoch` the one that commits are counted under. Former epochs without messages go, but for the newest."""
        rows = self.epochs()
        former = [row for row in rows if row.epoch != epoch]
        ids = max((row.id for row in rows), default=0)
        commits = max((row.commits for row in rows), default=0)
        held = rows[-1].held if rows else 0
        mine = next((row.id for row in rows if row.epoch == epoch), ids + 1)
        self._now = EpochRow(mine, epoch, base, last, 0, held, commits)
        with self._transaction():
            for row in former[:-1]:
                if not self._holds(row.base + 1, row.base + row.last):
                    self._connection.execute("DELETE FROM epoch WHERE id = ?", (row.id,))
            self._count(last)

    def adopt(self, rows: Iterable[EpochRow]) -> None:
        """Adds epochs found elsewhere, before `begin` or during a rescue. Of one that is known the higher `last` counts."""
        rows = list(rows)
        if not rows:
            return
        known = {row.epoch: row for row in self.epochs()}
        held = max(known.values(), key=lambda row: row.id).held if known else 0
        ids = {row.id for row in known.values()}
        with self._transaction():
            for row in rows:
                mine = known.get(row.epoch)
                if mine is not None and mine.last >= row.last:
                    continue
                row_id = mine.id if mine else row.id if row.id and row.id not in ids else min(ids, default=1) - 1
                ids.add(row_id)
                self._keep(replace(row, id=row_id, held=mine.held if mine else held))

    def rescue(self, rows: Sequence[Row]) -> None:
        """Adds messages that SQLite did not see, before `begin`."""
        newest = self.epochs()[-1]
        with self._transaction():
            self._keep(replace(newest, held=newest.held + self._insert(rows)))

    def _keep(self, row: EpochRow) -> None:
        self._connection.execute("INSERT OR REPLACE INTO epoch VALUES(?,?,?,?,?,?,?,?)", row.row(self._seal))

    def _holds(self, low: int, high: int) -> bool:
        found = self._connection.execute("SELECT 1 FROM message WHERE key BETWEEN ? AND ? LIMIT 1", (low, high))
        return found.fetchone() is not None

    def _count(self, last: int, change: int = 0) -> None:
        now = self._now
        assert now is not None, "begin() comes first"
        oldest = self._connection.execute("SELECT key FROM message ORDER BY key LIMIT 1").fetchone()
        held = max(0, now.held + change)
        now = EpochRow(now.id, now.epoch, now.base, last, oldest[0] if oldest else 0, held, now.commits + 1)
        self._keep(now)
        self._now = now

    # -- messages

    def write(
        self,
        rows: Sequence[Row],
        forget: Iterable[tuple[int, int]],
        state: Mapping[tuple[str, str], bytes | None],
        last: int,
    ) -> None:
        """One transaction, on the disk when it returns. `forget` are ranges of keys; a key that is there already is skipped."""
        before = self._now
        try:
            with self._transaction():
                change = self._insert(rows)
                for low, high in forget:
                    change -= self._connection.execute(
                        "DELETE FROM message WHERE key BETWEEN ? AND ?", (low, high)
                    ).rowcount
                self._save(state)
                self._count(last, change)
        except BaseException:
            self._now = before
            raise

    def _insert(self, rows: Sequence[Row]) -> int:
        inserted = 0
        start = 0
        for size, statement in _INSERTS:
            while len(rows) - start >= size:
                values = [value for row in rows[start : start + size] for value in row]
                inserted += self._connection.execute(statement, values).rowcount
                start += size
        return inserted

    def read(self, after_key: int, limit: int, *, newest_first: bool = False) -> Iterator[Row]:
        """Rows beyond `after_key` in reading order, unchecked."""
        if newest_first:
            statement = f"SELECT {_COLUMNS} FROM message WHERE key < ? ORDER BY key DESC LIMIT ?"
        else:
            statement = f"SELECT {_COLUMNS} FROM message WHERE key > ? ORDER BY key LIMIT ?"
        return self._connection.execute(statement, (after_key, limit))

    def scan(self, kind: int, after_key: int, limit: int) -> list[tuple[int, str, int, int]]:
        """(key, device, t_ms, size) of a kind in key order, without the payloads."""
        statement = (
            "SELECT key, device, t_ms, length(payload) FROM message WHERE kind = ? AND key > ? ORDER BY key LIMIT ?"
        )
        return self._connection.execute(statement, (kind, after_key, limit)).fetchall()

    def bounds(self) -> tuple[int, int] | None:
        """(lowest, highest) key."""
        low, high = self._connection.execute(
            "SELECT (SELECT min(key) FROM message), (SELECT max(key) FROM message)"
        ).fetchone()
        return None if low is None else (low, high)

    def put_away(self, keys: Iterable[tuple[int, int]]) -> None:
        """Moves rows that cannot be believed to a table beside, as evidence."""
        before, change = self._now, 0
        try:
            with self._transaction():
                self._connection.execute("CREATE TABLE IF NOT EXISTS damaged AS SELECT * FROM message LIMIT 0")
                for low, high in keys:
                    self._connection.execute(
                        "INSERT INTO damaged SELECT * FROM message WHERE key BETWEEN ? AND ?", (low, high)
                    )
                    change -= self._connection.execute(
                        "DELETE FROM message WHERE key BETWEEN ? AND ?", (low, high)
                    ).rowcount
                assert before is not None, "begin() comes first"
                self._count(before.last, change)
        except BaseException:
            self._now = before
            raise

    def oldest_ms(self) -> int | None:
        row = self._connection.execute("SELECT t_ms FROM message ORDER BY key LIMIT 1").fetchone()
        return row[0] if row else None

    @property
    def held(self) -> int:
        return self._now.held if self._now else 0

    def check(self) -> None:
        """Looks at the structure of every page. Raises `Unusable` when something is wrong with it."""
        (found,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise Unusable(DAMAGED, str(found))
        (count,) = self._connection.execute("SELECT count(*) FROM message").fetchone()
        if count != self.held:
            raise Unusable(DAMAGED, f"it holds {count} messages where {self.held} were counted")

    # -- state

    def load_state(self) -> list[tuple[str, str, bytes]]:
        """(namespace, key, value) of every row whose checksum is right."""
        rows = self._connection.execute("SELECT namespace, key, value, crc FROM state").fetchall()
        return [(ns, key, value) for ns, key, value, crc in rows if self._seal.fields(ns, key, value) == crc]

    def has_state(self) -> bool:
        return self._connection.execute("SELECT 1 FROM state LIMIT 1").fetchone() is not None

    def restore(self, rows: Iterable[tuple[str, str, bytes]]) -> None:
        """Takes over state found elsewhere."""
        with self._transaction():
            self._save({(namespace, key): value for namespace, key, value in rows})

    def _save(self, state: Mapping[tuple[str, str], bytes | None]) -> None:
        for (namespace, key), value in state.items():
            row_id = state_id(namespace, key)
            if value is None:
                self._connection.execute("DELETE FROM state WHERE id = ?", (row_id,))
            else:
                crc = self._seal.fields(namespace, key, value)
                self._connection.execute(
                    "INSERT OR REPLACE INTO state VALUES(?,?,?,?,?)", (row_id, namespace, key, value, crc)
                )

    # -- space

    def sizes(self) -> tuple[int, int]:
        """(bytes in use, bytes of the file) without the write-ahead log."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        return (pages - free) * PAGE, pages * PAGE

    def give_back(self, pages: int) -> None:
        """Returns at most `pages` free pages to the file system."""
        # Each page is a step without columns, and `execute` stops after the first such step.
        self._connection.executescript(f"PRAGMA incremental_vacuum({int(pages)})")

    def checkpoint(self) -> None:
        """Moves the write-ahead log into the database, synced. Its blocks stay, so that a full disk can be written on."""
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                with suppress(sqlite3.Error):  # the first error is the one that counts; the connection is closed for it
                    self._connection.execute("ROLLBACK")
            raise


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")  # a flipped bit is for the checksum to find, not an exception


def _check(connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if pages == 0:
        return
    if application not in (APPLICATION_ID, 0):
        raise Unusable("foreign", f"application id {application:#x} is not a spool's")
    if version != FORMAT and (version or application):
        raise Unusable(f"format-{version}", f"format {version} is not one that this version reads")


def _configure(connection: sqlite3.Connection, log_bytes: int) -> None:
    for pragma in (
        f"page_size = {PAGE}",
        "auto_vacuum = INCREMENTAL",
        "synchronous = EXTRA",  # FULL, and the folder is synced when the journal of the very first write goes
        "journal_mode = WAL",
        "secure_delete = OFF",
        "cache_size = -1024",
        "temp_store = MEMORY",
        f"wal_autocheckpoint = {max(16, min(1000, log_bytes // 2 // PAGE))}",
        f"journal_size_limit = {log_bytes}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _create(connection: sqlite3.Connection, site: str, agent: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO identity VALUES(1, ?, ?)", (site, agent))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")
