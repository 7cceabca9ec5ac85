"""Points that are held for a time, and given back: on time, after a crash, whoever is still there. A hold is never forgotten.

A hold is in the journal before its write goes out and leaves it after the point was given back. While the machine runs, its end
counts by the time since boot, so that no step of UTC moves it. One found after another boot is stale and is ended at once. What
cannot be given back is tried again for ever, at growing intervals, and raises the alarm `release_failed` of its device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from device_profiles.errors import PlantroomError
from edge_agent.commands import act
from edge_agent.commands.book import Hold, Step
from edge_agent.commands.desk import Desk
from edge_agent.polling.supervisor import Backoff
from gateway.contract import messages

ALARM = "release_failed"
FIRST_S, LAST_S = 1.0, 60.0
ALARM_AFTER = 3
_LIMIT_S = 30.0
_log = structlog.get_logger("commands")

Event = Callable[[str, str, Mapping[str, Any], str], None]
"""Called with (device id, name, data, key)."""
Retain = Callable[[str, bytes], None]


class Holds:
    """All holds of the agent, each with a task of its own."""

    def __init__(self, desk: Desk, *, event: Event, retain: Retain) -> None:
        self._desk = desk
        self._event = event
        self._retain = retain
        self._running: dict[str, tuple[Hold, asyncio.Task[None]]] = {}
        self._expected: dict[str, Hold] = {}
        self._alarms: dict[str, int] = {}
        self._replaced: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running) + len(self._expected)

    def of(self, target: str) -> Hold | None:
        """Who holds the point (`device/point`)."""
        entry = self._running.get(target)
        return entry[0] if entry is not None else self._expected.get(target)

    def is_stale(self, hold: Hold) -> bool:
        """From another boot of the machine: nobody knows how long it has lasted."""
        return hold.boot_id != self._desk.clock.boot_id

    def left_s(self, hold: Hold) -> float:
        """Seconds until it ends."""
        return 0.0 if self.is_stale(hold) else max(0.0, hold.until_uptime_s - self._desk.clock.uptime_s())

    def expect(self, hold: Hold) -> None:
        """A hold from before the start, until `resume`: it counts, and no alarm of that time stands any more."""
        self._expected[hold.target] = hold
        self._retain(f"alarm/{hold.device}/{ALARM}", b"")

    def resume(self, hold: Hold) -> None:
        """Ends an expected hold on time, unless another has taken its place meanwhile."""
        if self._expected.get(hold.target) is hold:
            self.keep(hold)

    def keep(self, hold: Hold) -> None:
        """Ends it on time. It is in the journal already; another hold of the same point is replaced by it."""
        self.drop(hold.target)
        task = asyncio.create_task(self._end_on_time(hold), name=f"hold {hold.target}")
        self._running[hold.target] = hold, task

    def drop(self, target: str) -> None:
        """There is nothing to give back any more; it has left the journal, or another has its place."""
        self._expected.pop(target, None)
        entry = self._running.pop(target, None)
        if entry is not None:
            entry[1].cancel()
            self._replaced.add(entry[1])
            entry[1].add_done_callback(self._replaced.discard)

    async def release(self, hold: Hold, why: str) -> None:
        """Gives a point back now. Raises PlantroomError, TimeoutError; the hold then goes on."""
        desk = self._desk
        target = desk.find(hold.device, hold.point)
        until = desk.clock.monotonic() + _LIMIT_S
        for slot in (hold.slot, *hold.also):
            await desk.before(until, act.release(target, slot, hold.raw))
        await desk.journal.take(
            Step(drop_hold=hold.target),
            {"what": "released", "id": hold.command, "dev": hold.device, "p": hold.point, "why": why, "raw": hold.raw},
        )
        _log.info("a hold ended", target=hold.target, command=hold.command, why=why)
        self._clear(hold)

    async def close(self, limit_s: float) -> None:
        """The agent ends: gives back what it can in time. What remains is in the journal and ended after the next start."""
        holds = [*(hold for hold, _ in self._running.values()), *self._expected.values()]
        for target in [*self._running, *self._expected]:
            self.drop(target)
        tasks = [asyncio.create_task(self._last_try(hold), name=f"hold {hold.target}") for hold in holds]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=limit_s)
            for task in late:
                task.cancel()

    async def _last_try(self, hold: Hold) -> None:
        try:
            await self.release(hold, "the agent ends")
        except (PlantroomError, TimeoutError) as error:
            _log.warning("a hold outlasts the agent; its next start ends it", target=hold.target, reason=str(error))

    async def _end_on_time(self, hold: Hold) -> None:
        desk = self._desk
        why = "found after a restart of the machine" if self.is_stale(hold) else "its time is over"
        await desk.clock.sleep(self.left_s(hold))
        backoff = Backoff(FIRST_S, LAST_S)
        tries = 0
        while True:
            try:
                with desk.turn(hold.target):
                    await self.release(hold, why)
                    self._running.pop(hold.target, None)
                return
            except (PlantroomError, TimeoutError) as error:  # a ConfigError too: the profile may have changed meanwhile
                tries += 1
                self._failed(hold, tries, str(error))
            await desk.clock.sleep(backoff.next_s())

    def _failed(self, hold: Hold, tries: int, text: str) -> None:
        _log.warning("a hold cannot be ended yet", target=hold.target, tries=tries, reason=text)
        if tries < ALARM_AFTER or hold.target in self._alarms:
            return
        since = self._desk.clock.wall_ms()
        self._alarms[hold.target] = since
        data = {"id": ALARM, "sev": "high", "since": since, "text": f"{hold.point} is still held: {text}"[:500]}
        self._event(hold.device, "alarm.raised", data, f"{hold.target}:{hold.command}:{since}")
        alarm = messages.Alarm(id=ALARM, sev="high", st="active", since=since)
        self._retain(f"alarm/{hold.device}/{ALARM}", messages.encode(alarm))

    def _clear(self, hold: Hold) -> None:
        since = self._alarms.pop(hold.target, None)
        if since is None:
            return
        data = {"id": ALARM, "sev": "high", "since": since}
        self._event(hold.device, "alarm.cleared", data, f"{hold.target}:{hold.command}:{since}")
        if not any(target.startswith(f"{hold.device}/") for target in self._alarms):
            self._retain(f"alarm/{hold.device}/{ALARM}", b"")
