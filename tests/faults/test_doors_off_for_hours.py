"""The agent is off for six hours, killed while it catches up, and every swipe is stored once and in order: real drivers of door
controllers over sockets, the real poller and register, and a disk that keeps what was settled.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from device_profiles.credential import Clear
from drivers.registry import load_driver
from edge_agent.clock import SystemClock
from edge_agent.config.load import load_config
from edge_agent.events.pseudonym import Privacy
from edge_agent.events.register import Register
from edge_agent.polling.poller import LinkPoller
from firmware_sim.isapi_terminal import Terminal
from firmware_sim.uhppote import Board, UhppoteSim
from firmware_sim.zkteco import ZktecoSim
from tests.edge_agent.event_world import KEY, Disk, Row
from tests.edge_agent.poll_world import Recorder

HOURS = timedelta(hours=6)
MISSED = 1_000
LIVE = 20
SERIAL = 423187757


class Device(Protocol):
    """A door controller with its memory; it outlives every agent."""

    entry: str
    """Its lines of agent.yaml: link and device."""

    def swipe(self, card: int, ago: timedelta) -> None: ...

    def wipe(self) -> None:
        """Somebody clears its memory, and its numbers begin anew."""


class UhppoteBoard:
    def __init__(self, sim: UhppoteSim, port: int) -> None:
        self.board = sim.boards[0]
        self.entry = (
            f"links: {{doors: {{kind: udp, host: 127.0.0.1, port: {port}, timeout: 2, listen: {{allow: [127.0.0.1]}}}}}}\n"
            f'devices: [{{id: door-1, link: doors, unit: {SERIAL}, at: "{sim.address}", profile: uhppote-l04}}]\n'
        )

    def swipe(self, card: int, ago: timedelta) -> None:
        self.board.clock_off = -ago
        self.board.cards[card] = {1}
        self.board.swipe(card)
        self.board.clock_off = timedelta(0)

    def wipe(self) -> None:
        self.board.clear()


class IsapiTerminal:
    def __init__(self, sim: Terminal) -> None:
        self.sim = sim
        self.entry = (
            f"links: {{doors: {{kind: http, host: 127.0.0.1, port: {sim.port}, timeout: 3}}}}\n"
            "devices: [{id: door-1, link: doors, unit: 0, profile: hikvision-ds-k1t}]\n"
        )

    def swipe(self, card: int, ago: timedelta) -> None:
        self.sim.skew_s = -ago.total_seconds()
        self.sim.swipe(str(card))
        self.sim.skew_s = 0
        self.sim.record(5, 21)  # the lock: no event of the contract

    def wipe(self) -> None:
        self.sim.clear()


class ZktecoTerminal:
    def __init__(self, sim: ZktecoSim) -> None:
        self.sim = sim
        self.entry = (
            f"links: {{doors: {{kind: http-listen, host: 127.0.0.1, port: {sim.url[1]}, timeout: 1}}}}\n"
            f"devices: [{{id: door-1, link: doors, unit: {sim.serial}, at: 127.0.0.1, profile: zkteco-security-push}}]\n"
        )

    def swipe(self, card: int, ago: timedelta) -> None:
        self.sim.now = lambda: utc_now() - ago
        self.sim.punch("1", card=str(card))
        self.sim.now = utc_now

    def wipe(self) -> None:
        self.sim.index = 0


def utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def device_of(protocol: str) -> AsyncIterator[Device]:
    async with AsyncExitStack() as stack:
        if protocol == "uhppote":
            sim = await stack.enter_async_context(UhppoteSim([Board(SERIAL, now=utc_now)]))
            yield UhppoteBoard(sim, free_port(socket.SOCK_DGRAM))
        elif protocol == "isapi":
            yield IsapiTerminal(await stack.enter_async_context(Terminal()))
        else:
            server = ("127.0.0.1", free_port(socket.SOCK_STREAM))
            terminal = ZktecoSim("CJ9H000001", server, utc_now, security=True, delay_s=0.02)
            dialling = asyncio.create_task(terminal.run(), name="terminal")
            try:
                yield ZktecoTerminal(terminal)
            finally:
                dialling.cancel()
                await asyncio.wait([dialling])


@asynccontextmanager
async def agent(folder: Path, disk: Disk) -> AsyncIterator[None]:
    """One life of it, ended by a kill: what was not settled is gone."""
    config, clock = load_config(folder / "agent.yaml"), SystemClock()
    register = Register(
        put=disk.put, remember=disk.remember, retain=disk.retained.__setitem__, settle=disk.settle,
        privacy=Privacy((KEY,)), clock=clock, memory=disk.state,
    )  # fmt: skip
    poller = LinkPoller(
        config.links[0], load_driver(config.devices[0].protocol), config.devices,
        sink=Recorder(clock), clock=clock, memory={}, events=register, tz="UTC",  # type: ignore[arg-type]
    )  # fmt: skip
    running = asyncio.create_task(poller.run(), name="poller")
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
        disk.cut()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("count", [3, 60])
@pytest.mark.parametrize("protocol", ["uhppote", "isapi"])
async def test_a_memory_wiped_and_filled_again_while_nobody_looked_loses_nothing(
    tmp_path: Path, protocol: str, count: int
) -> None:
    """With 60 its newest record has a higher number than the one told last: only times tell that those are others."""
    disk = Disk()
    async with device_of(protocol) as device:
        head = 'agent: {id: gw-01, site: hq, tz: UTC}\nmqtt: {url: "mqtt://127.0.0.1:1883"}\n'
        (tmp_path / "agent.yaml").write_text(head + device.entry)
        async with agent(tmp_path, disk):
            await until(lambda: "door-1" in disk.state)
            for card in range(5):
                device.swipe(1000 + card, timedelta(hours=1))
            await until(lambda: len(swipes_of(disk)) == 5)
        device.wipe()
        for card in range(count):
            device.swipe(2000 + card, timedelta(seconds=100 - card))
        for life in range(2):
            async with agent(tmp_path, disk):
                await until(lambda life=life: len(swipes_of(disk)) == 5 + count + life)  # type: ignore[misc]
                device.swipe(3000 + life, timedelta(0))  # whatever came twice came before this one
                await until(lambda life=life: len(swipes_of(disk)) == 6 + count + life)  # type: ignore[misc]
    cards = [1000 + card for card in range(5)] + [2000 + card for card in range(count)] + [3000, 3001]
    assert [disk.rows[row]["card"] for row in swipes_of(disk)] == [pseudonym(card) for card in cards]
    assert [row[2] for row in disk.order].count("device.identity_changed") == 1
    assert len(disk.order) == disk.writes


async def test_what_an_attendance_terminal_says_after_it_was_wiped_is_stored_once(tmp_path: Path) -> None:
    """Its records have no number that counts: those of another life have other times."""
    disk = Disk()
    async with device_of("zkteco") as device:
        head = 'agent: {id: gw-01, site: hq, tz: UTC}\nmqtt: {url: "mqtt://127.0.0.1:1883"}\n'
        (tmp_path / "agent.yaml").write_text(head + device.entry)
        async with agent(tmp_path, disk):
            for card in range(5):
                device.swipe(1000 + card, timedelta(hours=1))
            await until(lambda: len(swipes_of(disk)) == 5)
        device.wipe()
        for card in range(7):
            device.swipe(1000 + card, timedelta(seconds=100 - card))
        async with agent(tmp_path, disk):
            await until(lambda: len(swipes_of(disk)) == 12)
    cards = [*range(1000, 1005), *range(1000, 1007)]
    assert [disk.rows[row]["card"] for row in swipes_of(disk)] == [pseudonym(card) for card in cards]


def swipes_of(disk: Disk) -> list[Row]:
    return [row for row in disk.order if row[2] == "access.granted"]


def pseudonym(card: int) -> str:
    return Privacy((KEY,)).written("card", Clear(str(card)), 0)


@pytest.mark.parametrize("protocol", ["uhppote", "isapi", "zkteco"])
async def test_every_swipe_is_stored_once_and_in_order(tmp_path: Path, protocol: str) -> None:
    disk, cards = Disk(), iter(range(5_001, 60_000))
    shown: list[int] = []

    def swipes(count: int, begin: timedelta = timedelta(0)) -> Iterator[None]:
        for number in range(count):
            shown.append(next(cards))
            device.swipe(shown[-1], begin * (count - number) / count)
            yield

    def stored() -> int:
        return len(swipes_of(disk))

    async with device_of(protocol) as device:
        head = 'agent: {id: gw-01, site: hq, tz: UTC}\nmqtt: {url: "mqtt://127.0.0.1:1883"}\n'
        (tmp_path / "agent.yaml").write_text(head + device.entry)
        async with agent(tmp_path, disk):
            await until(lambda: "door-1" in disk.state or protocol == "zkteco")
            for _ in swipes(LIVE):
                await asyncio.sleep(0)
            await until(lambda: stored() == LIVE)
        for _ in swipes(MISSED, HOURS):
            pass
        async with agent(tmp_path, disk):
            await until(lambda: stored() >= LIVE + 100)
        async with agent(tmp_path, disk):
            for _ in swipes(LIVE):  # while it catches up
                writes = disk.writes
                await until(lambda writes=writes: disk.writes > writes)  # type: ignore[misc]
            await until(lambda: stored() >= len(shown))
            for _ in swipes(1):  # whatever came twice came before this one
                await until(lambda: stored() >= len(shown))
    rows = swipes_of(disk)
    assert [disk.rows[row]["card"] for row in rows] == [pseudonym(card) for card in shown]
    times = [t_ms for _, t_ms, _ in rows[LIVE:]]
    assert times == sorted(times)
    assert len({row[0] for row in rows}) == LIVE + MISSED + LIVE + 1
