"""What only the embedded store has: roll-ups in its file, retention, restarts, trouble with the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import StoreUnavailable
from gateway.rollup import QUARTER_MS
from gateway.stores.base import ClassRow, LedgerRow, PointRow, QualityRow, Row, RowBatch, Step, StoreMisconfigured
from gateway.stores.sqlite import SqliteStore
from gateway.stores.sqlite_write import Newest, Retention

NOW = 1_795_355_300_000
T = 1_795_276_800_000
DAY = 86_400_000


def store_at(path: Path, *, now: Callable[[], int] = lambda: NOW, keep: Retention | None = None) -> SqliteStore:
    return SqliteStore(
        path / "store.db", retention=keep or Retention(), zone_of=lambda site: "Asia/Shanghai", wall_ms=now
    )


async def put(store: SqliteStore, *rows: Row) -> list[str]:
    batch = RowBatch()
    batch.add(rows, 0)
    return [refused.reason for refused in await store.write(batch)]


def row(t_ms: int, value: float = 1.0) -> ClassRow:
    return ClassRow("hq", "m1", "electricity_meter", t_ms, {"energy_active_import": value})


async def test_a_restart_remembers_the_newest_and_what_is_due(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    await store.open()
    await put(store, row(T), row(T + 5, 2.0), QualityRow("hq", "m1", "current_l1", T, 2, "BadTimeout"))
    await put(store, PointRow("hq", "m1", "x_a", T, 3.0))
    before = await store.latest()
    await store.close()
    store = store_at(tmp_path)
    await store.open()
    assert await store.latest() == before
    await put(store, row(T + 9, 3.0))
    assert (await store.samples("hq", "m1", ["energy_active_import"], T, T + 10))["energy_active_import"][-1] == (
        T + 9,
        3.0,
    )
    await store.close()


async def test_buckets_are_the_same_before_and_after_they_are_rolled_up(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    await store.open()
    await put(store, *[row(T + n * 61_000, n * 0.5) for n in range(1000)])
    steps = [
        Step(900),
        Step(3600),
        Step(1, "day", "Asia/Shanghai"),
        Step(1, "day", "UTC"),
        Step(1, "month", "Asia/Shanghai"),
    ]

    async def ask() -> list[object]:
        return [await store.buckets("hq", "m1", ["energy_active_import"], T, NOW, step) for step in steps]

    from_readings = await ask()
    await store.roll_up()
    assert store.figures()["quarters_waiting"] <= 1
    rolled = await ask()
    assert repr(rolled) == repr(from_readings) or all(
        one.increase == pytest.approx(other.increase) and (one.n, one.min, one.max) == (other.n, other.min, other.max)
        for a, b in zip(rolled, from_readings, strict=True)
        for one, other in zip(a["energy_active_import"], b["energy_active_import"], strict=True)  # type: ignore[index]
    )
    await store.close()


async def test_a_quarter_that_is_not_over_is_left_alone(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    await store.open()
    await put(store, row(NOW - NOW % QUARTER_MS + 1))
    await store.roll_up()
    assert store.figures()["quarters_waiting"] == 1
    await store.close()


async def test_retention_cuts_by_class_and_keeps_the_roll_ups(tmp_path: Path) -> None:
    clock = [NOW]
    keep = Retention(raw_days=10, quarter_days=40, classes={"room_sensor": 2})
    store = store_at(tmp_path, now=lambda: clock[0], keep=keep)
    await store.open()
    old = NOW - 5 * DAY
    await put(store, row(old), row(NOW), ClassRow("hq", "r1", "room_sensor", NOW - DAY, {"zone_co2": 400.0}))
    assert await put(store, ClassRow("hq", "r1", "room_sensor", old, {"zone_co2": 400.0})) == ["retention"]
    assert await put(store, PointRow("hq", "m1", "x_a", NOW - 11 * DAY, 1.0)) == ["retention"]
    clock[0] = NOW + 7 * DAY
    await store.roll_up()
    await store.retain()
    assert (await store.samples("hq", "m1", ["energy_active_import"], 0, 2 * NOW))["energy_active_import"] == [
        (NOW, 1.0)
    ]
    assert (await store.samples("hq", "r1", ["zone_co2"], 0, 2 * NOW))["zone_co2"] == []
    (day,) = (await store.buckets("hq", "m1", ["energy_active_import"], old, old + 1, Step(1, "day", "Asia/Shanghai")))[
        "energy_active_import"
    ]
    assert day.n == 1
    await store.close()


async def test_ledger_rows_that_continue_grow_into_one(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    await store.open()
    for n in range(20):
        await put(store, LedgerRow("gw", "E", n * 10, n * 10 + 9, T + n))
    await put(store, LedgerRow("gw", "E", 300, 301, T + 99))
    assert [(found.a, found.b) for found in await store.ledger("gw")] == [(0, 199), (300, 301)]
    await store.close()


async def test_the_file_is_readable_without_us(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    await store.open()
    await put(store, row(T, 42.5))
    await store.close()
    with sqlite3.connect(tmp_path / "store.db") as db:
        found = db.execute(
            "SELECT s.dev, r.key & ((1 << 42) - 1), json_extract(r.fields, '$.energy_active_import') "
            "FROM reading r JOIN series s ON s.id = r.key >> 42"
        ).fetchall()
        assert found == [("m1", T, 42.5)]
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_file_of_another_layout_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(StoreMisconfigured, match="layout 99"):
        await store_at(tmp_path).open()


async def test_a_damaged_file_and_a_missing_folder_are_said(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(StoreMisconfigured, match="damaged"):
        await store_at(tmp_path).open()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        await store_at(tmp_path / "file").open()


async def test_a_locked_file_is_waited_for_and_nothing_is_half_written(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    await store.open()
    assert store._writer is not None
    store._writer.db.execute("PRAGMA busy_timeout=20")
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await put(store, row(T))
    assert await store.latest() == []
    other.execute("ROLLBACK")
    other.close()
    assert await put(store, row(T)) == []
    assert len(await store.latest()) == 1
    await store.close()


writes = st.lists(
    st.tuples(st.integers(0, 50), st.dictionaries(st.sampled_from("abcd"), st.integers(0, 99), min_size=1)), max_size=30
)


@given(writes)
def test_the_newest_of_each_point_whatever_the_order(rows: list[tuple[int, dict[str, float]]]) -> None:
    newest = Newest()
    expected: dict[str, tuple[int, float]] = {}
    for t_ms, fields in rows:
        newest.add(t_ms, fields)
        for point, value in fields.items():
            if point not in expected or t_ms >= expected[point][0]:
                expected[point] = (t_ms, value)
    assert newest.values() == expected
