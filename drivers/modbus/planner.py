"""The cheapest reads that bring a set of points: fewest bytes on the wire, gaps and waiting counted as bytes.

The plan is an optimum of the cost model, not a heuristic: points sorted by register, without those inside another, are split
into runs by dynamic programming (an optimal set of blocks can always be ordered that way, because what lies between two
points of a block is in the block anyway). A point is never split. Limits, forbidden ranges and registers that the device was
found to refuse are never in a block. A point that the device itself refuses gets a batch of its own with `suspect` set: the
poller asks it at a slow pace or not at all, and it spoils no other read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.base import Batch, Limits, LinkConfig

from .block import Block, Place, build_block, locate_point
from .codec import BIT_TABLES

LINE_OVERHEAD = 13
"""Characters of a request (8) and of a reply without its data (unit, function, byte count, CRC: 5)."""
TCP_OVERHEAD = 21 + 2 * 54
"""Bytes of request (12) and reply without data (9), each in an Ethernet, IPv4 and TCP header."""
ANSWER_DELAY_S = 0.005
"""What the quickest devices on a line need before they answer; counted as characters that could have been sent meanwhile."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a read costs on a link, in bytes: `request` a request, and its data."""

    request: float

    def block(self, table: str, count: int) -> float:
        return self.request + data_bytes(table, count)


def data_bytes(table: str, count: int) -> int:
    """Bytes that `count` bits or registers take in a reply."""
    return (count + 7) // 8 if table in BIT_TABLES else 2 * count


def cost_of(link: LinkConfig) -> Cost:
    """The cost model of a link. On a line, time is bytes: two silences (3.5 characters, 1.75 ms above 19200 baud) and waiting."""
    if not link.is_line:
        return Cost(TCP_OVERHEAD)
    char_s = link.bits_per_char / link.baud
    gap_s = 3.5 * char_s if link.baud <= 19200 else 0.00175
    return Cost(LINE_OVERHEAD + (2 * gap_s + ANSWER_DELAY_S + link.turnaround_s) / char_s)


def plan(
    points: Sequence[Point], limits: Limits, layout: Mapping[str, Any] | None, link: LinkConfig
) -> tuple[Batch, ...]:
    """The cheapest batches, in the order of their registers. Raises ConfigError for a point that can never be read."""
    known = layout or {}
    absent: list[str] = []
    tables: dict[str, list[Place]] = {}
    for point in points:
        place = locate_point(point, layout)
        if place is None:
            absent.append(point.id)
        else:
            tables.setdefault(place.table, []).append(place)
    batches: list[Batch] = []
    for table in sorted(tables):
        rules = _Rules.of(table, limits, known)
        batches += [_batch(block, link) for block in _blocks(tables[table], rules, cost_of(link), known)]
    if absent:
        batches.append(Batch(tuple(absent), suspect=True))
    return tuple(batches)


def _batch(block: Block, link: LinkConfig) -> Batch:
    head, tail = (8, 5) if link.is_line else (12, 9)
    return Batch(
        points=tuple(place.point.id for place in block.places),
        request_bytes=head,
        reply_bytes=tail + data_bytes(block.table, block.count),
        plan=block,
        suspect=block.suspect,
    )


@dataclass(frozen=True, slots=True)
class _Rules:
    """What one table of one device can bear."""

    table: str
    most: int
    max_gap: int | None
    forbidden: tuple[Span, ...]
    refused: tuple[Span, ...]
    cuts: tuple[int, ...]

    @classmethod
    def of(cls, table: str, limits: Limits, layout: Mapping[str, Any]) -> _Rules:
        most = limits.max_bits if table in BIT_TABLES else limits.max_registers
        forbidden = tuple((first, last) for name, first, last in limits.forbidden if name == table)
        refused = tuple((first, last) for first, last in layout.get("refused", {}).get(table, ()))
        cuts = tuple(layout.get("cuts", {}).get(table, ()))
        return cls(table, most, limits.max_gap, forbidden, refused, cuts)

    def check(self, place: Place) -> None:
        """Raises ConfigError for a point that no request may bring."""
        size = place.last - place.first + 1
        if place.last > 0xFFFF:
            raise ConfigError(
                f"registers {place.first} to {place.last} end after 65535", where=place.point.id, next_step="check reg"
            )
        if size > self.most and not touches(place.first, place.last, self.refused):
            why = (
                "its parts are too far apart to be read at once"
                if place.point.parts
                else "it is longer than a request may be"
            )
            raise ConfigError(
                f"{size} registers where the device allows {self.most}: {why}",
                where=place.point.id,
                next_step="raise limits.max_registers, or split the point",
            )
        if touches(place.first, place.last, self.forbidden):
            raise ConfigError(
                f"registers {place.first} to {place.last} of the {self.table} table are forbidden to be read",
                where=place.point.id,
                next_step="remove the point, or correct limits.forbidden",
            )

    def bridges(self, first: int, last: int) -> bool:
        """True when the hole from `first` to `last` (empty when last < first) may be read along."""
        if any(first <= cut <= last + 1 for cut in self.cuts):
            return False
        if last < first:
            return True
        if self.max_gap is not None and last - first + 1 > self.max_gap:
            return False
        return not touches(first, last, self.forbidden) and not touches(first, last, self.refused)


def touches(first: int, last: int, spans: Iterable[Span]) -> bool:
    """True when any of the spans shares a register with first..last."""
    return any(first <= span_last and span_first <= last for span_first, span_last in spans)


def _blocks(places: Sequence[Place], rules: _Rules, cost: Cost, layout: Mapping[str, Any]) -> list[Block]:
    for place in places:
        rules.check(place)
    suspects = [place for place in places if touches(place.first, place.last, rules.refused)]
    sound = sorted(
        (place for place in places if not touches(place.first, place.last, rules.refused)),
        key=lambda place: (place.first, -place.last),
    )
    outer = _without_inner(sound)
    blocks = []
    waiting = list(sound)
    for first, last in _runs([(place.first, place.last) for place in outer], rules, cost):
        inside = [place for place in waiting if first <= place.first and place.last <= last]
        waiting = [place for place in waiting if not (first <= place.first and place.last <= last)]
        blocks.append(build_block(rules.table, first, last, inside, layout))
    alone: dict[Span, list[Place]] = {}
    for place in suspects:
        alone.setdefault((place.first, place.last), []).append(place)
    blocks += [
        build_block(rules.table, first, last, group, layout, suspect=True)
        for (first, last), group in sorted(alone.items())
    ]
    return blocks


def _without_inner(places: Sequence[Place]) -> list[Place]:
    """Sorted places without those that lie inside another: begins and ends then both grow."""
    outer: list[Place] = []
    for place in places:
        if not outer or place.last > outer[-1].last:
            outer.append(place)
    return outer


def _runs(spans: Sequence[Span], rules: _Rules, cost: Cost) -> list[Span]:
    """Splits sorted spans into the cheapest runs; of equally cheap ones the fewest requests."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    begin: list[int] = []
    for end, (_, last) in enumerate(spans):
        choice: tuple[float, int] | None = None
        at = end
        start = end
        while start >= 0:
            count = last - spans[start][0] + 1
            if count > rules.most:
                break
            candidate = (best[start][0] + cost.block(rules.table, count), best[start][1] + 1)
            if choice is None or candidate < choice:
                choice, at = candidate, start
            if start == 0 or not rules.bridges(spans[start - 1][1] + 1, spans[start][0] - 1):
                break
            start -= 1
        assert choice is not None  # a single span always fits: rules.check saw to it
        best.append(choice)
        begin.append(at)
    runs: list[Span] = []
    end = len(spans)
    while end > 0:
        start = begin[end - 1]
        runs.append((spans[start][0], spans[end - 1][1]))
        end = start
    return runs[::-1]
