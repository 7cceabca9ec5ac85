"""Brokers for the tests of the MQTT session: Debian's mosquitto, and one that says whatever a test wants."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.mqtt import Incoming, MqttSession, MqttSettings

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed (apt-get install mosquitto)")


def settings(port: int, **more: object) -> MqttSettings:
    """A broker on loopback; reconnects at once, as tests cannot wait."""
    quick: dict[str, object] = {
        "backoff_s": 0.05,
        "backoff_max_s": 0.5,
        "refused_max_s": 0.5,
        "connect_gap_s": 0.05,
        "connect_timeout_s": 5.0,
    }
    return MqttSettings(port=port, **{**quick, **more})  # type: ignore[arg-type]


async def until(condition: Callable[[], bool], what: str = "", timeout_s: float = 20.0) -> None:
    """Wait on a condition, never for a fixed time."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited {timeout_s} s for {what or condition}") from None


class Probe:
    """A session with everything that it said."""

    def __init__(self, mqtt: MqttSettings, client_id: str = "probe", **more: object) -> None:
        self.heard: list[Incoming] = []
        self.reasons: list[str] = []
        self.alarms: list[tuple[str, str]] = []
        self.present: list[bool] = []
        options: dict[str, object] = {"session_expiry_s": 0, "on_message": self.heard.append, **more}
        self.session = MqttSession(
            mqtt,
            client_id=client_id,
            on_connect=self.present.append,
            on_disconnect=self.reasons.append,
            on_alarm=lambda name, text: self.alarms.append((name, text)),
            **options,  # type: ignore[arg-type]
        )

    async def connected(self) -> None:
        await until(lambda: self.session.connected, f"a connection; {self.reasons[-1:]}")


@asynccontextmanager
async def probe(
    mqtt: MqttSettings, client_id: str = "probe", *, join: bool = True, **more: object
) -> AsyncIterator[Probe]:
    """A running one, connected unless told otherwise."""
    one = Probe(mqtt, client_id, **more)
    task = asyncio.create_task(one.session.run())
    try:
        if join:
            await one.connected()
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Mosquitto:
    """Debian's broker with a configuration of the test. `kill` is kill -9; `start` begins anew with the same files."""

    def __init__(self, folder: Path, lines: str = "allow_anonymous true") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"user root\nlistener {self.port} 127.0.0.1\n{lines}\n")
        self._log = folder / "mosquitto.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        assert MOSQUITTO is not None
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(MOSQUITTO, "-c", self._config, stdout=log, stderr=log)
        async with asyncio.timeout(10):
            while not await self._accepts():
                assert self._process.returncode is None, self._log.read_text()
                await asyncio.sleep(0.01)

    async def _accepts(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            await process.wait()


@asynccontextmanager
async def mosquitto(folder: Path, lines: str = "allow_anonymous true") -> AsyncIterator[Mosquitto]:
    """A running one."""
    broker = Mosquitto(folder, lines)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.kill(signal.SIGTERM)


@asynccontextmanager
async def scripted(*answers: bytes, close: bool = True) -> AsyncIterator[tuple[int, list[float]]]:
    """A server that answers whatever comes first with `answers`. Yields its port and the times of connections."""
    times: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        times.append(asyncio.get_running_loop().time())
        await reader.read(4096)
        for answer in answers:
            writer.write(answer)
            await writer.drain()
        if not close:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], times
    finally:
        server.close()
