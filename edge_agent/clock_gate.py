"""Holds what was acquired before the machine knew the time, and lets it go with the right time (CONTRACT.md section 3, `clk`).

It stands between the pollers' sink and the encoder. While the clock is `unsync` in the first ten minutes after a boot, messages
wait un-encoded with the boot-time clock; when the clock is set they are re-stamped from it, and after ten minutes without that
they leave as `unsync`. A clock that a hardware clock set at boot counts as set and says so (`rtc`). Bounded: what no longer fits
leaves early as `unsync`, nothing is dropped. Memory only; the caller lets go with `open_now` before it stops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from edge_agent.clock import Clock, Quality, Step

WAIT_S = 600.0
"""After the boot; then nothing waits any more."""
ROOM = 20_000
"""Messages that may wait; about 40 MB of acquisitions of 60 points."""
_CHECK_S = 1.0
_log = structlog.get_logger("clock")

Release = Callable[[int, Quality], None]
"""Called once with the UTC ms that the message shall carry and the quality of the clock that gave it."""
Event = Callable[[str, str, Mapping[str, Any], str], None]
"""Called with (device id, name, data, key) as a poller's sink is; the device id of the agent's own events is ""."""


class ClockGate:
    """One an agent. `event` gets `system.clock_step` when UTC was moved by more than half a second."""

    def __init__(self, clock: Clock, *, event: Event, room: int = ROOM) -> None:
        self._clock = clock
        self._event = event
        self._room = room
        self._waiting: deque[tuple[float, Release]] = deque()
        self._open = clock.quality() != "unsync" or clock.uptime_s() >= WAIT_S

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._waiting)

    @property
    def is_open(self) -> bool:
        """True once nothing has to wait; then it stays so for the life of the process."""
        return self._open

    def put(self, t_ms: int, release: Release) -> None:
        """Lets a message stamped `t_ms` by this clock pass, now or when the time is known."""
        if self._open:
            release(t_ms, self._clock.quality())
            return
        age_s = (self._clock.wall_ms() - t_ms) / 1000.0
        self._waiting.append((self._clock.monotonic() - age_s, release))
        if len(self._waiting) > self._room:
            _log.warning(
                "too much waits for the first clock synchronisation; the oldest leaves unsynchronised", room=self._room
            )
            self._let_go(self._waiting.popleft(), "unsync")

    async def run(self) -> None:
        """Opens when the clock is set or the ten minutes are over, and reports steps. Until cancelled."""
        while True:
            self.check()
            await self._clock.sleep(_CHECK_S)

    def check(self) -> None:
        """One look at the clock."""
        self._clock.wall_ms()  # notices a step even when nobody stamps
        step = self._clock.take_step()
        quality = self._clock.quality()
        if not self._open and (quality != "unsync" or self._clock.uptime_s() >= WAIT_S):
            self.open_now()
        if step is not None:
            self._report(step, quality)

    def open_now(self) -> None:
        """Lets everything go with the best time there is."""
        quality = self._clock.quality()
        if self._waiting:
            _log.info("readings from before the clock was set are sent", count=len(self._waiting), clock=quality)
        while self._waiting:
            self._let_go(self._waiting.popleft(), quality)
        self._open = True

    def _let_go(self, entry: tuple[float, Release], quality: Quality) -> None:
        taken_at, release = entry
        age_ms = (self._clock.monotonic() - taken_at) * 1000.0
        release(round(self._clock.wall_ms() - age_ms), quality)

    def _report(self, step: Step, quality: Quality) -> None:
        _log.info("the clock was set", by_ms=step.by_ms, clock=quality)
        data = {"by_ms": step.by_ms, "before_ms": step.before_ms, "after_ms": step.after_ms, "clk": quality}
        self._event("", "system.clock_step", data, f"{self._clock.boot_id}:{self._clock.monotonic():.3f}")
