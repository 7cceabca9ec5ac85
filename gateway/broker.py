"""The embedded broker of the demo and the tests: iotcore (rumqttd) in a child process, MQTT 5 on loopback.

It owns that process. Sessions and retained messages live in its memory: they end with it. No access lists; production runs
Mosquitto or any MQTT 5 cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from device_profiles.errors import LinkRefused

_CONFIG = """\
id = 0

[router]
id = 0
max_connections = 2000
max_outgoing_packet_count = 1000
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "v5"
listen = "{host}:{port}"
next_connection_delay_ms = 1
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = {max_payload}
    max_inflight_count = 1000
    dynamic_filters = true
"""


class EmbeddedBroker:
    """`async with EmbeddedBroker() as broker: broker.port`. `kill` and `start` let a test end it the hard way and go on.

    The child ends by itself when this process goes away.
    """

    def __init__(self, port: int = 0, *, host: str = "127.0.0.1", max_payload: int = 4 * 1024 * 1024) -> None:
        self.host = host
        self.port = port
        self._max_payload = max_payload
        self._process: asyncio.subprocess.Process | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, None while it does not run."""
        return None if self._process is None else self._process.pid

    async def start(self, *, timeout_s: float = 10.0) -> None:
        """Start the child and return when it accepts connections. Raises LinkRefused."""
        if self.port == 0:
            self.port = _free_port(self.host)
        elif not _is_free(self.host, self.port):
            raise LinkRefused(
                "the port is in use",
                where=f"broker {self.host}:{self.port}",
                next_step="stop the other broker or choose another port",
            )
        self._folder = tempfile.TemporaryDirectory(prefix="plantroom-broker-")
        config = Path(self._folder.name) / "broker.toml"
        config.write_text(_CONFIG.format(host=self.host, port=self.port, max_payload=self._max_payload))
        self._process = await _spawn(config)
        try:
            async with asyncio.timeout(timeout_s):
                while not await _accepts(self.host, self.port):
                    if self._process.returncode is not None:
                        raise LinkRefused(
                            f"the embedded broker ended with code {self._process.returncode} while starting",
                            where=f"broker {self.host}:{self.port}",
                            next_step="run it with IOTCORE_LOG_LEVEL=DEBUG",
                        )
                    await asyncio.sleep(0.02)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the child and release the port. Safe to call twice."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """kill -9, as a crash would."""
        await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(how)
            try:
                async with asyncio.timeout(5.0):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
            if process.stdin is not None:
                process.stdin.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


async def _spawn(config: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.broker",
        str(config),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )


async def _accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _await_end_of_input() -> None:
    """Blocks until standard input is closed. Unbuffered: a thread inside `sys.stdin` breaks the interpreter's shutdown."""
    while os.read(0, 4096):
        pass


def _serve(config: str) -> None:
    """The child: the broker until stdin closes, which it does when the parent is gone."""
    from iotcore import Broker

    def leave_with_parent() -> None:
        _await_end_of_input()
        os._exit(0)

    # rumqttd's tracing shows every packet as an error record; only a level above hides it.
    logging.basicConfig(level=os.environ.get("IOTCORE_LOG_LEVEL", "WARNING").upper())
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    Broker(config_path=config).run_forever()


async def _stand_alone(port: int) -> None:
    """A broker of its own for the demo: one JSON line with its port, then until SIGTERM or the end of standard input."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def leave_with_parent() -> None:
        _await_end_of_input()
        with contextlib.suppress(RuntimeError):  # the loop is closed: it is over already
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=leave_with_parent, name="parent", daemon=True).start()
    async with EmbeddedBroker(port) as broker:
        sys.stdout.write(json.dumps({"port": broker.port, "pid": broker.pid}) + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--port"]:
        asyncio.run(_stand_alone(int(sys.argv[2])))
    elif len(sys.argv) > 1:
        _serve(sys.argv[1])
    else:
        asyncio.run(_stand_alone(0))
