"""The simulated devices' clock: the wall clock, faster by a factor if asked."""

from __future__ import annotations

import time
from collections.abc import Callable

Now = Callable[[], float]
"""Seconds of the Unix clock as the simulated world sees it."""


def world_clock(speed: float = 1.0, start_s: float | None = None) -> Now:
    """A clock that starts now (or at `start_s`) and runs `speed` times as fast, unmoved by steps of the machine's clock."""
    begun = time.monotonic()
    start = time.time() if start_s is None else start_s
    return lambda: start + (time.monotonic() - begun) * speed


def utc_offset_s() -> float:
    """Of this machine's local time, for things that follow the day of people and the sun."""
    return float(time.localtime().tm_gmtoff)
