"""The gateway as the process that people run: ready, stopped, refused, and the dead-letter commands beside it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edge_agent.cli import invoke
from gateway.broker import EmbeddedBroker
from gateway.contract.messages import encode
from gateway.contract.topics import Topics
from gateway.deadletter import DeadLetters
from tests.gateway.centre import fake_agent
from tests.gateway.message_box import DEV, EPOCH, TOPICS, event, telemetry
from tests.gateway.mqtt_box import until


async def plantroom(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edge_agent.cli",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def deadletter(capsys: pytest.CaptureFixture[str], config: Path, *arguments: str) -> tuple[int, str, str]:
    """The same of a dead-letter command, in this process."""
    code = invoke(["deadletter", *arguments, "-c", str(config)])
    said = capsys.readouterr()
    return code, said.out, said.err


@asynccontextmanager
async def gateway(config: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "edge_agent.cli", "gateway", str(config), "--ready"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        yield process, json.loads(line)["page"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def written(folder: Path, port: int, **more: Any) -> Path:
    path = folder / "gateway.yaml"
    document = {
        "mqtt": {"url": f"mqtt://127.0.0.1:{port}"},
        "agents": "any",
        "data_dir": "centre",
        "api": {"port": 0},
    } | more
    path.write_text(json.dumps(document))
    return path


async def get(page: str, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.get(page.rstrip("/") + path) as answer:
        return answer.status, await answer.text()


async def test_from_message_to_page_and_a_clean_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = time.time_ns() // 1_000_000
    async with EmbeddedBroker() as broker:
        config = written(tmp_path, broker.port)
        async with gateway(config) as (process, page), fake_agent(broker.port) as agent:
            while 0 not in agent.ok.get(EPOCH, ()):  # as an agent does: again, until the subscriptions are there
                agent.publish(TOPICS.data(DEV), telemetry(0, now - 1, {"power_active": 1.0}))
                await asyncio.sleep(0.02)
            assert (await get(page, "/healthz"))[0] == 200
            agent.publish(TOPICS.data(DEV), telemetry(1, now, {"power_active": 12.5}))
            agent.publish(TOPICS.data(DEV), telemetry(2, now, {"power_active": "on"}))
            await until(lambda: {1, 2} <= agent.ok[EPOCH])
            status, text = await get(page, "/api/v1/latest")
            assert status == 200
            assert 12.5 in [one["value"] for one in json.loads(text)]
            status, text = await get(page, "/metrics")
            assert status == 200
            assert re.search(r"^plantroom_ingest_stored_total [1-9]", text, re.MULTILINE)
            assert 'plantroom_ingest_dead_total{reason="type"} 1.0' in text
            assert 'plantroom_device_last_seen_timestamp_seconds{device="meter-01",site="hq"}' in text

            code, out, _ = deadletter(capsys, config, "list", "--json")
            (letter,) = map(json.loads, out.splitlines())
            assert (code, letter["id"], letter["reason"]) == (0, 1, "type")
            code, out, _ = deadletter(capsys, config, "show", "1")
            assert code == 0
            assert "power_active is text" in out
            assert deadletter(capsys, config, "replay", "1")[0] == 0
            await until(lambda: not list((tmp_path / "centre" / "deadletter" / "replay").glob("*.json")))
            code, _, err = await plantroom("gateway", str(config))
            assert (code, "another gateway is running with this folder" in err) == (1, True)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0


def test_the_dead_letter_commands_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = written(tmp_path, 1)
    assert deadletter(capsys, config, "list") == (0, "there are no dead letters\n", "")
    code, _, err = deadletter(capsys, config, "show", "7")
    assert (code, "there is no dead letter 7" in err) == (1, True)
    assert deadletter(capsys, config, "replay")[0] == 2
    dead = DeadLetters(tmp_path / "centre" / "deadletter")
    dead.open()
    dead.add("plantroom/v1/hq/gw-01/up/data/\x1b[31mred", b"\xff\x1b[2J", "topic", "no topic of the contract")
    dead.sync()
    dead.close()
    for arguments in (("list",), ("show", "1"), ("list", "--reason", "topic")):
        code, out, _ = deadletter(capsys, config, *arguments)
        assert code == 0
        assert "\x1b" not in out
        assert "topic" in out
    assert deadletter(capsys, config, "replay", "--all", "--json")[1] == '{"asked": [1], "not_kept": 0}\n'


async def test_what_prevents_the_start_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "centre").mkdir()
    (tmp_path / "centre" / "store.db").write_bytes(b"not a database" * 500)
    code, out, err = await plantroom("gateway", str(written(tmp_path, 1)))
    assert (code, out) == (1, "")
    assert "store.db: the file is damaged" in err
    assert "Traceback" not in err
    code, _, err = await plantroom("gateway", str(tmp_path / "none.yaml"))
    assert (code, "no such file" in err) == (1, True)


async def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    code, _, err = await plantroom("gateway", str(written(tmp_path, 1, api={"port": port})))
    server.close()
    assert code == 1
    assert "cannot listen" in err
    assert "choose another api.host or api.port" in err


def test_encoding_here_is_encoding_there() -> None:
    """The box's JSON is what the contract's structs write."""
    import msgspec

    from gateway.contract.messages import Event, Telemetry

    assert encode(msgspec.json.decode(telemetry(), type=Telemetry)) == telemetry()
    assert msgspec.json.decode(encode(msgspec.json.decode(event(), type=Event))) == msgspec.json.decode(event())
    assert Topics("hq", "gw-01") == TOPICS
