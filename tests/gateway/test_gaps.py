"""A gap is where nothing usable is stored; its reason is said where somebody knows it."""

from gateway.answers import Gap
from gateway.gaps import gaps_of
from gateway.inventory import StateChange
from gateway.stores.base import QualityRow

MIN = 60_000


def bad(t: int, sc: str = "BadTimeout") -> QualityRow:
    return QualityRow("hq", "m", "p", t, 2, sc)


def good(t: int) -> QualityRow:
    return QualityRow("hq", "m", "p", t, 0, "Good")


def test_a_regular_series_has_none() -> None:
    times = list(range(0, 60 * MIN, 5 * MIN))
    assert gaps_of(times, [], [], slot_s=300, t0_ms=0, t1_ms=60 * MIN) == []


def test_silence_is_a_gap_after_two_and_a_half_slots() -> None:
    times = [0, 5 * MIN, 17 * MIN, 30 * MIN]
    assert gaps_of(times, [], [], slot_s=300, t0_ms=0, t1_ms=35 * MIN) == [
        Gap(a=17 * MIN, b=30 * MIN, reason="no data")
    ]


def test_before_the_first_and_after_the_last_sample() -> None:
    found = gaps_of([30 * MIN], [], [], slot_s=300, t0_ms=0, t1_ms=60 * MIN)
    assert found == [Gap(a=0, b=30 * MIN, reason="no data"), Gap(a=30 * MIN, b=60 * MIN, reason="no data")]


def test_a_known_reason_wins_over_silence() -> None:
    rows = [bad(6 * MIN), bad(21 * MIN), good(30 * MIN)]
    found = gaps_of([0, 5 * MIN, 30 * MIN], rows, [], slot_s=300, t0_ms=0, t1_ms=35 * MIN)
    assert found == [Gap(a=6 * MIN, b=30 * MIN, reason="BadTimeout")]


def test_samples_inside_a_told_gap_do_not_split_it() -> None:
    found = gaps_of([0, 7 * MIN], [bad(6 * MIN), good(8 * MIN)], [], slot_s=300, t0_ms=0, t1_ms=9 * MIN)
    assert found == [Gap(a=6 * MIN, b=8 * MIN, reason="BadTimeout")]


def test_a_device_down_since_before_the_range_and_still_down() -> None:
    states = [StateChange(-90 * MIN, "down", "BadTimeout", None)]
    assert gaps_of([], [], states, slot_s=300, t0_ms=0, t1_ms=10 * MIN) == [
        Gap(a=0, b=10 * MIN, reason="down BadTimeout")
    ]


def test_disabled_says_its_note_and_ends_with_the_state() -> None:
    states = [StateChange(MIN, "disabled", None, "rewiring"), StateChange(4 * MIN, "ok", None, None)]
    found = gaps_of([0, 5 * MIN], [], states, slot_s=300, t0_ms=0, t1_ms=6 * MIN)
    assert found == [Gap(a=MIN, b=4 * MIN, reason="disabled rewiring")]


def test_without_a_slot_only_told_gaps_count() -> None:
    assert gaps_of([], [], [], slot_s=None, t0_ms=0, t1_ms=MIN) == []
