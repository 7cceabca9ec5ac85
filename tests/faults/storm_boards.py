"""Door controllers behind one UDP port, all of whose readers go mad at once.

    python storm_boards.py BOARDS RECORDS PER_SECOND

Says where they are as a JSON line; a line on standard input begins the storm, the end of the input ends the program. Record n
of all (from 0) is of board n % BOARDS and of card n % CARDS + 1.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime

from firmware_sim.uhppote import Board, UhppoteSim

FIRST = 423187000
CARDS = 60_000
_STEP_S = 0.002


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


async def main(boards: int, records: int, per_s: int) -> None:
    made = [Board(FIRST + number, now=_now) for number in range(boards)]
    loop = asyncio.get_running_loop()
    async with UhppoteSim(made) as sim:
        print(json.dumps({"address": sim.address}), flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        began, done = time.perf_counter(), 0
        while done < records:
            for number in range(done, min(records, int((time.perf_counter() - began) * per_s))):
                made[number % boards].record(1, True, 1, 1, number % CARDS + 1, 1)
                done = number + 1
            await asyncio.sleep(_STEP_S)
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
