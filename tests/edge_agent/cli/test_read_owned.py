"""plantroom read of a device whose link a running agent has: shown as the agent has it, and what else refuses stays refused."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli import invoke
from edge_agent.local_api import LocalApi

AGENT = """
agent: {{id: gw-01, site: hq, tz: Europe/Berlin, socket: {socket}}}
mqtt: {{url: "mqtt://127.0.0.1:1883"}}
links:
  doors: {{kind: udp, host: 127.0.0.1, port: {port}, listen: {{allow: [127.0.0.1]}}}}
devices:
  - {{id: doors-1, link: doors, unit: 423187757, at: 127.0.0.1, profile: uhppote-l04}}
"""
LATEST = {
    "doors-1": {
        "t": 1,
        "points": [
            {
                "id": "door_open_1",
                "value": True,
                "unit": None,
                "text": None,
                "status": "Good",
                "mode": "polled",
                "age_s": 4,
            }
        ],
    }
}


@contextmanager
def agent_at(path: Path) -> Iterator[None]:
    """A local socket with the last values, in a loop of its own."""
    ready = threading.Event()
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def latest(request: Mapping[str, Any]) -> Any:
        return LATEST

    async def serve() -> None:
        done = asyncio.Event()
        ends.append((asyncio.get_running_loop(), done))
        async with LocalApi(path, {"latest": latest}):
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        loop, done = ends[0]
        loop.call_soon_threadsafe(done.set)
        thread.join(10)


def test_what_the_agent_has_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        path, file = tmp_path / "agent.sock", tmp_path / "agent.yaml"
        file.write_text(AGENT.format(socket=path, port=taken.getsockname()[1]))
        with agent_at(path):
            assert invoke(["read", "--config", str(file), "doors-1", "--json"]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["points"][0]["id"] == "door_open_1"
        assert "cannot listen" in err
        assert "this is what the agent has" in err
        assert invoke(["read", "--config", str(file), "doors-1"]) == 1, "no agent: another program has the port"
        assert "ss -lnp" in capsys.readouterr().err
