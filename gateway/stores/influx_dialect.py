"""The three query languages of InfluxDB behind one small interface: InfluxQL (v1), Flux (v2), SQL (v3).

A dialect fetches rows and names; what they mean is `influx_read`'s. Every text that goes into a query is quoted here.
Sources: InfluxQL reference (1.8), Flux language and HTTP API (2.7, through influxdb-client), SQL reference and HTTP API (3 Core).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from device_profiles.errors import StoreUnavailable
from gateway.stores.influx_http import InfluxHttp

if TYPE_CHECKING:
    from influxdb_client.client.influxdb_client import InfluxDBClient

Found = list[dict[str, Any]]
"""Rows as dictionaries: tags, fields, and `time` in ns."""


class Dialect(Protocol):
    """What `influx_read` needs of a query language."""

    async def ping(self) -> None:
        """Raises StoreUnavailable."""

    async def measurements(self, tags: Mapping[str, str]) -> list[str]:
        """Measurements that have these tag values."""

    async def rows(
        self,
        measurement: str,
        tags: Mapping[str, str],
        fields: Sequence[str],
        t0_ns: int,
        t1_ns: int,
        limit: int,
    ) -> Found:
        """Rows in [t0, t1), newest first; no fields named = all of them."""

    async def last(self, measurement: str, tags: Mapping[str, str], by: Sequence[str]) -> Found:
        """The last value of every field by series: `field`, `value`, `time` and the tags of `by`."""

    async def close(self) -> None: ...


class InfluxQL:
    """Version 1."""

    def __init__(self, http: InfluxHttp) -> None:
        self._http = http

    async def ping(self) -> None:
        await self._http.get("/ping")

    async def close(self) -> None:
        return

    async def _ask(self, statements: Sequence[str]) -> list[list[dict[str, Any]]]:
        """The series of each statement. Raises StoreUnavailable."""
        if not statements:
            return []
        settings = self._http.settings
        params = {"db": settings.database, "epoch": "ns", "q": "; ".join(statements)}
        if settings.retention_policy:
            params["rp"] = settings.retention_policy
        answer = json.loads(await self._http.get("/query", params))
        found: list[list[dict[str, Any]]] = [[] for _ in statements]
        for result in answer.get("results", ()):
            if "error" in result:
                raise StoreUnavailable(str(result["error"]), where=settings.url, next_step="look into the store's log")
            found[result.get("statement_id", 0)] = result.get("series", [])
        return found

    async def measurements(self, tags: Mapping[str, str]) -> list[str]:
        (series,) = await self._ask([f"SHOW MEASUREMENTS{_where_ql(tags)}"])
        return [values[0] for one in series for values in one["values"]]

    async def rows(
        self, measurement: str, tags: Mapping[str, str], fields: Sequence[str], t0_ns: int, t1_ns: int, limit: int
    ) -> Found:
        columns = ", ".join(_ql(name) for name in fields) if fields else "*"
        where = _where_ql(tags, f"time >= {t0_ns} AND time < {t1_ns}")
        query = f"SELECT {columns} FROM {_ql(measurement)}{where} ORDER BY time DESC LIMIT {limit}"
        (series,) = await self._ask([query])
        return [dict(zip(one["columns"], values, strict=True)) for one in series for values in one["values"]]

    async def last(self, measurement: str, tags: Mapping[str, str], by: Sequence[str]) -> Found:
        (series,) = await self._ask([f"SHOW FIELD KEYS FROM {_ql(measurement)}"])
        names = [values[0] for one in series for values in one["values"]]
        group = ", ".join(_ql(name) for name in by)
        answers = await self._ask(
            [
                f"SELECT last({_ql(name)}) AS value FROM {_ql(measurement)}{_where_ql(tags)} GROUP BY {group}"
                for name in names
            ]
        )
        return [
            {**one.get("tags", {}), "field": name, "time": time, "value": value}
            for name, found in zip(names, answers, strict=True)
            for one in found
            for time, value in one["values"]
        ]


def _ql(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _ql_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def _where_ql(tags: Mapping[str, str], *more: str) -> str:
    clauses = [f"{_ql(key)} = {_ql_text(value)}" for key, value in tags.items()]
    clauses += more
    return f" WHERE {' AND '.join(clauses)}" if clauses else ""


class Flux:
    """Version 2, through influxdb-client in a thread; it is only loaded when somebody asks."""

    def __init__(self, http: InfluxHttp) -> None:
        self._http = http
        self._client: InfluxDBClient | None = None

    def _open(self) -> InfluxDBClient:
        if self._client is None:
            from influxdb_client.client.influxdb_client import InfluxDBClient

            settings = self._http.settings
            self._client = InfluxDBClient(
                settings.url, token=settings.token or "", org=settings.org or "", timeout=int(settings.timeout_s * 1000)
            )
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await asyncio.to_thread(self._client.close)
            self._client = None

    async def ping(self) -> None:
        await self._http.get("/health")

    async def _ask(self, body: str, range_: str) -> Found:
        settings = self._http.settings
        query = f"from(bucket: {_flux(settings.database)}) |> range({range_}) {body}"
        return await asyncio.to_thread(self._records, query)

    def _records(self, query: str) -> Found:
        """Runs in a thread. Raises StoreUnavailable."""
        from influxdb_client.rest import ApiException
        from urllib3.exceptions import HTTPError

        settings = self._http.settings
        try:
            tables = self._open().query_api().query(query)
        except (ApiException, HTTPError, OSError) as error:
            said = (str(error) or type(error).__name__).strip().replace("\n", " ")[:300]
            raise StoreUnavailable(said, where=settings.url, next_step="look into the store's log") from error
        return [record.values for table in tables for record in table.records]

    async def measurements(self, tags: Mapping[str, str]) -> list[str]:
        body = f'{_filter(tags)} |> keep(columns: ["_measurement"]) |> group() |> distinct(column: "_measurement")'
        return [row["_value"] for row in await self._ask(body, "start: 0")]

    async def rows(
        self, measurement: str, tags: Mapping[str, str], fields: Sequence[str], t0_ns: int, t1_ns: int, limit: int
    ) -> Found:
        body = _filter({"_measurement": measurement, **tags})
        if fields:
            any_of = " or ".join(f"r._field == {_flux(name)}" for name in fields)
            body += f" |> filter(fn: (r) => {any_of})"
        body += ' |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value") |> group()'
        body += f' |> sort(columns: ["_time"], desc: true) |> limit(n: {limit})'
        found = await self._ask(body, f"start: time(v: {t0_ns}), stop: time(v: {t1_ns})")
        return [row | {"time": _ns(row["_time"])} for row in found]

    async def last(self, measurement: str, tags: Mapping[str, str], by: Sequence[str]) -> Found:
        found = await self._ask(f"{_filter({'_measurement': measurement, **tags})} |> last()", "start: 0")
        return [
            {name: row.get(name) for name in by}
            | {"field": row["_field"], "value": row["_value"], "time": _ns(row["_time"])}
            for row in found
        ]


def _flux(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${").replace("\n", "\\n")
    return f'"{escaped}"'


def _filter(tags: Mapping[str, str]) -> str:
    clauses = " and ".join(f"r[{_flux(key)}] == {_flux(value)}" for key, value in tags.items())
    return f"|> filter(fn: (r) => {clauses})" if clauses else ""


class Sql:
    """Version 3."""

    def __init__(self, http: InfluxHttp) -> None:
        self._http = http

    async def ping(self) -> None:
        await self._http.get("/health")

    async def close(self) -> None:
        return

    async def _ask(self, query: str) -> Found:
        document = {"db": self._http.settings.database, "q": query, "format": "json"}
        found: Found = json.loads(await self._http.post("/api/v3/query_sql", document) or "[]")
        return found

    async def measurements(self, tags: Mapping[str, str]) -> list[str]:
        """Every table that has a `dev` column: a table without these tag values gives no rows."""
        found = await self._ask(
            "SELECT DISTINCT table_name FROM information_schema.columns WHERE table_schema = 'iox' AND column_name = 'dev'"
        )
        return sorted(row["table_name"] for row in found)

    async def _columns(self, table: str) -> list[str]:
        found = await self._ask(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'iox' "
            f"AND table_name = {_sql_text(table)}"
        )
        return [row["column_name"] for row in found]

    async def rows(
        self, measurement: str, tags: Mapping[str, str], fields: Sequence[str], t0_ns: int, t1_ns: int, limit: int
    ) -> Found:
        known = await self._columns(measurement)
        wanted = [name for name in fields if name in known] if fields else known
        if not wanted or any(name not in known for name in tags):
            return []
        columns = ", ".join(_sql(name) for name in dict.fromkeys(["time", *wanted]))
        where = _where_sql(tags, f"time >= {_sql_time(t0_ns)}", f"time < {_sql_time(t1_ns)}")
        found = await self._ask(f"SELECT {columns} FROM {_sql(measurement)}{where} ORDER BY time DESC LIMIT {limit}")
        return [row | {"time": _ns(row["time"])} for row in found]

    async def last(self, measurement: str, tags: Mapping[str, str], by: Sequence[str]) -> Found:
        known = await self._columns(measurement)
        if any(name not in known for name in (*tags, *by)):
            return []
        group = ", ".join(_sql(name) for name in by)
        found: Found = []
        for name in known:
            if name == "time" or name in by:
                continue
            column = _sql(name)
            where = _where_sql(tags, f"{column} IS NOT NULL")
            answer = await self._ask(
                f"SELECT {group}, last_value({column} ORDER BY time) AS value, max(time) AS time "
                f"FROM {_sql(measurement)}{where} GROUP BY {group}"
            )
            found += [row | {"field": name, "time": _ns(row["time"])} for row in answer]
        return found


def _sql(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _sql_text(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _sql_time(ns: int) -> str:
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"'{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z'"


def _where_sql(tags: Mapping[str, str], *more: str) -> str:
    clauses = [f"{_sql(key)} = {_sql_text(value)}" for key, value in tags.items()]
    return f" WHERE {' AND '.join((*clauses, *more))}"


def _ns(time: object) -> int:
    """Nanoseconds of what an answer holds as a time: a datetime, or RFC 3339 text without or with up to nine digits."""
    if isinstance(time, int):
        return time
    if isinstance(time, datetime):
        since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    text = str(time).removesuffix("Z")
    whole, _, fraction = text.partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)
