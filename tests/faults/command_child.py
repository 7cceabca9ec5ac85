"""A process that carries out commands on a device that is a file, until it is killed.

    python command_child.py FOLDER

FOLDER/commands.jsonl holds the commands; each write that reaches the device is a line of FOLDER/device.jsonl. Says `done` when
every command has had its last answer and nothing is held any more.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from device_profiles.reading import Raw
from device_profiles.schema import Point
from drivers.base import Address, Layout, LinkConfig
from drivers.fake import FakeDevice, FakeDriver, FakeSession
from edge_agent.clock import SystemClock
from tests.edge_agent.command_world import World
from tests.edge_agent.poll_world import point

POINTS = (
    point("setpoint", access="rw"),
    point("held", access="rw"),
    point("pulse", access="rw", write={"idempotent": False}),
)
FINAL = {"succeeded", "failed", "rejected", "expired", "cancelled"}


class FileSession(FakeSession):
    """What is written is on the disk before the device says so."""

    async def write(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> None:
        assert isinstance(self._driver, FileDriver)
        os.write(self._driver.file, json.dumps([point.id, value]).encode() + b"\n")
        await super().write(device, point, value, layout, priority=priority)


class FileDriver(FakeDriver):
    def __init__(self, path: Path) -> None:
        super().__init__({})
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    @asynccontextmanager
    async def _open(self, link: LinkConfig) -> AsyncIterator[FakeSession]:
        self.is_open = True
        yield FileSession(self, link)


async def main(folder: Path) -> None:
    fake = FakeDevice({each.id: 20 for each in POINTS})
    world = World(
        folder,
        points=POINTS,
        fake=fake,
        driver=FileDriver(folder / "device.jsonl"),
        clock=SystemClock(),
        own_thread=True,
    )
    tasks = [asyncio.create_task(world.poller.run()), asyncio.create_task(world.engine.run())]
    while not world.poller.figures()["reads"]:
        await asyncio.sleep(0.01)
    commands = [json.loads(line) for line in (folder / "commands.jsonl").read_text().splitlines()]
    for command in commands:
        world.send(command, expiry_s=None)
    while True:
        last = [(world.line.of(command["id"]) or [{"st": ""}])[-1]["st"] for command in commands]
        if set(last) <= FINAL and not len(world.engine.holds):
            break
        await asyncio.sleep(0.01)
    os.write(1, b"done\n")
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await world.engine.journal.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
