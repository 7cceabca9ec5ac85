"""Keeps one link running whatever its driver does: the only place in the house that catches every exception.

An exception that is not one of the tree in `device_profiles.errors` is a bug: its traceback is logged, it is counted, and the
link starts again with backoff. A read that hangs is cancelled and counts as one. Other links never notice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from edge_agent.clock import Clock

CRASHES = 5
WITHIN_S = 600.0
"""So many in this time, and the link counts as down with an internal error; it is still tried again."""
_FIRST_S, _LAST_S = 1.0, 60.0
_LOOK_S = 5.0
_log = structlog.get_logger("supervisor")


class Backoff:
    """Growing pauses: doubling from `first_s` to `last_s`."""

    def __init__(self, first_s: float, last_s: float) -> None:
        self._first_s, self._last_s = first_s, last_s
        self._next_s = first_s

    def next_s(self) -> float:
        """The pause to make now."""
        pause, self._next_s = self._next_s, min(self._last_s, self._next_s * 2)
        return pause

    def reset(self) -> None:
        self._next_s = self._first_s


class Supervisor:
    """Runs `serve` for ever. `hung` says whether it hangs; `broken` is told of each crash, and whether there are too many."""

    def __init__(
        self,
        link: str,
        serve: Callable[[], Awaitable[None]],
        *,
        clock: Clock,
        hung: Callable[[], bool],
        broken: Callable[[bool], None],
    ) -> None:
        self._link = link
        self._serve = serve
        self._clock = clock
        self._hung = hung
        self._broken = broken
        self._times: deque[float] = deque(maxlen=CRASHES)
        self.crashes = 0

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff(_FIRST_S, _LAST_S)
        while True:
            started = self._clock.monotonic()
            try:
                await self._watched()
            except Exception:  # noqa: BLE001  a driver's bug must stay on its link; this is where bugs end up
                _log.exception("a link crashed and starts again", link=self._link, crashes=self.crashes + 1)
                self._count()
            if self._clock.monotonic() - started > WITHIN_S:
                backoff.reset()
            await self._clock.sleep(backoff.next_s())

    async def _watched(self) -> None:
        """Runs `serve` and cancels it when it hangs. Raises what it raises, TimeoutError for a hang."""
        serving = asyncio.ensure_future(self._serve())
        watching = asyncio.create_task(self._watch(serving), name=f"watch {self._link}")
        try:
            await serving
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise TimeoutError(f"a read on link {self._link} did not end") from None
        finally:
            watching.cancel()
            serving.cancel()
            await asyncio.wait((serving, watching))

    async def _watch(self, serving: asyncio.Future[None]) -> None:
        while not self._hung():
            await self._clock.sleep(_LOOK_S)
        serving.cancel()

    def _count(self) -> None:
        now = self._clock.monotonic()
        self.crashes += 1
        self._times.append(now)
        self._broken(len(self._times) == CRASHES and now - self._times[0] <= WITHIN_S)
