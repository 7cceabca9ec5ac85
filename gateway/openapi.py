"""One table of what the HTTP API takes and gives: requests are checked by it and the OpenAPI document is written from it.

Because both come from the same rows, the document cannot drift from the service. Answers are msgspec structs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from device_profiles.errors import PlantroomError

MIN_MS = 1_577_836_800_000
"""2020-01-01: nothing older is stored."""
MAX_MS = 4_102_444_800_000
"""2100-01-01."""
MAX_TEXT = 256


class BadRequest(PlantroomError):
    """The request is not one that the document describes: answered with 400."""


Parse = Callable[[str, int], Any]
"""(text, now in ms) -> value. Raises ValueError whose text says what is expected."""

_DURATION = re.compile(r"(-?)(\d{1,9})\s*(ms|s|min|m|h|d|w)?")
_UNIT_MS = {"ms": 1, "s": 1000, "": 1000, "min": 60_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def _time(text: str, now_ms: int) -> int:
    text = text.strip()
    if text == "now":
        return now_ms
    if re.fullmatch(r"[0-9]{10,14}", text):
        value = int(text)
        value = value * 1000 if value < 100_000_000_000 else value
    elif match := _DURATION.fullmatch(text):
        if not match[1]:
            raise ValueError("a time relative to now begins with a minus (-24h)")
        value = now_ms - int(match[2]) * _UNIT_MS[match[3] or ""]
    else:
        try:
            # A + that was not percent-encoded arrives as a space.
            moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        except ValueError:
            raise ValueError("expected ISO 8601, milliseconds since 1970, or a time before now such as -24h") from None
        value = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    if not MIN_MS <= value <= MAX_MS:
        raise ValueError("expected a time from 2020 to 2099")
    return value


def _step(text: str, now_ms: int) -> tuple[int, str]:
    match = re.fullmatch(r"([1-9]\d{0,6})\s*(s|min|m|h|d|month)", text.strip())
    if match is None:
        raise ValueError("expected a width such as 900s, 15min, 1h, 1d or 1month")
    count, unit = int(match[1]), match[2]
    if unit in ("d", "month"):
        if count > 366:
            raise ValueError("expected at most 366 days or months")
        return count, "day" if unit == "d" else "month"
    seconds = count * {"s": 1, "min": 60, "m": 60, "h": 3600}[unit]
    if seconds > 31_536_000:
        raise ValueError("expected at most a year")
    return seconds, "second"


def _text(text: str, now_ms: int) -> str:
    if len(text) > MAX_TEXT or not text.isprintable():
        raise ValueError(f"expected at most {MAX_TEXT} printable characters")
    return text


def _id(text: str, now_ms: int) -> str:
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,47}", text) is None:
        raise ValueError("expected an id: 1 to 48 of a-z, 0-9, _ and -")
    return text


def _count(text: str, now_ms: int) -> int:
    if re.fullmatch(r"[0-9]{1,6}", text) is None or not 1 <= int(text) <= 100_000:
        raise ValueError("expected a number from 1 to 100000")
    return int(text)


def _list_of(name: str, *, most: int) -> tuple[Parse, Mapping[str, Any]]:
    """A parser for names separated by commas, each once, and its schema. `name` is a regular expression."""
    pattern = f"{name}(,{name}){{0,{most - 1}}}"

    def parse(text: str, now_ms: int) -> tuple[str, ...]:
        if re.fullmatch(pattern, text, re.ASCII) is None:
            raise ValueError(f"expected 1 to {most} names ({name}), separated by commas")
        return tuple(dict.fromkeys(text.split(",")))

    return parse, {"type": "string", "pattern": f"^{pattern}$"}


def one_of(*choices: str) -> Parse:
    """A parser for a closed set of words."""

    def parse(text: str, now_ms: int) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    return parse


TIME_SCHEMA = {"type": "string", "examples": ["2026-11-22T13:00:00Z", "1795355245338", "-24h"]}


@dataclass(frozen=True, slots=True)
class Param:
    """One query parameter, or one text of a POST's JSON object."""

    name: str
    about: str
    parse: Parse
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False
    default: str | None = None


ID_SCHEMA = {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,47}$"}
SITE = Param("site", "Site id", _id, ID_SCHEMA)
DEVICE = Param("device", "Device id", _id, ID_SCHEMA)
AGENT = Param("agent", "Agent id", _id, ID_SCHEMA)
THE_SITE = Param("site", "Site id", _id, ID_SCHEMA, required=True)
THE_AGENT = Param("agent", "Agent id", _id, ID_SCHEMA, required=True)
THE_DEVICE = Param("device", "Device id", _id, ID_SCHEMA, required=True)
POINTS = Param(
    "points",
    "Point ids, separated by commas (at most 50)",
    *_list_of("[a-z][a-z0-9_]{0,62}", most=50),
    required=True,
)
FROM = Param("from", "Begin of the range (included)", _time, TIME_SCHEMA, default="-24h")
TO = Param("to", "End of the range (excluded)", _time, TIME_SCHEMA, default="now")
STEP = Param(
    "step",
    "Width of a bucket (900s, 15min, 1h, 1d, 1month); days and months are those of the site's time zone. Absent: raw samples",
    _step,
    {"type": "string", "pattern": "^[1-9][0-9]{0,2}(s|min|m|h|d)$", "examples": ["15min", "1d"]},
)
LIMIT = Param("limit", "At most so many", _count, {"type": "integer", "minimum": 1, "maximum": 100_000}, default="1000")
TYPES = Param(
    "types",
    "Event types (access.denied) or classes (access), separated by commas",
    *_list_of("[a-z][a-z_.]{0,40}", most=10),
)


def choice(name: str, about: str, default: str, *choices: str) -> Param:
    """A parameter with a closed set of words."""
    return Param(name, about, one_of(*choices), {"type": "string", "enum": list(choices)}, default=default)


@dataclass(frozen=True, slots=True)
class Route:
    """One path: what it takes, what it gives, in words and in structs."""

    path: str
    about: str
    params: tuple[Param, ...]
    answer: Any
    """The msgspec type of the JSON answer; None for plain text."""
    csv: bool = False
    can_be_absent: bool = False
    """404 when site, device or point is unknown."""
    may_be_unready: bool = False
    """503 with the same document."""
    method: Literal["GET", "POST"] = "GET"
    """GET takes `params` as a query, POST as a JSON object of texts."""


def read_query(route: Route, query: Sequence[tuple[str, str]], now_ms: int) -> dict[str, Any]:
    """The checked parameters by name; absent ones are None or their default. Raises BadRequest naming the parameter."""
    known = {param.name: param for param in route.params}
    given: dict[str, str] = {}
    for name, text in query:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known) or 'none'}"
            raise BadRequest(f"unknown parameter {name[:60]!r}", where=route.path, next_step=hint)
        if name in given:
            raise BadRequest(f"parameter {name!r} is given twice", where=route.path, next_step="give it once")
        given[name] = text
    values: dict[str, Any] = {}
    for name, param in known.items():
        asked = given.get(name, param.default)
        if asked is None:
            if param.required:
                raise BadRequest(
                    f"parameter {name!r} is missing", where=route.path, next_step=f"add {name}: {param.about}"
                )
            values[name] = None
            continue
        try:
            values[name] = param.parse(asked, now_ms)
        except (ValueError, OverflowError) as error:
            raise BadRequest(
                f"{name}={asked[:60]!r}: {error}", where=route.path, next_step="see /api/v1/openapi.json"
            ) from error
    return values


def read_body(route: Route, body: bytes, now_ms: int) -> dict[str, Any]:
    """The same of a POST's body. Raises BadRequest."""
    try:
        given = msgspec.json.decode(body, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        wanted = {param.name: param.about for param in route.params}
        raise BadRequest(
            f"the body is not a JSON object of texts: {error}", where=route.path, next_step=f"send one like {wanted}"
        ) from error
    return read_query(route, list(given.items()), now_ms)


class Problem(msgspec.Struct):
    """An error: what is wrong, where, and what to do."""

    error: str


def document(routes: Sequence[Route], *, version: str, with_tokens: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    types = [Problem, *(route.answer for route in routes if route.answer is not None)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    problem, answers = schemas[0], iter(schemas[1:])

    def failure(text: str) -> dict[str, Any]:
        return {"description": text, "content": {"application/json": {"schema": problem}}}

    paths: dict[str, Any] = {}
    for route in routes:
        content: dict[str, Any] = {"application/json": {"schema": next(answers)}} if route.answer is not None else {}
        content |= {"text/csv": {"schema": {"type": "string"}}} if route.csv else {}
        content = content or {"text/plain": {"schema": {"type": "string"}}}
        responses: dict[str, Any] = {"200": {"description": route.about, "content": content}}
        responses["400"] = failure("The request is not one that this document describes")
        if route.can_be_absent:
            responses["404"] = failure("No such site, device or point")
        if route.may_be_unready:
            responses["503"] = {"description": "Not ready", "content": content}
        else:
            responses["503"] = failure("The store does not answer now")
        if with_tokens:
            responses["401"] = failure("A token is missing or not known")
        if route.method == "POST":
            responses["413"] = failure("The body is too large")
            responses["415"] = failure("The body is not application/json, or is compressed")
        operation = re.sub(r"\W+", "_", route.path.removeprefix("/api/v1/")).strip("_")
        paths.setdefault(route.path, {})[route.method.lower()] = {
            "operationId": operation if route.method == "GET" else f"{route.method.lower()}_{operation}",
            "summary": route.about,
            "responses": responses,
            **_inputs(route),
        }
    built: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Plantroom", "version": version, "description": "Sites, devices, points and what they said."},
        "paths": paths,
        "components": {"schemas": components},
    }
    if with_tokens:
        built["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        built["security"] = [{"token": []}]
    return built


def _inputs(route: Route) -> dict[str, Any]:
    about = {
        param.name: param.about + (f" (default {param.default})" if param.default else "") for param in route.params
    }
    if route.method == "POST":
        schema = {
            "type": "object",
            "properties": {
                param.name: dict(param.schema) | {"description": about[param.name]} for param in route.params
            },
            "required": [param.name for param in route.params if param.required],
            "additionalProperties": False,
        }
        return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
    parameters = [
        {
            "name": param.name,
            "in": "query",
            "required": param.required,
            "description": about[param.name],
            "schema": dict(param.schema),
        }
        for param in route.params
    ]
    return {"parameters": parameters}
