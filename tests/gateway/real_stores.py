"""Debian's influxdb 1.6.7 and victoria-metrics as child processes on free ports of loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin"
INFLUXD = shutil.which("influxd", path=_PATH)
VICTORIA = shutil.which("victoria-metrics", path=_PATH)
needs_influxd = pytest.mark.skipif(INFLUXD is None, reason="influxd is not installed (apt-get install influxdb)")
needs_victoria = pytest.mark.skipif(
    VICTORIA is None, reason="victoria-metrics is not installed (apt-get install victoria-metrics)"
)

_INFLUXD_CONF = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
  max-body-size = 25000000
[monitor]
  store-enabled = false
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@asynccontextmanager
async def _server(url: str, *command: str) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(20), aiohttp.ClientSession() as client:
            while True:
                assert process.returncode is None, f"{command[0]} ended with {process.returncode}"
                try:
                    async with client.get(f"{url}/ping"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.02)
        yield url
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


@asynccontextmanager
async def influxd(folder: Path, database: str = "plantroom") -> AsyncIterator[str]:
    """The URL of a running influxd with an empty database."""
    assert INFLUXD is not None
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "influxdb.conf"
    config.write_text(_INFLUXD_CONF.format(folder=folder, port=port, rpc=free_port()))
    async with _server(f"http://127.0.0.1:{port}", INFLUXD, "-config", str(config)) as url:
        await query(url, f'CREATE DATABASE "{database}"')
        yield url


@asynccontextmanager
async def victoria(folder: Path) -> AsyncIterator[str]:
    """The URL of a running victoria-metrics."""
    assert VICTORIA is not None
    port = free_port()
    async with _server(
        f"http://127.0.0.1:{port}",
        VICTORIA,
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={folder / 'vm'}",
        "-retentionPeriod=100y",
        "-search.latencyOffset=0s",
    ) as url:
        yield url


async def query(url: str, text: str, database: str | None = None) -> str:
    """One InfluxQL statement, asked directly."""
    params = {"q": text} | ({"db": database} if database else {})
    async with aiohttp.ClientSession() as client, client.post(f"{url}/query", params=params) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()
