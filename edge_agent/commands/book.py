"""The journal's SQLite file: what was asked for and what came of it. Synchronous, one thread at a time, raises `sqlite3.Error`.

    command(id, digest, until_ms, st, is_open, n, body)   ids are remembered until `until_ms`; body: request, plan, last answer
    hold(target, body)                                    what must be given back, and when
    deed(key, target, t_ms)                               writes of the last hour, for the limits of rate
    answer(key, until_ms, body)                           what the broker has not acknowledged yet

Each step of a command is one transaction: what is going to be written, the hold that it begins and the answer that tells it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

APPLICATION_ID = 0x504C524A  # "PLRJ"
FORMAT = 1
MAX_COMMANDS = 100_000
MAX_ANSWERS = 20_000
HOUR_MS = 3_600_000
_SCHEMA = (
    "CREATE TABLE command(id TEXT PRIMARY KEY, digest BLOB, until_ms INTEGER, st TEXT, is_open INTEGER, n INTEGER, body BLOB)",
    "CREATE INDEX command_until ON command(until_ms)",
    "CREATE TABLE hold(target TEXT PRIMARY KEY, body BLOB)",
    "CREATE TABLE deed(key INTEGER PRIMARY KEY, target TEXT, t_ms INTEGER)",
    "CREATE TABLE answer(key INTEGER PRIMARY KEY AUTOINCREMENT, until_ms INTEGER, body BLOB)",
    "CREATE TABLE note(name TEXT PRIMARY KEY, value TEXT)",
)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One command as far as it has come. `plan`: what it was going to write, from before the write."""

    id: str
    digest: bytes
    until_ms: int
    st: str
    n: int = 0
    is_open: bool = True
    op: str
    dev: str | None = None
    args: dict[str, Any] = {}
    by: str | None = None
    why: str | None = None
    topic: str | None = None
    """Where its answers go; None for a command from the box itself."""
    correlation: bytes | None = None
    plan: dict[str, Any] | None = None
    answer: dict[str, Any] = {}
    """The last answer, as it was published."""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A point that a command holds. `slot` and `raw` are how it is given back: NULL at our priority, or a raw value to write."""

    device: str
    point: str
    command: str
    by: str | None
    rank: int
    """Who goes before whom: the priority of the command, 16 where it named none."""
    slot: int | None
    also: tuple[int, ...] = ()
    """Slots of ours from a hold that this one has replaced, which have not been given back yet."""
    raw: float | int | bool | str | None
    until_ms: int
    boot_id: str
    until_uptime_s: float
    """Seconds since the boot: what counts as long as the machine runs."""

    @property
    def target(self) -> str:
        return f"{self.device}/{self.point}"

    def other_slots(self, slot: int | None) -> tuple[int, ...]:
        """Its slots but for this one; none where it is not given back by slots."""
        if self.raw is not None:
            return ()
        return tuple(each for each in (self.slot, *self.also) if each is not None and each != slot)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A message for the centre. `key` orders them."""

    topic: str
    payload: bytes
    correlation: bytes | None = None
    until_ms: int
    key: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What changes together."""

    record: Record | None = None
    answer: Answer | None = None
    hold: Hold | None = None
    drop_hold: str | None = None
    """Target."""
    deed: tuple[str, int] | None = None
    """(target, t_ms) of a write."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What an opening finds."""

    open: list[Record] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    deeds: list[tuple[str, int]] = field(default_factory=list)


class Full(sqlite3.DatabaseError):
    """The book holds as many commands or answers as it may."""


_encode = msgspec.msgpack.Encoder().encode
_record = msgspec.msgpack.Decoder(Record).decode
_hold = msgspec.msgpack.Decoder(Hold).decode
_answer = msgspec.msgpack.Decoder(Answer).decode


class Book:
    """An open journal file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._commands = self._count("command")
        self._answers = self._count("answer")

    @classmethod
    def open(cls, path: Path, owner: str) -> Book:
        """Opens or makes the file. Raises `sqlite3.DatabaseError` for one that is damaged, not a journal, or another agent's."""
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.touch(mode=0o640)  # SQLite gives its log the same mode
        connection = sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("synchronous = EXTRA", "journal_mode = WAL", "cache_size = -512"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            _check(connection, owner)
            return cls(connection)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def admit(self, record: Record, answer: Answer | None) -> Record | None:
        """Enters a command and None, or gives the one that has this id already. Raises Full."""
        known = self.find(record.id)
        if known is None:
            if self._commands >= MAX_COMMANDS:
                raise Full(f"{self._commands} commands of the last day are remembered")
            self.take(Step(record=record, answer=answer))
        return known

    def find(self, command_id: str) -> Record | None:
        row = self._connection.execute("SELECT body FROM command WHERE id = ?", (command_id,)).fetchone()
        return None if row is None else _record(row[0])

    def take(self, step: Step) -> None:
        """One transaction, on the disk when it returns. Raises Full when the answers of 20,000 steps wait for a broker."""
        execute = self._connection.execute
        if step.answer is not None and self._answers >= MAX_ANSWERS:
            raise Full(f"{self._answers} answers wait for the broker")
        with self._transaction():
            if step.record is not None:
                each = step.record
                execute(
                    "INSERT OR REPLACE INTO command VALUES(?,?,?,?,?,?,?)",
                    (each.id, each.digest, each.until_ms, each.st, each.is_open, each.n, _encode(each)),
                )
            if step.drop_hold is not None:
                execute("DELETE FROM hold WHERE target = ?", (step.drop_hold,))
            if step.hold is not None:
                execute("INSERT OR REPLACE INTO hold VALUES(?,?)", (step.hold.target, _encode(step.hold)))
            if step.deed is not None:
                execute("INSERT INTO deed(target, t_ms) VALUES(?,?)", step.deed)
            if step.answer is not None:
                execute("INSERT INTO answer(until_ms, body) VALUES(?,?)", (step.answer.until_ms, _encode(step.answer)))
        self._answers += step.answer is not None
        if step.record is not None and step.record.n == 0:
            self._commands = self._count("command")

    def answers(self, after_key: int, limit: int) -> list[Answer]:
        """What the broker has not acknowledged, oldest first."""
        rows = self._connection.execute(
            "SELECT key, body FROM answer WHERE key > ? ORDER BY key LIMIT ?", (after_key, limit)
        )
        return [msgspec.structs.replace(_answer(body), key=key) for key, body in rows]

    def delivered(self, keys: Sequence[int]) -> None:
        with self._transaction():
            self._connection.executemany("DELETE FROM answer WHERE key = ?", [(key,) for key in keys])
        self._answers = self._count("answer")

    def kept(self) -> Kept:
        """What is not over yet."""
        execute = self._connection.execute
        return Kept(
            [_record(body) for (body,) in execute("SELECT body FROM command WHERE is_open ORDER BY rowid")],
            [_hold(body) for (body,) in execute("SELECT body FROM hold")],
            execute("SELECT target, t_ms FROM deed ORDER BY key").fetchall(),
        )

    def forget(self, now_ms: int) -> None:
        """Drops what need not be remembered any more. A hold is never dropped here, nor a command that is not over."""
        with self._transaction():
            self._connection.execute("DELETE FROM command WHERE until_ms < ? AND NOT is_open", (now_ms,))
            self._connection.execute("DELETE FROM answer WHERE until_ms < ?", (now_ms,))
            self._connection.execute("DELETE FROM deed WHERE t_ms < ?", (now_ms - HOUR_MS,))
        self._commands, self._answers = self._count("command"), self._count("answer")

    def _count(self, table: str) -> int:
        (count,) = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(count)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                with suppress(sqlite3.Error):  # the first error is the one that counts
                    self._connection.execute("ROLLBACK")
            raise


def holds_of(path: Path) -> list[Hold]:
    """What can still be read of the holds of a damaged journal: they must be given back all the same."""
    found: list[Hold] = []
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection,
    ):
        for (body,) in connection.execute("SELECT body FROM hold"):
            with suppress(msgspec.DecodeError):
                found.append(_hold(body))
    return found


def at_step(record: Record, **changes: Any) -> Record:
    """The record one step further."""
    return msgspec.structs.replace(record, **changes)


def _check(connection: sqlite3.Connection, owner: str) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables and not application and not version:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute("INSERT INTO note VALUES('owner', ?)", (owner,))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
        return
    if (application, version) != (APPLICATION_ID, FORMAT):
        raise sqlite3.DatabaseError(f"application id {application:#x}, format {version} is no journal of this version")
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(str(found))
    row = connection.execute("SELECT value FROM note WHERE name = 'owner'").fetchone()
    if row is None or row[0] != owner:
        raise sqlite3.DatabaseError(f"it belongs to {row[0] if row else 'nobody'}")
