"""Credit, resending and percentiles on a clock of the test's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.flight import RULES, Flight
from edge_agent.spool import Entry, Kind


def entry(seq: int, *, epoch: str = "E", size: int = 100) -> Entry:
    return Entry(seq, epoch, seq, Kind.TELEMETRY, "meter-01", "", 0, b"x" * size)


def test_credit_by_messages_and_bytes() -> None:
    flight = Flight()
    for seq in range(RULES.credit_msgs):
        assert flight.has_credit
        flight.add(entry(seq), 0.0, is_late=False)
    assert not flight.has_credit
    assert flight.acknowledge("E", [(0, 9)], 1.0) == 10
    assert flight.has_credit
    flight = Flight()
    flight.add(entry(1, size=RULES.credit_bytes), 0.0, is_late=False)
    assert not flight.has_credit


def test_late_messages_leave_room_for_live_ones() -> None:
    flight = Flight()
    seq = 0
    while flight.has_late_credit:
        seq += 1
        flight.add(entry(seq), 0.0, is_late=True)
    assert seq == RULES.credit_msgs * 3 // 4
    assert flight.has_credit


def test_resend_times_double_up_to_ten_minutes() -> None:
    flight = Flight()
    sent = flight.add(entry(1), 0.0, is_late=False)
    assert flight.due(14.9) == []
    assert flight.due(15.0) == [sent]
    now, waits = 15.0, []
    for _ in range(10):
        flight.again(sent, now)
        waits.append(sent.due_at - now)
        now = sent.due_at
    for tries, wait in enumerate(waits, start=2):
        expected = min(600.0, 15.0 * 2 ** (tries - 1))
        assert 0.75 * expected <= wait <= 1.25 * expected


def test_slow_ingest_is_given_four_times_its_p99() -> None:
    flight = Flight()
    for seq in range(200):
        flight.add(entry(seq), float(seq), is_late=False)
        flight.acknowledge("E", [(seq, seq)], seq + 10.0)
    assert flight.ack_p99_s == pytest.approx(10.0)
    assert flight.add(entry(999), 1000.0, is_late=False).due_at == pytest.approx(1040.0)


def test_what_was_sent_twice_says_nothing_about_time() -> None:
    flight = Flight()
    sent = flight.add(entry(1), 0.0, is_late=False)
    flight.again(sent, 100.0)
    flight.acknowledge("E", [(1, 1)], 101.0)
    assert flight.ack_p99_s == 0.0


def test_lost_ones_are_due_at_once() -> None:
    flight = Flight()
    first, second = (flight.add(entry(seq), 0.0, is_late=False) for seq in (1, 2))
    first.is_lost = True
    flight.expire(1.0, everything=False)
    assert flight.due(1.0) == [first]
    flight.expire(1.0, everything=True)
    assert flight.due(1.0) == [first, second]


def test_just_acknowledged_is_not_taken_for_new() -> None:
    """A page read from the disk a moment ago still holds it."""
    flight = Flight()
    one = entry(1)
    flight.add(one, 0.0, is_late=False)
    flight.acknowledge("E", [(1, 1)], 1.0)
    assert one in flight
    assert entry(2) not in flight
    for seq in range(10, 3000):
        flight.add(entry(seq), 0.0, is_late=False)
        flight.acknowledge("E", [(seq, seq)], 1.0)
    assert one not in flight


@given(
    st.lists(
        st.tuples(st.sampled_from("AB"), st.integers(0, 30), st.booleans()), max_size=40, unique_by=lambda x: x[:2]
    ),
    st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 40), st.integers(0, 10**9)), max_size=10),
)
def test_books_balance(sent: list[tuple[str, int, bool]], receipts: list[tuple[str, int, int]]) -> None:
    """Whatever ranges come, what is left is what was sent and not named, and the sums are of exactly that."""
    flight = Flight(replace(RULES, credit_msgs=10_000))
    for epoch, seq, is_late in sent:
        flight.add(entry(seq, epoch=epoch, size=seq), 0.0, is_late=is_late)
    left = {(epoch, seq) for epoch, seq, _ in sent}
    for epoch, low, width in receipts:
        named = {number for number in left if number[0] == epoch and low <= number[1] <= low + width}
        assert flight.acknowledge(epoch, [(low, low + width)], 1.0) == len(named)
        left -= named
    assert {(one.entry.epoch, one.entry.seq) for one in flight} == left
    assert (flight.msgs, flight.bytes) == (len(left), sum(seq for _, seq in left))
