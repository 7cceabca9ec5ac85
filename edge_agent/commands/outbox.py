"""Answers on their way to the centre: from the journal, in order, until the broker has acknowledged them.

They survive restarts and disconnections. What the broker refuses (its access list) is tried again each minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog

from device_profiles.errors import StoreUnavailable
from edge_agent.clock import Clock
from edge_agent.commands.journal import Journal
from gateway.mqtt import CONNECTION_LOST, FAILURE

EXPIRY_S = 3600
"""Of an answer at the broker (CONTRACT.md section 2)."""
_PAGE = 64
_AGAIN_S = 60.0
_log = structlog.get_logger("commands")


class Line(Protocol):
    """The part of the uplink that is needed here."""

    def answer(
        self, topic: str, payload: bytes, *, expiry_s: int, correlation: bytes | None, on_ack: Callable[[int], None]
    ) -> bool: ...

    def on_connected(self, callback: Callable[[], None]) -> None: ...


class Outbox:
    """One an agent."""

    def __init__(self, journal: Journal, line: Line, clock: Clock) -> None:
        self._journal = journal
        self._line = line
        self._clock = clock
        self._something = asyncio.Event()
        self._cursor = 0
        """Key of the last answer that was handed to this connection."""
        self._acknowledged: set[int] = set()
        self._is_refused = False
        self.count: dict[str, int] = dict.fromkeys(("answers", "answers_refused"), 0)
        line.on_connected(self._begin_again)

    def wake(self) -> None:
        """The journal has another answer."""
        self._something.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._something.wait()
            self._something.clear()
            try:
                await self._turn()
            except StoreUnavailable as error:
                _log.warning("answers to commands wait", reason=str(error))
                await self._clock.sleep(_AGAIN_S)
                self._something.set()
            if self._is_refused:
                self._is_refused = False
                await self._clock.sleep(_AGAIN_S)
                self._begin_again()

    async def _turn(self) -> None:
        if self._acknowledged:
            done, self._acknowledged = self._acknowledged, set()
            await self._journal.delivered(sorted(done))
        while page := await self._journal.answers(self._cursor, _PAGE):
            for each in page:
                taken = self._line.answer(
                    each.topic,
                    each.payload,
                    expiry_s=EXPIRY_S,
                    correlation=each.correlation,
                    on_ack=partial(self._answered, each.key),
                )
                if not taken:
                    return
                self._cursor = each.key

    def _answered(self, key: int, reason: int) -> None:
        if reason == CONNECTION_LOST:
            return  # the next connection begins again
        if reason >= FAILURE:
            self.count["answers_refused"] += 1
            self._is_refused = True
            _log.warning("the broker refuses an answer to a command", reason=f"0x{reason:02X}")
        else:
            self.count["answers"] += 1
            self._acknowledged.add(key)
        self._something.set()

    def _begin_again(self) -> None:
        self._cursor = 0
        self._something.set()
