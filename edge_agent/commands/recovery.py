"""What an end of the agent cut off: told as `unknown` at once, and settled by reading the device. Nothing is done a second time.

A command that had not begun to write is cancelled. Holds from before go on to their end; those of another boot end at once, after
one look at what the write had done (at most 20 s), so that no later than a minute after the boot nothing stale is held.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

import structlog

from device_profiles.errors import CommandRefused, PlantroomError, StoreUnavailable
from edge_agent.commands.book import Hold, Kept, Record
from edge_agent.commands.desk import Desk
from edge_agent.commands.holds import Holds
from edge_agent.commands.points import Rates, settle
from edge_agent.polling.supervisor import Backoff

FIRST_LOOKS_S = 20.0
_FIRST_S, _LAST_S = 0.5, 60.0
_log = structlog.get_logger("commands")


class Recovery:
    """One an agent, after each start."""

    def __init__(self, desk: Desk, holds: Holds, rates: Rates) -> None:
        self._desk = desk
        self._holds = holds
        self._rates = rates
        self._cut_off: dict[str, list[Record]] = defaultdict(list)
        self._held: dict[str, Hold] = {}

    async def begin(self, kept: Kept) -> None:
        """Takes up what the journal kept, and tells what is not known. Raises StoreUnavailable."""
        self._rates.remember(kept.deeds)
        for hold in kept.holds:
            self._holds.expect(hold)
            self._held[hold.target] = hold
        for record in kept.open:
            await self._take_up(record)

    async def _take_up(self, record: Record) -> None:
        desk = self._desk
        if record.plan is None:
            error = CommandRefused(
                "the agent ended before it was carried out; nothing was written",
                code="timeout",
                where=record.dev or "",
                next_step="send it anew under another id",
            )
            await desk.finish(record, "cancelled", error=error)
            return
        error = CommandRefused(
            "the agent ended while it was carried out", code="timeout", where=record.dev or "", next_step="wait"
        )
        if "p" not in record.plan:  # an operation of the device: there is nothing to read
            await desk.finish(record, "unknown", error=error)
            return
        target = f"{record.dev}/{record.plan['p']}"
        if record.st != "unknown":
            record = await desk.step(desk.said(record, "unknown", error=error))
        self._cut_off[target].append(record)

    async def run(self) -> None:
        """Until everything is settled."""
        targets = {*self._cut_off, *self._held}
        async with asyncio.TaskGroup() as group:
            for target in targets:
                group.create_task(self._settle(target), name=f"settle {target}")

    async def _settle(self, target: str) -> None:
        hold = self._held.pop(target, None)
        records = self._cut_off.pop(target, [])
        if hold is not None and (not records or not self._holds.left_s(hold)):
            if records:
                records = await self._look(target, records, FIRST_LOOKS_S)
            self._holds.resume(hold)
        elif hold is not None:
            self._holds.resume(hold)
        remembered_s = max((record.until_ms for record in records), default=0) - self._desk.clock.wall_ms()
        for record in await self._look(target, records, remembered_s / 1000):
            error = CommandRefused("nobody could read what became of it", code="timeout", where=target)
            try:
                await self._desk.finish(record, "unknown", error=error)
            except StoreUnavailable as trouble:
                _log.error("a command stays open", id=record.id, reason=str(trouble))

    async def _look(self, target: str, records: list[Record], for_s: float) -> list[Record]:
        """Reads until all are settled, or the time is over; what is left."""
        clock = self._desk.clock
        until = clock.monotonic() + for_s
        backoff = Backoff(_FIRST_S, _LAST_S)
        while records:
            try:
                with self._desk.turn(target):
                    done = await settle(self._desk, records[0])
                _log.info("a command was settled by reading", id=done.id, st=done.st)
                records = records[1:]
                continue
            except PlantroomError as error:
                _log.debug("not settled yet", target=target, reason=str(error))
            pause_s = backoff.next_s()
            if clock.monotonic() + pause_s > until:
                break
            await clock.sleep(pause_s)
        return records
