"""Fetches what devices kept in their own memory while nobody heard them: trend logs, load profiles (CONTRACT.md 3, `src`).

It owns which times of a device are missing, also over a restart of the agent. It reads only when a link has nothing else to do, a
portion at a time and paced, at most seven days back. What was published live is not fetched again, save for the last minute
before a crash.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import structlog

from device_profiles.errors import DeviceError
from device_profiles.reading import Acquisition
from drivers.base import CanRecall, Recalled
from edge_agent.clock import Clock
from edge_agent.polling.portions import Ask, in_turns

if TYPE_CHECKING:
    from edge_agent.polling.polled import Polled

LONGEST_MS = 7 * 86_400_000
POLLS = 2
"""A silence of more than so many polls is a gap."""
VALUES_PER_S = 500
"""Recalled values a second on one link: the live ones must not wait behind them."""
KEEP_EVERY_S = 60.0
_PAUSE_S = 0.2
_AGAIN_S = 60.0
_TRIES = 5
_MOST_GAPS = 20
_log = structlog.get_logger("recall")

Gap = tuple[int, int]
"""[since, until) in UTC ms."""


class Gaps:
    """When one device was not heard. `heard_ms` and `gaps` are what was remembered of it before."""

    def __init__(
        self,
        device_id: str,
        remember: Callable[[str, str, Any], None],
        heard_ms: int | None,
        gaps: Iterable[Sequence[int]],
    ) -> None:
        self._device_id = device_id
        self._remember = remember
        self._kept_at = float("-inf")
        self.heard_ms = heard_ms
        self.open: deque[Gap] = deque(((gap[0], gap[1]) for gap in gaps), maxlen=_MOST_GAPS)

    def heard(self, t_ms: int, now: float, period_s: float) -> bool:
        """The device said something. True when it had been silent for more than two periods."""
        before, self.heard_ms = self.heard_ms, t_ms
        has_gap = before is not None and t_ms - before > POLLS * period_s * 1000
        if has_gap and before is not None:
            self.open.append((max(before + 1, t_ms - LONGEST_MS), t_ms))
            self._remember("recalls", self._device_id, list(self.open))
        if has_gap or now - self._kept_at >= KEEP_EVERY_S:
            self.keep(now)
        return has_gap

    def keep(self, now: float) -> None:
        """Remembers when the device was heard last."""
        self._kept_at = now
        if self.heard_ms is not None:
            self._remember("heard", self._device_id, self.heard_ms)

    def close(self, gap: Gap) -> None:
        """This time has been fetched, or nobody can."""
        if gap in self.open:
            self.open.remove(gap)
        self._remember("recalls", self._device_id, list(self.open) or None)


class Recaller:
    """One a session that can recall; `run` until cancelled."""

    def __init__(self, session: CanRecall, clock: Clock, ask: Ask) -> None:
        self._session = session
        self._clock = clock
        self._ask = ask
        self._waiting: dict[Polled, int] = {}
        self._has_work = asyncio.Event()

    def heard(self, polled: Polled, t_ms: int, now: float, period_s: float) -> None:
        """A device was read at `t_ms`; a clock that is not set says nothing about gaps."""
        if self._clock.quality() != "unsync" and (polled.gaps.heard(t_ms, now, period_s) or polled.gaps.open):
            self._waiting.setdefault(polled, 0)
            self._has_work.set()

    async def run(self) -> None:
        """Gap after gap, device after device."""
        while True:
            await self._has_work.wait()
            for polled in tuple(self._waiting):
                await self._fetch_all(polled)
            if not self._waiting:
                self._has_work.clear()
            else:
                await self._clock.sleep(_AGAIN_S)

    async def _fetch_all(self, polled: Polled) -> None:
        """All gaps of a device; one that does not answer is tried again later, five times in all."""
        while polled.gaps.open and not polled.is_gone:
            gap = polled.gaps.open[0]
            try:
                count = await self._fetch(polled, gap)
            except DeviceError as error:
                self._waiting[polled] += 1
                if self._waiting[polled] < _TRIES:
                    return
                _log.warning("what a device kept cannot be read", device=polled.device.id, reason=str(error))
            else:
                if count:
                    _log.info("a gap was filled from the device's memory", device=polled.device.id, values=count)
            polled.gaps.close(gap)
        del self._waiting[polled]

    async def _fetch(self, polled: Polled, gap: Gap) -> int:
        """One gap; gives how many values it brought. Raises DeviceError, LinkError."""
        points = [point for point in polled.device.points if not point.internal]
        recalled = self._session.recall(polled.address, points, polled.layout, *gap)
        count = 0
        async with aclosing(in_turns(self._ask, polled, recalled)) as portions:
            async for portion in portions:
                count += self._hand_over(polled, portion, gap)
                await self._clock.sleep(max(_PAUSE_S, len(portion) / VALUES_PER_S))
        return count

    def _hand_over(self, polled: Polled, portion: Sequence[Recalled], gap: Gap) -> int:
        by_time: dict[int, Acquisition] = {}
        for recalled in portion:
            if gap[0] <= recalled.t_ms < gap[1]:
                out = by_time.get(recalled.t_ms)
                if out is None:
                    out = by_time[recalled.t_ms] = Acquisition(polled.device.id, recalled.t_ms, src="memory")
                polled.normalizer.recall(recalled.point, recalled.value, out)
        for t_ms in sorted(by_time):
            polled.emit(by_time[t_ms])
        return sum(len(out.good) + len(out.flagged) for out in by_time.values())
