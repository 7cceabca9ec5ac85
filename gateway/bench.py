"""`plantroom bench ingest`: what one worker takes from the broker's socket to the store's commit.

The worker is this process; `gateway.bench_feed` stands for a broker that is never the bottleneck. SQLite: points a second of the
worker's own CPU time (user and system, all threads). InfluxDB is limited by the server, so there points a second of wall time,
beside the same lines written ready made by plain HTTP in the same run (`influxdb_raw`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from gateway.bench_feed import DEVICES, POINTS, TOPICS, values
from gateway.deadletter import DeadLetters
from gateway.ingest import Ingest
from gateway.inventory import Inventory
from gateway.mqtt import MqttSettings
from gateway.stores import line
from gateway.stores.base import ClassRow, Store
from gateway.stores.influx import InfluxSettings, InfluxStore
from gateway.stores.sqlite import SqliteStore

MESSAGES = 20_000
RUNS = 3
_LINES = 5000
_DATABASE = "plantroom"


def bench_ingest() -> dict[str, Any]:
    """Points a second, median of three runs: into SQLite (a worker core), into InfluxDB 1.x, and InfluxDB's own by plain HTTP.

    None where no influxd is installed.
    """
    if sys.platform == "win32":
        return asyncio.run(_bench())
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_bench())


async def _bench() -> dict[str, Any]:
    found: dict[str, Any] = {"sqlite": None, "influxdb": None, "influxdb_raw": None}
    with tempfile.TemporaryDirectory(prefix="plantroom-bench-") as name:
        folder = Path(name)
        rates = []
        for run in range(RUNS):
            store = SqliteStore(folder / f"store-{run}.db")
            per_core, _ = await _worker(store, folder / f"sqlite-{run}")
            rates.append(per_core)
        found["sqlite"] = round(median(rates))
        influxd = shutil.which("influxd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
        if influxd is not None:
            async with _influxd(influxd, folder / "influx") as url:
                settings = InfluxSettings("v1", url, _DATABASE)
                raw: list[float] = []
                rates = []
                for run in range(RUNS):
                    raw.append(await _plain_http(settings))
                    _, per_second = await _worker(InfluxStore(settings), folder / f"influx-{run}")
                    rates.append(per_second)
            found["influxdb"], found["influxdb_raw"] = round(median(rates)), round(median(raw))
    return found


async def _worker(store: Store, folder: Path) -> tuple[float, float]:
    """(points a second of CPU time, points a second) of a whole worker."""
    async with AsyncExitStack() as stack:
        feeder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.bench_feed", str(MESSAGES)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert feeder.stdin is not None
        assert feeder.stdout is not None
        stack.callback(feeder.stdin.close)
        port = int(await feeder.stdout.readline())
        await store.open()
        stack.push_async_callback(store.close)
        inventory = Inventory(folder / "inventory.db", registered=None)
        await inventory.open()
        stack.push_async_callback(inventory.close)
        dead = DeadLetters(folder / "dead")
        dead.open()
        stack.callback(dead.close)
        ingest = Ingest(MqttSettings(port=port), client_id="bench", store=store, inventory=inventory, dead=dead)
        task = asyncio.create_task(ingest.run())
        try:
            await feeder.stdout.readline()  # it has subscribed
            begun, at = time.process_time(), time.perf_counter()
            feeder.stdin.write(b"go\n")
            await feeder.stdout.readline()
            spent, lasted = time.process_time() - begun, time.perf_counter() - at
            await feeder.wait()
            if ingest.count["stored"] != MESSAGES or ingest.count["points"] != MESSAGES * POINTS:
                raise RuntimeError(f"stored {ingest.count['stored']} of {MESSAGES} messages")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return MESSAGES * POINTS / spent, MESSAGES * POINTS / lasted


async def _plain_http(settings: InfluxSettings) -> float:
    """Points a second of writing the same lines, ready made, with nothing but an HTTP client."""
    import aiohttp

    begin = time.time_ns() // 1_000_000 - MESSAGES
    rows = [
        ClassRow(TOPICS.site, f"m-{seq % DEVICES}", "electricity_meter", begin + seq, {**values(seq)})
        for seq in range(MESSAGES)
    ]
    lines = [line.encode(row)[0] for row in rows]
    bodies = [b"\n".join(lines[at : at + _LINES]) for at in range(0, MESSAGES, _LINES)]
    async with aiohttp.ClientSession() as client:
        begun = time.perf_counter()
        for body in bodies:
            params = settings.write_parameters(in_ns=False)
            async with client.post(settings.write_url, params=params, data=body) as answer:
                if answer.status != 204:
                    raise RuntimeError(f"influxd answers {answer.status}: {await answer.text()}")
        return MESSAGES * POINTS / (time.perf_counter() - begun)


@asynccontextmanager
async def _influxd(program: str, folder: Path) -> AsyncIterator[str]:
    """An influxd of our own on free ports of loopback."""
    import aiohttp

    folder.mkdir(parents=True)  # noqa: ASYNC240 (before anything runs)
    ports = [_free_port(), _free_port()]
    config = folder / "influxdb.conf"
    config.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{ports[0]}"\n'
        f'[meta]\ndir = "{folder}/meta"\n[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
        f'[http]\nbind-address = "127.0.0.1:{ports[1]}"\nlog-enabled = false\nmax-body-size = 100000000\n'
        "[monitor]\nstore-enabled = false\n"
    )
    url = f"http://127.0.0.1:{ports[1]}"
    process = await asyncio.create_subprocess_exec(
        *(program, "-config", str(config)), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(20), aiohttp.ClientSession() as client:
            while True:
                try:
                    async with client.post(f"{url}/query", params={"q": f"CREATE DATABASE {_DATABASE}"}):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
