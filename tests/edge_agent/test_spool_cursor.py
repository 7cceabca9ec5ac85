"""State that is put with a message is in its commit: no transaction has a cursor beyond the messages that are on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from edge_agent.model import SpoolSettings
from edge_agent.spool import Kind, Spool
from edge_agent.spool.database import Database
from edge_agent.spool.entry import Row


async def test_a_cursor_is_never_ahead_of_its_messages_and_behind_only_within_a_large_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions: list[tuple[int, int]] = []
    """(messages, cursor) on the disk after each."""
    write = Database.write

    def watched(
        database: Database,
        rows: Sequence[Row],
        forget: Iterable[tuple[int, int]],
        state: Mapping[tuple[str, str], bytes | None],
        last: int,
    ) -> None:
        write(database, rows, forget, state, last)
        messages, cursor = transactions[-1] if transactions else (0, 0)
        if value := state.get(("events", "door-1")):
            cursor = msgspec.msgpack.decode(value)
        transactions.append((messages + len(rows), cursor))

    monkeypatch.setattr(Database, "write", watched)
    settings = SpoolSettings(path=tmp_path / "spool.db", commit_ms=5, ballast_bytes=0, floor_free_bytes=0)

    def opened() -> Spool:
        return Spool.open(
            settings, site="hq", agent="gw-01", on_commit=lambda entries: None, on_trouble=lambda kind, facts: None
        )

    spool, told = opened(), 0
    for size in (1, 3, 700, 2, 256, 257, 1):
        for _ in range(size):
            told += 1
            spool.put(
                Kind.EVENT, "door-1", 1000, lambda epoch, seq: b"x", cls="access", state=("events", "door-1", told)
            )
            if told % 40 == 0:
                await asyncio.sleep(0)
        await spool.flush()
        assert transactions[-1] == (told, told), "once it is flushed both are there"
    assert all(cursor <= messages for messages, cursor in transactions)
    assert spool.load_state("events") == {"door-1": told}
    await spool.close()
    spool = opened()
    assert spool.load_state("events") == {"door-1": told}
    await spool.close()
