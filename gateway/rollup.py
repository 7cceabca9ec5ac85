"""Takes samples together: summaries of a span of time, buckets in a site's time zone, and what a counter rose in each. Pure.

A summary keeps the first and the last reading with their times, so that summaries of neighbouring spans merge exactly and the
rise of a counter over any span needs nothing but summaries. Days and months follow the zone's clock: 23, 24 or 25 hours.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

from device_profiles.errors import ConfigError
from device_profiles.vocabulary import vocabulary
from gateway.stores.base import Bucket, FieldValue, Step

QUARTER_MS = 900_000
"""Every time zone's offset is a multiple of it, so a day is a whole number of quarter hours everywhere."""
MOST_BUCKETS = 100_000


class Summary(msgspec.Struct, array_like=True, gc=False):
    """The samples of one point in a span. `rise` is the sum of the rises between them: a fall (a counter that rolled over or was
    exchanged) counts as none, because the events say what it was. Text has no sum, min and max."""

    n: int
    sum: float | None
    min: float | None
    max: float | None
    first_t: int
    first: FieldValue
    last_t: int
    last: FieldValue
    rise: float = 0.0


def is_whole_quarters(step: Step) -> bool:
    """True when every bucket of this step is made of whole quarter hours."""
    return step.unit != "second" or step.every % Step.QUARTER_S == 0


def near_ms(step: Step) -> int:
    """How far around a range a counter's neighbouring reading is looked for."""
    return 2 * 86_400_000 if is_whole_quarters(step) else 3_600_000


def is_counter(point: str) -> bool:
    """True when the vocabulary says that the point only ever counts up."""
    known = vocabulary().point(point)
    return known is not None and known.counter


def summarise(samples: Sequence[tuple[int, FieldValue]]) -> Summary:
    """The summary of samples in order of time; at least one."""
    (first_t, first), (last_t, last) = samples[0], samples[-1]
    numbers = [value for _, value in samples if not isinstance(value, str)]
    if len(numbers) != len(samples):
        return Summary(len(samples), None, None, None, first_t, first, last_t, last)
    rise = sum(b - a for a, b in pairwise(numbers) if b > a)
    return Summary(len(samples), sum(numbers), min(numbers), max(numbers), first_t, first, last_t, last, rise)


def merge(summaries: Sequence[Summary]) -> Summary:
    """One summary of several that follow each other in time; at least one."""
    if len(summaries) == 1:
        return summaries[0]
    first, last = summaries[0], summaries[-1]
    n = sum(part.n for part in summaries)
    sums = [part.sum for part in summaries if part.sum is not None]
    if len(sums) != len(summaries):
        return Summary(n, None, None, None, first.first_t, first.first, last.last_t, last.last)
    between = sum(_delta(a, b) for a, b in pairwise(summaries))
    return Summary(
        n,
        sum(sums),
        min(part.min for part in summaries if part.min is not None),
        max(part.max for part in summaries if part.max is not None),
        first.first_t,
        first.first,
        last.last_t,
        last.last,
        sum(part.rise for part in summaries) + between,
    )


def _delta(before: Summary, after: Summary) -> float:
    """The rise of a counter between the end of one span and the beginning of the next."""
    if isinstance(before.last, str) or isinstance(after.first, str):
        return 0.0
    return max(0.0, after.first - before.last)


def cut(samples: Iterable[tuple[int, FieldValue]], width_ms: int) -> list[Summary]:
    """Summaries of samples in order of time, one a span of `width_ms` that holds any."""
    found: list[Summary] = []
    span: list[tuple[int, FieldValue]] = []
    end = -1
    for sample in samples:
        if sample[0] >= end:
            if span:
                found.append(summarise(span))
            span, end = [], sample[0] - sample[0] % width_ms + width_ms
        span.append(sample)
    if span:
        found.append(summarise(span))
    return found


def buckets(summaries: Sequence[Summary], edges: Sequence[int], *, counter: bool) -> list[Bucket]:
    """Buckets between `edges` of summaries in order of time, each lying within one bucket; those outside serve the counter only.

    What a counter rose between two readings is spread evenly over the time between them, so that neighbouring buckets share it
    and together lose nothing. Buckets without samples and without such a share are absent.
    """
    inside: dict[int, list[Summary]] = {}
    for summary in summaries:
        index = bisect_right(edges, summary.first_t) - 1
        if 0 <= index < len(edges) - 1:
            inside.setdefault(index, []).append(summary)
    shares = _shares(summaries, edges) if counter else {}
    found = []
    for index in sorted(inside.keys() | shares.keys()):
        start, end = edges[index], edges[index + 1]
        if index not in inside:
            found.append(Bucket(start, end, 0, None, None, None, None, None, shares[index]))
            continue
        whole = merge(inside[index])
        mean = None if whole.sum is None else whole.sum / whole.n
        increase = sum(part.rise for part in inside[index]) + shares.get(index, 0.0) if counter else None
        found.append(Bucket(start, end, whole.n, mean, whole.min, whole.max, whole.first, whole.last, increase))
    return found


def _shares(summaries: Sequence[Summary], edges: Sequence[int]) -> dict[int, float]:
    """What counters rose between summaries, by bucket."""
    shares: dict[int, float] = {}
    for before, after in pairwise(summaries):
        delta, a, b = _delta(before, after), before.last_t, after.first_t
        if b <= a:
            continue
        index = max(0, bisect_right(edges, a) - 1)
        while index < len(edges) - 1 and edges[index] < b:
            overlap = min(b, edges[index + 1]) - max(a, edges[index])
            if overlap > 0:
                shares[index] = shares.get(index, 0.0) + delta * (overlap / (b - a))
            index += 1
    return shares


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """The time zone of this name. Raises ConfigError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(
            f"time zone {name!r} is unknown", next_step="use a name of the IANA database, such as Asia/Shanghai"
        ) from error


def edges(t0_ms: int, t1_ms: int, step: Step) -> list[int]:
    """The bounds of the buckets that cover [t0, t1): the first at or before t0, the last at or after t1.

    Raises ConfigError for a step below 1, an unknown zone or more than 100,000 buckets.
    """
    if step.every < 1:
        raise ConfigError(f"a step of {step.every} {step.unit}s is not valid", next_step="use a step of at least 1")
    if step.unit == "second":
        width = step.every * 1000
        if (t1_ms - t0_ms) // width > MOST_BUCKETS:
            raise _too_many(step)
        start = t0_ms - t0_ms % width
        return [*range(start, t1_ms, width), start + -(-(t1_ms - start) // width) * width]
    tz = zone(step.tz)
    day = datetime.fromtimestamp(t0_ms / 1000, tz).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if step.unit == "month":
        index = (day.year * 12 + day.month - 1) // step.every * step.every
    else:
        index = day.toordinal() // step.every * step.every
    found: list[int] = []
    while not found or found[-1] < t1_ms:
        if len(found) > MOST_BUCKETS:
            raise _too_many(step)
        found.append(_local_ms(_month(index) if step.unit == "month" else datetime.fromordinal(index), tz))
        index += step.every
    return found


def _month(index: int) -> datetime:
    return datetime(index // 12, index % 12 + 1, 1)  # noqa: DTZ001 (local by purpose; _local_ms gives it its zone)


def _local_ms(local: datetime, tz: ZoneInfo) -> int:
    """The first moment of a local day. Where the clock skips midnight that is the skip, where midnight comes twice the first."""
    return int(local.replace(tzinfo=tz, fold=0).timestamp() * 1000)


def day_edges(t_ms: int, tz: str) -> tuple[int, int]:
    """The local day that holds `t_ms`: [start, end) in UTC ms."""
    start, end = edges(t_ms, t_ms + 1, Step(1, "day", tz))[:2]
    return start, end


def _too_many(step: Step) -> ConfigError:
    return ConfigError(
        f"more than {MOST_BUCKETS} buckets of {step.every} {step.unit}s",
        next_step="use a wider step or a shorter range",
    )


def utc_text(t_ms: int) -> str:
    """`2026-11-22T08:00:00.000Z`."""
    return datetime.fromtimestamp(t_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
