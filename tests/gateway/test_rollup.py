"""Days of the site's zone, summaries that merge, and counters that add up."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import ConfigError
from gateway import rollup
from gateway.stores.base import Step

HOUR = 3_600_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Asia/Shanghai", "2026-11-22T12:00:00+08:00", 24),
        ("Europe/Berlin", "2026-03-29T12:00:00+02:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00:00+01:00", 25),
        ("America/Santiago", "2026-09-06T12:00:00-03:00", 23),  # midnight does not exist
        ("America/Havana", "2026-11-01T12:00:00-05:00", 25),  # midnight comes twice
        ("Australia/Lord_Howe", "2026-04-05T12:00:00+10:30", 24.5),
        ("Asia/Kathmandu", "2026-11-22T12:00:00+05:45", 24),
    ],
)
def test_a_day_is_as_long_as_the_clock_says(zone: str, day: str, hours: float) -> None:
    start, end = rollup.day_edges(ms(day), zone)
    assert end - start == hours * HOUR
    assert start % rollup.QUARTER_MS == 0
    tz = ZoneInfo(zone)
    assert datetime.fromtimestamp(start / 1000, tz).date() == datetime.fromisoformat(day).date()
    assert datetime.fromtimestamp((start - 1) / 1000, tz).date() < datetime.fromisoformat(day).date()


@given(
    st.sampled_from(["UTC", "Asia/Shanghai", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia"]),
    st.integers(1_300_000_000_000, 2_200_000_000_000),
    st.integers(1, 40 * 24 * HOUR),
    st.sampled_from([Step(900), Step(60), Step(1, "day"), Step(3, "day"), Step(1, "month")]),
)
def test_edges_cover_the_range(zone: str, t0: int, length: int, step: Step) -> None:
    step = Step(step.every, step.unit, zone)
    edges = rollup.edges(t0, t0 + length, step)
    assert edges[0] <= t0 < edges[1]
    assert edges[-2] < t0 + length <= edges[-1]
    assert all(a < b for a, b in pairwise(edges))


@pytest.mark.parametrize(
    "step", [Step(0), Step(-5), Step(1, "day", "Mars/Base"), Step(1, "day", "../etc/passwd"), Step(1)]
)
def test_steps_that_cannot_be(step: Step) -> None:
    with pytest.raises(ConfigError):
        rollup.edges(0, 10**12, step)


series = st.lists(
    st.tuples(st.integers(0, 10**7), st.floats(-1e6, 1e6)), min_size=1, max_size=60, unique_by=lambda s: s[0]
)


@given(series, st.sampled_from([1000, 60_000, 900_000]))
def test_merged_summaries_are_the_summary(samples: list[tuple[int, float]], width: int) -> None:
    samples = sorted(samples)
    whole, parts = rollup.summarise(samples), rollup.merge(rollup.cut(samples, width))
    assert (parts.n, parts.min, parts.max, parts.first, parts.last) == (
        whole.n,
        whole.min,
        whole.max,
        whole.first,
        whole.last,
    )
    assert parts.sum == pytest.approx(whole.sum, abs=1e-3)
    assert parts.rise == pytest.approx(whole.rise, abs=1e-3)


@given(series, st.sampled_from([60_000, 900_000]))
def test_what_a_counter_rose_is_lost_in_no_bucket(samples: list[tuple[int, float]], width: int) -> None:
    samples = sorted((t, abs(value)) for t, value in samples)
    rose = sum(max(0.0, b - a) for (_, a), (_, b) in pairwise(samples))
    found = rollup.buckets(rollup.cut(samples, width), list(range(0, 10**7 + 2 * width, width)), counter=True)
    assert sum(bucket.increase or 0 for bucket in found) == pytest.approx(rose, abs=1e-3)


def test_a_reading_just_after_the_mark_ends_the_quarter_before_it() -> None:
    q = rollup.QUARTER_MS
    samples = [(300, 100.0), (q + 300, 103.0), (2 * q + 300, 107.0)]
    first, second, third = rollup.buckets(rollup.cut(samples, q), [0, q, 2 * q, 3 * q], counter=True)
    assert first.increase == pytest.approx(3.0 * (q - 300) / q)
    assert second.increase == pytest.approx(4.0, abs=0.01)
    assert third.increase == pytest.approx(0.0, abs=0.01)


def test_an_outage_is_shared_out_and_shows_that_it_is() -> None:
    q = rollup.QUARTER_MS
    samples = [(0, 10.0), (4 * q, 50.0)]
    found = rollup.buckets(rollup.cut(samples, q), [n * q for n in range(6)], counter=True)
    assert [(bucket.n, bucket.increase) for bucket in found] == [(1, 10.0), (0, 10.0), (0, 10.0), (0, 10.0), (1, 0.0)]
    assert found[1].mean is None


def test_a_fall_of_a_counter_is_no_rise() -> None:
    found = rollup.buckets(rollup.cut([(0, 990.0), (10, 5.0), (20, 7.0)], 1000), [0, 1000], counter=True)
    assert found[0].increase == 2.0


def test_text_is_counted_only() -> None:
    (bucket,) = rollup.buckets(rollup.cut([(1, "a"), (2, "b")], 1000), [0, 1000], counter=False)
    assert (bucket.n, bucket.first, bucket.last, bucket.mean, bucket.increase) == (2, "a", "b", None, None)
