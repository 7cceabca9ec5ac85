"""What is read of a device together, and where that stands in the schedule of its link. Plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from device_profiles.schema import Point
from drivers.base import Batch
from edge_agent.form import Form
from edge_agent.polling.schedule import Entry

if TYPE_CHECKING:
    from edge_agent.polling.polled import Polled


class Group:
    """Points of a device that are read together: by one period, or at the marks of one alignment."""

    __slots__ = (
        "batches", "entry", "heard_at", "is_aligned", "is_audit", "is_care", "is_failing", "is_params", "is_suspect", "missing",
        "period_s", "points", "polled",
    )  # fmt: skip

    def __init__(self, polled: Polled, points: Sequence[Point], period_s: float, *, is_aligned: bool = False) -> None:
        self.polled = polled
        self.points = tuple(points)
        self.period_s = period_s
        self.is_aligned = is_aligned
        self.is_params = False
        self.is_suspect = False
        self.is_audit = False
        """Reads what the device reports by itself, to prove and to check it."""
        self.is_care = False
        """Reads nothing: looks after the subscription."""
        self.is_failing = False
        """The last read of it brought nothing."""
        self.batches: tuple[tuple[Batch, Form], ...] = ()
        self.missing: tuple[tuple[Batch, Form], ...] = ()
        """What the last read for a mark did not bring; the next try reads only that."""
        self.entry: Entry[Group] | None = None
        self.heard_at: float | None = None
        """When it was last read, monotonic."""
