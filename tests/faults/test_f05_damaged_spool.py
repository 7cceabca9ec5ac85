"""F5: a flipped bit, a zeroed block or a cut anywhere in any file of the spool."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from spool_box import Box, image, is_true

FILES = ("spool.db", "spool.db-wal", "spool.db-shm")
SIZES = (150, 1500, 5000, 20, 9000, 700)
ROUNDS = 12
SEEDS = 40 if os.environ.get("PLANTROOM_FAULTS") == "all" else 2


def _flip(data: bytearray, dice: random.Random) -> None:
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _zero(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(max(1, len(data) // 4096)) * 4096
    data[at : at + 4096] = bytes(len(data[at : at + 4096]))


def _cut(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(len(data)) :]


def _noise(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(data))
    data[at : at + 512] = dice.randbytes(len(data[at : at + 512]))


async def _filled(folder: Path) -> tuple[Path, dict[tuple[str, int], bytes]]:
    """An image with two epochs, overflow pages, holes, free pages, and a log that is partly in the database."""
    folder.mkdir()
    first = Box(folder)
    await first.fill(120, SIZES)
    first.spool.forget(first.spool.epoch, [(1, 30), (50, 52)])
    await first.spool.close()
    second = Box(folder)
    await second.fill(150, SIZES)
    second.spool.save_state("counters", "meter-01", {"kwh": 1.5})
    second.spool.forget(second.spool.epoch, [(1, 10)])
    await second.spool.flush()
    held = {(entry.epoch, entry.seq): entry.payload for entry in await second.all()}
    killed = image(folder, folder / "image")
    await second.spool.close()
    return killed, held


def _unknowable(held: dict[tuple[str, int], bytes], numbers: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """The end of the newest epoch: when a log ends too early nothing says that there was more, as after a power cut."""
    newest = list(held)[-1][0]
    last = max((seq for epoch, seq in numbers if epoch == newest), default=0)
    return {(epoch, seq) for epoch, seq in held if epoch == newest and seq > last}


@pytest.mark.parametrize("damage", [_flip, _zero, _cut, _noise])
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_is_whole_is_delivered_and_the_rest_is_reported(
    seed: int, damage: Callable[[bytearray, random.Random], None], tmp_path: Path
) -> None:
    killed, held = await _filled(tmp_path / "spool")
    dice = random.Random(f"{seed}{damage.__name__}")
    for number in range(ROUNDS):
        folder = image(killed, tmp_path / str(number))
        target = folder / dice.choice(FILES)
        data = bytearray(target.read_bytes())
        damage(data, dice)
        target.write_bytes(data)

        box = Box(folder)
        found = await box.all()
        assert all(is_true(entry) for entry in found)
        numbers = {(entry.epoch, entry.seq) for entry in found}
        assert len(numbers) == len(found), "a message came twice"
        silent = held.keys() - numbers - box.lost()
        if target.name.endswith("-wal"):
            silent -= _unknowable(held, numbers)
        assert not silent, f"round {number}, {target.name}: lost without a word: {sorted(silent)}"

        await box.fill(5)
        assert box.spool.epoch not in {epoch for epoch, _ in held}
        epoch = box.spool.epoch
        await box.spool.close()
        again = Box(folder)
        assert {(epoch, seq) for seq in range(1, 6)} <= {(entry.epoch, entry.seq) for entry in await again.all()}
        await again.spool.close()
