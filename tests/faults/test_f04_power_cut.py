"""F4: a power cut at any moment of a run, with every legal fate of what was not synced."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from power_cut import TRACE, Call, Disk, calls
from spool_box import Box, image, is_true
from tracing import needs_strace, record

__all__ = ["needs_strace"]
pytestmark = pytest.mark.real

IS_THOROUGH = os.environ.get("PLANTROOM_FAULTS") == "all"
IMAGES = 600 if IS_THOROUGH else 24
SEEDS = range(8 if IS_THOROUGH else 1)
Number = tuple[str, int]


def _promised(run: list[Call]) -> Iterator[tuple[Call, set[Number]]]:
    """Each call with what had been promised, and not given up, before it."""
    held: set[Number] = set()
    for call in run:
        if call.name == "write":
            for line in call.data.decode().splitlines():
                word, *rest = line.split()
                if word == "ack":
                    held = held | {(rest[0], int(rest[1]))}
                elif word == "forgot":
                    held = held - {(rest[0], int(rest[1]))}
        yield call, held


async def _check(folder: Path, held: set[Number]) -> None:
    """The image opens, holds what was promised, and works on."""
    box = Box(folder)
    found = await box.all()
    assert all(is_true(entry) for entry in found)
    numbers = {(entry.epoch, entry.seq) for entry in found}
    assert len(numbers) == len(found)
    assert held <= numbers, f"promised and gone: {sorted(held - numbers)[:5]}"
    assert not held & box.lost()
    assert "storage_failed" not in box.kinds()
    await box.fill(2)
    assert len(await box.all()) == len(found) + 2
    await box.spool.close()


@pytest.mark.parametrize("messages", [700, 28])
@pytest.mark.parametrize("seed", SEEDS)
async def test_what_was_synced_is_there(seed: int, messages: int, tmp_path: Path) -> None:
    """700 messages: the log is checkpointed and begun again on the way."""
    dice = random.Random(f"{seed} {messages}")
    start = tmp_path / "start"
    start.mkdir()
    await _cut_everywhere(start, set(), messages, tmp_path / "first", dice, IMAGES)


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_was_added_after_a_recovery_survives_the_next_cut(seed: int, tmp_path: Path) -> None:
    dice = random.Random(f"twice {seed}")
    start = tmp_path / "start"
    start.mkdir()
    for number, (cut, held) in enumerate(await _cut_everywhere(start, set(), 28, tmp_path / "first", dice, 3)):
        await _cut_everywhere(cut, held, 28, tmp_path / f"again-{number}", dice, IMAGES // 4)


async def _cut_everywhere(
    start: Path, held_before: set[Number], messages: int, work: Path, dice: random.Random, images: int
) -> list[tuple[Path, set[Number]]]:
    """Records a run that begins with the files of `start`, cuts it at random moments and checks each image.

    Returns the images, untouched, with what they must hold.
    """
    work.mkdir()
    folder = image(start, work / "run")
    run = list(calls(record(folder, messages, work / "trace", *TRACE)))
    assert run, "nothing was recorded"
    disk = Disk(start, str(folder))
    moments = set(dice.sample(range(len(run)), min(images, len(run))))
    found = []
    for index, (call, held) in enumerate(_promised(run)):
        disk.play(call)
        if index in moments:
            cut = work / f"cut-{index}"
            disk.cut(cut, dice)
            found.append((cut, held | held_before))
            await _check(image(cut, work / f"look-{index}"), held | held_before)
    return found
