"""F15 to F17: half-open lines, bad networks and a link that flaps, through a proxy, with the time compressed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.broker import EmbeddedBroker
from tests.edge_agent.uplink_box import QUICK, Centre, Site, centre, settings, site, until
from tests.faults.tcp_proxy import TcpProxy
from tests.gateway.mqtt_box import probe


@asynccontextmanager
async def behind_proxy(folder: Path, **more: object) -> AsyncIterator[tuple[TcpProxy, Centre, Site]]:
    """The site behind the proxy, the centre not."""
    async with EmbeddedBroker() as broker, TcpProxy(broker.port) as proxy, centre(settings(broker.port)) as hq:
        mqtt = settings(proxy.port, **more)
        async with site(folder, mqtt, limits=replace(QUICK, resend_s=1.0)) as one:
            await until(lambda: one.uplink.figures()["connected"])
            yield proxy, hq, one


async def arrives(one: Site, hq: Centre, numbers: set[tuple[str, int]]) -> None:
    await until(lambda: numbers <= set(hq.got), "all messages", timeout_s=40)
    await until(lambda: one.spool.fill().msgs == 0, "the spool to forget them", timeout_s=40)
    assert all(len(bodies) == 1 for bodies in hq.bodies.values())


async def test_f15_half_open_is_detected_within_one_and_a_half_keepalives(tmp_path: Path) -> None:
    async with behind_proxy(tmp_path, keepalive_s=1) as (proxy, hq, one):
        await arrives(one, hq, one.put(10))
        began = time.monotonic()
        proxy.is_black_hole = True
        numbers = one.put(10)
        await until(lambda: not one.uplink.figures()["connected"], "the half-open line to be noticed")
        noticed_s = time.monotonic() - began
        print(f"F15: noticed after {noticed_s:.2f} s with a keepalive of 1 s")
        assert noticed_s < 15
        assert "nothing heard for" in one.uplink.figures()["alarms"]["broker"]
        proxy.is_black_hole = False
        await arrives(one, hq, numbers)


async def test_f15_idle_line_that_is_alive_is_left_alone() -> None:
    """Pings keep a quiet connection: three keepalives pass without a reconnect."""
    async with EmbeddedBroker() as broker, probe(settings(broker.port, keepalive_s=1)) as one:
        began = time.monotonic()
        await until(lambda: time.monotonic() - began > 3.0)
        assert one.reasons == []
        assert one.session.connects == 1


@pytest.mark.parametrize("fault", ["latency", "one byte slices", "slow", "reset in the middle"])
async def test_f16_bad_network(tmp_path: Path, fault: str) -> None:
    async with behind_proxy(tmp_path) as (proxy, hq, one):
        numbers: set[tuple[str, int]] = set()
        if fault == "latency":
            draw = random.Random(1)
            proxy.latency_s = lambda: draw.uniform(0.1, 0.3)
            numbers |= one.put(100, size=500)
        elif fault == "one byte slices":
            proxy.slice_bytes = 1
            numbers |= one.put(40, size=300)
        elif fault == "slow":
            proxy.slice_bytes, proxy.rate = 500, 50_000
            numbers |= one.put(60, size=1500)
        else:
            proxy.cut_after = 20_000
            for _ in range(10):
                numbers |= one.put(10, size=1500)
                await one.spool.flush()
            await until(lambda: proxy.cuts >= 3, "connections cut in the middle of a message")
            proxy.cut_after = 0
        used = time.process_time(), time.monotonic()
        await arrives(one, hq, numbers)
        share = (time.process_time() - used[0]) / (time.monotonic() - used[1])
        print(f"F16 {fault}: {share:.0%} of a core, the proxy, the centre and the test included")


async def test_f17_flapping_link_makes_progress(tmp_path: Path) -> None:
    """A tenth of a second up, a tenth down: every time up brings something, and connects keep their distance."""
    async with behind_proxy(tmp_path, connect_gap_s=0.1, keepalive_s=5) as (proxy, hq, one):
        numbers: set[tuple[str, int]] = set()
        up_windows = 8
        before = proxy.connections
        for _ in range(up_windows):
            numbers |= one.put(20)
            seen = len(hq.got)
            await until(lambda: len(hq.got) > seen, "progress in an up window")  # noqa: B023
            proxy.reset()
            await until(lambda: not one.uplink.figures()["connected"])
        connects = proxy.connections - before
        await arrives(one, hq, numbers)
        print(f"F17: {up_windows} up windows, {connects} connects")
        assert connects <= 2 * up_windows
        await asyncio.sleep(0)
