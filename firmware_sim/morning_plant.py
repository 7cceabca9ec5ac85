"""Lights, air and a meter that follow the people of the morning: nobody there, and all of it is off.

`Presence` is the one count that they share; it is moved by whoever moves the people.
"""

from __future__ import annotations

import time
import zlib
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace

from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.models import BacnetModel, Row
from firmware_sim.bacnet.models_air import AHU, VAV
from firmware_sim.bacnet.models_small import CIRCUITS, LIGHTING
from firmware_sim.bacnet.world import World
from firmware_sim.bacnet.worlds_air import OCCUPIED, UNOCCUPIED, AirHandler, VavBox
from firmware_sim.bacnet.worlds_small import LightingPanel
from firmware_sim.curves import Share
from firmware_sim.meter_counting import CountingMeter
from firmware_sim.worlds import ThreePhase

_MOST = 10_000
"""Changes that are remembered."""


class Presence:
    """How many of `room` people are in the building: a Share over time, with the changes that were."""

    def __init__(self, room: int, now: Callable[[], float] = time.time) -> None:
        self.room = room
        self.count = 0
        self._now = now
        self._times, self._shares, self._sums = [now()], [0.0], [0.0]

    def set(self, count: int) -> None:
        """From now on so many are there."""
        now = self._now()
        sum_ = self.integral(now)
        self.count = count
        for rows, new in ((self._times, now), (self._shares, count / self.room), (self._sums, sum_)):
            rows.append(new)
            del rows[:-_MOST]

    def value(self, t: float) -> float:
        at = bisect_right(self._times, t) - 1
        return self._shares[at] if at >= 0 else 0.0

    def integral(self, t: float) -> float:
        at = bisect_right(self._times, t) - 1
        return self._sums[at] + self._shares[at] * (t - self._times[at]) if at >= 0 else 0.0


class OfficeLights(LightingPanel):
    """Circuit by circuit as the rows of desks fill, and brighter with each of them."""

    def __init__(self, seed: int, utc_offset_s: float, present: Share) -> None:
        super().__init__(seed, utc_offset_s, CIRCUITS)
        self.crowd = present

    def step(self, t: float, dt: float) -> None:
        level = 60.0 + 40.0 * self.crowd.value(t)
        self.program.update((f"c{n}_level", level) for n in range(1, CIRCUITS + 1))
        super().step(t, dt)

    def _is_wanted(self, n: int, scene: int, t: float) -> bool:
        return self.crowd.value(t) * CIRCUITS > n - 1 if scene == 2 else super()._is_wanted(n, scene, t)


class OfficeAir(AirHandler):
    """Starts for the first and stops after the last; the boxes ask for the more pressure the more people there are."""

    def __init__(self, seed: int, utc_offset_s: float, present: Share) -> None:
        super().__init__(seed, utc_offset_s)
        self.crowd = present

    def step(self, t: float, dt: float) -> None:
        share = self.crowd.value(t)
        self.program |= {"enable": float(share > 0), "pressure_sp": 80.0 + 270.0 * share}
        super().step(t, dt)


class OfficeBox(VavBox):
    """Shut while nobody is there; then fresh air for each."""

    def __init__(self, seed: int, utc_offset_s: float, present: Share) -> None:
        super().__init__(seed, utc_offset_s)
        self.crowd = present

    def step(self, t: float, dt: float) -> None:
        self.program["occupancy"] = float(OCCUPIED if self.crowd.value(t) > 0 else UNOCCUPIED)
        super().step(t, dt)

    def _least_cfm(self, t: float, *, occupied: bool) -> float:
        return super()._least_cfm(t, occupied=occupied) + (400.0 * self.crowd.value(t) if occupied else 0.0)


def _unscheduled(prefix: str) -> tuple[Row, ...]:
    """The air handler's objects without the time schedule: people are its schedule, whenever somebody looks at the demo."""
    return tuple(row for row in AHU.rows(prefix) if row.kind != "SCH")


def controllers(present: Share, now: Callable[[], float], utc_offset_s: float) -> list[BacnetDevice]:
    """The controllers of lights, air handler and one VAV box, as on their network."""

    def device(id: str, model: BacnetModel, world: Callable[[int, float, Share], World], instance: int) -> BacnetDevice:
        own = replace(model, world=lambda seed, offset: world(seed, offset, present))
        return BacnetDevice(
            own, id=id, instance=instance, name=id, seed=zlib.crc32(id.encode()), now=now, utc_offset_s=utc_offset_s
        )

    return [
        device("lights-floor-2", LIGHTING, OfficeLights, 2502),
        device("ahu-floor-2", replace(AHU, rows=_unscheduled), OfficeAir, 1002),
        device("vav-floor-2", VAV, OfficeBox, 4102),
    ]


def office_meter(number: str, present: Share, now: Callable[[], float], utc_offset_s: float) -> CountingMeter:
    """The meter of that wing and its share of the chiller: 3 kW at night, 54 kW when all are there."""
    life = CountingMeter(number, "2007", now, utc_offset_s, began_s=now() - 90 * 86_400)
    life.world = ThreePhase(
        zlib.crc32(number.encode()), rated_kw=60.0, day=present, base=0.05, utc_offset_s=utc_offset_s
    )
    return life
