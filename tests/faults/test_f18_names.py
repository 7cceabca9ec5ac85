"""F18: names that resolve slowly or not at all: the loop is never held up, and the last good address is used meanwhile."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from gateway.broker import EmbeddedBroker
from tests.gateway.mqtt_box import probe, settings, until


@pytest.mark.parametrize("how", ["slow", "gone", "elsewhere"])
async def test_the_last_good_address_is_used(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`slow`: the resolver hangs. `gone`: it refuses. `elsewhere`: it says an address where nobody is, then the right one."""
    resolve, sick, over = socket.getaddrinfo, threading.Event(), threading.Event()

    def lookup(host: Any, *args: Any, **keys: Any) -> Any:
        if host != "broker.test":
            return resolve(host, *args, **keys)
        found = resolve("127.0.0.1", *args, **keys)
        if sick.is_set():
            if how == "slow":
                over.wait(30)
            elif how == "gone":
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            else:
                return [(*found[0][:4], ("127.0.0.2", found[0][4][1])), *found]
        return found

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    loop = asyncio.get_running_loop()
    lag = 0.0

    async def watch() -> None:
        nonlocal lag
        while True:
            began = loop.time()
            await asyncio.sleep(0.01)
            lag = max(lag, loop.time() - began - 0.01)

    watching = asyncio.create_task(watch(), name="lag")
    try:
        async with EmbeddedBroker() as broker:
            port = broker.port
            async with probe(settings(port, host="broker.test", connect_timeout_s=1.5)) as one:
                sick.set()
                before = one.session.connects
                await broker.stop()
                await until(lambda: not one.session.connected)
                async with EmbeddedBroker(port=port):
                    await until(lambda: one.session.connects > before)
        assert lag < 1.0, f"the loop was held up for {lag:.3f} s"  # 0.1 s on a machine that does nothing else
    finally:
        over.set()
        watching.cancel()
