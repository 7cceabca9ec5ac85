"""The InfluxDB store against the fake in every version, Debian's influxdb (v1) and victoria-metrics (v2 writes)."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from device_profiles.errors import StoreUnavailable
from gateway.stores.base import ClassRow, EventRow, LedgerRow, QualityRow, Row, RowBatch, Step, StoreMisconfigured
from gateway.stores.influx import InfluxSettings, InfluxStore
from gateway.stores.influx_http import SAME_BODY
from tests.gateway.fake_influx import FakeInflux, fake_influx
from tests.gateway.real_stores import influxd, needs_influxd, needs_victoria, query, victoria

T = 1_795_276_800_000
VERSIONS = ("v1", "v2", "v3")


def settings(version: Any, url: str, **more: Any) -> InfluxSettings:
    found = {"org": "campus"} if version == "v2" else {}
    secret = {"username": "u", "password": "p w"} if version == "v1" else {"token": "s3cret"}
    return InfluxSettings(version, url, "plantroom", **(found | secret | more))


@asynccontextmanager
async def store_on(url: str, version: Any, **more: Any) -> AsyncIterator[InfluxStore]:
    store = InfluxStore(settings(version, url, **more))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def batch(*rows: Row) -> RowBatch:
    found = RowBatch()
    for number, row in enumerate(rows):
        found.add([row], number)
    return found


def meter(n: int, value: Any = None) -> ClassRow:
    return ClassRow("hq", "m1", "electricity_meter", T + n, {"power_active": float(n) if value is None else value})


@pytest.mark.parametrize("version", VERSIONS)
async def test_address_parameters_and_authentication(version: str) -> None:
    async with fake_influx(version) as fake, store_on(fake.url, version, gzip=True) as store:
        event = EventRow("hq", "door", "access.denied", T * 1_000_000 + 5, "e", {"dir": "in"}, "gw")
        assert await store.write(batch(meter(1), event, LedgerRow("gw", "E", 1, 2, T))) == []
        (_, events, headers, _), (path, rows, _, _) = fake.requests
    assert path == {"v1": "/write", "v2": "/api/v2/write", "v3": "/api/v3/write_lp"}[version]
    assert (
        rows
        == {
            "v1": {"db": "plantroom", "precision": "ms"},
            "v2": {"org": "campus", "bucket": "plantroom", "precision": "ms"},
            "v3": {"db": "plantroom", "precision": "millisecond"},
        }[version]
    )
    assert events["precision"] == {"v1": "n", "v2": "ns", "v3": "nanosecond"}[version]
    expected = {"v1": "Basic dTpwIHc=", "v2": "Token s3cret", "v3": "Bearer s3cret"}[version]
    assert headers["Authorization"] == expected
    assert headers["Content-Encoding"] == "gzip"
    assert fake.values("electricity_meter", "power_active") == [1.0]
    assert fake.values("ledger", "b") == [2]
    assert fake.values("event", "dir") == ["in"]
    assert "s3cret" not in repr(store.settings)
    assert "p w" not in repr(store.settings)


async def test_v1_names_the_retention_policy() -> None:
    async with fake_influx("v1") as fake, store_on(fake.url, "v1", retention_policy="a year") as store:
        await store.write(batch(meter(1)))
        assert fake.requests[0][1]["rp"] == "a year"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("n", "bad"), [(1, {0}), (2, {1}), (64, {63}), (1000, {517}), (1000, {0, 499, 999}), (100, {7, 8, 9})]
)
async def test_bad_lines_are_isolated_and_all_others_stored(version: str, n: int, bad: set[int]) -> None:
    async with fake_influx(version) as fake, store_on(fake.url, version) as store:
        await store.write(batch(meter(-1)))
        before = len(fake.requests)
        refused = await store.write(batch(*[meter(i, "text" if i in bad else None) for i in range(n)]))
        assert {found.index for found in refused} == bad
        assert {found.reason for found in refused} == {"type"}
        assert all("already exists as type float" in found.detail for found in refused)
        assert all('power_active="text"' in found.line for found in refused)
        assert fake.values("electricity_meter", "power_active") == [-1.0, *[float(i) for i in range(n) if i not in bad]]
        requests = len(fake.requests) - before
        assert requests <= 1 + len(bad) * (math.ceil(math.log2(n)) + 1)


@pytest.mark.parametrize("version", VERSIONS)
async def test_beyond_retention(version: str) -> None:
    async with fake_influx(version) as fake, store_on(fake.url, version) as store:
        fake.oldest = T
        (refused,) = await store.write(batch(meter(5), meter(-5), meter(6)))
        assert (refused.index, refused.reason) == (1, "retention")
        assert fake.values("electricity_meter", "power_active") == [5.0, 6.0]


async def test_what_cannot_be_a_line_never_leaves() -> None:
    async with fake_influx("v2") as fake, store_on(fake.url, "v2") as store:
        bad = ClassRow("hq", "a\nb,c=d e=1", "electricity_meter", T, {"power_active": 1.0})
        refused = await store.write(batch(meter(1), bad, meter(2, float("nan")), meter(3)))
        assert [(found.index, found.reason) for found in refused] == [(1, "control"), (2, "malformed")]
        assert len(fake.points) == 2


@pytest.mark.parametrize("version", VERSIONS)
async def test_too_large_is_halved(version: str) -> None:
    async with fake_influx(version) as fake, store_on(fake.url, version) as store:
        fake.most_bytes = 700
        long = ClassRow("hq", "m1", "electricity_meter", T + 999, {"model_text": "x" * 800})
        refused = await store.write(batch(*[meter(n) for n in range(50)], long))
        assert [(found.index, found.reason) for found in refused] == [(50, "size")]
        assert fake.values("electricity_meter", "power_active") == [float(n) for n in range(50)]
        assert 413 in fake.answered


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_try_again_later(version: str, status: int) -> None:
    async with fake_influx(version) as fake, store_on(fake.url, version) as store:
        fake.script = [(status, '{"error":"busy"}', {"Retry-After": "7"})]
        with pytest.raises(StoreUnavailable, match=f"{status}.*busy") as found:
            await store.write(batch(meter(1)))
        assert not isinstance(found.value, StoreMisconfigured)
        assert found.value.retry_after_s == 7
        assert await store.write(batch(meter(1))) == []


async def test_retry_after_as_a_date() -> None:
    async with fake_influx("v2") as fake, store_on(fake.url, "v2") as store:
        for text, expected in (("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None)):
            fake.script = [(429, "", {"Retry-After": text})]
            with pytest.raises(StoreUnavailable) as found:
                await store.write(batch(meter(1)))
            assert found.value.retry_after_s == expected


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("status", [401, 403, 404, 405, 301])
async def test_a_person_is_needed(version: str, status: int) -> None:
    async with fake_influx(version) as fake, store_on(fake.url, version) as store:
        fake.script = [(status, '{"error":"database not found"}', {})]
        with pytest.raises(StoreMisconfigured, match=str(status)) as found:
            await store.write(batch(meter(1)))
        assert found.value.next_step


async def test_the_same_500_again_and_again_is_a_matter_of_configuration() -> None:
    async with fake_influx("v1") as fake, store_on(fake.url, "v1") as store:
        fake.always = lambda body: (500, '{"error":"retention policy not found: nope"}', {})
        kinds = []
        for _ in range(SAME_BODY + 1):
            with pytest.raises(StoreUnavailable) as found:
                await store.write(batch(meter(1)))
            kinds.append(type(found.value))
        assert kinds == [StoreUnavailable] * (SAME_BODY - 1) + [StoreMisconfigured] * 2
        fake.always = lambda body: None
        assert await store.write(batch(meter(1))) == []


async def test_nobody_there_and_nobody_answering() -> None:
    async with store_on("http://127.0.0.1:9", "v2") as store:
        with pytest.raises(StoreUnavailable):
            await store.write(batch(meter(1)))
        assert not (await store.health()).ok
    async with fake_influx("v2") as fake, store_on(fake.url, "v2") as store:
        assert (await store.health()).ok


async def test_v2_questions_are_flux_through_the_client() -> None:
    """The answers are annotated CSV as the reference shows it (InfluxDB 2.7, "Annotated CSV")."""
    rows = (
        "#datatype,string,long,dateTime:RFC3339,string,string,double\r\n#group,false,false,false,false,false,false\r\n"
        "#default,_result,,,,,\r\n,result,table,_time,dev,site,power_active\r\n"
        ",,0,2026-11-21T16:00:00.002Z,m1,hq,2.5\r\n,,0,2026-11-21T16:00:00.001Z,m1,hq,1.5\r\n\r\n"
    )
    names = (
        "#datatype,string,long,string\r\n#group,false,false,false\r\n#default,_result,,\r\n,result,table,_value\r\n"
        ",,0,electricity_meter\r\n,,0,quality\r\n\r\n"
    )
    async with fake_influx("v2") as fake, store_on(fake.url, "v2") as store:
        fake.rows = {"distinct": names, "pivot": rows}
        found = await store.samples("hq", 'm"1', ["power_active"], T, T + 10)
        assert found == {"power_active": [(T + 1, 1.5), (T + 2, 2.5)]}
        asked = json.loads(fake.queries[-1])["query"]
        assert f"range(start: time(v: {T}000000), stop: time(v: {T + 10}000000))" in asked
        assert 'r["_measurement"] == "electricity_meter" and r["dev"] == "m\\"1" and r["site"] == "hq"' in asked
        (bucket,) = (await store.buckets("hq", 'm"1', ["power_active"], T, T + 10, Step(60)))["power_active"]
        assert (bucket.n, bucket.mean) == (2, 2.0)


async def test_v3_questions_are_sql() -> None:
    async with fake_influx("v3") as fake, store_on(fake.url, "v3") as store:
        fake.rows = {
            "DISTINCT table_name": '[{"table_name":"electricity_meter"},{"table_name":"quality"}]',
            "SELECT column_name": json.dumps([{"column_name": n} for n in ("time", "dev", "site", "power_active")]),
            "ORDER BY time DESC": json.dumps(
                [{"time": f"2026-11-21T16:00:00.00{n}", "power_active": n + 0.5} for n in (2, 1)]
            ),
        }
        found = await store.samples("hq", "o'neil", ["power_active"], T, T + 10)
        assert found == {"power_active": [(T + 1, 1.5), (T + 2, 2.5)]}
        asked = json.loads(fake.queries[-1])["q"]
        assert "\"dev\" = 'o''neil'" in asked
        assert "time >= '2026-11-21T16:00:00.000000000Z'" in asked


@pytest.mark.real
@needs_influxd
async def test_influxdb_1_refuses_what_the_fake_refuses_and_stores_the_rest(tmp_path: Path) -> None:
    async with influxd(tmp_path / "influx") as url, store_on(url, "v1", username=None) as store:
        await store.write(batch(meter(0)))
        rows = [meter(n, "text" if n == 7 else None) for n in range(1, 20)]
        (refused,) = await store.write(batch(*rows))
        assert (refused.index, refused.reason) == (6, "type")
        found = await store.samples("hq", "m1", ["power_active"], T, T + 99)
        assert [value for _, value in found["power_active"]] == [float(n) for n in range(20) if n != 7]


@pytest.mark.real
@needs_influxd
async def test_influxdb_1_misconfigured(tmp_path: Path) -> None:
    async with influxd(tmp_path / "influx") as url:
        async with store_on(url, "v1", username=None, retention_policy="nope") as store:
            for _ in range(SAME_BODY - 1):
                with pytest.raises(StoreUnavailable, match=r"500.*retention policy not found"):
                    await store.write(batch(meter(1)))
            with pytest.raises(StoreMisconfigured):
                await store.write(batch(meter(1)))
        absent = InfluxStore(InfluxSettings("v1", url, "absent"))
        await absent.open()
        with pytest.raises(StoreMisconfigured, match=r"404.*database not found"):
            await absent.write(batch(meter(1)))
        await absent.close()


@pytest.mark.real
@needs_influxd
async def test_influxdb_1_reads_text_events_and_extremes_back_by_its_own_query(tmp_path: Path) -> None:
    async with influxd(tmp_path / "influx") as url, store_on(url, "v1", username=None, gzip=True) as store:
        text = 'say "hi" \\ ok, a=b é'
        extremes = [1e-7, 5e-324, 1.7976931348623157e308, -0.0, 123456789.123456]
        rows: list[Row] = [ClassRow("hq", "m1", "ahu", T, {"model_text": text})]
        rows += [ClassRow("hq", "m1", "ahu", T + n, {"damper": value}) for n, value in enumerate(extremes)]
        rows.append(QualityRow("hq", "m1", "damper", T, 2, "BadTimeout"))
        rows.append(EventRow("hq", "d", "card.read", T * 1_000_000 + 999_999, "é", {"card": "x"}))
        assert await store.write(batch(*rows)) == []
        answer = json.loads(await query(url, "SELECT model_text FROM ahu; SELECT damper FROM ahu", "plantroom"))
        assert answer["results"][0]["series"][0]["values"] == [["2026-11-21T16:00:00Z", text]]
        assert [value for _, value in answer["results"][1]["series"][0]["values"]] == extremes
        answer = json.loads(await query(url, "SELECT q, sc FROM quality GROUP BY *", "plantroom"))
        series = answer["results"][0]["series"][0]
        assert (series["tags"], series["values"][0][1:]) == (
            {"dev": "m1", "pt": "damper", "site": "hq"},
            [2, "BadTimeout"],
        )
        assert (await store.events(T, T + 1))[0].t_ns == T * 1_000_000 + 999_999


@pytest.mark.real
@needs_victoria
async def test_the_v2_path_of_a_real_server_keeps_every_number(tmp_path: Path) -> None:
    values = [81.25, 229.8, 81231.5, 1e-7, 123456.789, 0.0]
    async with victoria(tmp_path) as url, store_on(url, "v2", token="any") as store:
        rows = [
            ClassRow("hq", "m1", "electricity_meter", T + n * 1000, {"power_active": v}) for n, v in enumerate(values)
        ]
        assert await store.write(batch(*rows)) == []
        async with aiohttp.ClientSession() as client:
            await client.get(f"{url}/internal/force_flush")
            async with client.get(f"{url}/api/v1/export", params={"match[]": '{dev="m1"}'}) as answer:
                found = json.loads(await answer.text())
        metric = found["metric"]
        assert (metric["__name__"], metric["dev"], metric["site"]) == ("electricity_meter_power_active", "m1", "hq")
        assert (found["timestamps"], found["values"]) == ([T + n * 1000 for n in range(len(values))], values)


def test_every_fake_refusal_is_a_refusal() -> None:
    """The fake knows bad lines from good ones, or the tests above would prove nothing."""
    fake = FakeInflux("v1")
    for body in (b"m,dev= v=1 5", b"m v=x 5", b"m 5", b"m v=1", b'm v="a 5', b",a=b v=1 5"):
        assert fake._take(body)[0] == 400
    assert fake._take(b'm,dev=a\\ b v=1,t="x, y=\\"z\\" w",n=3i,b=true 5')[0] == 204
    assert list(fake.points.values()) == [{"v": 1.0, "t": 'x, y="z" w', "n": 3, "b": True}]
