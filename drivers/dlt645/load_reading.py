"""Load records of a DL/T 645-2007 meter read back over a gap: which are asked for, and what they say of the points.

Some meters answer with the records from a time on, others only with that of the very minute. So what is asked for are the
times at which the meter records, up to its newest, and where it has nothing the next of them. Records carry their time: a late
answer moves no value.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from device_profiles.address_meters import Dlt645Load
from device_profiles.errors import DeviceRefused
from device_profiles.schema import Dlt645, Point
from drivers import bcd
from drivers.base import Recalled

from . import clock, load
from .planner import decode

_INTERVAL_MIN = 15
"""Minutes between two records where a meter does not say."""
_MOST_GAPS = 288
"""So many times in a row without a record, three days of quarter hours, are not bridged."""
Ask = Callable[[int, bytes], Awaitable[bytes]]
"""What stands under an identifier, with what follows it in the question. Raises DeviceError, LinkError."""


@dataclass(frozen=True, slots=True)
class LoadSeries:
    """Points of one class of load records."""

    number: int
    members: tuple[tuple[str, Dlt645, Dlt645Load], ...]

    def recalled(self, record: load.LoadRecord, t_ms: int) -> list[Recalled]:
        """What one record says of the points."""
        content = record.classes.get(self.number)
        if content is None:
            return []
        found: list[Recalled] = []
        for point, address, place in self.members:
            at, size = place.place
            found.append(Recalled(point, t_ms, decode(address, content[at : at + size])))
        return found


def series_of(points: Sequence[Point]) -> tuple[LoadSeries, ...]:
    """The series behind those points that stand in load records."""
    groups: dict[int, list[tuple[str, Dlt645, Dlt645Load]]] = {}
    for point in points:
        if isinstance(point.address, Dlt645) and isinstance(record := point.address.record, Dlt645Load):
            groups.setdefault(record.load, []).append((point.id, point.address, record))
    return tuple(LoadSeries(number, tuple(members)) for number, members in groups.items())


async def read(
    series: LoadSeries, ask: Ask, tz: str, since_ms: int, until_ms: int
) -> AsyncIterator[Sequence[Recalled]]:
    """The records of a series within [since, until), oldest first, one a portion. A meter that has none gives nothing.

    A question that brings no record is an empty portion: others may use the line before the next one.
    """
    found = await _newest(series, ask)
    yield ()
    if found is None:
        return
    number, newest = found
    step = timedelta(minutes=await _interval(series, ask))
    most = load.MOST_BLOCKS if number else load.MOST_OF_ALL
    last = min(newest, clock.local_time((until_ms - 1) / 1000, tz))
    at = _next(clock.local_time(since_ms / 1000, tz), step, is_there=True)
    gaps = 0
    while at <= last and gaps < _MOST_GAPS:
        blocks = min(most, 1 + (last - at) // step)
        data = await ask(load.from_time(number), load.request(blocks, at))
        records = [record for record in load.records(data, number) if record.local >= at]
        gaps = 0 if records else gaps + 1
        if not records:
            yield ()
        for record in records:
            t_ms = round(clock.utc_s(record.local, tz) * 1000)
            if t_ms < until_ms and (recalled := series.recalled(record, t_ms)):
                yield recalled
        at = _next(max((record.local for record in records), default=at), step)


async def _newest(series: LoadSeries, ask: Ask) -> tuple[int, datetime] | None:
    """(class or 0 for all, time) of the newest record, of the class where the meter gives it alone; None where it has none."""
    for number in (series.number, 0):
        try:
            data = await ask(load.newest(number), load.request(1))
        except DeviceRefused:
            continue
        newest = max(
            (record.local for record in load.records(data, number) if series.number in record.classes), default=None
        )
        if newest is not None:
            return number, newest
    return None


async def _interval(series: LoadSeries, ask: Ask) -> int:
    try:
        digits = bcd.number((await ask(load.interval_of_class(series.number), b""))[:2], 0)
    except DeviceRefused:
        digits = None
    return int(digits) if digits is not None and 1 <= digits <= 1440 else _INTERVAL_MIN


def _next(local: datetime, step: timedelta, *, is_there: bool = False) -> datetime:
    """The next time, in steps from midnight, at which a record is made; `is_there`: this very time may be one."""
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    steps = (local - midnight) / step
    whole = int(steps) if is_there and steps == int(steps) else int(steps) + 1
    return min(midnight + whole * step, midnight + timedelta(days=1))
