"""Frozen values of a DL/T 645-2007 meter read back: which records fall into a gap, and what they say of the points.

Records count backwards from the newest, so that their numbers move by one whenever the meter freezes again. Each record's time
is therefore read on both sides of its values. Source: DL/T 645-2007, annex A, table A.6 (frozen data).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from device_profiles.address_meters import Dlt645Record
from device_profiles.errors import DeviceRefused
from device_profiles.schema import Dlt645, Point
from drivers.base import Recalled

from . import clock
from .planner import decode

_TRIES = 3
Read = Callable[[int], Awaitable[bytes]]
"""What stands under an identifier. Raises DeviceError, LinkError."""


@dataclass(frozen=True, slots=True)
class Series:
    """Points whose records were frozen at the same times."""

    time_di: int
    count: int
    members: tuple[tuple[str, Dlt645, Dlt645Record], ...]


def series_of(points: Sequence[Point]) -> tuple[Series, ...]:
    """The series behind those points that have a frozen record."""
    groups: dict[int, list[tuple[str, Dlt645, Dlt645Record]]] = {}
    for point in points:
        if isinstance(point.address, Dlt645) and isinstance(record := point.address.record, Dlt645Record):
            groups.setdefault(record.time, []).append((point.id, point.address, record))
    return tuple(
        Series(time_di, min(record.count for *_, record in members), tuple(members))
        for time_di, members in groups.items()
    )


async def read(series: Series, ask: Read, tz: str, since_ms: int, until_ms: int) -> AsyncIterator[Sequence[Recalled]]:
    """The records of a series within [since, until), oldest first, one a portion. A meter that has none gives nothing.

    Times are read one an empty portion: others may use the line before the next one.
    """
    wanted: list[tuple[int, int]] = []
    for number in range(1, series.count + 1):
        t_ms = await _time(series, ask, tz, number)
        yield ()
        if t_ms is None or t_ms < since_ms:
            break
        if t_ms < until_ms:
            wanted.append((number, t_ms))
    moved = 0
    for number, t_ms in reversed(wanted):
        for _ in range(_TRIES):
            found = await _values(series, ask, number + moved, t_ms)
            if await _time(series, ask, tz, number + moved) == t_ms:
                if found:
                    yield found
                break
            moved += 1


async def _time(series: Series, ask: Read, tz: str, number: int) -> int | None:
    """UTC ms of a record; None where there is none."""
    try:
        local = clock.record_time(await ask(series.time_di + number - 1))
    except DeviceRefused:
        return None
    return None if local is None else round(clock.utc_s(local, tz) * 1000)


async def _values(series: Series, ask: Read, number: int, t_ms: int) -> list[Recalled]:
    answers: dict[int, bytes | None] = {}
    found: list[Recalled] = []
    for point, address, record in series.members:
        di = record.value + number - 1
        if di not in answers:
            try:
                answers[di] = await ask(di)
            except DeviceRefused:
                answers[di] = None
        data = answers[di]
        if data is not None:
            at = record.item * address.size
            found.append(Recalled(point, t_ms, decode(address, data[at : at + address.size])))
    return found
