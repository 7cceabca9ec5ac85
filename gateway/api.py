"""The HTTP API of the centre: sites, devices, points, what they say and said, what is missing; and who is registered.

It answers from `Services` and keeps nothing. It listens on loopback unless told otherwise; beyond loopback it wants tokens.
What it takes and gives stands in one table, from which `/api/v1/openapi.json` is made.
"""

from __future__ import annotations

import asyncio
import csv
import hmac
import io
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import hdrs, web

from device_profiles.errors import StoreError
from gateway import answers, openapi
from gateway.openapi import BadRequest, Route
from gateway.queries import Absent, Query, wall_ms
from gateway.routes import ROUTES, Answer
from gateway.services import Services

_WEB = Path(__file__).parent / "web"
_PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/chart.js": ("chart.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_TIME_LIMIT_S = 30.0
_MOST_BODY = 64 * 1024
_log = structlog.get_logger("api")
_encode = msgspec.json.Encoder().encode


HEALTHZ = Route(
    "/healthz", "Whether the store takes rows and the broker is connected", (), answers.Healthz, may_be_unready=True
)
METRICS = Route("/metrics", "Figures in Prometheus text format", (), None)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=_encode(value), status=status, content_type="application/json")


def _problem(status: int, text: str) -> web.Response:
    return _json(openapi.Problem(error=text), status)


def _csv_cell(value: object) -> object:
    """A text that a spreadsheet would run as a formula gets an apostrophe in front (CWE-1236)."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value


def _iso(t_ms: int) -> str:
    return datetime.fromtimestamp(t_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _csv(value: Any) -> web.Response:
    rows: list[Sequence[object]]
    if isinstance(value, answers.History):
        rows = [("time", "t_ms", "site", "device", "point", "value", "unit")]
        for name, series in value.points.items():
            rows += [(_iso(t), t, value.site, value.device, name, sample, series.unit) for t, sample in series.samples]
    else:
        columns = value[0].__struct_fields__ if value else ("site", "device")
        rows = [columns, *(tuple(getattr(row, column) for column in columns) for row in value)]
    out = io.StringIO()
    writer = csv.writer(out)
    for row in rows:
        writer.writerow([_csv_cell(_encode(cell).decode() if isinstance(cell, dict) else cell) for cell in row])
    return web.Response(text=out.getvalue(), content_type="text/csv", charset="utf-8")


def _handler(route: Route, answer: Answer, services: Services) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            if route.method == "POST":
                # A foreign page cannot send this type without asking first, which nothing here answers (CSRF).
                if request.content_type != "application/json":
                    return _problem(415, f"{request.content_type[:80]!r} is not taken; send application/json")
                if hdrs.CONTENT_ENCODING in request.headers:
                    return _problem(415, "a compressed body is not taken; send it as it is")
                query = openapi.read_body(route, await request.read(), wall_ms())
            else:
                query = openapi.read_query(route, list(request.query.items()), wall_ms())
            async with asyncio.timeout(_TIME_LIMIT_S):
                value = await answer(services, query)
        except BadRequest as error:
            return _problem(400, str(error))
        except web.HTTPRequestEntityTooLarge:
            return _problem(413, f"the body is too large; send at most {_MOST_BODY} bytes")
        except Absent as error:
            return _problem(404, str(error))
        except (StoreError, TimeoutError) as error:
            _log.warning("the store did not answer a query", topic=route.path, error=str(error))
            return _problem(503, f"the store does not answer now: {error}")
        return _csv(value) if query.get("format") == "csv" else _json(value)

    return handle


def _guard(tokens: Sequence[str]) -> Any:
    """Wants a known bearer token where tokens are set; elsewhere a Host that is this machine (no DNS rebinding)."""
    local = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.IGNORECASE)
    open_paths = {"/healthz", *_PAGE_FILES}

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not tokens:
            if request.host and not local.fullmatch(request.host):
                return _problem(403, f"Host {request.host[:80]!r} is not this machine; set api.tokens to serve others")
        elif request.path not in open_paths:
            scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
            if scheme.lower() != "bearer" or not _is_known(token.strip(), tokens):
                refusal = _problem(401, "a token is missing or not known; send Authorization: Bearer TOKEN")
                refusal.headers["WWW-Authenticate"] = "Bearer"
                return refusal
        return await handler(request)

    return guard


def _is_known(token: str, tokens: Sequence[str]) -> bool:
    # Every token is compared, so that the time taken tells nothing.
    return max([hmac.compare_digest(token.encode("utf-8", "surrogateescape"), known.encode()) for known in tokens])


async def _secure(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault(
        "Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Cache-Control", "no-store")


def create_app(services: Services, *, tokens: Sequence[str] = (), version: str = "0") -> web.Application:
    """The application. `tokens` empty: no token is asked for, and only requests for this machine's own names are answered."""
    app = web.Application(middlewares=[_guard(tokens)], client_max_size=_MOST_BODY)
    app.on_response_prepare.append(_secure)
    routes = [route for route, _ in ROUTES]
    spec = openapi.document([*routes, HEALTHZ, METRICS], version=version, with_tokens=bool(tokens))

    async def health(services: Services, query: Query) -> answers.Healthz:
        state = await services.store.health()
        figures = services.ingest()
        alarms = figures.get("alarms", {})
        refused = (
            alarms.get("store_unavailable") or alarms.get("store_misconfigured") or ""
        )  # it may answer questions still
        takes_rows = state.ok and not refused
        return answers.Healthz(
            ok=takes_rows and bool(figures.get("connected")),
            version=version,
            store=answers.StoreState(
                ok=takes_rows, kind=services.store.name, detail=state.detail or refused, size_bytes=state.size_bytes
            ),
            ingest=figures,
        )

    async def healthz(request: web.Request) -> web.Response:
        value = await health(services, {})
        return _json(value, 200 if value.ok else 503)

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(text=services.metrics(), content_type="text/plain", charset="utf-8")

    async def the_document(request: web.Request) -> web.Response:
        return _json(spec)

    async def page(request: web.Request) -> web.StreamResponse:
        name, content_type = _PAGE_FILES[request.path]
        return web.Response(body=(_WEB / name).read_bytes(), content_type=content_type, charset="utf-8")

    for route, answer in ROUTES:
        add = app.router.add_post if route.method == "POST" else app.router.add_get
        add(route.path, _handler(route, answer, services))
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/api/v1/openapi.json", the_document)
    for path in _PAGE_FILES:
        app.router.add_get(path, page)
    return app
