"""What goes when the spool is full, and in which order. Decides; the database deletes.

1. Telemetry is thinned: of each device the first message of every quarter hour stays, beginning with the oldest, up to the
   middle of what is held, so that a long outage keeps its outline.
2. Telemetry is dropped, oldest first.
3. Readings for aligned marks are dropped, oldest first.
4. Events are dropped, oldest first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge_agent.spool.entry import Kind

WINDOW_MS = 15 * 60 * 1000
SCAN = 512
"""Rows looked at in one step."""

Row = tuple[int, str, int, int]
"""(key, device, t_ms, size)."""
Scan = Callable[[int, int, int], list[Row]]
"""(kind, after_key, limit) -> rows in key order: `Database.scan`."""


@dataclass(frozen=True, slots=True)
class Victims:
    """Messages to delete together."""

    keys: list[int]
    times: list[int]
    reason: str


class Thinner:
    """Remembers how far it has thinned and dropped, so that no row is looked at twice for nothing."""

    def __init__(self) -> None:
        self._thinned = 0
        self._kept: dict[str, int] = {}
        self._dropped = dict.fromkeys(Kind, 0)

    def next(self, scan: Scan, middle_key: int, want_bytes: int) -> Victims | None:
        """The next messages to go, or None when nothing is left: one step, and no more of it than `want_bytes`.

        Telemetry beyond `middle_key` is not thinned.
        """
        while self._thinned < middle_key:
            rows = scan(Kind.TELEMETRY, self._thinned, SCAN)
            if not rows:
                break
            victims: list[Row] = []
            size = 0
            for row in rows:
                key, device, t_ms, row_size = row
                if key > middle_key or size >= want_bytes:
                    break
                self._thinned = key
                if not self._is_first(device, t_ms // WINDOW_MS):
                    victims.append(row)
                    size += row_size
            if victims:
                return _victims(victims, "spool full, thinned")
            if rows[0][0] > middle_key:
                break
        for kind in Kind:
            rows = scan(kind, self._dropped[kind], SCAN)
            if rows:
                victims = list(_up_to(rows, want_bytes))
                self._dropped[kind] = victims[-1][0]
                return _victims(victims, "spool full")
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


def _up_to(rows: list[Row], want_bytes: int) -> Iterator[Row]:
    size = 0
    for row in rows:
        yield row
        size += row[3]
        if size >= want_bytes:
            return


def _victims(rows: list[Row], reason: str) -> Victims:
    return Victims([row[0] for row in rows], [row[2] for row in rows], reason)
