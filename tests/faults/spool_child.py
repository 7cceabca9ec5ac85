"""A process that fills a spool and says on its output what it was told: killed, cut off and starved by the fault tests.

    python spool_child.py FOLDER MESSAGES [--wait]

With --wait it goes on after opening when a line comes on its input.
Lines: `open EPOCH`, `ack EPOCH SEQ` once `on_commit` was called with it, `forgot EPOCH SEQ` before it is forgotten,
`trouble KIND`, `done`. The same payloads as `spool_box.body`.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spool_box import AGENT, SITE, body

from edge_agent.model import SpoolSettings
from edge_agent.spool import Entry, Kind, Spool

SIZES = (100, 1500, 5000)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def _let_anybody_trace() -> None:
    """So that a strace that is not our parent may attach (Yama's ptrace_scope 1)."""
    pr_set_ptracer, any_process = 0x59616D61, ctypes.c_ulong(-1)
    ctypes.CDLL(None).prctl(pr_set_ptracer, any_process, 0, 0, 0)


async def main(folder: Path, messages: int) -> None:
    progress = asyncio.Event()
    acked = 0

    def on_commit(entries: Sequence[Entry]) -> None:
        nonlocal acked
        for entry in entries:
            say("ack", entry.epoch, entry.seq)
        acked += len(entries)
        progress.set()

    def on_trouble(kind: str, fields: Mapping[str, Any]) -> None:
        say("trouble", kind)

    settings = SpoolSettings(path=folder / "spool.db", commit_ms=1, ballast_bytes=64 * 1024, floor_free_bytes=0)
    spool = Spool.open(settings, site=SITE, agent=AGENT, on_commit=on_commit, on_trouble=on_trouble)
    if "--wait" in sys.argv:
        await spool.flush()
        _let_anybody_trace()
    say("open", spool.epoch)
    if "--wait" in sys.argv:
        sys.stdin.readline()
    while acked < messages:
        before = acked
        for index in range(7):
            kind = Kind.EVENT if index == 6 else Kind.TELEMETRY
            size = SIZES[index % len(SIZES)]
            spool.put(kind, "meter-01", 1000 + index, lambda epoch, seq, size=size: body(epoch, seq, size))
        spool.save_state("counters", "meter-01", acked)
        while acked < before + 7:
            progress.clear()
            await progress.wait()
        if acked % 3 == 0:
            say("forgot", spool.epoch, acked - 6)
            spool.forget(spool.epoch, [(acked - 6, acked - 6)])
    await spool.close()
    say("done")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
