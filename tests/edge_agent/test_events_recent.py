"""The last events for people on the box: each is shown once to one who looks again and again."""

from __future__ import annotations

from edge_agent.events.recent import MOST, Recent


def test_one_who_looks_again_gets_what_is_new() -> None:
    recent = Recent()
    recent.note("door-1", "access.granted", 5, {"card": "hmac:k1:ab"})
    begun = recent.after(None)
    assert begun == {"last": 1, "missed": 0, "events": []}
    recent.note("door-1", "access.denied", 6, {})
    recent.note("door-2", "access.granted", 7, {})
    found = recent.after(begun["last"], "door-1")
    assert [event["event"] for event in found["events"]] == ["access.denied"]
    assert recent.after(found["last"], "door-1")["events"] == []
    assert [event["device"] for event in recent.after(0)["events"]] == ["door-1", "door-1", "door-2"]


def test_what_has_gone_in_between_is_counted() -> None:
    recent = Recent()
    for number in range(MOST + 10):
        recent.note("door-1", "gate.pass", number, {})
    found = recent.after(2)
    assert (found["missed"], len(found["events"]), found["last"]) == (8, MOST, MOST + 10)
    assert recent.after(MOST + 10)["missed"] == 0


def test_an_agent_that_was_started_anew_begins_again() -> None:
    assert Recent().after(77) == {"last": 0, "missed": 0, "events": []}
