"""Runs inside a mount namespace of its own, on a small tmpfs: what the spool does while the disk is full.

Prints one JSON document.

python spool_on_full_disk.py FOLDER before|during|readonly
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from spool_box import Box, is_true

from edge_agent.spool import Kind

BALLAST = 512 * 1024
LIMIT_S = 60


def take_all(folder: Path) -> Path:
    """Fills the file system to its last byte."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    return filler


async def until(condition: Callable[[], bool]) -> float:
    started = time.monotonic()
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.02)
    return time.monotonic() - started


def open_box(folder: Path) -> Box:
    return Box(folder, ballast_bytes=BALLAST, commit_ms=5)


async def full_before_start(folder: Path) -> dict[str, object]:
    filler = take_all(folder)
    box = open_box(folder)
    await box.fill(60, (200,))
    events = [box.put(kind=Kind.EVENT) for _ in range(3)]
    await box.spool.flush()
    acked = len(box.committed)
    in_memory = len(await box.all())
    filler.unlink()
    back = await until(lambda: "storage_recovered" in box.kinds() or bool(box.put()) is None)
    await box.spool.flush()
    epoch = box.spool.epoch
    await box.spool.close()
    again = open_box(folder)
    found = {entry.seq for entry in await again.all() if entry.epoch == epoch and is_true(entry)}
    await again.spool.close()
    return {
        "acked": acked,
        "in_memory": in_memory,
        "recovered_s": back,
        "kinds": box.kinds(),
        "kept": found >= set(range(1, 64)),
        "events_kept": found >= set(events),
    }


async def full_while_running(folder: Path) -> dict[str, object]:
    box = open_box(folder)
    await box.fill(300, (1000,))
    had_ballast = (folder / "spool.db.ballast").stat().st_blocks * 512 >= BALLAST
    filler = take_all(folder)
    events = []
    for _ in range(12):
        await box.fill(200, (1000,))
        events.append(box.put(kind=Kind.EVENT))
    await box.spool.flush()
    put = 300 + 12 * 201
    found = {entry.seq for entry in await box.all() if is_true(entry)}
    lost = {seq for _, seq in box.lost()}
    filler.unlink()
    await box.fill(1)
    back = await until(lambda: "storage_failed" not in box.kinds() or "storage_recovered" in box.kinds())
    await box.spool.close()
    again = open_box(folder)
    await again.spool.flush()
    after = {entry.seq for entry in await again.all() if entry.epoch == box.spool.epoch}
    await until(lambda: (folder / "spool.db.ballast").stat().st_blocks * 512 >= BALLAST)
    await again.spool.close()
    return {
        "had_ballast": had_ballast,
        "acked": len({entry.seq for entry in box.committed}) == put + 1,
        "silent": sorted(set(range(1, put + 1)) - found - lost)[:10],
        "both": len(found & lost),
        "events_kept": set(events) <= found & after,
        "still_there": found <= after,
        "lost": len(lost),
        "kinds": sorted(set(box.kinds())),
        "recovered_s": back,
    }


async def read_only_at_start(folder: Path) -> dict[str, object]:
    box = open_box(folder)
    await box.fill(20)
    former = box.spool.epoch
    await box.spool.close()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    box = open_box(folder)
    await box.fill(30)
    acked = len(box.committed)
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    box.put()
    back = await until(lambda: "storage_recovered" in box.kinds())
    found = [(entry.epoch, entry.seq) for entry in await box.all()]
    await box.spool.close()
    return {
        "acked": acked,
        "recovered_s": back,
        "kinds": box.kinds(),
        "kept": set(found)
        >= {*((former, seq) for seq in range(1, 21)), *((box.spool.epoch, seq) for seq in range(1, 31))},
    }


if __name__ == "__main__":
    scenario = {"before": full_before_start, "during": full_while_running, "readonly": read_only_at_start}[sys.argv[2]]
    result = asyncio.run(scenario(Path(sys.argv[1])))
    os.write(1, json.dumps(result).encode())
