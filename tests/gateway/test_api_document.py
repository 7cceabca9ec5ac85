"""The OpenAPI document is served and true: schemathesis asks whatever it allows and finds no 500 and no undocumented answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_fixture import serving
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip("schemathesis")


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API in a thread of its own, because schemathesis asks from this one."""
    folder: Path = tmp_path_factory.mktemp("api")
    loop = asyncio.new_event_loop()
    ready: asyncio.Future[str] = loop.create_future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with serving(folder) as client:
            ready.set_result(str(client.make_url("/")))
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    url = asyncio.run_coroutine_threadsafe(asyncio.wait_for(asyncio.shield(ready), 20), loop).result(30)
    yield url.rstrip("/")
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)


PATHS = [
    "/healthz",
    "/metrics",
    *(
        f"/api/v1/{name}"
        for name in (
            "sites",
            "agents",
            "devices",
            "points",
            "latest",
            "history",
            "events",
            "alarms",
            "last",
            "ledger",
            "completeness",
        )
    ),
]


def test_the_document_lists_every_path(base_url: str) -> None:
    assert sorted(schemathesis.openapi.from_url(f"{base_url}/api/v1/openapi.json").raw_schema["paths"]) == sorted(PATHS)


@pytest.mark.parametrize(("path", "method"), [*((path, "GET") for path in PATHS), ("/api/v1/agents", "POST")])
def test_every_answer_is_in_the_document(base_url: str, path: str, method: str) -> None:
    schema = schemathesis.openapi.from_url(f"{base_url}/api/v1/openapi.json")
    not_ours = [schemathesis.checks.positive_data_acceptance, schemathesis.checks.unsupported_method]
    modes = [schemathesis.GenerationMode.POSITIVE]
    if method == "POST" or schema.raw_schema["paths"][path]["get"]["parameters"]:
        modes.append(schemathesis.GenerationMode.NEGATIVE)

    for mode in modes:

        @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=schema[path][method].as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            case.call_and_validate(excluded_checks=not_ours)

        ask()
