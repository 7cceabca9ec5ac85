"""Quantities over time as pure functions with exact integrals.

A simulated meter's power is a curve and its energy register is that curve's integral since a fixed epoch, so counter and power
always agree, a restarted simulator goes on where the clock says, and the same seed gives the same values. Times are seconds of
the Unix clock; a curve's integral is in its unit times seconds.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import cos, pi, sin, tau
from typing import Protocol

EPOCH_S = 1_704_067_200.0
"""2024-01-01T00:00:00Z: the day on which every simulated counter stood at its first reading."""
DAY_S = 86_400.0


class Share(Protocol):
    """A part of 1 over time, and its exact integral from EPOCH_S to `t` in seconds."""

    def value(self, t: float) -> float: ...

    def integral(self, t: float) -> float: ...


@dataclass(frozen=True, slots=True)
class Wave:
    """A wandering around zero that never exceeds `amplitude`: a sum of sines of unrelated periods."""

    parts: tuple[tuple[float, float, float], ...]
    """(amplitude, radians a second, phase)."""

    @classmethod
    def wandering(cls, rng: random.Random, amplitude: float, *, periods: Sequence[float] = (11, 47, 210, 1500)) -> Wave:
        share = amplitude / len(periods)
        return cls(tuple((share, tau / (period * rng.uniform(0.8, 1.25)), rng.uniform(0, tau)) for period in periods))

    def value(self, t: float) -> float:
        return sum(amplitude * sin(omega * t + phase) for amplitude, omega, phase in self.parts)

    def integral(self, t: float) -> float:
        """From EPOCH_S to `t`."""
        return sum(
            amplitude / omega * (cos(omega * EPOCH_S + phase) - cos(omega * t + phase))
            for amplitude, omega, phase in self.parts
        )


@dataclass(slots=True)
class DayHump:
    """Zero at night, a sine-squared hump of height 1 between two local hours, its height weighted by day.

    `weekend` weighs Saturdays and Sundays, `spread` varies the days among themselves (0.6: a day may have 40 % only), `ripple`
    lets passing clouds or starting lifts nibble up to twice that share of the hump, `cycles` times a day.
    """

    opens_h: float
    closes_h: float
    seed: int
    weekend: float = 1.0
    spread: float = 0.0
    ripple: float = 0.0
    cycles: int = 23
    utc_offset_s: float = 0.0
    _sums: list[float] = field(default_factory=lambda: [0.0])
    """_sums[d] = the weights of days 0 .. d-1 added up."""

    def _weight(self, day: int) -> float:
        chance = zlib.crc32(f"{self.seed}:{day}".encode()) / 0xFFFFFFFF
        weight = 1.0 - self.spread * chance
        return weight * self.weekend if day % 7 in (5, 6) else weight  # the epoch's day was a Monday

    def _place(self, t: float) -> tuple[int, float]:
        local = t - EPOCH_S + self.utc_offset_s
        day = int(local // DAY_S)
        hours = (local - day * DAY_S) / 3600
        return day, (hours - self.opens_h) / (self.closes_h - self.opens_h)

    def value(self, t: float) -> float:
        day, x = self._place(t)
        if not 0 < x < 1:
            return 0.0
        return self._weight(day) * sin(pi * x) ** 2 * (1 - self.ripple + self.ripple * cos(tau * self.cycles * x))

    def integral(self, t: float) -> float:
        """From EPOCH_S (local midnight of that day) to `t`."""
        day, x = self._place(t)
        if day < 0:
            return 0.0
        while len(self._sums) <= day:
            self._sums.append(self._sums[-1] + self._weight(len(self._sums) - 1))
        length_s = (self.closes_h - self.opens_h) * 3600
        return length_s * (self._sums[day] * self._part(1.0) + self._weight(day) * self._part(min(max(x, 0.0), 1.0)))

    def _part(self, x: float) -> float:
        """Integral of the hump of weight 1 from 0 to `x` of its length."""
        smooth = x / 2 - sin(tau * x) / (4 * pi)
        k = self.cycles
        rippled = sin(tau * k * x) / (4 * pi * k) - (
            sin(tau * (k + 1) * x) / (8 * pi * (k + 1)) + sin(tau * (k - 1) * x) / (8 * pi * (k - 1))
        )
        return (1 - self.ripple) * smooth + self.ripple * rippled


@dataclass(frozen=True, slots=True)
class Power:
    """A load in kW: a base, a day's hump, a wandering. `kwh` is its exact integral."""

    base_kw: float
    hump_kw: float
    hump: Share
    wave: Wave

    def kw(self, t: float) -> float:
        return self.base_kw + self.hump_kw * self.hump.value(t) + self.wave.value(t)

    def kwh(self, t: float) -> float:
        """Since EPOCH_S."""
        seconds = self.base_kw * (t - EPOCH_S) + self.hump_kw * self.hump.integral(t) + self.wave.integral(t)
        return seconds / 3600
