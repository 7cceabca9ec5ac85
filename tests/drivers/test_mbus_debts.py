"""Which late M-Bus telegrams are ruled out by acknowledgements, and which are not yet."""

from __future__ import annotations

from drivers.mbus.debts import Debts

FORGET_S = 10.0


def owing(slave: int = 1, at: float = 100.0) -> Debts:
    debts = Debts(FORGET_S)
    debts.misses_telegram(slave, at)
    return debts


def acknowledge(debts: Debts, slave: int, now: float) -> None:
    debts.asks_acknowledgement(slave, now)
    debts.acknowledged(slave)


def test_one_acknowledgement_behind_a_missed_telegram_rules_it_out() -> None:
    debts = owing()
    assert debts.may_send_telegram(1, 101.0)
    acknowledge(debts, 1, 101.0)
    assert not debts.may_send_telegram(1, 101.5)


def test_an_acknowledgement_that_may_be_an_older_one_proves_nothing() -> None:
    debts = Debts(FORGET_S)
    debts.asks_acknowledgement(1, 99.0)  # did not come, and still may
    debts.asks_acknowledgement(2, 99.5)  # another slave's
    debts.misses_telegram(1, 100.0)
    for now in (101.0, 102.0):
        acknowledge(debts, 1, now)
        assert debts.may_send_telegram(1, now)
    acknowledge(debts, 1, 103.0)
    assert not debts.may_send_telegram(1, 103.0)


def test_what_came_in_time_leaves_nothing_over() -> None:
    debts = Debts(FORGET_S)
    debts.asks_acknowledgement(1, 98.0)
    debts.asks_acknowledgement(2, 99.0)
    debts.answered(2)
    debts.answered(1)
    debts.misses_telegram(1, 100.0)
    acknowledge(debts, 1, 101.0)
    assert not debts.may_send_telegram(1, 101.0)


def test_nothing_comes_after_so_long() -> None:
    assert owing(at=100.0).may_send_telegram(1, 109.0)
    assert not owing(at=100.0).may_send_telegram(1, 110.0)
    assert owing(1).do_others_owe(2, 105.0)
    assert not owing(1).do_others_owe(1, 105.0)
    assert not owing(1).do_others_owe(2, 111.0)


def test_those_who_owe_nothing_any_more_are_forgotten() -> None:
    debts = Debts(FORGET_S)
    for n in range(5000):
        debts.asks_acknowledgement(n, float(n))
    assert len(debts._slaves) <= 400
