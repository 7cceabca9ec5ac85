"""The gateway as one process: store, inventory, dead letters, ingest and the HTTP API under one TaskGroup.

It opens them in order and closes them in reverse; SIGTERM ends it within ten seconds, with what was taken in stored.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import structlog
from aiohttp import web

from device_profiles.errors import ConfigError, StoreUnavailable
from gateway.api import create_app
from gateway.completeness import Completeness
from gateway.config import Config
from gateway.deadletter import DeadLetters
from gateway.ingest import Ingest
from gateway.inventory import Inventory
from gateway.metrics import metrics_text
from gateway.services import Services
from gateway.stores.base import Store
from gateway.stores.influx import InfluxStore
from gateway.stores.sqlite import SqliteStore

_log = structlog.get_logger("gateway")
_SHUTDOWN_S = 2.0


def dead_letters(config: Config) -> DeadLetters:
    """The dead letters of this worker; `open` them before adding."""
    return DeadLetters(config.data_dir / "deadletter")


def make_store(config: Config, zone_of: Callable[[str], str]) -> Store:
    """The store that the configuration names, not yet open."""
    if isinstance(config.store, Path):
        return SqliteStore(config.store, retention=config.retention, zone_of=zone_of)
    return InfluxStore(config.store)


class Service:
    """`await Service(config).run(ready)`; `ready` is told the page's address once it answers."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def run(self, ready: Callable[[str], None] = lambda page: None) -> None:
        """Until SIGTERM, SIGINT or cancellation. Raises ConfigError and StoreError for what prevents the start."""
        config = self._config
        _make_folder(config.data_dir)
        with _only_one(config.data_dir):
            await self._open(ready)

    async def _open(self, ready: Callable[[str], None]) -> None:
        config = self._config
        inventory = Inventory(config.data_dir / "inventory.db", registered=config.agents)
        dead = dead_letters(config)
        store = make_store(config, inventory.zone)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            dead.open()
            await inventory.open()
            try:
                await store.open()
                try:
                    await self._serve(store, inventory, dead, stop, ready)
                finally:
                    await store.close()
            finally:
                await inventory.close()
        finally:
            dead.close()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def _serve(
        self,
        store: Store,
        inventory: Inventory,
        dead: DeadLetters,
        stop: asyncio.Event,
        ready: Callable[[str], None],
    ) -> None:
        config = self._config
        ingest = Ingest(config.mqtt, client_id=config.client_id, store=store, inventory=inventory, dead=dead)
        services = Services(
            store=store,
            inventory=inventory,
            completeness=Completeness(store, inventory),
            ingest=ingest.figures,
            metrics=metrics_text(store, inventory, ingest.figures),
        )
        app = create_app(services, tokens=config.tokens, version=_version())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            page = await _listen(runner, config.host, config.port)
            _log.info("gateway runs", page=page, store=store.name, broker=config.mqtt.url)
            ready(page)
            async with asyncio.TaskGroup() as group:
                work = group.create_task(ingest.run(), name="ingest")
                await stop.wait()
                _log.info("gateway stops")
                work.cancel()
        finally:
            await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> str:
    """Listens and returns the page's address. Raises ConfigError."""
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise ConfigError(
            f"cannot listen: {error.strerror or error}",
            where=f"{host}:{port}",
            next_step="choose another api.host or api.port, or stop what listens there",
        ) from error
    bound = runner.addresses[0][1]
    name = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{bound}/"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise StoreUnavailable(
            f"the folder cannot be made: {error.strerror or error}",
            where=str(folder),
            next_step="correct data_dir, or make the folder for the gateway's user",
        ) from error


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Holds the folder: its store, inventory and dead letters have one writer. The lock ends with the process."""
    import fcntl

    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                "another gateway is running with this folder",
                where=str(folder),
                next_step="stop it, or give this worker its own data_dir",
            ) from error
        yield


def _version() -> str:
    try:
        return version("plantroom")
    except PackageNotFoundError:
        return "0"
