"""What is read when: periods, marks, order of service, and the pace at which dead devices are asked."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.polling.schedule import PROBE_SHARE, Entry, Probes, Schedule

UTC = 1_795_356_000_000
"""A whole quarter hour, at monotonic second 0 of these tests."""
QUARTER_MS = 900_000


def utc_ms(now: float) -> int:
    return UTC + int(now * 1000)


def played(
    schedule: Schedule[str], *, until: float, cost_s: float = 0.0, begin: float = 0.0, step: float = 0.0
) -> list[tuple[float, str, int | None, bool]]:
    """Serves the schedule on a line where each read takes `cost_s`; `step` moves UTC. Gives (begin, owner, mark, late)."""
    served = []
    now = begin
    while now < until:
        entry = schedule.pop(now, utc_ms(now + step))
        if entry is None:
            pause = schedule.wait_s(now, utc_ms(now + step))
            assert pause > 0, "nothing to do and nothing to wait for"
            now += max(pause, 0.001)
            continue
        served.append((now, entry.owner, entry.mark_ms, entry.is_late))
        now += cost_s
        schedule.done(entry, now, utc_ms(now + step))
    return served


def test_the_first_read_is_at_once_and_the_others_on_the_devices_own_place() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", "meter-a", 10, 0.0)
    times = [at for at, *_ in played(schedule, until=60)]
    assert times[0] == 0
    assert 0 < times[1] <= 10
    assert [second - first for first, second in pairwise(times[1:])] == pytest.approx([10] * 5)


def test_devices_of_one_period_are_spread_over_it_the_same_way_every_time() -> None:
    def places() -> list[float]:
        schedule: Schedule[str] = Schedule()
        for n in range(200):
            schedule.add(f"meter-{n}", f"meter-{n}", 60, 0.0)
        return sorted(at for at, *_ in played(schedule, until=120) if at >= 60)

    spread = places()
    assert spread == places()
    busiest = max(sum(start <= at < start + 6 for at in spread) for start in range(60, 120, 6))
    assert busiest <= 40, "a tenth of the period holds not much more than a tenth of the reads"


@given(
    periods=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    cost_ms=st.integers(0, 100),
)
def test_a_line_with_room_serves_every_turn_in_time(periods: list[int], cost_ms: int) -> None:
    cost_s = cost_ms / 1000
    schedule: Schedule[str] = Schedule()
    for at, period_s in enumerate(periods):
        schedule.add(f"{at}", f"meter-{at}", period_s, 0.0)
    served = played(schedule, until=200, cost_s=cost_s)
    for at, period_s in enumerate(periods):
        times = [when for when, owner, *_ in served if owner == f"{at}"][1:]
        gaps = [second - first for first, second in pairwise(times)]
        assert all(gap == pytest.approx(period_s, abs=2 * cost_s * len(periods) + 0.01) for gap in gaps)
    assert not any(late for *_, late in served)
    assert (schedule.late, schedule.skipped) == (0, 0)


def test_a_line_that_is_too_slow_counts_what_it_misses_and_goes_on_fairly() -> None:
    schedule: Schedule[str] = Schedule()
    for n in range(4):
        schedule.add(f"{n}", f"meter-{n}", 2, 0.0)
    served = played(schedule, until=400, cost_s=2)
    reads = [sum(owner == f"{n}" for _, owner, *_ in served) for n in range(4)]
    assert max(reads) - min(reads) <= 1
    assert schedule.late > 100
    assert schedule.skipped > 100


def test_what_is_under_way_is_not_given_out_again() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", "meter-a", 1, 0.0)
    entry = schedule.pop(0.0, UTC)
    assert entry is not None
    assert schedule.pop(50.0, utc_ms(50)) is None
    schedule.done(entry, 50.0, utc_ms(50))
    assert schedule.pop(52.0, utc_ms(52)) is entry


def test_the_shorter_period_goes_first_and_marks_before_all() -> None:
    schedule: Schedule[str] = Schedule()
    aligned = schedule.add_aligned("energy", 900, 0.0)
    assert schedule.pop(0.0, UTC) is aligned
    schedule.done(aligned, 0.0, UTC)
    schedule.add("slow", "meter-a", 600, 899.0)
    schedule.add("fast", "meter-b", 5, 899.5)
    order = []
    while (entry := schedule.pop(900.5, utc_ms(900.5))) is not None:
        order.append(entry.owner)
    assert order == ["energy", "fast", "slow"]


def test_marks_are_multiples_in_utc_and_the_first_read_stands_for_none() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add_aligned("energy", 900, 10.0)
    served = played(schedule, begin=10.0, until=3000, cost_s=0.5)
    assert [(round(at), mark) for at, _, mark, _ in served] == [
        (10, None), (900, UTC + QUARTER_MS), (1800, UTC + 2 * QUARTER_MS), (2700, UTC + 3 * QUARTER_MS),
    ]  # fmt: skip


def test_the_last_meter_of_a_slow_line_is_read_for_its_mark_after_it() -> None:
    schedule: Schedule[str] = Schedule()
    for n in range(60):
        schedule.add_aligned(f"{n}", 900, 0.0)
    served = played(schedule, until=1000, cost_s=0.5)
    late = [(at, mark) for at, _, mark, _ in served if mark]
    assert len(late) == 60
    assert {mark for _, mark in late} == {UTC + QUARTER_MS}
    assert late[-1][0] == pytest.approx(929.5)


def test_a_mark_that_passed_long_ago_is_not_made_up() -> None:
    schedule: Schedule[str] = Schedule()
    entry = schedule.add_aligned("energy", 900, 0.0)
    schedule.done(entry_of(schedule, 0.0), 0.0, UTC)
    assert schedule.pop(1500.0, utc_ms(1500)) is None
    assert schedule.skipped == 1
    assert schedule.pop(1800.0, utc_ms(1800)) is entry
    assert entry.mark_ms == UTC + 2 * QUARTER_MS


def entry_of(schedule: Schedule[str], now: float) -> Entry[str]:
    entry = schedule.pop(now, utc_ms(now))
    assert entry is not None
    return entry


def test_a_failed_mark_is_tried_again_for_the_same_mark_until_half_way_to_the_next() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add_aligned("energy", 900, 0.0)
    schedule.done(entry_of(schedule, 0.0), 0.0, UTC)
    tries = []
    now = 900.0
    while now < 1799:
        entry = schedule.pop(now, utc_ms(now))
        if entry is None:
            now += max(0.01, min(schedule.wait_s(now, utc_ms(now)), 100))
            continue
        tries.append(now)
        assert entry.mark_ms == UTC + QUARTER_MS
        assert schedule.retry(entry, now)
    gaps = [round(second - first) for first, second in pairwise(tries)]
    assert gaps == [2, 4, 8, 16, 32, 64, 128]
    assert schedule.skipped == 1


def test_a_periodic_read_is_tried_again_only_where_its_next_turn_is_further_away() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("fast", "a", 3, 0.0)
    assert not schedule.retry(entry_of(schedule, 0.0), 0.0)
    schedule.add("slow", "b", 10, 0.0)
    entry = entry_of(schedule, 0.0)
    assert schedule.retry(entry, 0.0)
    assert schedule.pop(1.9, utc_ms(1.9)) is None
    assert schedule.pop(2.0, utc_ms(2)) is entry
    assert schedule.retry(entry, 2.0)
    assert schedule.pop(6.0, utc_ms(6)) is entry
    assert not schedule.retry(entry, 6.0)


def test_a_read_that_is_hastened_comes_now_and_not_twice() -> None:
    schedule: Schedule[str] = Schedule()
    first = schedule.add("a", "a", 100, 0.0)
    schedule.done(entry_of(schedule, 0.0), 0.0, UTC)
    sooner = schedule.hasten(first, 1.0)
    assert schedule.pop(1.0, utc_ms(1)) is sooner
    schedule.done(sooner, 1.0, utc_ms(1))
    assert len(list(schedule)) == 1


@pytest.mark.parametrize("step_s", [-7200.0, -1800.0, 1800.0, 56 * 365 * 86_400.0])
def test_a_step_of_utc_moves_the_marks_and_makes_up_none(step_s: float) -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add_aligned("energy", 900, 0.0)
    played(schedule, until=100)
    served = played(schedule, begin=100, until=2000, step=step_s)
    for at, _, mark, _ in served:
        assert mark is not None
        assert mark % QUARTER_MS == 0
        assert 0 <= utc_ms(at + step_s) - mark <= 1000
    assert len(served) == 2


def test_while_utc_is_not_known_there_are_no_marks() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add_aligned("energy", 900, 0.0)
    schedule.done(entry_of(schedule, 0.0), 0.0, UTC)
    assert schedule.pop(900.0, utc_ms(900), marks=False) is None
    assert schedule.wait_s(900.0, utc_ms(900), marks=False) == math.inf
    assert schedule.pop(901.0, utc_ms(901)) is not None


def test_a_removed_read_does_not_come_even_when_it_was_under_way() -> None:
    schedule: Schedule[str] = Schedule()
    waiting = schedule.add("a", "a", 1, 0.0)
    running = schedule.add_aligned("b", 900, 0.0)
    assert schedule.has_marks
    assert schedule.pop(0.0, UTC) in (waiting, running)
    schedule.remove(waiting)
    schedule.remove(running)
    schedule.done(running, 0.0, UTC)
    assert not schedule.has_marks
    assert schedule.pop(1e6, UTC) is None


def test_after_an_outage_everything_is_due_and_nothing_is_late() -> None:
    schedule: Schedule[str] = Schedule()
    for n in range(3):
        schedule.add(f"{n}", f"meter-{n}", 5, 0.0)
    played(schedule, until=20)
    schedule.restart(500.0)
    entries = [schedule.pop(500.0, utc_ms(500)) for _ in range(3)]
    assert all(entry is not None and not entry.is_late for entry in entries)


def test_a_dead_device_is_asked_at_growing_intervals() -> None:
    probes: Probes[str] = Probes(0.0)
    probes.add("a", 0.0)
    asked = []
    now = 0.0
    while now < 300:
        if probes.pop(now, math.inf) is None:
            now += max(0.01, probes.wait_s(now))
            continue
        asked.append(round(now))
        probes.done("a", now, 0.05)
    assert asked == [5, 15, 35, 75, 135, 195, 255]
    probes.remove("a")
    assert probes.wait_s(now) == math.inf


@settings(max_examples=30)
@given(dead=st.integers(1, 30), cost_ms=st.integers(10, 1000))
def test_probes_keep_to_their_share_of_a_busy_link(dead: int, cost_ms: int) -> None:
    cost_s = cost_ms / 1000
    probes: Probes[int] = Probes(0.0)
    for n in range(dead):
        probes.add(n, 0.0)
    now, spent = 0.0, 0.0
    asked: dict[int, int] = {}
    while now < 1200:
        owner = probes.pop(now, idle_s=0.0)
        if owner is None:
            now += max(0.2, probes.wait_s(now))
            continue
        now += cost_s
        spent += cost_s
        probes.done(owner, now, cost_s)
        asked[owner] = asked.get(owner, 0) + 1
    assert spent <= PROBE_SHARE * now + cost_s
    expected = PROBE_SHARE * 1200 / cost_s / dead
    assert len(asked) == dead or expected < 2
    assert max(asked.values()) - min(asked.values()) <= 4, "each gets its turn"


def test_on_an_idle_link_nobody_waits_longer_than_a_minute() -> None:
    probes: Probes[int] = Probes(0.0)
    for n in range(10):
        probes.add(n, 0.0)
    last = dict.fromkeys(range(10), 0.0)
    worst = 0.0
    now = 0.0
    while now < 1200:
        owner = probes.pop(now, idle_s=5.0)
        if owner is None:
            now += 0.05
            continue
        worst = max(worst, now - last[owner])
        now += 1.0
        last[owner] = now
        probes.done(owner, now, 1.0)
    assert worst <= 70
