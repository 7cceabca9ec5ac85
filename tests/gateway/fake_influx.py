"""A server that answers as InfluxDB 1.x, 2.x and 3.x do to writes, for the answers that a real one does not give on request.

It parses line protocol by itself (from the reference, sharing nothing with the encoder), keeps what it accepts, refuses what they
refuse, in their words, and says whatever a test scripts.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Answer = tuple[int, str, dict[str, str]]


class Malformed(ValueError):
    """The line is no line protocol."""


@dataclass(frozen=True, slots=True)
class Point:
    measurement: str
    tags: dict[str, str]
    fields: dict[str, Any]
    time: int


def _split(text: str, at: str, *, quotes: bool = False) -> list[str]:
    """Splits at a character that is neither escaped by a backslash nor, where they count, inside double quotes. In the name
    before an = a quote is a letter, as InfluxDB 1.6 has it."""
    parts, part, escaped, quoted, in_name = [], "", False, False, True
    for character in text:
        was_name, in_name = in_name, in_name and (escaped or character != "=")
        if escaped:
            part, escaped = part + character, False
        elif character == "\\":
            part, escaped = part + character, True
        elif quotes and not was_name and character == '"':
            part, quoted = part + character, not quoted
        elif character == at and not quoted:
            parts.append(part)
            part, in_name = "", at != "="
        else:
            part += character
    return [*parts, part]


def _bare(text: str, special: str) -> str:
    for character in special:
        text = text.replace(f"\\{character}", character)
    return text


def parse_line(text: str) -> Point:
    """One line. Raises Malformed."""
    head, *rest = _split(text, " ", quotes=False)
    # Blanks inside quoted texts split too far: the time is the last part, the fields all between.
    if len(rest) < 2 or not rest[-1].lstrip("-").isdigit():
        raise Malformed("no fields or no time")
    measurement, *tags = _split(head, ",")
    pairs = [_split(tag, "=") for tag in tags]
    if not measurement or any(len(pair) != 2 or not pair[0] or not pair[1] for pair in pairs):
        raise Malformed("missing tag value")
    fields: dict[str, Any] = {}
    for item in _split(" ".join(rest[:-1]), ",", quotes=True):
        key, *value = _split(item, "=", quotes=True)
        if not key or not value:
            raise Malformed("missing field value")
        fields[_bare(key, ", =")] = _value("=".join(value))
    return Point(
        _bare(measurement, ", "),
        {_bare(key, ", ="): _bare(value, ", =") for key, value in pairs},
        fields,
        int(rest[-1]),
    )


def _value(text: str) -> Any:
    if text.startswith('"'):
        if len(text) < 2 or not text.endswith('"'):
            raise Malformed("unbalanced quotes")
        return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text[:-1]) if text.endswith("i") else float(text)
    except ValueError as error:
        raise Malformed(f"invalid number {text}") from error


@dataclass
class FakeInflux:
    """What it holds and what it is to say. `script` answers come first; None in it means: as it should be."""

    version: str
    url: str = ""
    script: list[Answer | None] = field(default_factory=list)
    always: Callable[[bytes], Answer | None] = lambda body: None
    most_bytes: int = 10_000_000
    oldest: int = 0
    points: dict[tuple[str, tuple[tuple[str, str], ...], int], dict[str, Any]] = field(default_factory=dict)
    types: dict[tuple[str, str], type] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], dict[str, str], bytes]] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    rows: dict[str, str] = field(default_factory=dict)
    """Answers to queries, by a word that the query holds."""

    def values(self, measurement: str, name: str) -> list[Any]:
        """All values of a field, by time."""
        found = [(t, fields[name]) for (m, _, t), fields in self.points.items() if m == measurement and name in fields]
        return [value for _, value in sorted(found)]

    async def write(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append((request.path, dict(request.query), dict(request.headers), body))
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        scripted = self.script.pop(0) if self.script else self.always(body)
        status, text, headers = scripted if scripted is not None else self._take(body)
        self.answered.append(status)
        return web.Response(status=status, text=text, headers=headers, content_type="application/json")

    def _take(self, body: bytes) -> Answer:
        if len(body) > self.most_bytes:
            return self._said(413, "Request Entity Too Large", "request too large")
        refused: list[tuple[int, str, str]] = []
        for number, text in enumerate(body.decode().split("\n"), 1):
            try:
                self._store(parse_line(text))
            except Malformed as error:
                refused.append((number, text, f"unable to parse '{text}': {error}"))
            except TypeError as error:
                refused.append((number, text, f"partial write: {error} dropped=1"))
        if not refused:
            return 204, "", {}
        if self.version == "v3":
            data = [{"original_line": text, "line_number": n, "error_message": said} for n, text, said in refused]
            return 400, json.dumps({"error": "partial write of line protocol occurred", "data": data}), {}
        said = refused[0][2]
        is_parse = said.startswith("unable to parse")
        if self.version == "v2":
            code = "invalid" if is_parse else "unprocessable entity"
            prefix = "" if is_parse else "failure writing points to database: "
            return 400 if is_parse else 422, json.dumps({"code": code, "message": prefix + said}), {}
        return 400, json.dumps({"error": said}), {}

    def _store(self, point: Point) -> None:
        if point.time < self.oldest:
            raise TypeError("points beyond retention policy")
        for name, value in point.fields.items():
            known = self.types.setdefault((point.measurement, name), type(value))
            if known is not type(value):
                raise TypeError(
                    f'field type conflict: input field "{name}" on measurement "{point.measurement}" is type '
                    f"{type(value).__name__}, already exists as type {known.__name__}"
                )
        key = (point.measurement, tuple(sorted(point.tags.items())), point.time)
        self.points.setdefault(key, {}).update(point.fields)

    def _said(self, status: int, v1: str, v2: str) -> Answer:
        return status, json.dumps({"error": v1} if self.version != "v2" else {"code": v2, "message": v1}), {}

    async def query(self, request: web.Request) -> web.Response:
        text = json.dumps(await request.json()) if request.method == "POST" else request.query.get("q", "")
        self.queries.append(text)
        for word, answer in self.rows.items():
            if word in text:
                kind = "text/csv" if self.version == "v2" else "application/json"
                return web.Response(text=answer, content_type=kind)
        empty = {"v1": '{"results":[{"statement_id":0}]}', "v2": "", "v3": "[]"}[self.version]
        return web.Response(text=empty, content_type="text/csv" if self.version == "v2" else "application/json")


@asynccontextmanager
async def fake_influx(version: str) -> AsyncIterator[FakeInflux]:
    """A running one on loopback."""
    fake = FakeInflux(version)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post({"v1": "/write", "v2": "/api/v2/write", "v3": "/api/v3/write_lp"}[version], fake.write)
    app.router.add_route("*", {"v1": "/query", "v2": "/api/v2/query", "v3": "/api/v3/query_sql"}[version], fake.query)

    async def ok(request: web.Request) -> web.Response:
        return web.Response(status=204 if version == "v1" else 200)

    app.router.add_get("/ping" if version == "v1" else "/health", ok)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake
