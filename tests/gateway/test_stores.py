"""One conformance suite over every store: what is written is read back, twice is once, and questions mean the same everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.stores.base import ClassRow, EventRow, LedgerRow, PointRow, QualityRow, Row, RowBatch, Step, Store
from gateway.stores.influx import InfluxSettings, InfluxStore
from gateway.stores.sqlite import SqliteStore
from gateway.stores.sqlite_write import Retention
from tests.gateway.real_stores import influxd, needs_influxd

NOW = 1_795_355_300_000
T = 1_795_276_800_000
"""2026-11-22 00:00 in Shanghai: a whole quarter hour, a whole UTC hour."""
MIN, QUARTER, HOUR, DAY = 60_000, 900_000, 3_600_000, 86_400_000
SHANGHAI = "Asia/Shanghai"


@pytest.fixture(params=["sqlite", pytest.param("influx-v1", marks=[needs_influxd, pytest.mark.real])])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "sqlite":
        keep = Retention(raw_days=None)
        sqlite = SqliteStore(tmp_path / "store.db", retention=keep, zone_of=lambda site: SHANGHAI, wall_ms=lambda: NOW)
        await sqlite.open()
        yield sqlite
        await sqlite.close()
    else:
        async with influxd(tmp_path / "influx") as url:
            influx = InfluxStore(InfluxSettings("v1", url, "plantroom"))
            await influx.open()
            yield influx
            await influx.close()


def meter(t_ms: int, **fields: Any) -> ClassRow:
    return ClassRow("hq", "meter-01", "electricity_meter", t_ms, fields)


async def put(store: Store, *rows: Row) -> None:
    batch = RowBatch()
    batch.add(rows, 0)
    assert await store.write(batch) == []


async def test_what_is_written_is_read_back(store: Store) -> None:
    await put(
        store, meter(T, power_active=81.25, breaker_closed=1, model_text='a "b" \\ é'), meter(T + 1, power_active=2)
    )
    found = await store.samples("hq", "meter-01", ["power_active", "breaker_closed", "model_text", "no_such"], T, T + 2)
    assert found == {
        "power_active": [(T, 81.25), (T + 1, 2)],
        "breaker_closed": [(T, 1)],
        "model_text": [(T, 'a "b" \\ é')],
        "no_such": [],
    }
    assert (await store.health()).ok


async def test_ranges_are_half_open_and_limits_keep_the_newest(store: Store) -> None:
    await put(store, *[meter(T + n, power_active=float(n)) for n in range(10)])
    found = await store.samples("hq", "meter-01", ["power_active"], T + 2, T + 8)
    assert [t - T for t, _ in found["power_active"]] == [2, 3, 4, 5, 6, 7]
    found = await store.samples("hq", "meter-01", ["power_active"], T, T + 10, limit=3)
    assert [t - T for t, _ in found["power_active"]] == [7, 8, 9]


async def test_writing_twice_is_writing_once(store: Store) -> None:
    rows: list[Row] = [
        meter(T, power_active=1.5),
        PointRow("hq", "meter-01", "x_odd", T, 4.0),
        QualityRow("hq", "meter-01", "power_active", T, 2, "BadTimeout"),
        EventRow("hq", "meter-01", "system.device_down", T * 1_000_000, "e1", {"since": T}, "gw-01"),
    ]
    for _ in range(3):
        await put(store, *rows)
    found = await store.samples("hq", "meter-01", ["power_active", "x_odd"], 0, NOW)
    assert found == {"power_active": [(T, 1.5)], "x_odd": [(T, 4.0)]}
    assert await store.quality("hq", "meter-01", 0, NOW) == [rows[2]]
    assert await store.events(0, NOW) == [rows[3]]


async def test_rows_of_one_time_merge_point_by_point(store: Store) -> None:
    await put(store, meter(T, voltage_l1=1.0, voltage_l2=2.0))
    await put(store, meter(T, voltage_l2=3.0, voltage_l3=4.0))
    found = await store.samples("hq", "meter-01", ["voltage_l1", "voltage_l2", "voltage_l3"], T, T + 1)
    assert list(found.values()) == [[(T, 1.0)], [(T, 3.0)], [(T, 4.0)]]


async def test_devices_and_sites_do_not_mix(store: Store) -> None:
    await put(
        store, meter(T, power_active=1.0), ClassRow("other", "meter-01", "electricity_meter", T, {"power_active": 9.0})
    )
    await put(store, ClassRow("hq", "meter-02", "electricity_meter", T, {"power_active": 5.0}))
    assert (await store.samples("hq", "meter-01", ["power_active"], T, T + 1))["power_active"] == [(T, 1.0)]
    assert [(one.dev, one.value) for one in await store.latest("hq")] == [("meter-01", 1.0), ("meter-02", 5.0)]


async def test_latest_is_the_largest_time_with_its_quality(store: Store) -> None:
    await put(store, meter(T + 10, power_active=2.0, voltage_l1=230.0), meter(T, power_active=1.0))
    await put(
        store,
        meter(T + 20, current_l1=5.0),
        PointRow("hq", "meter-01", "x_odd", T, 7.0),
        QualityRow("hq", "meter-01", "voltage_l1", T + 30, 2, "BadTimeout"),
        QualityRow("hq", "meter-01", "current_l1", T + 20, 1, "UncertainSubstituteValue"),
        QualityRow("hq", "meter-01", "current_l2", T + 5, 2, "BadNodeIdUnknown"),
    )
    found = {one.pt: one for one in await store.latest("hq", "meter-01")}
    assert (found["power_active"].t_ms, found["power_active"].value, found["power_active"].q) == (T + 10, 2.0, 0)
    assert found["power_active"].cls == "electricity_meter"
    bad = found["voltage_l1"]
    assert (bad.t_ms, bad.value, bad.q, bad.sc, bad.since_ms) == (T + 30, None, 2, "BadTimeout", T + 30)
    assert (found["current_l1"].value, found["current_l1"].q) == (5.0, 1)
    assert (found["current_l2"].value, found["current_l2"].sc) == (None, "BadNodeIdUnknown")
    assert found["x_odd"].value == 7.0
    assert await store.latest("nowhere") == []


async def test_quality_holds_until_it_changes(store: Store) -> None:
    rows = [
        QualityRow("hq", "meter-01", "a", T, 2, "BadTimeout"),
        QualityRow("hq", "meter-01", "a", T + 10, 0, "Good", "alarm"),
        QualityRow("hq", "meter-01", "b", T + 5, 1, ""),
    ]
    await put(store, *rows)
    assert await store.quality("hq", "meter-01", T + 6, T + 20) == [rows[0], rows[2], rows[1]]
    assert await store.quality("hq", "meter-01", T + 6, T + 20, before=False) == [rows[1]]
    assert await store.quality("hq", "meter-01", T + 10, T + 20, point="a") == [rows[0], rows[1]]


async def test_events_newest_first_by_type_and_device(store: Store) -> None:
    rows = [
        EventRow(
            "hq", "door-3", "access.denied", T * 1_000_000 + n, f"e{n}", {"card": "x", "n": 1.5, "held": True}, "gw"
        )
        for n in range(3)
    ]
    rows.append(EventRow("hq", "gw", "system.restart", (T + 1) * 1_000_000, "r", {"reason": "start"}, "gw"))
    await put(store, *rows)
    assert await store.events(T, T + 2) == rows[::-1]
    assert await store.events(T, T + 2, limit=1) == rows[3:]
    assert await store.events(T, T + 2, types=("access",), device="door-3") == rows[2::-1]
    assert await store.events(T, T + 2, types=("system.restart", "card")) == rows[3:]
    assert await store.events(T, T + 2, types=("acc",)) == []
    assert await store.events(T + 1, T + 2, site="hq") == rows[3:]


async def test_the_ledger_vouches_for_every_number(store: Store) -> None:
    await put(store, LedgerRow("gw-01", "A", 0, 9, T), LedgerRow("gw-01", "A", 20, 29, T + 1))
    await put(store, LedgerRow("gw-01", "A", 10, 19, T + 2), LedgerRow("gw-01", "B", 0, 3, T + 2))
    found = await store.ledger("gw-01")
    numbers = sorted({(row.epoch, n) for row in found for n in range(row.a, row.b + 1)})
    assert numbers == [("A", n) for n in range(30)] + [("B", n) for n in range(4)]
    assert await store.ledger("gw-02") == []


async def test_two_workers_vouch_for_one_epoch_in_one_millisecond(store: Store) -> None:
    await put(store, LedgerRow("gw-01", "A", 0, 9, T), LedgerRow("gw-01", "A", 20, 29, T, "ingest-2"))
    numbers = {n for row in await store.ledger("gw-01") for n in range(row.a, row.b + 1)}
    assert numbers == {*range(10), *range(20, 30)}


async def test_buckets_of_minutes(store: Store) -> None:
    await put(store, *[meter(T + n * 20_000, power_active=float(n), model_text=f"v{n}") for n in range(6)])
    found = await store.buckets("hq", "meter-01", ["power_active", "model_text"], T, T + 2 * MIN, Step(60))
    first, second = found["power_active"]
    assert (first.t_ms, first.end_ms, first.n, first.mean, first.min, first.max) == (T, T + MIN, 3, 1.0, 0.0, 2.0)
    assert (second.first, second.last, second.increase) == (3.0, 5.0, None)
    assert [(one.n, one.last, one.mean) for one in found["model_text"]] == [(3, "v2", None), (3, "v5", None)]


async def test_quarters_and_days_follow_the_zone_and_late_data(store: Store) -> None:
    """A counter that rises by 1 each 10 minutes over two days; then something late falls in."""
    await put(store, *[meter(T + n * 10 * MIN, energy_active_import=float(n)) for n in range(2 * 144)])
    if isinstance(store, SqliteStore):
        await store.roll_up()
    points = ["energy_active_import"]
    quarters = (await store.buckets("hq", "meter-01", points, T, T + HOUR, Step(900)))["energy_active_import"]
    assert [round(one.increase or 0, 6) for one in quarters] == [1.5, 1.5, 1.5, 1.5]
    days = await store.buckets("hq", "meter-01", points, T, T + DAY, Step(1, "day", SHANGHAI))
    (day,) = days["energy_active_import"]
    assert (day.t_ms, day.end_ms, day.n, day.first, day.last) == (T, T + DAY, 144, 0.0, 143.0)
    assert day.increase == pytest.approx(144.0)
    await put(store, meter(T + 25 * MIN, energy_active_import=2.5))
    (day,) = (await store.buckets("hq", "meter-01", points, T, T + DAY, Step(1, "day", SHANGHAI)))[
        "energy_active_import"
    ]
    assert day.n == 145
    if isinstance(store, SqliteStore):
        await store.roll_up()
        (day,) = (await store.buckets("hq", "meter-01", points, T, T + DAY, Step(1, "day", SHANGHAI)))[
            "energy_active_import"
        ]
        assert (day.n, day.last) == (145, 143.0)
    utc = (await store.buckets("hq", "meter-01", points, T, T + DAY, Step(1, "day", "UTC")))["energy_active_import"]
    assert [one.t_ms for one in utc] == [T - 16 * HOUR, T + 8 * HOUR]


async def test_names_that_are_hard_to_quote_stay_themselves(store: Store) -> None:
    dev = 'o\'neil "q" ;DROP'
    await put(store, ClassRow("hq", dev, "ahu", T, {"damper": 3.0}))
    assert (await store.samples("hq", dev, ["damper"], T, T + 1))["damper"] == [(T, 3.0)]
    assert (await store.samples("hq", "o'neil", ["damper"], T, T + 1))["damper"] == []
