"""F34: `kill -9` at every write-like system call around a write: never two executions, never a forgotten hold.

After the kill the next life finds the same device, hears the same commands again, and has to come to an end that agrees with what
the device had been told.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_child import POINTS
from tracing import HERE, WRITES, environment, needs_strace

from drivers.fake import FakeDevice
from edge_agent.clock import VirtualClock
from edge_agent.commands.book import Book
from tests.edge_agent.command_world import World

__all__ = ["needs_strace"]
pytestmark = pytest.mark.real

IS_THOROUGH = os.environ.get("PLANTROOM_FAULTS") == "all"
STEP = 24
CASES = (
    [(call, number) for call in (*WRITES, "write") for number in range(1, STEP + 1)]
    if IS_THOROUGH
    else [("write", 5), ("pwrite64", 90)]
)
"""(call, number of the first one to be killed at); thorough goes on from there until nothing is left to kill."""


def commands() -> list[dict[str, object]]:
    now = time.time_ns() // 1_000_000
    asked = (
        ("c-set", {"p": "setpoint", "val": 21}),
        ("c-hold", {"p": "held", "val": 25, "hold_s": 0.2}),
        ("c-pulse", {"p": "pulse", "val": 1}),
    )
    return [
        {
            "v": 1, "id": name, "op": "point.write", "dev": "ahu-1", "args": args, "t": now, "exp": now + 3_600_000,
            "by": "u:42", "why": "F34",
        }
        for name, args in asked
    ]  # fmt: skip


def run(folder: Path, call: str, number: int) -> bool:
    """One life, killed at a system call; True when it was."""
    strace = ("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}")
    inject = ("-e", f"inject={call}:signal=KILL:when={number}")
    done = subprocess.run(
        [*strace, *inject, sys.executable, str(HERE / "command_child.py"), str(folder)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    was_killed = done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert was_killed or done.stdout.endswith("done\n"), done.stderr[-3000:]
    return was_killed


def written(folder: Path) -> list[list[object]]:
    """What reached the device; a line that was cut off did not."""
    path = folder / "device.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(("call", "first"), CASES)
async def test_killed_at_a_system_call(call: str, first: int, tmp_path: Path) -> None:
    number, was_killed = first, True
    while was_killed:
        folder = tmp_path / str(number)
        folder.mkdir()
        asked = commands()
        (folder / "commands.jsonl").write_text("".join(json.dumps(each) + "\n" for each in asked))
        was_killed = run(folder, call, number)
        assert was_killed or IS_THOROUGH, "nothing was killed"
        before = written(folder)
        await _next_life(folder, asked, before)
        print(f"{call} {number}: {'killed' if was_killed else 'done'}, the device had {before}")
        number += STEP
        if not IS_THOROUGH:
            return


async def _next_life(folder: Path, asked: list[dict[str, object]], before: list[list[object]]) -> None:
    values: dict[str, object] = {each.id: 20 for each in POINTS} | {str(name): value for name, value in before}
    fake = FakeDevice(values)  # type: ignore[arg-type]
    clock = VirtualClock(time.time_ns() // 1_000_000)
    async with World(folder, points=POINTS, fake=fake, clock=clock) as world:
        for command in asked:
            world.send(command, expiry_s=None)
        await clock.advance(59)
        everything = [*before, *([each.point, each.value] for each in world.driver.writes)]
        for point_id, value in (("setpoint", 21), ("held", 25), ("pulse", 1)):
            assert everything.count([point_id, value]) <= 1, f"written twice: {everything}"
        assert fake.values["held"] == 20, "a hold was forgotten"
        assert len(world.engine.holds) == 0
        last = {str(each["id"]): (world.line.of(str(each["id"])) or [{}])[-1].get("st") for each in asked}
        assert (last["c-set"] == "succeeded") == (["setpoint", 21] in everything), (last, everything)
        if last["c-pulse"] == "succeeded":
            assert ["pulse", 1] in everything
        if last["c-pulse"] in ("rejected", "cancelled"):
            assert ["pulse", 1] not in everything
        assert None not in last.values()
        world.audit("result")
    book = Book.open(folder / "commands.db", "hq/gw-01")
    assert not book.kept().holds
    assert not book.kept().open
    book.close()
