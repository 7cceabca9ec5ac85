"""What a device reports by itself: when it is asked to, and whether its reports are believed. Pure."""

import pytest

from device_profiles.reading import PointFault, Sample
from edge_agent.polling.subscription import FIRST_RETRY_S, LAST_RETRY_S, Subscription, audit_period_s
from tests.edge_agent.poll_world import device, point


def made(step: float | None = 0.5) -> Subscription:
    points = [point("x_a"), point("x_b"), point("x_mark", align=900), point("x_never", cov=False)]
    return Subscription(device("m", points), lambda point: step)


def test_what_is_offered() -> None:
    assert [point.id for point in made().offered] == ["x_a", "x_b"]
    assert audit_period_s(point("x_a", poll=10, heartbeat=300)) == 150
    assert audit_period_s(point("x_a", poll=200, heartbeat=300)) == 200, "never more often than it would be polled"


def test_retries_grow_and_start_again_after_a_quiet_time() -> None:
    box, now, pauses = made(), 0.0, []
    for _ in range(10):
        assert box.is_due(now)
        box.begin(now)
        box.took({"x_a"})
        began = now
        while not box.is_due(now):
            now += 1
        pauses.append(now - began)
    assert pauses[:3] == [FIRST_RETRY_S, 2 * FIRST_RETRY_S, 4 * FIRST_RETRY_S]
    assert pauses[-1] == LAST_RETRY_S
    box.begin(now)
    assert box.took({"x_a", "x_b"})
    now += 3 * LAST_RETRY_S
    assert not box.is_due(now)
    box.lost({"x_a"})
    assert box.is_due(now)
    box.begin(now)
    assert box.is_due(now + FIRST_RETRY_S)


@pytest.mark.parametrize(
    ("said", "read", "step", "is_missed"),
    [
        (20.0, 20.5, 0.5, False),
        (20.0, 20.6, 0.5, True),
        (20.0, 20.9, None, False),
        (20.0, 22.0, None, True),
        (True, False, 0.0, True),
        (1, 2, 0.0, True),
        ("a", "a", 0.0, False),
        (float("nan"), float("nan"), 0.5, False),
        (20.0, float("nan"), 0.5, True),
        (Sample(20.0, "GoodLocalOverride"), 20.0, 0.5, False),
        (Sample(20.0), Sample(None, "BadSensorFailure"), 0.5, True),
        (PointFault("BadSensorFailure"), 20.0, 0.5, True),
        (20.0, PointFault("BadTimeout"), 0.5, False),
    ],
)
def test_an_audit_finds_what_was_not_reported(said, read, step, is_missed) -> None:  # type: ignore[no-untyped-def]
    box = made(step)
    box.begin(0)
    box.took({"x_a", "x_b"})
    box.hear("x_a", said, 1)
    box.audit(("x_a",), (read,), 100)
    assert box.check(101) == (), "a report may still be on its way"
    assert box.check(103) == (("x_a",) if is_missed else ())
    assert box.missed == is_missed
    assert box.is_due(200) == is_missed


def test_a_report_that_comes_after_the_audit_is_no_missed_change() -> None:
    box = made()
    box.begin(0)
    box.took({"x_a", "x_b"})
    box.audit(("x_a",), (20.0,), 10)
    box.audit(("x_a",), (25.0,), 100)
    box.hear("x_a", 25.0, 101)
    assert box.check(110) == ()
    assert box.missed == 0
