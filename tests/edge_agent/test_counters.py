"""A counter's fall is a roll-over, an exchange or an error, and exactly one event says which."""

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.counters import DOUBTFUL, Counter, Fall, wrap_of
from tests.edge_agent.poll_world import point


def after(values: list[float], *, wrap: float | None = None) -> tuple[list[str], list[Fall]]:
    """Statuses and events of these readings in turn."""
    counter = Counter("energy", wrap)
    told = [counter.take(value) for value in values]
    return [status for status, _ in told], [fall for _, fall in told if fall is not None]


def test_a_counter_that_grows_says_nothing() -> None:
    assert after([1.0, 1.0, 2.5, 1e9]) == (["", "", "", ""], [])


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=50))
def test_growth_of_any_size_is_good(values: list[float]) -> None:
    statuses, falls = after(sorted(values))
    assert set(statuses) == {""}
    assert falls == []


def test_roll_over_near_the_wrap() -> None:
    statuses, falls = after([999_998.0, 3.5, 4.0], wrap=1_000_000.0)
    assert statuses == ["", "", ""]
    assert falls == [
        Fall("counter.rolled_over", {"point": "energy", "before": 999_998.0, "after": 3.5, "wrap": 1_000_000.0})
    ]


@pytest.mark.parametrize("values", [[500_000.0, 3.5], [999_998.0, 600_000.0]])
def test_a_fall_that_the_wrap_does_not_explain_is_doubtful(values: list[float]) -> None:
    assert after(values, wrap=1_000_000.0) == (["", DOUBTFUL], [])


def test_one_low_reading_is_a_glitch() -> None:
    statuses, falls = after([5000.0, 0.0, 5001.0, 5002.0])
    assert statuses == ["", DOUBTFUL, "", ""]
    assert falls == [Fall("counter.error", {"point": "energy", "before": 5000.0, "after": 0.0, "reason": "glitch"})]


def test_a_new_meter_begins_at_about_nothing_and_stays_there() -> None:
    statuses, falls = after([5000.0, 0.2, 0.3, 0.4, 0.5])
    assert statuses == ["", DOUBTFUL, DOUBTFUL, "", ""]
    assert falls == [
        Fall("counter.exchanged", {"point": "energy", "before": 5000.0, "after": 0.2, "reason": "restarted"})
    ]


def test_a_fall_to_elsewhere_that_stays_is_an_error_and_counting_goes_on() -> None:
    statuses, falls = after([5000.0, 3000.0, 3001.0, 3002.0, 3003.0])
    assert statuses == ["", DOUBTFUL, DOUBTFUL, "", ""]
    assert falls == [Fall("counter.error", {"point": "energy", "before": 5000.0, "after": 3000.0, "reason": "fell"})]


def test_readings_that_go_on_falling_are_not_believed() -> None:
    statuses, falls = after([5000.0, 4000.0, 3000.0, 2000.0, 1000.0])
    assert set(statuses[1:]) == {DOUBTFUL}
    assert falls == []


def test_rounding_of_the_device_is_no_fall() -> None:
    assert after([81231.50, 81231.49, 81231.51]) == (["", "", ""], [])


@pytest.mark.parametrize("value", [0.0, 4000.0, 9000.0])
def test_another_device_is_an_exchange_whichever_way_the_value_goes(value: float) -> None:
    counter = Counter("energy", None)
    counter.take(5000.0)
    counter.identity_changed()
    assert counter.is_pending
    status, fall = counter.take(value)
    assert status == ""
    assert fall == Fall(
        "counter.exchanged", {"point": "energy", "before": 5000.0, "after": value, "reason": "identity"}
    )
    assert not counter.is_pending


def test_a_device_never_read_before_has_no_exchange() -> None:
    counter = Counter("energy", None)
    counter.identity_changed()
    assert counter.take(5.0) == ("", None)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.integers(0, 30))
def test_a_restart_changes_no_decision(values: list[float], at: int) -> None:
    straight = Counter("energy", 1e6)
    resumed = Counter("energy", 1e6)
    for index, value in enumerate(values):
        if index == at:
            resumed = Counter("energy", 1e6, json.loads(json.dumps(resumed.memory())))
        assert straight.take(value) == resumed.take(value)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
def test_every_event_is_about_a_fall_that_was_seen(values: list[float]) -> None:
    _, falls = after(values, wrap=1e6)
    for fall in falls:
        assert fall.data["before"] in values
        assert fall.data["after"] in values
        assert fall.data["after"] < fall.data["before"]


@pytest.mark.parametrize(
    ("keys", "slope", "wrap"),
    [
        ({"type": "u32", "scale": "0.01"}, Fraction(1, 100), 42949672.96),
        ({"type": "bcd32", "scale": "0.01"}, Fraction(1, 100), 1_000_000.0),
        ({"type": "f32"}, Fraction(1), None),
        ({"type": "f32", "wrap": Decimal(100_000_000)}, Fraction(1, 1000), 100_000.0),
        ({"type": "u32", "scale": "0.1", "wrap": Decimal(1000)}, Fraction(1, 10_000), 1.0),
        ({"type": "u16", "bits": "0..7"}, Fraction(1), None),
    ],
)
def test_where_a_counter_starts_again(keys: dict[str, object], slope: Fraction, wrap: float | None) -> None:
    assert wrap_of(point("x_energy", **keys), slope) == wrap
