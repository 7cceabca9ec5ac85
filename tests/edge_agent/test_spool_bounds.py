"""The spool in bad days that need no broken disk: full, without a disk, with a row that is not what was written."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import PlantroomError
from edge_agent.model import SpoolSettings
from edge_agent.spool import Entry, Kind, Spool, disk


class Box:
    def __init__(self, path: Path, **settings: Any) -> None:
        self.committed: list[Entry] = []
        self.trouble: list[tuple[str, Mapping[str, Any]]] = []
        self.changed = asyncio.Event()
        chosen = {"commit_ms": 1, "ballast_bytes": 0, "floor_free_bytes": 0, **settings}
        self.spool = Spool.open(
            SpoolSettings(path, **chosen), site="hq", agent="gw-01", on_commit=self._commit, on_trouble=self._trouble
        )

    def _commit(self, entries: Sequence[Entry]) -> None:
        self.committed += entries
        self.changed.set()

    def _trouble(self, kind: str, fields: Mapping[str, Any]) -> None:
        self.trouble.append((kind, fields))
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def put(self, kind: Kind = Kind.TELEMETRY, size: int = 1000, t_ms: int = 0) -> int:
        return self.spool.put(kind, "meter-01", t_ms, lambda epoch, seq: bytes(size))

    def lost(self) -> set[int]:
        reports = [fields for kind, fields in self.trouble if kind == "data_lost"]
        return {seq for fields in reports for low, high in fields["ranges"] for seq in range(low, high + 1)}

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.trouble]


async def test_a_full_spool_drops_telemetry_reports_it_and_stays_in_its_bound(tmp_path: Path) -> None:
    bound = 4 * 1024**2
    box = Box(tmp_path / "spool.db", max_bytes=bound)
    events, marks = set[int](), set[int]()
    for number in range(12_000):
        kind = Kind.EVENT if number % 400 == 7 else Kind.MARK if number % 100 == 3 else Kind.TELEMETRY
        seq = box.put(kind, t_ms=number * 10_000)
        if kind is not Kind.TELEMETRY:
            (events if kind is Kind.EVENT else marks).add(seq)
        if number % 256 == 0:
            await box.spool.flush()
            size = sum(path.stat().st_size for path in tmp_path.iterdir() if not path.name.endswith("-shm"))
            assert size <= bound * 1.05
    await box.spool.flush()
    held = {entry.seq for entry in await box.spool.backlog(0, 100_000, 2**40)}
    assert held | box.lost() == set(range(1, 12_001)), "lost without a word"
    assert not held & box.lost(), "reported and still there"
    assert events <= held
    assert marks <= held
    assert len(held) > 1000
    reports = [fields for kind, fields in box.trouble if kind == "data_lost"]
    assert {fields["epoch"] for fields in reports} == {box.spool.epoch}
    assert {fields["reason"] for fields in reports} == {"spool full, thinned", "spool full"} or {
        fields["reason"] for fields in reports
    } == {"spool full, thinned"}
    assert all(fields["t0"] <= fields["t1"] for fields in reports)
    assert max(held) == 12_000
    await box.spool.close()


async def test_events_are_the_last_to_go(tmp_path: Path) -> None:
    box = Box(tmp_path / "spool.db", max_bytes=1024**2)
    for kind in (Kind.EVENT, Kind.MARK, Kind.TELEMETRY):
        for _ in range(200):
            box.put(kind)
    await box.spool.flush()
    for _ in range(1500):
        box.put(Kind.EVENT)
    await box.spool.flush()
    held = await box.spool.backlog(0, 100_000, 2**40)
    assert {entry.kind for entry in held} == {Kind.EVENT}
    assert len(held) > 300
    await box.spool.close()


async def test_without_a_disk_memory_is_the_spool_and_the_disk_takes_over_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "RETRY_S", 0.01)
    folder = tmp_path / "data"
    folder.write_text("a file where the folder should be")
    box = Box(folder / "spool.db")
    box.spool.save_state("n", "k", 1)
    for _ in range(300):
        box.put()
    await box.until(lambda: len(box.committed) == 300)
    await box.spool.flush()
    assert box.kinds() == ["storage_failed"]
    assert box.spool.fill().msgs == 300
    box.spool.forget(box.spool.epoch, [(1, 100)])
    assert [entry.seq for entry in await box.spool.backlog(0, 3, 2**20)] == [101, 102, 103]
    assert [entry.seq for entry in await box.spool.backlog(0, 2, 2**20, newest_first=True)] == [300, 299]

    folder.unlink()
    box.put()
    await box.until(lambda: "storage_recovered" in box.kinds())
    await box.spool.flush()
    assert [entry.seq for entry in await box.spool.backlog(0, 1000, 2**30)] == list(range(101, 302))
    assert len(box.committed) == 301, "what was handed on from memory is not handed on again"
    epoch = box.spool.epoch
    await box.spool.close()
    again = Box(folder / "spool.db")
    assert again.spool.previous == (epoch, 301)
    assert again.spool.load_state("n") == {"k": 1}
    assert len(await again.spool.backlog(0, 1000, 2**30)) == 201
    await again.spool.close()


async def test_memory_is_bounded_and_what_goes_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    box = Box(tmp_path / "data" / "spool.db")
    event = box.put(Kind.EVENT)
    for _ in range(25_000):
        box.put(size=10)
    await box.spool.flush()
    fill = box.spool.fill()
    assert fill.msgs <= 20_000
    assert fill.bytes <= 16 * 1024**2
    held = {entry.seq for entry in await box.spool.backlog(0, 100_000, 2**40)}
    assert held | box.lost() == set(range(1, 25_002))
    assert not held & box.lost()
    assert event in held
    assert max(held) == 25_001
    await box.spool.close()


async def test_a_row_that_is_not_what_was_written_is_put_away_and_reported(tmp_path: Path) -> None:
    box = Box(tmp_path / "spool.db")
    for _ in range(20):
        box.put()
    await box.spool.flush()
    with sqlite3.connect(tmp_path / "spool.db") as connection:
        connection.execute("UPDATE message SET payload = zeroblob(999) WHERE seq = 7")
        connection.execute("UPDATE message SET device = 'meter-02' WHERE seq = 9")
    connection.close()
    assert [entry.seq for entry in await box.spool.backlog(0, 100, 2**20)] == [
        n for n in range(1, 21) if n not in (7, 9)
    ]
    await box.until(lambda: bool(box.trouble))
    assert box.lost() == {7, 9}
    assert box.spool.fill().msgs in (18, 20)
    box.put()
    await box.spool.flush()
    assert box.spool.fill().msgs == 19
    assert len(box.trouble) == 1
    await box.spool.close()


async def test_the_file_breaks_while_it_is_in_use(tmp_path: Path) -> None:
    """Everything that was committed is delivered or reported, and the spool goes on in a new file."""
    box = Box(tmp_path / "spool.db")
    for _ in range(3000):
        box.put()
    await box.spool.flush()
    box.spool.forget(box.spool.epoch, [(1, 50)])
    await box.spool.flush()
    with (tmp_path / "spool.db").open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096 * 400)
    for _ in range(10):
        box.put()
    held = {entry.seq for entry in await box.spool.backlog(0, 100_000, 2**40)}
    await box.spool.flush()
    if "set_aside" in box.kinds():
        assert box.kinds()[-1] == "salvaged"
    held = {entry.seq for entry in await box.spool.backlog(0, 100_000, 2**40)}
    assert set(range(51, 3011)) <= held | box.lost()
    assert len(held) > 1000
    await box.spool.close()


async def test_a_crash_between_a_loss_and_its_report_does_not_make_it_silent(tmp_path: Path) -> None:
    box = Box(tmp_path / "spool.db", max_bytes=1024**2)
    for _ in range(3000):
        box.put()
    while box.spool.fill().msgs > 1500:  # no await: the loop has no chance to tell what the thread reports
        os.sched_yield()
    assert box.trouble == []
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path, killed, ignore=shutil.ignore_patterns("killed"))
    former = box.spool.epoch
    await box.spool.close()
    again = Box(killed / "spool.db", max_bytes=1024**2)
    held = {entry.seq for entry in await again.spool.backlog(0, 10_000, 2**30)}
    assert {fields["epoch"] for kind, fields in again.trouble if kind == "data_lost"} == {former}
    last = again.spool.previous
    assert last is not None
    assert set(range(1, last[1] + 1)) == held | again.lost()
    await again.spool.close()
    once = Box(killed / "spool.db", max_bytes=1024**2)
    await once.spool.flush()
    assert once.trouble == [], "told once"
    await once.spool.close()


async def test_two_agents_in_one_folder_are_refused(tmp_path: Path) -> None:
    box = Box(tmp_path / "spool.db")
    with pytest.raises(PlantroomError, match="another agent works in this folder") as caught:
        Box(tmp_path / "spool.db")
    assert caught.value.where == str(tmp_path)
    await box.spool.close()
    await Box(tmp_path / "spool.db").spool.close()


async def test_after_an_outage_the_disk_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SPARE_BYTES", 1024**2)
    box = Box(tmp_path / "spool.db")
    for _ in range(4000):
        box.put(size=3000)
    await box.spool.flush()
    box.spool.forget(box.spool.epoch, [(1, 3900)])
    for _ in range(20):
        await box.spool.flush()
    assert [entry.seq for entry in await box.spool.backlog(0, 1000, 2**30)] == list(range(3901, 4001))
    await box.spool.close()
    assert (tmp_path / "spool.db").stat().st_size < 4 * 1024**2
