"""The history lane: what waits on the disk, read from the oldest on and paced, beside the live lane.

It owns how far the disk has been read. It must not lose a message: everything committed that is not under way elsewhere lies
beyond the cursor, or `go_back` is told where.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from edge_agent.flight import Limits
from edge_agent.spool import Entry

_BURST_S = 0.1
_STEP_S = 0.02
"""Pacing sleeps in steps that a timer can keep."""


class Lanes(Protocol):
    """What the uplink knows and does for this lane."""

    def is_open(self) -> bool:
        """Connected, and ingest is there."""

    def has_room(self, *, late: bool) -> bool:
        """There is credit for one more."""

    def is_under_way(self, entry: Entry) -> bool:
        """In flight, just acknowledged, or waiting in the live queue."""

    def is_late(self, entry: Entry) -> bool: ...
    def launch(self, entry: Entry) -> None: ...


class Pages(Protocol):
    """The part of the spool that is needed here."""

    async def backlog(
        self, after_key: int, limit: int, max_bytes: int, *, newest_first: bool = False
    ) -> list[Entry]: ...


class History:
    """`run` until cancelled; `wake` whenever something may have changed."""

    def __init__(self, lanes: Lanes, spool: Pages, limits: Limits, monotonic: Callable[[], float]) -> None:
        self._lanes = lanes
        self._spool = spool
        self._limits = limits
        self._now = monotonic
        self._rewind: int | None = 0
        self._changed = asyncio.Event()
        self._paid_until = 0.0
        self.is_behind = True

    def go_back(self, key: int) -> None:
        """The disk beyond `key` is to be read again."""
        self._rewind = key if self._rewind is None else min(self._rewind, key)
        self.is_behind = True

    def more(self) -> None:
        """There is something new beyond the cursor that nobody else sends."""
        self.is_behind = True

    def wake(self) -> None:
        self._changed.set()

    async def run(self) -> None:
        cursor = 0
        while True:
            if not (self.is_behind and self._lanes.is_open() and self._lanes.has_room(late=True)):
                self._changed.clear()
                await self._changed.wait()
                continue
            if self._rewind is not None:
                cursor, self._rewind = min(cursor, self._rewind), None
            self.is_behind = False
            page = await self._spool.backlog(cursor, self._limits.page_msgs, self._limits.page_bytes)
            for entry in page:
                if not self._lanes.is_under_way(entry) and not await self._send(entry):
                    break
                cursor = entry.key
            if page:
                self.is_behind = True

    async def _send(self, entry: Entry) -> bool:
        """Publish one when its turn comes; False when the page is to be read anew instead."""
        late = self._lanes.is_late(entry)
        while not self._lanes.has_room(late=late):
            self._changed.clear()
            await self._changed.wait()
            if self._rewind is not None or not self._lanes.is_open():
                return False
        if not self._lanes.is_open():
            return False
        if not self._lanes.is_under_way(entry):
            self._lanes.launch(entry)
        if late:
            await self._pace(len(entry.payload))
        return self._rewind is None

    async def _pace(self, size: int) -> None:
        """A token bucket: sleeps off what was sent ahead of the rates."""
        limits, now = self._limits, self._now()
        cost = max(1 / limits.history_per_s, size / limits.history_bytes_per_s)
        self._paid_until = max(self._paid_until, now - _BURST_S) + cost
        if self._paid_until > now + _STEP_S:
            await asyncio.sleep(self._paid_until - now)
