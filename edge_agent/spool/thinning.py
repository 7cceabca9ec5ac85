"""What goes when the spool is full, and in which order. Decides; the database deletes.

1. Telemetry is thinned: of each device the first message of every quarter hour stays, beginning with the oldest, up to the
   middle of what is held, so that a long outage keeps its outline.
2. Telemetry is dropped, oldest first.
3. Readings for aligned marks are dropped, oldest first.
4. Events are dropped, oldest first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.spool.entry import Kind

WINDOW_MS = 15 * 60 * 1000
SCAN = 512
"""Rows looked at in one step."""

Scan = Callable[[int, int, int], list[tuple[int, str, int, int]]]
"""(kind, after_key, limit) -> (key, device, t_ms, size) in key order: `Database.scan`."""


@dataclass(frozen=True, slots=True)
class Victims:
    """Messages to delete together. `sizes` is the sum of their payloads."""

    keys: list[int]
    times: list[int]
    sizes: int
    reason: str


class Thinner:
    """Remembers how far it has thinned and dropped, so that no row is looked at twice for nothing."""

    def __init__(self) -> None:
        self._thinned = 0
        self._kept: dict[str, int] = {}
        self._dropped = dict.fromkeys(Kind, 0)

    def next(self, scan: Scan, middle_key: int) -> Victims | None:
        """The next messages to go, or None when nothing is left. Telemetry beyond `middle_key` is not thinned."""
        while self._thinned < middle_key:
            rows = scan(Kind.TELEMETRY, self._thinned, SCAN)
            if not rows:
                break
            rows = [row for row in rows if row[0] <= middle_key]
            self._thinned = rows[-1][0] if rows else middle_key
            victims = [row for row in rows if not self._is_first(row[1], row[2] // WINDOW_MS)]
            if victims:
                return _victims(victims, "spool full, thinned")
        for kind in Kind:
            rows = scan(kind, self._dropped[kind], SCAN)
            if rows:
                self._dropped[kind] = rows[-1][0]
                return _victims(rows, "spool full")
        return None

    def _is_first(self, device: str, window: int) -> bool:
        if self._kept.get(device) == window:
            return False
        self._kept[device] = window
        return True

    def rewind(self) -> None:
        """Begins again from the oldest: older messages have come back by salvage."""
        self._thinned = 0
        self._kept.clear()
        self._dropped = dict.fromkeys(Kind, 0)


def _victims(rows: list[tuple[int, str, int, int]], reason: str) -> Victims:
    return Victims([row[0] for row in rows], [row[2] for row in rows], sum(row[3] for row in rows), reason)
