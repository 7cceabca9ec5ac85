"""The spool in good days: commit before handing on, forgetting, reading back, numbering, state."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_agent.model import SpoolSettings
from edge_agent.spool import Entry, Kind, Spool


class Box:
    """A spool with what it said."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.committed: list[Entry] = []
        self.trouble: list[tuple[str, Mapping[str, Any]]] = []
        self.changed = asyncio.Event()
        defaults = {"commit_ms": 5, "ballast_bytes": 0, "floor_free_bytes": 0}
        self.settings = SpoolSettings(path=path / "spool.db", **{**defaults, **settings})
        self.open()

    def open(self, site: str = "hq", agent: str = "gw-01") -> Spool:
        self.spool = Spool.open(self.settings, site=site, agent=agent, on_commit=self._commit, on_trouble=self._trouble)
        return self.spool

    async def reopen(self) -> Spool:
        await self.spool.close()
        return self.open()

    def _commit(self, entries: Sequence[Entry]) -> None:
        self.committed += entries
        self.changed.set()

    def _trouble(self, kind: str, fields: Mapping[str, Any]) -> None:
        self.trouble.append((kind, fields))
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def put(self, text: str = "x", kind: Kind = Kind.TELEMETRY, device: str = "meter-01", **options: Any) -> int:
        return self.spool.put(kind, device, 1000, lambda epoch, seq: f"{epoch} {seq} {text}".encode(), **options)

    async def all(self) -> list[Entry]:
        return await self.spool.backlog(0, 100_000, 2**40)


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    box = Box(tmp_path)
    yield box
    await box.spool.close()


async def test_a_message_is_handed_on_once_it_is_committed(box: Box) -> None:
    seq = box.put("hello")
    assert box.committed == []
    await box.until(lambda: bool(box.committed))
    (entry,) = box.committed
    assert (entry.seq, entry.epoch, entry.kind) == (seq, box.spool.epoch, Kind.TELEMETRY)
    assert entry.payload == f"{box.spool.epoch} 1 hello".encode()
    assert await box.all() == [entry]


async def test_sequence_numbers_count_up_from_one_over_all_kinds(box: Box) -> None:
    assert [box.put(kind=kind) for kind in (Kind.TELEMETRY, Kind.EVENT, Kind.MARK, Kind.EVENT)] == [1, 2, 3, 4]
    await box.spool.flush()
    assert [entry.seq for entry in box.committed] == [1, 2, 3, 4]


async def test_a_message_that_cannot_be_built_uses_no_number(box: Box) -> None:
    def fails(epoch: str, seq: int) -> bytes:
        raise ValueError(seq)

    with pytest.raises(ValueError):
        box.spool.put(Kind.TELEMETRY, "meter-01", 0, fails)
    assert box.put() == 1


async def test_forgotten_messages_do_not_come_back(box: Box) -> None:
    for _ in range(10):
        box.put()
    await box.spool.flush()
    box.spool.forget(box.spool.epoch, [(1, 3), (7, 7), (9, 4000)])
    assert [entry.seq for entry in await box.all()] == [4, 5, 6, 8]
    await box.spool.flush()
    assert [entry.seq for entry in await box.all()] == [4, 5, 6, 8]
    await box.reopen()
    assert [entry.seq for entry in await box.all()] == [4, 5, 6, 8]


async def test_a_new_opening_is_a_new_epoch_and_knows_the_former(box: Box) -> None:
    first = box.spool.epoch
    assert box.spool.previous is None
    for _ in range(5):
        box.put()
    second = (await box.reopen()).epoch
    assert second != first
    assert len(second) == 10
    assert box.spool.previous == (first, 5)
    assert box.put() == 1
    await box.spool.flush()
    assert [(entry.epoch, entry.seq) for entry in await box.all()] == [*((first, n) for n in range(1, 6)), (second, 1)]
    box.spool.forget(first, [(1, 2**60)])
    assert [(entry.epoch, entry.seq) for entry in await box.all()] == [(second, 1)]
    keys = [entry.key for entry in box.committed]
    assert keys == sorted(set(keys))


async def test_ranges_of_an_unknown_epoch_are_ignored(box: Box) -> None:
    box.put()
    await box.spool.flush()
    box.spool.forget("0000000000", [(0, 100)])
    box.spool.forget(box.spool.epoch, [(5, 4), (-3, 0)])
    assert len(await box.all()) == 1


async def test_an_empty_epoch_is_remembered_as_previous_only(box: Box) -> None:
    box.put()
    for _ in range(4):
        former = box.spool.epoch
        await box.reopen()
        assert box.spool.previous is not None
        assert box.spool.previous[0] == former
    assert box.spool.previous[1] == 0
    assert len(await box.all()) == 1


async def test_the_backlog_is_read_in_parts(box: Box) -> None:
    for n in range(20):
        box.put(f"{n:03}")
    await box.spool.flush()
    first = await box.spool.backlog(0, 6, 2**20)
    assert [entry.seq for entry in first] == [1, 2, 3, 4, 5, 6]
    rest = await box.spool.backlog(first[-1].key, 100, 2**20)
    assert [entry.seq for entry in rest] == list(range(7, 21))
    size = len(first[0].payload)
    assert len(await box.spool.backlog(0, 100, 3 * size)) == 3
    assert len(await box.spool.backlog(0, 100, 1)) == 1
    newest = await box.spool.backlog(0, 3, 2**20, newest_first=True)
    assert [entry.seq for entry in newest] == [20, 19, 18]
    older = await box.spool.backlog(newest[-1].key, 2, 2**20, newest_first=True)
    assert [entry.seq for entry in older] == [17, 16]
    assert await box.spool.backlog(rest[-1].key, 5, 2**20) == []


async def test_an_event_does_not_wait_for_the_interval(tmp_path: Path) -> None:
    box = Box(tmp_path, commit_ms=3_600_000)
    box.put("telemetry")
    await box.spool.backlog(0, 1, 1)  # the thread has had its turn
    assert box.committed == []
    box.put("event", kind=Kind.EVENT, cls="system")
    await box.until(lambda: len(box.committed) == 2)
    assert box.committed[1].cls == "system"
    await box.spool.close()


async def test_a_full_batch_does_not_wait_for_the_interval(tmp_path: Path) -> None:
    box = Box(tmp_path, commit_ms=3_600_000)
    for _ in range(600):
        box.put()
    await box.until(lambda: len(box.committed) >= 512)
    assert [entry.seq for entry in box.committed] == list(range(1, len(box.committed) + 1))
    await box.spool.close()
    await asyncio.sleep(0)
    assert len(box.committed) == 600


async def test_fill_counts_what_is_held(box: Box) -> None:
    assert box.spool.fill().msgs == 0
    assert box.spool.fill().oldest_ms is None
    for _ in range(300):
        box.put("x" * 1000)
    assert box.spool.fill().msgs == 300
    await box.spool.flush()
    fill = box.spool.fill()
    assert (fill.msgs, fill.oldest_ms) == (300, 1000)
    assert 300_000 < fill.bytes < 1_000_000
    box.spool.forget(box.spool.epoch, [(1, 200)])
    await box.spool.flush()
    assert box.spool.fill().msgs == 100
    await box.reopen()
    assert box.spool.fill().msgs == 100


async def test_what_goes_to_the_disk_meanwhile_is_counted_once(box: Box) -> None:
    for number in range(1, 101):
        box.put(now=True)
        for _ in range(200):  # no await: only the spool's own thread goes on
            assert box.spool.fill().msgs == number
            os.sched_yield()


async def test_state_is_the_latest_value_of_each_key(box: Box) -> None:
    spool = box.spool
    spool.save_state("counters", "meter-01", {"a": 1, "b": [1.5, None, "x"], 7: b"\0"})
    spool.save_state("counters", "meter-02", 5)
    spool.save_state("layout", "meter-01", (1, 2))
    spool.save_state("counters", "meter-02", 6)
    expected = {"meter-01": {"a": 1, "b": [1.5, None, "x"], 7: b"\0"}, "meter-02": 6}
    assert spool.load_state("counters") == expected
    spool = await box.reopen()
    assert spool.load_state("counters") == expected
    assert spool.load_state("layout") == {"meter-01": [1, 2]}
    spool.save_state("counters", "meter-02", None)
    spool.save_state("counters", "meter-03", None)
    spool = await box.reopen()
    assert spool.load_state("counters").keys() == {"meter-01"}
    assert spool.load_state("nothing") == {}


async def test_flush_and_close_end_also_with_nothing_to_do(box: Box) -> None:
    await box.spool.flush()
    await box.spool.flush()
    await box.reopen()
    await box.spool.flush()
