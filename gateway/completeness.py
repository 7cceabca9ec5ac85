"""Which readings of a range are there, which are missing for a known reason, and which are simply missing.

Pure over what store and inventory say; slots come from the meta: `align_s` marks, or `hb_s` heartbeats.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.inventory import Inventory
from gateway.stores.base import Store


@dataclass(frozen=True, slots=True)
class PointCompleteness:
    """Slots of one point: `slots` = `filled` + explained + `missing`."""

    pt: str
    slot_s: int
    slots: int
    filled: int
    explained: dict[str, int]
    """Slots by reason."""
    missing: int
    missing_slots: tuple[tuple[int, int], ...]
    """Ranges [from, to) in ms of neighbouring missing slots."""


@dataclass(frozen=True, slots=True)
class DeviceCompleteness:
    """The sum over the points of a device."""

    site: str
    dev: str
    t0_ms: int
    t1_ms: int
    points: tuple[PointCompleteness, ...]

    @property
    def slots(self) -> int:
        return sum(point.slots for point in self.points)

    @property
    def filled(self) -> int:
        return sum(point.filled for point in self.points)

    @property
    def explained(self) -> int:
        return sum(sum(point.explained.values()) for point in self.points)

    @property
    def missing(self) -> int:
        return sum(point.missing for point in self.points)


class Completeness:
    """Answers for one device at a time."""

    def __init__(self, store: Store, inventory: Inventory) -> None:
        self._store = store
        self._inventory = inventory

    async def device(self, site: str, dev: str, t0_ms: int, t1_ms: int) -> DeviceCompleteness | None:
        """None for a device that the inventory does not know."""
        raise NotImplementedError
