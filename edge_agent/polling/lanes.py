"""Which lanes of an open link are in use, since when, and which reads wait for one. Pure: every call is told the time.

Devices of one lane wait for each other: all of a serial line, one BACnet device, one MS/TP network behind a router. A link whose
session is no `CanParallel` is one lane with one worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from drivers.base import Address, CanParallel, Session

_SPARE_FROM = 4
"""With so many workers, one of them takes commands and people's reads only."""
_PROBE_PART = 4
"""One in so many workers may ask a dead device at the same time."""

Waiting = TypeVar("Waiting")


class Lanes(Generic[Waiting]):
    """Of one session; `Waiting` is what is parked until its lane is free."""

    def __init__(self, session: Session) -> None:
        self._parallel = session if isinstance(session, CanParallel) else None
        self.workers = 1 if self._parallel is None else max(1, self._parallel.parallel)
        self.most_probes = max(1, self.workers // _PROBE_PART)
        """Probes of dead devices at the same time."""
        self.most = self.workers - (self.workers >= _SPARE_FROM)
        """Lanes in use beyond which nothing is read."""
        self.since: dict[str, float] = {}
        """The lanes in use, and when each was taken or something was heard on it last."""
        self._parked: dict[str, list[Waiting]] = {}

    @property
    def has_spare_probes(self) -> bool:
        """Probes have workers of their own share here and cost the others nothing."""
        return self.workers >= _PROBE_PART

    def of(self, address: Address) -> str:
        """The lane of a device, as the session knows it now."""
        return "" if self._parallel is None else self._parallel.lane(address)

    def is_free(self, address: Address) -> bool:
        return self.of(address) not in self.since

    def free(self, lane: str) -> Sequence[Waiting]:
        """The lane is free again; gives what has waited for it, to be put in order with everything else that is due."""
        self.since.pop(lane, None)
        return self._parked.pop(lane, ())

    def park(self, lane: str, waiting: Waiting) -> None:
        """Waits for a lane in use."""
        self._parked.setdefault(lane, []).append(waiting)

    def parked(self) -> Iterator[Waiting]:
        """All that wait, taken out."""
        parked, self._parked = self._parked, {}
        return (each for waiting in parked.values() for each in waiting)

    def longest_s(self, now: float) -> float:
        """For how long the oldest thing under way was not heard of."""
        return max((now - since for since in self.since.values()), default=0.0)
