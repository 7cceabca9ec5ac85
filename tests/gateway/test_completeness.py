"""Which slots are filled, which are explained, and which are neither."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from gateway.completeness import Completeness, PointCompleteness, count_slots
from gateway.contract.messages import PointMeta
from gateway.inventory import Inventory
from gateway.stores.base import ClassRow, EventRow, QualityRow, Row, RowBatch
from gateway.stores.sqlite import SqliteStore
from gateway.stores.sqlite_write import Retention
from tests.gateway.message_box import AGENT, DEV, SITE
from tests.gateway.test_inventory import meta, say, state, status

T = 1_795_276_800_000
S, MIN, HOUR = 1000, 60_000, 3_600_000
END = T + 2 * HOUR
POINTS = {
    "power_active": {"type": "num", "poll_s": 10, "hb_s": 300},
    "energy_active_import": {"type": "num", "align_s": 900},
}


@dataclass
class Site:
    store: SqliteStore
    inventory: Inventory
    completeness: Completeness

    async def put(self, *rows: Row) -> None:
        batch = RowBatch()
        batch.add(rows, 0)
        assert await self.store.write(batch) == []

    async def power(self, *spans: tuple[int, int]) -> None:
        """A reading every 5 minutes and 3 seconds in each span of minutes after T."""
        times = [t for a, b in spans for t in range(T + a * MIN, T + b * MIN, 303 * S)]
        await self.put(*[ClassRow(SITE, DEV, "electricity_meter", t, {"power_active": 1.0}) for t in times])

    async def ask(self) -> dict[str, PointCompleteness]:
        found = await self.completeness.device(SITE, DEV, T, END)
        assert found is not None
        assert found.slots == found.filled + found.explained + found.missing
        return {point.pt: point for point in found.points}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    keep = Retention(raw_days=None)
    store = SqliteStore(tmp_path / "store.db", retention=keep, wall_ms=lambda: END + HOUR)
    await store.open()
    inventory = Inventory(tmp_path / "inventory.db", registered=None, wall_ms=lambda: T)
    await inventory.open()
    say(inventory, f"dev/{DEV}/meta", meta(points=POINTS))
    say(inventory, "status", status("online", 1, t=T))
    yield Site(store, inventory, Completeness(store, inventory, wall_ms=lambda: END + HOUR))
    await store.close()
    await inventory.close()


def event(name: str, t: int, dev: str = DEV, **data: int | str) -> EventRow:
    return EventRow(SITE, dev, name, t * 1_000_000, f"{name}{t}", data, AGENT)


async def test_all_there(site: Site) -> None:
    await site.power((0, 120))
    marks = [
        ClassRow(SITE, DEV, "electricity_meter", T + n * 900 * S + 300, {"energy_active_import": 1.0}) for n in range(8)
    ]
    await site.put(*marks)
    found = await site.ask()
    assert found["power_active"] == PointCompleteness("power_active", 300, 24, 24, {}, 0, ())
    assert found["energy_active_import"] == PointCompleteness("energy_active_import", 900, 8, 8, {}, 0, ())


async def test_a_hole_without_a_reason(site: Site) -> None:
    await site.power((0, 30), (60, 120))
    found = (await site.ask())["power_active"]
    assert (found.slots, found.filled, found.explained) == (24, 18, {})
    assert found.missing_slots == ((T + 30 * MIN, T + 60 * MIN),)


async def test_a_device_that_was_down(site: Site) -> None:
    await site.power((0, 30), (60, 120))
    await site.put(
        event("system.device_down", T + 31 * MIN, since=T + 30 * MIN), event("system.device_up", T + 60 * MIN)
    )
    found = (await site.ask())["power_active"]
    assert (found.explained, found.missing) == ({"device_down": 6}, 0)


async def test_a_device_that_is_disabled(site: Site) -> None:
    await site.power((0, 30))
    for word, since in (("ok", T - HOUR), ("disabled", T + 30 * MIN)):
        say(site.inventory, f"dev/{DEV}/state", state(word, since))
    found = (await site.ask())["power_active"]
    assert (found.explained, found.missing) == ({"disabled": 18}, 0)


async def test_a_point_that_was_bad(site: Site) -> None:
    await site.power((0, 30), (60, 120))
    await site.put(
        QualityRow(SITE, DEV, "power_active", T + 30 * MIN, 2, "BadTimeout"),
        QualityRow(SITE, DEV, "power_active", T + 60 * MIN, 0, "Good"),
        QualityRow(SITE, DEV, "other", T, 2, "BadTimeout"),
    )
    found = await site.ask()
    assert (found["power_active"].explained, found["power_active"].missing) == ({"BadTimeout": 6}, 0)
    assert found["energy_active_import"].missing == 8


async def test_what_the_edge_had_to_drop(site: Site) -> None:
    await site.power((0, 30), (60, 120))
    await site.put(event("system.data_lost", T + HOUR, AGENT, t0=T + 30 * MIN, t1=T + 60 * MIN - 1, reason="disk"))
    found = (await site.ask())["power_active"]
    assert (found.explained, found.missing) == ({"data_lost": 6}, 0)


async def test_an_agent_that_was_not_running(site: Site) -> None:
    await site.power((0, 30), (60, 120))
    await site.put(event("system.restart", T + 59 * MIN, AGENT, reason="start"))
    found = (await site.ask())["power_active"]
    assert (found.explained, found.missing) == ({"agent_restart": 6}, 0)


async def test_an_agent_that_is_away_now(site: Site) -> None:
    await site.power((0, 60))
    say(site.inventory, "status", status("lost", 1, t=T + 60 * MIN))
    found = (await site.ask())["power_active"]
    assert (found.explained, found.missing) == ({"agent_offline": 12}, 0)


async def test_what_is_not_over_does_not_count(site: Site) -> None:
    await site.power((0, 60))
    site.completeness._wall_ms = lambda: T + 62 * MIN
    found = (await site.ask())["power_active"]
    assert (found.slots, found.filled) == (12, 12)


async def test_unknown_devices_have_none(site: Site) -> None:
    assert await site.completeness.device(SITE, "nobody", T, END) is None


def test_heartbeats_drift_without_a_hole() -> None:
    """A heartbeat is due at the first poll after it, so it comes up to one poll late, every time."""
    point = PointMeta(type="num", poll_s=10, hb_s=300)
    times = [T + n * 309_900 for n in range(2000)]
    found = count_slots("p", point, times, [], T, T + 2000 * 300_000)
    assert found.missing == 0
    assert msgspec.json.encode(found.explained) == b"{}"


def test_a_mark_is_not_filled_by_the_reading_before_it() -> None:
    point = PointMeta(type="num", align_s=900)
    found = count_slots("p", point, [T - 1, T + 900 * S], [], T, T + 1800 * S)
    assert (found.filled, found.missing_slots) == (1, ((T, T + 900 * S),))
