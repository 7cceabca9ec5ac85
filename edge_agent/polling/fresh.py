"""What a point shows now and how old that is: for interlocks and preconditions, and for people. Asks nobody; no I/O.

A value that stayed within its deadband is not published again, but it was heard: its age counts from the last time the device
said it, not from the last message. A subscribed point is heard with each change and each audit read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from device_profiles.reading import Value


class Fresh(NamedTuple):
    """`value` None is no usable value. `status` is an OPC UA status name, `Good` for a good value; `age_s` in seconds."""

    value: Value | None
    age_s: float
    status: str


class Published(Protocol):
    """The part of the publisher that is needed here."""

    def latest_of(self, device_id: str, point: str) -> tuple[Value | None, int, str] | None: ...


class Heard(Protocol):
    """The part of a poller that is needed here."""

    def heard_ago_s(self, device_id: str, point: str) -> float | None: ...


class FreshValues:
    """`fresh(device_id, point)` over all devices of the agent."""

    def __init__(
        self, published: Published, pollers: Callable[[], Iterable[Heard]], wall_ms: Callable[[], int]
    ) -> None:
        self._published = published
        self._pollers = pollers
        self._wall_ms = wall_ms

    def __call__(self, device_id: str, point: str) -> Fresh | None:
        """None for a point that was not heard yet, or that nobody knows."""
        said = self._published.latest_of(device_id, point)
        if said is None:
            return None
        value, t_ms, status = said
        age_s = max(0.0, (self._wall_ms() - t_ms) / 1000.0)
        for poller in self._pollers():
            heard_s = poller.heard_ago_s(device_id, point)
            if heard_s is not None:
                age_s = heard_s
        return Fresh(value, age_s, status)
