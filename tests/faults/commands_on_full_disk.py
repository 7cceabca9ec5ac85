"""Runs inside a mount namespace of its own, on a small tmpfs: what the command path does while its disk is full.

Its last line is one JSON document.

python commands_on_full_disk.py FOLDER
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from spool_on_full_disk import take_all

from edge_agent.commands.audit import verify
from tests.edge_agent.command_world import World, code_of
from tests.edge_agent.poll_world import point

POINTS = (point("setpoint", access="rw"), point("other", access="rw"))


async def main(folder: Path) -> dict[str, object]:
    async with World(folder, points=POINTS) as world:
        await world.write(25, "held", for_s=5, args={"hold_s": 60})
        filler = take_all(folder)
        last = {}
        for number in range(20):  # until nothing is left in the pages that the journal had
            last = await world.write(22, f"full-{number}", for_s=1, args={"p": "other"})
            if last["st"] != "succeeded":
                break
        written, reads = list(world.written), world.poller.figures()["reads"]
        refused = [await world.write(23, f"more-{number}", for_s=1, args={"p": "other"}) for number in range(3)]
        unwritten = world.written == written
        await world.clock.advance(80)
        held, polled = world.fake.values["setpoint"], world.poller.figures()["reads"] - reads
        filler.unlink()
        await world.clock.advance(60)
        back = await world.write(24, "after", args={"p": "other"})
        return {
            "first": [last["st"], code_of(last)],
            "refused": sorted({f"{one['st']} {code_of(one)}" for one in refused}),
            "unwritten": unwritten,
            "polled": polled,
            "held_while_full": held,
            "held_after": world.fake.values["setpoint"],
            "holds": len(world.engine.holds),
            "after": back["st"],
            "once": world.written.count(24) == 1,
            "audit": verify(folder / "audit").broken,
        }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(Path(sys.argv[1])))) + "\n")
