"""The physical worlds behind the registers: a three-phase load or generator, an inverter, a drive, a room, a relay board.

A world is a function of time and seed (plus what was written to it), in plain units: V, A, kW, kvar, kVA, kWh, Hz, degrees
Celsius. It knows nothing of registers.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import sqrt
from typing import Protocol

from firmware_sim.curves import DayHump, Power, Wave
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


class ThreePhase(ReadOnly):
    """A three-phase load (or, with `exports`, a generator) as a meter sees it.

    Powers, currents, apparent and reactive power agree in every snapshot; energies are the exact integrals of the powers.
    """

    def __init__(
        self,
        seed: int,
        *,
        rated_kw: float = 40.0,
        day: DayHump | None = None,
        base: float = 0.22,
        exports: bool = False,
        utc_offset_s: float = 0.0,
    ) -> None:
        rng = random.Random(seed)
        self.mains = Mains.seeded(rng)
        hump = day or DayHump(
            6.5, 20.0, seed, weekend=0.3, spread=0.15, ripple=0.08, cycles=31, utc_offset_s=utc_offset_s
        )
        sign = -1.0 if exports else 1.0
        self.power = Power(base * rated_kw, (0.9 - base) * rated_kw, hump, Wave.wandering(rng, 0.04 * rated_kw), sign)
        one, two = rng.uniform(0.29, 0.36), rng.uniform(0.30, 0.36)
        self._shares = (one, two, 1 - one - two)
        self._tan_phi = rng.uniform(0.2, 0.45)
        self._exports = exports
        self._first_kwh = rng.uniform(8_000, 90_000)
        self._other_kwh = rng.uniform(0, 40)
        self._first_kvarh = rng.uniform(2_000, 20_000)
        self._thd = Wave.wandering(rng, 0.6)

    def snapshot(self, t: float) -> dict[str, Value]:
        volts = self.mains.volts(t)
        total_kw = self.power.kw(t)
        kwh = abs(self.power.kwh(t))
        forward, reverse = self._first_kwh + kwh, self._other_kwh
        if self._exports:
            forward, reverse = reverse, forward
        values: dict[str, Value] = {
            "u12": _line_to_line(volts[0], volts[1]),
            "u23": _line_to_line(volts[1], volts[2]),
            "u31": _line_to_line(volts[2], volts[0]),
            "frequency": self.mains.frequency(t),
            "kwh_import": forward,
            "kwh_export": reverse,
            "kwh_total": forward + reverse,
            "kvarh_import": self._first_kvarh + kwh * self._tan_phi,
            "kvarh_export": 0.0,
            "kvarh_total": self._first_kvarh + kwh * self._tan_phi,
            "kvah": (self._first_kwh + kwh) * sqrt(1 + self._tan_phi**2),
            "thd_u": 2.1 + self._thd.value(t),
            "thd_i": 7.5 + 3 * self._thd.value(t),
            "zero": 0.0,
        }
        pf = 1 / sqrt(1 + self._tan_phi**2)
        signed_pf = pf if total_kw >= 0 else -pf
        amps = []
        for index, (u, share) in enumerate(zip(volts, self._shares, strict=True), 1):
            kw = total_kw * share
            kva = abs(kw) / pf
            amps.append(kva * 1000 / u)
            values |= {
                f"u{index}": u,
                f"i{index}": amps[-1],
                f"kw{index}": kw,
                f"kvar{index}": abs(kw) * self._tan_phi,
                f"kva{index}": kva,
                f"pf{index}": signed_pf,
                f"angle{index}": 20.0,
            }
        a, b, c = amps
        values |= {
            "u_avg": sum(volts) / 3,
            "ull_avg": (
                _line_to_line(volts[0], volts[1])
                + _line_to_line(volts[1], volts[2])
                + _line_to_line(volts[2], volts[0])
            )
            / 3,
            "i_avg": (a + b + c) / 3,
            "i_sum": a + b + c,
            "i_n": sqrt(max(a * a + b * b + c * c - a * b - b * c - c * a, 0.0)),
            "kw": total_kw,
            "kvar": abs(total_kw) * self._tan_phi,
            "kva": abs(total_kw) / pf,
            "pf": signed_pf,
            "kw_demand": abs(total_kw) * 0.97,
            "kw_demand_max": abs(self.power.base_kw + self.power.hump_kw),
        }
        return values
