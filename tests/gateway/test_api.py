"""The HTTP API answers what its document says, and a wrong question gets a clear 4xx, never a 500."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from api_fixture import AGENT, METER, MIN, NOW, SITE, serving

from gateway.contract.messages import PointMeta
from gateway.queries import _label

RANGE = f"from={NOW - 70 * MIN}&to={NOW + MIN}"


async def get(client: Any, path: str, status: int = 200) -> Any:
    async with client.get(path) as answer:
        body = await answer.json()
        assert answer.status == status, body
        return body


async def test_sites_devices_points(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        (site,) = await get(client, "/api/v1/sites")
        assert (site["id"], site["name"], site["tz"]) == (SITE, "Head office", "Asia/Shanghai")
        assert site["devices"] == {"ok": 1, "down": 1}
        assert site["agents"][0]["state"] == "online"
        devices = await get(client, f"/api/v1/devices?site={SITE}")
        assert [(device["id"], device["state"]) for device in devices] == [(METER, "ok"), ("meter-02", "down")]
        assert devices[0]["rtt_ms"] == 12.5
        points = await get(client, f"/api/v1/points?device={METER}")
        assert {point["id"]: point["meta"].get("unit") for point in points} == {
            "power_active": "kW",
            "energy_active_import": "kW.h",
            "mode": None,
        }
        assert await get(client, "/api/v1/devices?site=elsewhere") == []


async def test_latest_says_label_unit_and_staleness(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        found = {sample["point"]: sample for sample in await get(client, f"/api/v1/latest?site={SITE}&device={METER}")}
        assert found["power_active"] | {"t": 0} == {
            "site": SITE, "device": METER, "point": "power_active", "t": 0, "value": 80 + 59 / 8, "unit": "kW", "label": None,
            "q": 0, "sc": "Good", "stale": False,
        }  # fmt: skip
        assert found["mode"]["label"] == "heat"
        assert not found["energy_active_import"]["stale"]


async def test_history_shows_gaps_with_their_reason(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        answer = await get(client, f"/api/v1/history?site={SITE}&device={METER}&points=power_active&{RANGE}")
        series = answer["points"]["power_active"]
        assert len(series["samples"]) == 40
        assert series["samples"][0] == [NOW - 60 * MIN, 80.0]
        reasons = [gap["reason"] for gap in series["gaps"]]
        assert "BadTimeout" in reasons
        assert (answer["step"], answer["aggregate"], answer["tz"]) == (None, None, "Asia/Shanghai")


@pytest.mark.parametrize(("aggregate", "check"), [("mean", 80.0), ("count", 1.0), ("min", 80.0), ("last", 80.0)])
async def test_history_in_steps(tmp_path: Path, aggregate: str, check: float) -> None:
    async with serving(tmp_path) as client:
        path = (
            f"/api/v1/history?site={SITE}&device={METER}&points=power_active&{RANGE}&step=15min&aggregate={aggregate}"
        )
        samples = (await get(client, path))["points"]["power_active"]["samples"]
        values = [value for _, value in samples if value is not None]
        assert all(t % 900_000 == 0 for t, _ in samples)
        assert min(values) >= check
        if aggregate == "count":
            assert sum(values) == 40


async def test_csv_has_a_row_a_sample_and_no_formula(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        path = f"/api/v1/history?site={SITE}&device={METER}&points=power_active,mode&{RANGE}&format=csv"
        async with client.get(path) as answer:
            assert answer.content_type == "text/csv"
            rows = list(csv.DictReader(io.StringIO(await answer.text())))
        assert len(rows) == 80
        assert rows[0]["value"] == "80.0"
        assert rows[0]["time"].endswith("Z")
        async with client.get(f"/api/v1/events?{RANGE}&format=csv") as answer:
            assert "'=1+1" not in (text := await answer.text())  # it stands inside JSON, which no spreadsheet runs
            assert "counter.exchanged" in text


async def test_events_and_ledger(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        (event,) = await get(client, f"/api/v1/events?site={SITE}&types=counter&{RANGE}")
        assert event["data"]["before"] == 9.5
        (epoch,) = await get(client, f"/api/v1/ledger?agent={AGENT}&from=-2d")
        assert (epoch["messages"], epoch["last"], epoch["missing"]) == (48, 50, [[41, 42]])


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/v1/devices?sight=hq", 400, "did you mean 'site'"),
        ("/api/v1/devices?site=HQ!", 400, "expected an id"),
        ("/api/v1/devices?site=a&site=b", 400, "twice"),
        ("/api/v1/history?site=hq", 400, "'device' is missing"),
        ("/api/v1/history?site=hq&device=nope&points=a&from=-1h", 404, "no device 'nope'"),
        (f"/api/v1/history?site=hq&device={METER}&points=nope&from=-1h", 404, "no point 'nope'"),
        (f"/api/v1/history?site=hq&device={METER}&points=mode&from=now&to=-1h", 400, "not before"),
        (f"/api/v1/history?site=hq&device={METER}&points=mode&from=1999-01-01", 400, "2020 to 2099"),
        (f"/api/v1/history?site=hq&device={METER}&points=mode&step=0s", 400, "expected a width"),
        (f"/api/v1/history?site=hq&device={METER}&points=mode&from=2021-01-01&step=1s", 400, "buckets"),
        (f"/api/v1/history?site=hq&device={METER}&points=mode&aggregate=median", 400, "one of mean"),
        ("/api/v1/events?limit=0", 400, "from 1 to"),
        ("/api/v1/events?limit=%D9%A3", 400, "from 1 to"),
        ("/api/v1/devices?site=%00", 400, "expected an id"),
        ("/api/v1/devices?site=..%2F..%2Fetc", 400, "expected an id"),
    ],
)
async def test_a_wrong_question_is_told_what_is_wrong(tmp_path: Path, path: str, status: int, says: str) -> None:
    async with serving(tmp_path) as client:
        assert says in (await get(client, path, status))["error"]


async def test_health_is_unready_without_a_broker(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        assert (await get(client, "/healthz"))["ok"] is True
    async with serving(tmp_path, connected=False) as client:
        assert (await get(client, "/healthz", 503))["ok"] is False
    full = {"store_unavailable": "store.db: database or disk is full"}
    async with serving(tmp_path, alarms=full) as client:  # it answers questions still
        health = await get(client, "/healthz", 503)
        assert (health["ok"], health["store"]["ok"]) == (False, False)
        assert "full" in health["store"]["detail"]


async def test_tokens_guard_everything_but_page_and_health(tmp_path: Path) -> None:
    async with serving(tmp_path, tokens=("s3cret", "other")) as client:
        for path in ("/", "/app.js", "/healthz"):
            async with client.get(path) as answer:
                assert answer.status == 200
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic s3cret"},
            {"Authorization": "Bearer \u00fc"},
        ):
            async with client.get("/api/v1/sites", headers=headers) as answer:
                assert answer.status == 401
                assert "s3cret" not in await answer.text()
        async with client.get("/api/v1/sites", headers={"Authorization": "Bearer other"}) as answer:
            assert answer.status == 200


async def test_without_tokens_only_this_machine_s_names_are_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as client, client.get("/api/v1/sites", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 403


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/%2e%2e/api.py", "/app.js%00", "/web/app.js", "/.//etc/passwd"]
)
async def test_nothing_but_the_page_s_files_is_served(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as client, client.get(path) as answer:
        assert answer.status in (400, 404)


async def test_the_page_asks_no_outside_address(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        for path in ("/", "/app.js", "/chart.js", "/style.css"):
            async with client.get(path) as answer:
                text = await answer.text()
                assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
                assert "//" not in text.replace("http://www.w3.org/2000/svg", "").replace("// ", "")


async def test_what_agents_hold_retained(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        alarms = await get(client, "/api/v1/alarms?site=hq")
        assert [(alarm["id"], alarm["sev"], alarm["state"], alarm["n"]) for alarm in alarms] == [
            ("over_load", "low", "acked", 1),
            ("phase_loss", "high", "active", 3),
        ]
        assert (alarms[0]["val"], alarms[0]["lim"], alarms[1]["since"]) == (91, 80, NOW - 9 * MIN)
        assert await get(client, "/api/v1/alarms?device=meter-02") == []
        assert [device["alarms"] for device in await get(client, "/api/v1/devices")] == [2, 0]
        (last,) = await get(client, "/api/v1/last")
        assert (last["device"], last["t"], last["values"]) == (METER, NOW, {"power_active": 87.4})
        assert [flag["p"] for flag in last["flags"]] == ["mode"]
        (agent,) = await get(client, "/api/v1/agents")
        assert agent["config"] == {
            "applied": 1, "seen": 2, "state": "rejected", "t": NOW,
            "errors": [{"path": "/devices/3", "msg": "no such link"}],
        }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "point", "value", "said"),
    [
        ("bool", "x_anything", 1, "yes"),
        ("num", "breaker_closed", 1, "yes"),
        ("num", "breaker_closed", 0, "no"),
        ("num", "power_active", 1, None),
    ],
)
def test_a_bit_of_a_register_is_yes_or_no_where_the_vocabulary_says_so(
    kind: str, point: str, value: float, said: str | None
) -> None:
    assert _label(PointMeta(type=kind), point, value) == said
