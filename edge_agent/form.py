"""A batch compiled for the normaliser: its numbers as columns, so that a block passes in a handful of C-speed passes. Pure.

It owns the columns, the deadbands and the heartbeat slots of one batch. What a raw value means is `edge_agent.conversion`'s, and
its quality `edge_agent.normalize`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from operator import gt, itemgetter, sub
from typing import Any

from device_profiles.reading import Value
from device_profiles.schema import Point
from edge_agent.conversion import CLOSED, ROUND, Converter, Lane
from edge_agent.counters import Counter

_ALWAYS = -1.0
_NEVER_SENT = float("inf")
_NEVER = 2**63


class Beats:
    """The heartbeat slots of those points of a form that share one interval."""

    __slots__ = ("interval_ms", "numbers", "others", "slot")

    def __init__(self, interval_ms: int) -> None:
        self.interval_ms = interval_ms
        self.slot = -1
        self.numbers: list[int] = []
        self.others: list[int] = []


class Form:
    """A batch compiled: its numbers as columns, everything else one by one. Made by `Normalizer.prepare`, filled by `take`."""

    __slots__ = (
        "all_beat", "bands", "beat_from_ms", "beat_until_ms", "beats", "converters", "counters", "divs", "epoch", "factors",
        "highs", "is_unbanded", "last", "last_others", "lows", "muls", "names", "others", "pick", "points",
    )  # fmt: skip

    def __init__(self, points: tuple[str, ...], found: Sequence[Point], converters: Mapping[str, Converter]) -> None:
        self.points = points
        self.factors = [at for at, point in enumerate(found) if point.internal]
        shown = [(at, point) for at, point in enumerate(found) if not point.internal]
        numbers = [(at, point) for at, point in shown if converters[point.id].is_number]
        self.others = [(at, converters[point.id]) for at, point in shown if not converters[point.id].is_number]
        places = [at for at, _ in numbers]
        self.pick = None if len(places) == len(points) else _picker(places)
        self.names = tuple(point.id for _, point in numbers)
        self.converters = [converters[name] for name in self.names]
        self.bands = [_ALWAYS if point.deadband is None else point.deadband for _, point in numbers]
        self.is_unbanded = all(band == _ALWAYS for band in self.bands)
        self.counters: list[tuple[int, Counter]] = []
        self.beats = _beats_of(numbers, [point for _, point in shown if not converters[point.id].is_number])
        self.all_beat = len(self.beats) == 1 and len(self.beats[0].numbers) == len(numbers)
        self.epoch = -1
        self.forget()

    def forget(self) -> None:
        """The next reading takes the long way and all of it goes out."""
        count = len(self.names)
        self.lows, self.highs = [CLOSED.low] * count, [CLOSED.high] * count
        self.muls, self.divs = [1.0] * count, [1.0] * count
        self.last: list[float] = [_NEVER_SENT] * count
        self.last_others: list[Value | None] = [None] * len(self.others)
        self.beat_from_ms = self.beat_until_ms = 0
        for beats in self.beats:
            beats.slot = -1

    def places(self) -> dict[str, int]:
        """Where each shown point stands: a number at n, anything else at ~n."""
        return {name: at for at, name in enumerate(self.names)} | {
            converter.point.id: ~at for at, (_, converter) in enumerate(self.others)
        }

    def counter_at(self, at: int) -> Counter | None:
        """The counter that number `at` is."""
        return next((counter for place, counter in self.counters if place == at), None) if self.counters else None

    def set_lane(self, at: int, lane: Lane) -> None:
        """The interval in which number `at` is plain from now on."""
        self.lows[at], self.highs[at], self.muls[at], self.divs[at] = lane.low, lane.high, lane.mul, lane.div

    def plain_number(self, at: int, raw: object, counter: Counter | None) -> float | None:
        """Number `at` by the short formula; None where the long way has to say what it is."""
        if not isinstance(raw, int | float) or not self.lows[at] <= raw <= self.highs[at]:
            return None
        number = ((raw * self.muls[at] + ROUND) - ROUND) / self.divs[at]
        if counter is not None:
            if counter.is_pending or number < counter.last:
                return None
            counter.last = number
        return number

    def is_worth_sending(self, at: int, number: float) -> bool:
        """Number `at` moved by more than its deadband."""
        return abs(number - self.last[at]) > self.bands[at]

    def was_not_sent(self, at: int) -> None:
        """Number `at` had no good value now: the next one goes out, so that its heartbeat slot is not left empty."""
        self.last[at] = _NEVER_SENT


def _picker(places: Sequence[int]) -> Any:
    """Takes the values at these places out of a sequence, as a tuple."""
    if not places:
        return lambda raws: ()
    if len(places) == 1:
        return lambda raws: (raws[places[0]],)
    return itemgetter(*places)


def _beats_of(numbers: Sequence[tuple[int, Point]], others: Sequence[Point]) -> list[Beats]:
    by_interval: dict[int, Beats] = {}
    for at, (_, point) in enumerate(numbers):
        if point.heartbeat:
            interval_ms = max(1, round(point.heartbeat * 1000))
            by_interval.setdefault(interval_ms, Beats(interval_ms)).numbers.append(at)
    for at, point in enumerate(others):
        if point.heartbeat:
            interval_ms = max(1, round(point.heartbeat * 1000))
            by_interval.setdefault(interval_ms, Beats(interval_ms)).others.append(at)
    return list(by_interval.values())


def start_slots(form: Form, t_ms: int) -> list[Beats]:
    """The heartbeats for which this is the first reading in their slot; remembers for how long nothing else starts."""
    starting = []
    form.beat_from_ms, form.beat_until_ms = 0, _NEVER
    for beats in form.beats:
        slot = t_ms // beats.interval_ms
        if slot != beats.slot:
            beats.slot = slot
            starting.append(beats)
        form.beat_from_ms = max(form.beat_from_ms, slot * beats.interval_ms)
        form.beat_until_ms = min(form.beat_until_ms, (slot + 1) * beats.interval_ms)
    return starting


def send(form: Form, numbers: list[float], good: dict[str, Value], everything: bool, beating: list[Beats]) -> None:
    """Puts the numbers that are worth it into `good`."""
    if everything:
        good.update(zip(form.names, numbers, strict=True))
        form.last = numbers
        return
    moved = list(map(gt, map(abs, map(sub, numbers, form.last)), form.bands))
    for beats in beating:
        for at in beats.numbers:
            moved[at] = True
    count = moved.count(True)
    if count == len(moved):
        good.update(zip(form.names, numbers, strict=True))
        form.last = numbers
    elif count:
        good.update(compress(zip(form.names, numbers, strict=True), moved))
        form.last = [new if is_new else old for new, old, is_new in zip(numbers, form.last, moved, strict=True)]
