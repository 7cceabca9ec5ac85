"""The worlds of equipment that is not a meter: inverter, drive, room, relay board, branch circuits.

Like every world a function of time and seed, plus what was written to it; see worlds.py.
"""

from __future__ import annotations

import random
from math import exp, sqrt

from firmware_sim.curves import DayHump, Power, Wave
from firmware_sim.registers import Value
from firmware_sim.worlds import ILLEGAL_VALUE, Mains, ReadOnly, people, sun


class Inverter(ReadOnly):
    """A three-phase PV inverter: follows the sun, sleeps at night, counts what it made since it was installed."""

    OFF, SLEEPING, STARTING, MPPT = 1, 2, 3, 4

    def __init__(self, seed: int, *, rated_kw: float = 50.0, utc_offset_s: float = 0.0) -> None:
        rng = random.Random(seed)
        self._mains = Mains.seeded(rng)
        self._power = Power(0.0, 0.92 * rated_kw, sun(seed, utc_offset_s), Wave(()))
        self._warmth = Wave.wandering(rng, 2.0, periods=(600, 3600))
        self._kwh_0 = rng.uniform(1_000, 5_000)

    def snapshot(self, t: float) -> dict[str, Value]:
        kw = self._power.kw(t)
        awake = kw > 0.05
        watts = kw * 1000 if awake else 0.0
        u1, u2, u3 = self._mains.volts(t)
        amps = [watts / 3 / u for u in (u1, u2, u3)]
        dc_volts = (580 + 90 * (1 - exp(-kw / 10))) if awake else 24.0
        dc_watts = watts / 0.975
        return {
            "a": sum(amps),
            "a1": amps[0],
            "a2": amps[1],
            "a3": amps[2],
            "u12": sqrt(u1 * u1 + u2 * u2 + u1 * u2),
            "u23": sqrt(u2 * u2 + u3 * u3 + u2 * u3),
            "u31": sqrt(u3 * u3 + u1 * u1 + u3 * u1),
            "u1": u1,
            "u2": u2,
            "u3": u3,
            "w": watts,
            "hz": self._mains.frequency(t),
            "va": watts * 1.001,
            "var": watts * 0.0447,
            "pf_percent": 99.9 if awake else 0.0,
            "wh": (self._kwh_0 + self._power.kwh(t)) * 1000,
            "dc_a": dc_watts / dc_volts,
            "dc_v": dc_volts,
            "dc_w": dc_watts,
            "cabinet_c": 24 + 0.35 * kw + self._warmth.value(t),
            "status": self.MPPT if awake else self.SLEEPING,
        }


class Drive:
    """A frequency converter on a fan: follows the day's need until somebody writes a control word and a reference.

    Written values win for `_HOLD_S`, as with a fieldbus watchdog; then the drive goes back to its own control.
    """

    _HOLD_S = 600.0
    _RAMP_HZ_S = 5.0

    def __init__(self, seed: int, *, rated_kw: float, rated_a: float, utc_offset_s: float = 0.0) -> None:
        rng = random.Random(seed)
        self.rated_kw, self.rated_a = rated_kw, rated_a
        self._need = people(seed, utc_offset_s, opens_h=5.5, closes_h=21.5)
        self._wander = Wave.wandering(rng, 0.8)
        self._bus = Wave.wandering(rng, 6.0)
        self._load = Power(0.05 * rated_kw, 0.5 * rated_kw, self._need, Wave(()))
        self._kwh_0 = rng.uniform(2_000, 20_000)
        self._hours_0 = rng.uniform(3_000, 20_000)
        self._written_at = float("-inf")
        self._from_hz = 0.0
        self._reference = 0.0
        self._run = True
        self.control_word = 0

    def command(self, t: float, *, run: bool, reference: float, control_word: int) -> None:
        """Takes control: `reference` is the share of 50 Hz, negative turns backwards."""
        self._from_hz = self._hz(t)
        self._written_at, self._run, self._reference, self.control_word = t, run, reference, control_word

    @property
    def reference(self) -> float:
        return self._reference

    @property
    def is_started(self) -> bool:
        """Whether it was told to run: at its terminals until a control word comes."""
        return self._run

    def _hz(self, t: float) -> float:
        if t - self._written_at > self._HOLD_S:
            return 22.0 + 24.0 * self._need.value(t) + self._wander.value(t)
        target = 50 * self._reference if self._run else 0.0
        room = self._RAMP_HZ_S * (t - self._written_at)
        return min(max(target, self._from_hz - room), self._from_hz + room)

    def write(self, quantity: str, raw: int, t: float) -> int:
        return ILLEGAL_VALUE

    def snapshot(self, t: float) -> dict[str, Value]:
        hz = self._hz(t)
        share = abs(hz) / 50
        kw = self.rated_kw * 0.85 * share**3 + 0.05
        running = abs(hz) > 0.1
        return {
            "hz": hz,
            "share": hz / 50,
            "rpm": hz * 29.4,
            "amps": self.rated_a * (0.3 + 0.6 * share**2) if running else 0.0,
            "kw": kw if running else 0.0,
            "torque": 88 * share**2 if running else 0.0,
            "volts": min(400.0, 400.0 * share),
            "dc_volts": 565 + self._bus.value(t),
            "heatsink_c": 31 + 14 * share**2,
            "thermal": 20 + 50 * share**2,
            "kwh": self._kwh_0 + self._load.kwh(t),
            "hours": self._hours_0 + (t - 1_704_067_200.0) / 3600,
            "starts": 37,
            "running": running,
            "fault": 0,
            "warning": 0,
            "control_word": self.control_word,
            "reference": self._reference if t - self._written_at <= self._HOLD_S else hz / 50,
            "at_reference": abs(hz - 50 * self._reference) < 0.2 or t - self._written_at > self._HOLD_S,
        }


class Room(ReadOnly):
    """The air of an office: people bring carbon dioxide and warmth, the ventilation takes them away."""

    def __init__(self, seed: int, *, utc_offset_s: float = 0.0) -> None:
        rng = random.Random(seed)
        self._people = people(seed, utc_offset_s, opens_h=7.5, closes_h=19.5)
        self._waves = {
            name: Wave.wandering(rng, size)
            for name, size in (("co2", 35.0), ("pm25", 6.0), ("pm10", 9.0), ("c", 0.5), ("rh", 3.0), ("tvoc", 0.05))
        }

    def snapshot(self, t: float) -> dict[str, Value]:
        crowd = self._people.value(t)
        wave = {name: wave.value(t) for name, wave in self._waves.items()}
        pm25 = 18 + wave["pm25"]
        return {
            "co2_ppm": 455 + 420 * crowd + wave["co2"],
            "pm25": pm25,
            "pm10": pm25 + 11 + abs(wave["pm10"]),
            "celsius": 21.3 + 2.2 * crowd + wave["c"],
            "humidity": 43 + 6 * crowd + wave["rh"],
            "tvoc": 0.22 + 0.2 * crowd + wave["tvoc"],
            "lux": 4 + 430 * crowd,
        }


class Relays:
    """Eight relays that stay where they were put, and eight contacts: four report the first relays, four are doors."""

    COUNT = 8

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self._on = [False] * self.COUNT
        self._doors = [Wave.wandering(rng, 1.0, periods=(40, 130, 700)) for _ in range(4)]

    def write(self, quantity: str, raw: int, t: float) -> int:
        kind, number = quantity[:-1], int(quantity[-1])
        if kind != "relay":
            return ILLEGAL_VALUE
        self._on[number - 1] = bool(raw)
        return 0

    def snapshot(self, t: float) -> dict[str, Value]:
        contacts = [*self._on[:4], *(door.value(t) > 0.45 for door in self._doors)]
        values: dict[str, Value] = {f"relay{number}": on for number, on in enumerate(self._on, 1)}
        return values | {f"input{number}": on for number, on in enumerate(contacts, 1)}


class Branches(ReadOnly):
    """The outgoing circuits of a distribution board, on the three phases in turn."""

    def __init__(self, seed: int, *, circuits: int = 24, utc_offset_s: float = 0.0) -> None:
        rng = random.Random(seed)
        self._mains = Mains.seeded(rng)
        self._circuits: list[tuple[Power, float, float]] = []
        for number in range(circuits):
            rated_kw = rng.choice((0.4, 0.8, 1.5, 2.4, 3.0))
            day: DayHump = people(seed + number, utc_offset_s)
            power = Power(0.1 * rated_kw, 0.7 * rated_kw, day, Wave.wandering(rng, 0.05 * rated_kw))
            self._circuits.append((power, rng.uniform(0.86, 0.99), rng.uniform(200, 6_000)))

    def snapshot(self, t: float) -> dict[str, Value]:
        volts = self._mains.volts(t)
        values: dict[str, Value] = {"frequency": self._mains.frequency(t)}
        total = 0.0
        for index, u in enumerate(volts, 1):
            values[f"u{index}"] = u
        for number, (power, pf, kwh_0) in enumerate(self._circuits, 1):
            kw = power.kw(t)
            total += kw
            values |= {
                f"c{number}_i": kw * 1000 / pf / volts[(number - 1) % 3],
                f"c{number}_kw": kw,
                f"c{number}_pf": pf,
                f"c{number}_kwh": kwh_0 + power.kwh(t),
                f"c{number}_on": True,
            }
        values["kw"] = total
        return values
