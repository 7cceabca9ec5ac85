"""Who may speak to a listening link, and who is named to an engineer: bounded, and in one log line a second."""

from __future__ import annotations

import pytest
import structlog

from drivers.admission import Admission
from drivers.base import Address, LinkConfig, ListenLink, WireCount


class Clock:
    """Seconds, by hand."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def admission(clock: Clock) -> tuple[Admission, WireCount]:
    counts = WireCount()
    link = LinkConfig(
        id="push", kind="http-listen", host="0.0.0.0", port=8090, listen=ListenLink(allow=("10.0.0.0/8",))
    )
    return Admission(link, counts, clock=clock), counts


def test_unknown_devices_are_kept_by_number_and_address_and_the_oldest_makes_room() -> None:
    clock = Clock()
    door, counts = admission(clock)
    door.stranger("A1", "10.0.0.1", {"pushver": "2.4.1"})
    for number in range(1000):
        door.stranger(f"B{number}", "10.0.0.2")
        door.stranger("A1", "10.0.0.3")
    assert len(counts.strangers) == 32
    newest = counts.strangers[-1]
    assert (newest.who, newest.peer, newest.count, newest.facts) == ("A1", "10.0.0.3", 1001, {"pushver": "2.4.1"})
    assert counts.errors["unknown_device"] == 2001


def test_addresses_that_are_not_allowed_are_named_without_crowding_devices_out() -> None:
    door, counts = admission(Clock())
    for number in range(5):
        assert not door.enter("192.168.1.7")
        assert not door.enter(f"192.168.2.{number}")
    assert [(each.who, each.peer, each.count) for each in counts.strangers if each.peer == "192.168.1.7"] == [
        ("", "192.168.1.7", 5)
    ]
    assert door.strangers == {}


def test_a_flood_of_serial_numbers_is_a_line_a_second() -> None:
    clock = Clock()
    door, _ = admission(clock)
    with structlog.testing.capture_logs() as lines:
        for number in range(5000):
            clock.s = number / 1000
            door.stranger(f"S{number}", "10.0.0.9")
            door.refuse("wrong_secret", "10.0.0.9")
    assert len([line for line in lines if line["event"] == "unknown_device"]) == 5
    assert len(lines) == 10


def test_a_device_that_was_not_named_in_the_flood_is_named_later() -> None:
    clock = Clock()
    door, _ = admission(clock)
    with structlog.testing.capture_logs() as lines:
        door.stranger("A", "10.0.0.1")
        door.stranger("B", "10.0.0.2")
        clock.s = 2
        door.stranger("A", "10.0.0.1")
        door.stranger("B", "10.0.0.2")
    assert [line["unit"] for line in lines] == ["A", "B"]


def test_who_fills_the_listener_shuts_no_configured_device_out() -> None:
    door, counts = admission(Clock())
    door.expect(Address(7, "door-7", at="10.9.9.9"))
    for number in range(64):
        assert all(door.enter(f"10.0.0.{number}") for _ in range(8))
    assert not door.enter("10.0.1.1")
    assert all(door.enter("10.9.9.9") for _ in range(8))
    assert not door.enter("10.9.9.9"), "and it has no more than others"
    assert counts.errors == {"too_many_connections": 2}


def test_a_stranger_writes_nothing_into_a_terminal() -> None:
    door, counts = admission(Clock())
    with structlog.testing.capture_logs() as lines:
        door.stranger("A\x1b[2J\n" + "9" * 100, "10.0.0.1", {"push\x07ver": "2\u202e4"})
    assert counts.strangers[0].who == "A?[2J?" + "9" * 58
    assert counts.strangers[0].facts == {"push?ver": "2?4"}
    assert "\x1b" not in str(lines)


def test_a_flood_of_one_address_is_slowed_down_and_others_are_not() -> None:
    clock = Clock()
    clock.s = 1000.0
    door, counts = admission(clock)
    assert not any(door.wait_s("request", "10.0.0.1") for _ in range(2000)), "a terminal that sends all it has"
    waits = [door.wait_s("request", "10.0.0.1") for _ in range(8)]
    assert waits == pytest.approx([number / 500 for number in range(1, 9)])
    assert door.wait_s("request", "10.0.0.2") == 0
    clock.s += 5
    assert door.wait_s("request", "10.0.0.1") == 0
    for number in range(2000):
        assert door.enter("10.0.0.1"), number
        door.leave("10.0.0.1")
    assert not any(door.enter("10.0.0.1") for _ in range(1000))
    assert counts.errors == {"too_fast": 1000}
    clock.s += 0.01
    assert door.enter("10.0.0.1"), "and it is let in as soon as its rate is right"
    for number in range(1000):
        door.wait_s("request", f"10.1.{number // 250}.{number % 250}")
    assert len(door._due) <= 256
