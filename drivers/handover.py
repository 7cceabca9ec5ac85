"""The way of occurrences from a driver to the agent's disk, and word back that they are there. Knows no protocol.

A device that waits for an answer (a push) is held back while the queue is full and answered once its records are stored. What
nobody can hold back (a datagram) is dropped and counted; its driver recalls it from the device's memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from .listening import Occurrence

MOST = 2000
_TURN = 500
"""Occurrences in one turn, about what one commit takes."""


@dataclass(slots=True)
class _Lot:
    occurrences: Sequence[Occurrence]
    stored: asyncio.Future[bool] | None


class Handover:
    """A bounded queue of occurrences with one reader. Belongs to one session."""

    def __init__(self, most: int = MOST) -> None:
        self.dropped = 0
        self._most = most
        self._waiting: deque[_Lot] = deque()
        self._count = 0
        self._given: deque[list[_Lot]] = deque()
        self._changed = asyncio.Condition()
        self._is_closed = False

    async def deliver(self, occurrences: Sequence[Occurrence], within_s: float) -> bool:
        """True once all of them are on disk; False when that did not happen in time, or the session ended.

        What was queued by then may still be stored: the device says it again, and its key tells that it is the same.
        """
        if not occurrences:
            return True
        lot = _Lot(occurrences, asyncio.get_running_loop().create_future())
        assert lot.stored is not None
        try:
            async with asyncio.timeout(within_s):
                async with self._changed:
                    await self._changed.wait_for(lambda: self._is_closed or self._fits(len(occurrences)))
                    if self._is_closed:
                        return False
                    self._put(lot)
                return await lot.stored
        except TimeoutError:
            return False

    async def offer(self, occurrences: Sequence[Occurrence]) -> bool:
        """Queues what cannot wait; False when it did not fit and is counted in `dropped`."""
        async with self._changed:
            if self._is_closed or not self._fits(len(occurrences)):
                self.dropped += len(occurrences)
                return False
            self._put(_Lot(occurrences, None))
            return True

    async def turns(self) -> AsyncIterator[Sequence[Occurrence]]:
        """See drivers.listening.CanListen.occurrences."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._is_closed or bool(self._waiting))
                if not self._waiting:
                    return
                lots: list[_Lot] = []
                size = 0
                while self._waiting and (not lots or size + len(self._waiting[0].occurrences) <= _TURN):
                    lots.append(self._waiting.popleft())
                    size += len(lots[-1].occurrences)
                self._count -= size
                self._given.append(lots)
                self._changed.notify_all()
            yield [occurrence for lot in lots for occurrence in lot.occurrences]

    def stored(self) -> None:
        """The oldest turn that was given is on disk."""
        if not self._given:
            return
        for lot in self._given.popleft():
            if lot.stored is not None and not lot.stored.done():
                lot.stored.set_result(True)

    async def close(self) -> None:
        """Ends `turns`, and tells all who wait that nothing was stored."""
        async with self._changed:
            self._is_closed = True
            for lot in (*self._waiting, *(each for lots in self._given for each in lots)):
                if lot.stored is not None and not lot.stored.done():
                    lot.stored.set_result(False)
            self._waiting.clear()
            self._changed.notify_all()

    def _fits(self, count: int) -> bool:
        return not self._count or self._count + count <= self._most

    def _put(self, lot: _Lot) -> None:
        self._waiting.append(lot)
        self._count += len(lot.occurrences)
        self._changed.notify_all()
