"""Agents are listed and registered through the API; a wrong body is told what is wrong and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_fixture import AGENT, SITE, serving

PATH = "/api/v1/agents"
NEW = {"site": SITE, "agent": "gw-02"}


async def listed(client: Any, **headers: str) -> dict[str, bool]:
    async with client.get(PATH, headers=headers) as answer:
        assert answer.status == 200
        return {agent["id"]: agent["registered"] for agent in await answer.json()}


async def test_a_registered_agent_is_listed_and_registering_twice_is_no_error(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        assert await listed(client) == {AGENT: True}
        for _ in range(2):
            async with client.post(PATH, json=NEW) as answer:
                body = await answer.json()
                assert (answer.status, body["site"], body["id"]) == (200, SITE, "gw-02")
                assert (body["registered"], body["state"]) == (True, "unknown")
        assert await listed(client) == {AGENT: True, "gw-02": True}


@pytest.mark.parametrize(
    ("body", "content_type", "status", "says"),
    [
        (b"{", "application/json", 400, "JSON object"),
        (b"\xff", "application/json", 400, "JSON object"),
        (b"[" * 20_000, "application/json", 400, "JSON object"),
        (b'{"site": 1, "agent": "gw-02"}', "application/json", 400, "JSON object"),
        (b'{"site": "hq"}', "application/json", 400, "'agent' is missing"),
        (b'{"site": "hq", "agent": "GW 2"}', "application/json", 400, "expected an id"),
        (b'{"site": "hq", "agent": "gw-02", "agents": "x"}', "application/json", 400, "did you mean 'agent'"),
        (json.dumps(NEW).encode(), "text/plain", 415, "application/json"),
        (json.dumps(NEW | {"x": "y" * 70_000}).encode(), "application/json", 413, "too large"),
    ],
)
async def test_a_wrong_body_changes_nothing(
    tmp_path: Path, body: bytes, content_type: str, status: int, says: str
) -> None:
    async with serving(tmp_path) as client:
        async with client.post(PATH, data=body, headers={"Content-Type": content_type}) as answer:
            assert answer.status == status
            assert says in (await answer.json())["error"]
        assert await listed(client) == {AGENT: True}


async def test_a_compressed_body_is_refused(tmp_path: Path) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with serving(tmp_path) as client, client.post(PATH, data=b"no gzip", headers=headers) as answer:
        assert answer.status == 415
        assert "compressed" in (await answer.json())["error"]


async def test_who_may_register(tmp_path: Path) -> None:
    async with serving(tmp_path) as client, client.post(PATH, json=NEW, headers={"Host": "evil.example"}) as answer:
        assert answer.status == 403
    async with serving(tmp_path, tokens=("s3cret",)) as client:
        async with client.post(PATH, json=NEW) as answer:
            assert answer.status == 401
        known = {"Authorization": "Bearer s3cret"}
        assert await listed(client, **known) == {AGENT: True}
        async with client.post(PATH, json=NEW, headers=known) as answer:
            assert answer.status == 200
