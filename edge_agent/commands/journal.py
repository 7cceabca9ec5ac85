"""The journal and the audit log with the one thread that writes them. Nothing here knows what a command does.

A call returns when what it did is on the disk. A journal that cannot be read is set aside, never fatal: its holds are taken over
as far as they can be read, and commands from before that moment are refused, because their ids are not known any more. What
cannot be written raises StoreUnavailable: a command that cannot be journalled is not carried out.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import structlog

from device_profiles.errors import StoreUnavailable
from edge_agent.commands.audit import AuditLog
from edge_agent.commands.book import Answer, Book, Full, Kept, Record, Step, holds_of

_T = TypeVar("_T")
_log = structlog.get_logger("commands")


class Journal:
    """One an agent. `blind_until_ms`: ids of commands sent before are not known; 0 when all are."""

    def __init__(self, folder: Path, owner: str, *, wall_ms: Callable[[], int], thread: Executor | None = None) -> None:
        self._path = folder / "commands.db"
        self._audit_folder = folder / "audit"
        self._owner = owner
        self._wall_ms = wall_ms
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="commands")
        self._book: Book | None = None
        self._audit: AuditLog | None = None
        self.blind_until_ms = 0

    async def open(self) -> Kept:
        """What is not over since the last time. Raises StoreUnavailable when neither file can be opened nor made."""
        return await self._run(self._open)

    async def close(self) -> None:
        with suppress(StoreUnavailable):
            await self._run(self._close)
        self._thread.shutdown(wait=False)

    @property
    def audit_head(self) -> tuple[int, str]:
        """Number and hash of the last audit entry."""
        return (self._audit.number, self._audit.head) if self._audit is not None else (0, "")

    async def admit(self, record: Record, answer: Answer | None) -> Record | None:
        """Enters a command and None, or gives the one of this id that is known."""
        return await self._run(lambda: self._opened().admit(record, answer))

    async def find(self, command_id: str) -> Record | None:
        return await self._run(lambda: self._opened().find(command_id))

    async def take(self, step: Step, entry: Mapping[str, Any] | None = None) -> None:
        """One step, and the audit entry that goes with it."""

        def work() -> None:
            self._opened().take(step)
            if entry is not None:
                self._append(entry)

        await self._run(work)

    async def audit(self, entry: Mapping[str, Any]) -> None:
        await self._run(lambda: self._append(entry))

    async def answers(self, after_key: int, limit: int) -> list[Answer]:
        return await self._run(lambda: self._opened().answers(after_key, limit))

    async def delivered(self, keys: Sequence[int]) -> None:
        await self._run(lambda: self._opened().delivered(keys))

    async def forget(self, now_ms: int) -> None:
        await self._run(lambda: self._opened().forget(now_ms))

    async def _run(self, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work)
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(
                f"the journal cannot be written ({error})",
                where=str(self._path),
                next_step="see to the disk of this box; nothing is carried out until then",
            ) from error

    # In the thread.

    def _guarded(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except Full:
            raise
        except sqlite3.Error:
            # What a connection does after a failed write is not to be relied on; the next call opens it anew.
            if self._book is not None:
                self._book.close()
                self._book = None
            raise

    def _opened(self) -> Book:
        if self._book is None:
            self._book = Book.open(self._path, self._owner)
        return self._book

    def _append(self, entry: Mapping[str, Any]) -> None:
        if self._audit is None:
            self._audit = AuditLog(self._audit_folder)
        self._audit.append(self._wall_ms(), entry)

    def _open(self) -> Kept:
        self._audit = AuditLog(self._audit_folder)
        if self._audit.healed:
            self._append({"what": "healed", "bytes": self._audit.healed})
        try:
            book = self._opened()
            kept = book.kept()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # the disk, not the file
            return self._set_aside(error)
        book.forget(self._wall_ms())
        return kept

    def _set_aside(self, error: sqlite3.DatabaseError) -> Kept:
        now_ms = self._wall_ms()
        if self._book is not None:
            self._book.close()
            self._book = None
        holds = holds_of(self._path)
        aside = self._path.with_name(f"{self._path.name}.damaged-{now_ms}")
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).rename(aside.with_name(aside.name + suffix))
        self.blind_until_ms = now_ms
        _log.error("the command journal was set aside", path=str(aside), reason=str(error), holds=len(holds))
        self._append({"what": "journal_set_aside", "why": str(error)[:200], "holds": [hold.target for hold in holds]})
        book = self._opened()
        for hold in holds:
            book.take(Step(hold=hold))
        return Kept(holds=holds)

    def _close(self) -> None:
        if self._book is not None:
            self._book.close()
            self._book = None
        if self._audit is not None:
            self._audit.close()
