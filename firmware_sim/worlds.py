"""The physical worlds behind the registers of meters: mains, three-phase loads and generators.

A world is a function of time and seed (plus what was written to it), in plain units: V, A, kW, kvar, kVA, kWh, Hz, degrees
Celsius. It knows nothing of registers.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import atan, degrees, sqrt
from typing import Protocol

from firmware_sim.curves import EPOCH_S, DayHump, Power, Share, Wave
from firmware_sim.registers import Value

ILLEGAL_VALUE = 3


class World(Protocol):
    def snapshot(self, t: float) -> dict[str, Value]:
        """Every quantity at `t`, seconds of the Unix clock."""
        ...

    def write(self, quantity: str, raw: int, t: float) -> int:
        """Takes a written register (raw, unsigned) or bit; 0, or a Modbus exception code."""
        ...


class ReadOnly:
    """A world nobody can write to."""

    def write(self, quantity: str, raw: int, t: float) -> int:
        return ILLEGAL_VALUE


@dataclass(frozen=True, slots=True)
class Mains:
    """Phase voltages around 230 V and a frequency around 50 Hz, as a building's supply wanders."""

    phases: tuple[Wave, Wave, Wave]
    common: Wave
    hertz: Wave

    @classmethod
    def seeded(cls, rng: random.Random) -> Mains:
        return cls(
            (Wave.wandering(rng, 1.2), Wave.wandering(rng, 1.2), Wave.wandering(rng, 1.2)),
            Wave.wandering(rng, 3.0, periods=(90, 700, 5400)),
            Wave.wandering(rng, 0.035, periods=(13, 61, 400)),
        )

    def volts(self, t: float) -> tuple[float, float, float]:
        common = 230.4 + self.common.value(t)
        one, two, three = (common + wave.value(t) for wave in self.phases)
        return one, two, three

    def frequency(self, t: float) -> float:
        return 50.0 + self.hertz.value(t)


def _line_to_line(a: float, b: float) -> float:
    """Between two phases 120 degrees apart."""
    return sqrt(a * a + b * b + a * b)


def sun(seed: int, utc_offset_s: float) -> DayHump:
    """Daylight from 6 to 18 o'clock, clouds that differ from day to day and pass within one."""
    return DayHump(6.0, 18.0, seed, spread=0.65, ripple=0.12, cycles=37, utc_offset_s=utc_offset_s)


def people(seed: int, utc_offset_s: float, *, opens_h: float = 6.5, closes_h: float = 20.0) -> DayHump:
    """A working day, little at weekends."""
    return DayHump(opens_h, closes_h, seed, weekend=0.3, spread=0.15, ripple=0.08, cycles=31, utc_offset_s=utc_offset_s)


class ThreePhase(ReadOnly):
    """A three-phase load, or a generator, as a meter sees it.

    Powers, currents, apparent and reactive power agree in every snapshot; energies are the exact integrals of the powers.
    """

    def __init__(
        self,
        seed: int,
        *,
        rated_kw: float = 40.0,
        day: Share | None = None,
        base: float = 0.22,
        utc_offset_s: float = 0.0,
    ) -> None:
        rng = random.Random(seed)
        self.mains = Mains.seeded(rng)
        self.power = Power(
            base * rated_kw,
            (0.9 - base) * rated_kw,
            day or people(seed, utc_offset_s),
            Wave.wandering(rng, min(0.04, base / 2) * rated_kw),
        )
        one, two = rng.uniform(0.29, 0.36), rng.uniform(0.30, 0.36)
        self._shares = (one, two, 1 - one - two)
        self._tan_phi = rng.uniform(0.2, 0.45)
        self._exports = False
        self._kwh_0 = rng.uniform(8_000, 90_000)
        self._other_kwh = rng.uniform(0, 40)
        self._kvarh_0 = rng.uniform(2_000, 20_000)
        self._thd = Wave.wandering(rng, 0.6)

    @classmethod
    def generating(cls, seed: int, *, rated_kw: float, utc_offset_s: float) -> ThreePhase:
        """A PV plant behind the meter: power is negative while the sun shines."""
        world = cls(seed, rated_kw=rated_kw, day=sun(seed, utc_offset_s), base=0.0, utc_offset_s=utc_offset_s)
        world._exports = True
        return world

    def snapshot(self, t: float) -> dict[str, Value]:
        volts = self.mains.volts(t)
        sign = -1.0 if self._exports else 1.0
        kw = self.power.kw(t)
        ratio = sqrt(1 + self._tan_phi**2)
        values = self._totals(t, volts, sign * kw, kw * self._tan_phi, kw * ratio, sign / ratio)
        values |= self._energies(t)
        amps = []
        for index, (u, share) in enumerate(zip(volts, self._shares, strict=True), 1):
            kva = kw * share * ratio
            amps.append(kva * 1000 / u)
            values |= {
                f"u{index}": u,
                f"i{index}": amps[-1],
                f"i_signed{index}": sign * amps[-1],
                f"kw{index}": sign * kw * share,
                f"kvar{index}": kw * share * self._tan_phi,
                f"kva{index}": kva,
                f"pf{index}": sign / ratio,
                f"angle{index}": degrees(atan(self._tan_phi)),
                f"i_max{index}": self.power.base_kw * 5 * share * ratio * 1000 / 230,
                f"thd_u{index}": 2.1 + self._thd.value(t + index),
                f"thd_i{index}": 7.5 + 3 * self._thd.value(t + 10 * index),
            }
        a, b, c = amps
        values |= {
            "i_avg": (a + b + c) / 3,
            "i_unbalance": 300 * max(abs(x - (a + b + c) / 3) for x in amps) / max(a + b + c, 0.001),
            "ah": float(values["kvah"] or 0) * 1000 / 230,
            "i_sum": a + b + c,
            "i_n": sqrt(max(a * a + b * b + c * c - a * b - b * c - c * a, 0.0)),
        }
        return values

    def _totals(
        self, t: float, volts: tuple[float, float, float], kw: float, kvar: float, kva: float, pf: float
    ) -> dict[str, Value]:
        u1, u2, u3 = volts
        u12, u23, u31 = _line_to_line(u1, u2), _line_to_line(u2, u3), _line_to_line(u3, u1)
        return {
            "u12": u12,
            "u23": u23,
            "u31": u31,
            "u_avg": (u1 + u2 + u3) / 3,
            "ull_avg": (u12 + u23 + u31) / 3,
            "u_unbalance": 300 * max(abs(u - (u1 + u2 + u3) / 3) for u in volts) / (u1 + u2 + u3),
            "frequency": self.mains.frequency(t),
            "kw": kw,
            "kvar": kvar,
            "kva": kva,
            "pf": pf,
            "angle": degrees(atan(self._tan_phi)),
            "kw_demand": abs(kw) * 0.97,
            "kw_demand_max": self.power.base_kw + self.power.hump_kw,
            "hours": (t - EPOCH_S) / 3600,
        }

    def _energies(self, t: float) -> dict[str, Value]:
        made = self.power.kwh(t)
        main = self._kwh_0 + made
        forward, reverse = (self._other_kwh, main) if self._exports else (main, self._other_kwh)
        kvarh = self._kvarh_0 + made * self._tan_phi
        values: dict[str, Value] = {
            "kwh_import": forward,
            "kwh_export": reverse,
            "kwh_total": forward + reverse,
            "kwh_net": forward - reverse,
            "kvarh_import": kvarh,
            "kvarh_export": 0.0,
            "kvarh_total": kvarh,
            "kvah": main * sqrt(1 + self._tan_phi**2),
        }
        for index, share in enumerate(self._shares, 1):
            values[f"kwh_phase{index}"] = forward * share
            values[f"kwh_export_phase{index}"] = reverse * share
            values[f"kvarh_phase{index}"] = kvarh * share
            values[f"kvah_phase{index}"] = main * share * sqrt(1 + self._tan_phi**2)
        return values
