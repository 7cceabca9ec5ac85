"""F3: `kill -9` at every write-like system call of opening, put, acknowledge, trim and closing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from spool_box import Box, image, is_true
from tracing import WRITES, needs_strace, run, run_attached

__all__ = ["needs_strace"]
pytestmark = pytest.mark.real

MESSAGES = 28
IS_THOROUGH = os.environ.get("PLANTROOM_FAULTS") == "all"
STEP = 10 if IS_THOROUGH else 60
RESIDUES = range(STEP) if IS_THOROUGH else (3,)
CALLS = WRITES if IS_THOROUGH else ("pwrite64", "fdatasync")
"""Every sixtieth call of the two that matter most; with PLANTROOM_FAULTS=all every one of all."""


async def _used(folder: Path) -> Path:
    """An image of a spool with two epochs and a log."""
    folder.mkdir()
    for _ in range(2):
        box = Box(folder)
        await box.fill(9, (100, 5000))
        killed = image(folder, folder / f"image-{box.spool.epoch}")
        await box.spool.close()
    return killed


@pytest.mark.parametrize("residue", RESIDUES)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("phase", ["create", "open", "run"])
async def test_what_was_acknowledged_is_there(phase: str, call: str, residue: int, tmp_path: Path) -> None:
    used = await _used(tmp_path / "used")
    number = residue or STEP
    killed, kills = True, 0
    while killed:
        folder = tmp_path / str(number)
        image(used, folder) if phase != "create" else folder.mkdir()
        strace = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
        said = (run_attached if phase == "run" else run)(folder, MESSAGES, *strace)
        killed = said.was_killed
        kills += killed
        assert killed or said.is_done

        started = time.monotonic()
        box = Box(folder)
        taken = time.monotonic() - started
        found = await box.all()
        print(f"{phase} {call} {number}: {'killed' if killed else 'done'}, {len(said.held)} held, open {taken:.3f} s")
        assert all(is_true(entry) for entry in found)
        numbers = {(entry.epoch, entry.seq) for entry in found}
        assert len(numbers) == len(found)
        assert said.held <= numbers, "acknowledged and gone"
        assert not {"data_lost", "storage_failed", "set_aside"} & {*box.kinds(), *said.troubles()}
        assert box.spool.epoch not in {epoch for epoch, _ in numbers}
        assert taken < 20
        await box.fill(2)
        await box.spool.close()
        number += STEP
    assert kills or IS_THOROUGH, "nothing was killed: the sample proves nothing"
