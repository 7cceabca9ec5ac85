"""The pure parts of the spool: ranges, the bounded buffer, what goes first when space is short, SQLite's pages."""

from __future__ import annotations

import sqlite3
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.model import SpoolSettings
from edge_agent.spool.buffer import Buffer
from edge_agent.spool.entry import Entry, Kind, Seal
from edge_agent.spool.numbers import Numbers
from edge_agent.spool.pages import records
from edge_agent.spool.ranges import Ranges
from edge_agent.spool.space import WAL_ROOM, Space
from edge_agent.spool.thinning import WINDOW_MS, Thinner

spans = st.lists(st.tuples(st.booleans(), st.integers(0, 60), st.integers(-2, 20)), max_size=30)


@given(spans)
def test_ranges_are_a_set_of_integers(steps: list[tuple[bool, int, int]]) -> None:
    ranges, model = Ranges(), set[int]()
    for is_add, low, size in steps:
        if is_add:
            ranges.add(low, low + size)
            model |= set(range(low, low + size + 1))
        else:
            ranges.remove(low, low + size)
            model -= set(range(low, low + size + 1))
    assert {value for low, high in ranges for value in range(low, high + 1)} == model
    assert ranges.count() == len(model)
    assert [value for value in range(-3, 90) if value in ranges] == sorted(model)
    listed = list(ranges)
    assert all(high + 1 < low for (_, high), (low, _) in pairwise(listed)), "they touch"


def entry(key: int, kind: Kind = Kind.TELEMETRY, size: int = 100) -> Entry:
    return Entry(key, "E", key, kind, "meter-01", "", key, bytes(size))


def test_the_buffer_drops_the_oldest_telemetry_first() -> None:
    buffer = Buffer(max_messages=80)
    kinds = [Kind.EVENT, Kind.TELEMETRY, Kind.MARK, Kind.TELEMETRY]
    dropped: list[Entry] = []
    for key in range(1, 101):
        dropped += buffer.put(entry(key, kinds[key % 4]))
    assert dropped
    assert {e.kind for e in dropped} == {Kind.TELEMETRY}
    assert [e.key for e in dropped] == [key for key in range(1, 101) if kinds[key % 4] is Kind.TELEMETRY][
        : len(dropped)
    ]
    left = buffer.take(1000)
    assert len(left) + len(dropped) == 100
    assert len(left) <= 80


def test_the_buffer_drops_marks_before_events_and_stays_in_its_bound() -> None:
    buffer = Buffer(max_bytes=50_000)
    dropped: list[Entry] = []
    for key in range(1, 1001):
        dropped += buffer.put(entry(key, Kind.MARK if key % 2 else Kind.EVENT))
        assert buffer.fill()[1] <= 50_000
    kinds = [e.kind for e in dropped]
    assert Kind.MARK in kinds
    assert kinds.index(Kind.EVENT) > 40, "events go while there are marks"


def test_what_was_handed_on_without_a_disk_is_dropped_before_what_waits() -> None:
    buffer = Buffer(max_messages=10)
    for key in range(1, 9):
        buffer.put(entry(key))
    buffer.keep(buffer.take(4))
    dropped = [e.key for key in range(9, 13) for e in buffer.put(entry(key))]
    assert dropped[:3] == [1, 2, 3]
    buffer.forget(Ranges([(4, 4)]))
    assert [e.key for e in buffer.beyond(0, 100, Ranges())] == []
    assert len(buffer) + len(dropped) + 1 == 12
    assert buffer.fill()[0] == len(buffer)


def test_a_batch_given_back_waits_in_front() -> None:
    buffer = Buffer()
    for key in range(1, 7):
        buffer.put(entry(key))
    batch = buffer.take(3)
    buffer.give_back(batch)
    assert [e.key for e in buffer.take(10)] == [1, 2, 3, 4, 5, 6]


class Rows:
    """Rows to thin: a list that answers like `Database.scan`."""

    def __init__(self, rows: list[tuple[int, Kind, str, int]]) -> None:
        self.rows = rows

    def scan(self, kind: int, after: int, limit: int) -> list[tuple[int, str, int, int]]:
        return [(key, device, t_ms, 100) for key, k, device, t_ms in self.rows if k == kind and key > after][:limit]

    def empty(self, thinner: Thinner, want: int = 300) -> list[list[int]]:
        """Deletes everything in the order of the thinner."""
        steps = []
        middle = (self.rows[0][0] + self.rows[-1][0]) // 2
        while victims := thinner.next(self.scan, middle, want):
            self.rows = [row for row in self.rows if row[0] not in victims.keys]
            steps.append(victims.keys)
        return steps


def test_telemetry_is_thinned_then_dropped_then_marks_then_events() -> None:
    minute = 60_000
    kinds = [Kind.TELEMETRY, Kind.TELEMETRY, Kind.TELEMETRY, Kind.MARK, Kind.EVENT]
    rows = [(n, kinds[n % 5], f"meter-{n % 2}", n * minute) for n in range(1, 201)]
    gone = [key for step in Rows(list(rows)).empty(Thinner()) for key in step]
    kind_of = {row[0]: row[1] for row in rows}
    assert sorted(gone) == [row[0] for row in rows], "all of it goes in the end"
    order = [kind_of[key] for key in gone]
    assert order == sorted(order), "kinds go in their order"
    thinned = [key for key in gone if kind_of[key] is Kind.TELEMETRY]
    outline = thinned[thinned.index(max(thinned[:40])) + 1 :]
    first = {}
    for key, kind, device, t_ms in rows:
        if kind is Kind.TELEMETRY and key <= 100:
            first.setdefault((device, t_ms // WINDOW_MS), key)
    assert set(first.values()) <= set(outline), "the first of each quarter hour stays longer"


def test_one_step_takes_no_more_than_is_wanted() -> None:
    rows = Rows([(n, Kind.TELEMETRY, "meter-01", n * 1000) for n in range(1, 500)])
    steps = rows.empty(Thinner(), want=500)
    assert max(map(len, steps)) == 5


def test_below_the_floor_the_spool_keeps_what_it_has(tmp_path: Path) -> None:
    free = Space(SpoolSettings(tmp_path / "s", floor_free_bytes=0)).free()
    huge = SpoolSettings(tmp_path / "s", max_bytes=2**50, floor_free_bytes=free * 2, ballast_bytes=1000)
    assert Space(huge).allowance(5_000_000) == 5_000_000
    assert Space(huge).allowance(10) == 1000
    small = SpoolSettings(tmp_path / "s", max_bytes=100_000_000, floor_free_bytes=0)
    assert Space(small).allowance(0) == 100_000_000 - WAL_ROOM


def test_the_ballast_takes_real_blocks_and_gives_them_back(tmp_path: Path) -> None:
    space = Space(SpoolSettings(tmp_path / "s", ballast_bytes=1024 * 1024, floor_free_bytes=0))
    assert not space.release()
    space.restore()
    ballast = tmp_path / "s.ballast"
    assert ballast.stat().st_blocks * 512 >= 1024 * 1024
    assert space.release()
    assert ballast.stat().st_blocks == 0
    space.restore()
    assert ballast.stat().st_blocks * 512 >= 1024 * 1024


def test_a_checksum_is_bound_to_the_agent_and_to_every_field() -> None:
    seal = Seal("hq", "gw-01")
    row = seal.row(Entry(7, "AAAAAAAAAA", 7, Kind.EVENT, "door-1", "access", 5, b"payload"))
    assert seal.entry(row) is not None
    assert Seal("hq", "gw-02").entry(row) is None
    for index, other in enumerate([None, "AAAAAAAAAB", 8, 1, "door-2", "system", 6, 0, b"paylobd"]):
        if other is not None:
            changed = (*row[:index], other, *row[index + 1 :])
            assert seal.entry(changed) is None, f"column {index}"


def test_an_epoch_has_its_ten_characters_and_a_base_above_the_former() -> None:
    seen = {Numbers().epoch for _ in range(200)}
    assert len(seen) == 200
    assert all(len(epoch) == 10 and set(epoch) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ") for epoch in seen)


@given(
    st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.text(), st.binary(max_size=300), st.floats() | st.none()))
)
def test_rows_are_read_from_pages_as_sqlite_wrote_them(rows: list[tuple[int, str, bytes, float | None]]) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA page_size = 4096")
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b TEXT, c BLOB, d REAL)")
    rows = [(a, b.encode("utf-8", "replace").decode(), c, d) for a, b, c, d in rows]
    connection.executemany("INSERT INTO t(a, b, c, d) VALUES(?, ?, ?, ?)", rows)
    connection.commit()
    data = connection.serialize()
    found = []
    for number in range(2, len(data) // 4096 + 1):
        cells, whole = records(data[(number - 1) * 4096 : number * 4096], number, lambda _: b"")
        assert whole
        found += cells
    expected = connection.execute("SELECT * FROM t ORDER BY id").fetchall()
    assert sorted((key, *values[1:]) for key, values in found) == [tuple(row) for row in expected]


@settings(max_examples=40, suppress_health_check=[HealthCheck.large_base_example])  # a page has its size
@given(st.binary(min_size=4096, max_size=4096), st.integers(1, 3))
def test_no_page_makes_the_reader_raise(page: bytes, number: int) -> None:
    start = 100 if number == 1 else 0
    leaf = page[:start] + b"\x0d" + page[start + 1 :]
    for candidate in (page, leaf):
        records(candidate, number, lambda _: page)
