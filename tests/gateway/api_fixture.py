"""A gateway's read side over a real store and inventory with two meters in it, served on loopback."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from aiohttp.test_utils import TestClient, TestServer

from gateway.api import create_app
from gateway.completeness import Completeness
from gateway.contract.messages import Alarm, ConfigReported, Flag, Last, Meta, PointMeta, Site, SpoolFill, State, Status
from gateway.contract.topics import Topics, parse
from gateway.inventory import Inventory
from gateway.services import Services
from gateway.stores.base import ClassRow, EventRow, LedgerRow, QualityRow, RowBatch
from gateway.stores.sqlite import SqliteStore

NOW = time.time_ns() // 1_000_000
MIN = 60_000
SITE, AGENT, METER = "hq", "gw-01", "meter-01"

_POINTS = {
    "power_active": PointMeta(type="num", q="power", unit="kW", poll_s=10, hb_s=300),
    "energy_active_import": PointMeta(type="num", q="energy", unit="kW.h", align_s=900),
    "mode": PointMeta(type="enum", labels={"1": "off", "2": "heat"}, hb_s=300),
}


def _documents() -> dict[str, Any]:
    meta = {
        "name": "Incomer <1>", "cls": "electricity_meter", "system": "energy", "space": "b1/f0", "profile": "eastron-sdm630@1",
        "proto": "modbus", "addr": "rs485-1:12", "points": _POINTS,
    }  # fmt: skip
    return {
        "status": Status(
            state="online",
            epoch="7Q2XK9M4TB",
            sid=1,
            t=NOW - 60 * MIN,
            sw="0.1.0",
            contract=["1.0"],
            spool=SpoolFill(msgs=0),
        ),
        "site": Site(tz="Asia/Shanghai", name="Head office"),
        f"dev/{METER}/meta": Meta(rev="7c1e", **meta),
        f"dev/{METER}/state": State(t=NOW, state="ok", since=NOW - 50 * MIN, ok=100, err=1, rtt_ms=12.5),
        f"dev/{METER}/last": Last(
            t=NOW, meta="7c1e", s={"power_active": 87.4}, x=[Flag(p="mode", q=2, sc="BadTimeout")]
        ),
        f"alarm/{METER}/phase_loss": Alarm(id="phase_loss", sev="high", st="active", since=NOW - 9 * MIN, n=3),
        f"alarm/{METER}/over_load": Alarm(id="over_load", sev="low", st="acked", since=NOW - 19 * MIN, val=91, lim=80),
        "config/reported": ConfigReported(
            seen=2, applied=1, st="rejected", t=NOW, errors=[{"path": "/devices/3", "msg": "no such link"}]
        ),
        "dev/meter-02/meta": Meta(rev="9d2f", **meta | {"name": "Branch", "parent": METER}),
        "dev/meter-02/state": State(t=NOW - MIN, state="down", since=NOW - MIN, ok=0, err=9, sc="BadTimeout"),
    }


def _rows() -> RowBatch:
    batch = RowBatch()
    # Twenty minutes are missing in the middle.
    rows: list[Any] = [
        ClassRow(SITE, METER, "electricity_meter", NOW - (60 - at) * MIN, {"power_active": 80 + at / 8, "mode": 2})
        for at in (*range(20), *range(40, 60))
    ]
    rows += [
        ClassRow(SITE, METER, "electricity_meter", NOW - 20 * MIN + 1, {"energy_active_import": 1000.5}),
        QualityRow(SITE, METER, "power_active", NOW - 40 * MIN, 2, "BadTimeout"),
        QualityRow(SITE, METER, "power_active", NOW - 20 * MIN, 0, "Good"),
        EventRow(
            SITE, METER, "counter.exchanged", (NOW - 5 * MIN) * 1_000_000, "id-1", {"before": 9.5, "why": "=1+1"}, AGENT
        ),
        LedgerRow(AGENT, "7Q2XK9M4TB", 1, 40, NOW - 30 * MIN),
        LedgerRow(AGENT, "7Q2XK9M4TB", 43, 50, NOW - 10 * MIN),
    ]
    batch.add(rows, 0)
    return batch


@contextlib.asynccontextmanager
async def serving(
    folder: Path, *, tokens: tuple[str, ...] = (), lost: bool = False, **state: Any
) -> AsyncIterator[TestClient[Any, Any]]:
    """A client of the API over the rows above; `lost`: the broker told the agent's will."""
    inventory = Inventory(folder / "inventory.db", registered=[(SITE, AGENT)])
    await inventory.open()
    store = SqliteStore(folder / "store.db", zone_of=inventory.zone)
    await store.open()
    try:
        topics = Topics(SITE, AGENT)
        will = {"status": Status(state="lost", epoch="7Q2XK9M4TB", sid=1)} if lost else {}
        for rest, document in [*_documents().items(), *will.items()]:
            topic = parse(topics.up(rest))
            assert topic is not None
            assert inventory.take(topic, msgspec.json.encode(document)) is None
        await inventory.flush()
        assert await store.write(_rows()) == []
        figures: dict[str, object] = {"connected": True, "stored": 48} | state
        services = Services(
            store, inventory, Completeness(store, inventory), lambda: figures, lambda: "plantroom_up 1\n"
        )
        async with TestClient(TestServer(create_app(services, tokens=tokens, version="0.1.0"))) as client:
            yield client
    finally:
        await store.close()
        await inventory.close()
