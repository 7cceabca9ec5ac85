"""The worlds behind BACnet controllers: what all of them have in common. Physics only, no BACnet.

A world goes forward in steps of fixed length on the simulated clock, so the same seed, times and inputs give the same values.
`out` holds what can be measured, `program` what the controller's own programme commands (the device writes that at its lowest
priority), `inputs` the set-points in force and what operators command above the programme.
"""

from __future__ import annotations

import random
from math import cos, pi, tau

from firmware_sim.curves import DAY_S, Share, Wave
from firmware_sim.worlds import people

WEATHER_SEED = 20
"""One sky over all simulated buildings."""


class Weather:
    """Outdoor air of a temperate city: warmest in July and at 15 o'clock."""

    def __init__(self, utc_offset_s: float) -> None:
        self._offset = utc_offset_s
        rng = random.Random(WEATHER_SEED)
        self._wave = Wave.wandering(rng, 2.0, periods=(3600, 9000, 40_000))
        self._damp = Wave.wandering(rng, 12.0, periods=(5000, 30_000))

    def celsius(self, t: float) -> float:
        local = t + self._offset
        year = cos(tau * (local / DAY_S / 365.25 - 0.545))
        day = cos(tau * (local / DAY_S - 15 / 24))
        return 14.0 + 12.0 * year + 4.5 * day + self._wave.value(t)

    def humidity(self, t: float) -> float:
        return 62.0 - 14.0 * cos(tau * ((t + self._offset) / DAY_S - 15 / 24)) + self._damp.value(t)

    def wet_bulb(self, t: float) -> float:
        """A straight line through the psychrometric chart around 15 degrees Celsius."""
        dry = self.celsius(t)
        return dry - (100 - self.humidity(t)) * (0.06 + 0.006 * max(dry, 0.0))


class World:
    """A world with steps. A subclass fills `out` and `program` in `step`."""

    STEP_S = 1.0
    LONGEST_S = 1800.0
    """Longer silences are skipped: nothing that a plant remembers lasts longer."""

    def __init__(self, seed: int, utc_offset_s: float) -> None:
        self.rng = random.Random(seed)
        self.utc_offset_s = utc_offset_s
        self.weather = Weather(utc_offset_s)
        self.crowd: Share = people(seed, utc_offset_s)
        self.out: dict[str, float] = {}
        self.program: dict[str, float] = {}
        self.inputs: dict[str, float] = {}
        self._reached: int | None = None

    def advance(self, t: float) -> None:
        """To `t`, seconds of the Unix clock. The first call settles the plant before it."""
        goal = int(t // self.STEP_S)
        longest = int(self.LONGEST_S / self.STEP_S)
        reached = goal - longest if self._reached is None else max(self._reached, goal - longest)
        for index in range(reached + 1, goal + 1):
            self.step(index * self.STEP_S, self.STEP_S)
        self._reached = goal

    def step(self, t: float, dt: float) -> None:
        raise NotImplementedError

    def take(self, name: str, default: float = 0.0) -> float:
        """What is in force of a command or set-point: somebody's value, else the programme's, else `default`."""
        value = self.inputs.get(name)
        return self.program.get(name, default) if value is None else value

    def toward(self, name: str, goal: float, tau_s: float, dt: float, start: float | None = None) -> float:
        """Moves `out[name]` towards `goal` like a first-order lag of `tau_s` seconds, and returns it."""
        now = self.out.get(name, goal if start is None else start)
        now += (goal - now) * min(1.0, dt / tau_s)
        self.out[name] = now
        return now

    def ramp(self, name: str, goal: float, per_s: float, dt: float) -> float:
        """Moves `out[name]` towards `goal` by at most `per_s` a second, and returns it."""
        now = self.out.get(name, goal)
        room = per_s * dt
        now = min(max(goal, now - room), now + room)
        self.out[name] = now
        return now

    def count(self, name: str, amount: float, start: float) -> float:
        """Adds to a counter that stood at `start`."""
        self.out[name] = self.out.get(name, start) + amount
        return self.out[name]


class Pi:
    """A control loop: output 0..100 from an error, proportional and integral, without wind-up."""

    __slots__ = ("gain", "integral", "ti_s")

    def __init__(self, gain: float, ti_s: float, start: float = 0.0) -> None:
        self.gain, self.ti_s, self.integral = gain, ti_s, start

    def run(self, error: float, dt: float) -> float:
        part = self.gain * error
        self.integral = min(max(self.integral + part * dt / self.ti_s, 0.0), 100.0)
        return min(max(part + self.integral, 0.0), 100.0)


def daylight(t: float, utc_offset_s: float) -> float:
    """Share of full daylight at a local time, 0 at night."""
    hours = (t + utc_offset_s) % DAY_S / 3600
    return max(0.0, cos(pi * (hours - 12) / 12)) if 6 < hours < 18 else 0.0
