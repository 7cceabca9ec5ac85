"""The embedded broker: starts, ends, is killed, and is refused a port in use."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from device_profiles.errors import LinkRefused
from gateway.broker import EmbeddedBroker
from tests.gateway.mqtt_box import probe, settings, until


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_starts_on_a_free_port_and_ends_cleanly() -> None:
    async with EmbeddedBroker() as broker:
        assert broker.port > 0
        pid = broker.pid
        assert pid is not None
        async with probe(settings(broker.port)) as one:
            assert one.present == [False]
    assert broker.pid is None
    assert not is_alive(pid)
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", broker.port))


async def test_killed_and_started_again_on_the_same_port() -> None:
    async with EmbeddedBroker() as broker:
        port, pid = broker.port, broker.pid
        async with probe(settings(port)) as one:
            await broker.kill()
            assert broker.pid is None
            await until(lambda: not one.session.connected)
            await broker.start()
            await one.connected()
            assert (broker.port == port, broker.pid != pid) == (True, True)


async def test_port_in_use_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(LinkRefused, match="the port is in use"):
            await EmbeddedBroker(taken.getsockname()[1]).start()


async def test_large_messages_pass() -> None:
    async with EmbeddedBroker() as broker, probe(settings(broker.port)) as one:
        one.session.subscribe([("t", 1)])
        await until(lambda: one.session.publish("t", b"", qos=0) and bool(one.heard))
        one.session.publish("t", b"x" * 2_100_000)
        await until(lambda: len(one.heard[-1].payload) == 2_100_000)


async def test_child_ends_when_its_parent_is_killed() -> None:
    script = (
        "import asyncio\nfrom gateway.broker import EmbeddedBroker\n"
        "async def main():\n    broker = EmbeddedBroker()\n    await broker.start()\n"
        "    print(broker.pid, flush=True)\n    await asyncio.Event().wait()\nasyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert is_alive(pid)
    parent.kill()
    await parent.wait()
    await until(lambda: not is_alive(pid) or is_zombie(pid), "the broker to end")


def is_zombie(pid: int) -> bool:
    """An orphan that nobody has collected, as in a container without an init."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
