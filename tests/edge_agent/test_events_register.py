"""What happens at doors becomes events: each record once, in order, with a time that repeats, and no card in clear."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from device_profiles.credential import Clear
from drivers.listening import Occurrence
from edge_agent.clock import VirtualClock
from edge_agent.events.alarms import Alarms
from edge_agent.events.pseudonym import Privacy, PseudonymKey
from edge_agent.events.timing import DeviceClock
from tests.edge_agent.event_world import KEY, Disk, Site, door, doors_of, swipe

HOUR_MS = 3_600_000


def granted(disk: Disk) -> list[tuple[str, int, str]]:
    return [row for row in disk.order if row[2] == "access.granted"]


async def test_a_thousand_swipes_while_the_agent_was_away() -> None:
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    doors.happens(1, swipe(0, clock.wall_ms()))
    async with Site(doors, disk, clock, [door()]).running():
        await clock.advance(1)
    assert len(granted(disk)) == 0, "what a door kept before we knew it is no news"
    async with Site(doors, disk, clock, [door()]).running():
        doors.happens(1, swipe(1, clock.wall_ms()))
        await clock.advance(1)
        assert len(granted(disk)) == 1
    for number in range(2, 1002):
        await clock.advance(21.6)
        doors.happens(1, swipe(number, clock.wall_ms(), card=str(number)))
    async with Site(doors, disk, clock, [door()]).running():
        await clock.advance(5)
        doors.happens(1, swipe(1002, clock.wall_ms()))
        await clock.advance(1)
    assert len(granted(disk)) == disk.writes == 1002
    assert all(one[1] < other[1] for one, other in pairwise(granted(disk)))
    assert disk.state["door-1"]["index"] == 1003
    assert doors.stored[-1].index == 1003


async def test_a_record_that_was_lost_on_the_way_is_fetched_before_the_next() -> None:
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    async with Site(doors, disk, clock, [door()]).running() as site:
        assert site.register.index_of("door-1") == 0
        doors.happens(1, swipe(1, clock.wall_ms()), is_heard=False)
        await clock.advance(0.5)
        doors.happens(1, swipe(2, clock.wall_ms()))
        doors.happens(1, swipe(3, clock.wall_ms()))
        await clock.advance(2)
        assert [row[0] for row in granted(disk)] == [row[0] for row in sorted(granted(disk), key=lambda row: row[1])]
        assert len(granted(disk)) == 3
        doors.happens(1, swipe(4, clock.wall_ms()), is_heard=False)
        await clock.advance(65)
        assert len(granted(disk)) == 4, "a quiet door is looked at once a minute"
    assert doors.listened[0].tz == "Asia/Shanghai"


async def test_a_door_that_does_not_answer_holds_up_nobody() -> None:
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock, 1, 2)
    doors.deaf = {1}
    doors.happens(1, swipe(1, clock.wall_ms()))
    async with Site(doors, disk, clock, [door(), door("door-2", 2)]).running():
        await clock.advance(1)
        doors.happens(2, swipe(1, clock.wall_ms()))
        await clock.advance(1)
        assert len(granted(disk)) == 1
        doors.deaf = set()
        await clock.advance(30)
        doors.happens(1, swipe(2, clock.wall_ms()))
        await clock.advance(1)
        assert len(granted(disk)) == 2


async def test_a_device_whose_records_begin_anew() -> None:
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    async with Site(doors, disk, clock, [door()]).running():
        for number in range(1, 6):
            doors.happens(1, swipe(number, clock.wall_ms() + number))
        await clock.advance(1)
    doors.records.clear()
    doors.happens(1, swipe(77, clock.wall_ms() + 100))
    async with Site(doors, disk, clock, [door()]).running():
        await clock.advance(1)
    assert [row[2] for row in disk.order] == ["access.granted"] * 5 + ["device.identity_changed", "access.granted"]


async def test_devices_come_and_go_while_it_runs() -> None:
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock, 1, 2)
    async with Site(doors, disk, clock, [door()]).running() as site:
        site.poller.replace([door(), door("door-2", 2)])
        await clock.advance(1)
        doors.happens(2, swipe(1, clock.wall_ms()))
        await clock.advance(1)
        site.poller.replace([door()])
        site.register.forget("door-2")
        await clock.advance(1)
        doors.happens(2, swipe(2, clock.wall_ms()))
        doors.happens(1, swipe(1, clock.wall_ms()))
        await clock.advance(1)
    assert len(granted(disk)) == 2


async def test_the_same_is_told_once_where_nothing_has_an_index() -> None:
    clock, disk = VirtualClock(), Disk()
    site = Site(doors_of(clock), disk, clock, [door()])
    told = replace(swipe(1, clock.wall_ms()), device="door-1")
    assert site.register.take(told)
    assert not site.register.take(told), "a terminal that was not answered in time sends it again"
    other = replace(told, clear={"card": Clear("4712")})
    assert site.register.take(other), "two cards in one second"
    disk.commit()
    assert {data["card"] for data in disk.rows.values()} == {
        "hmac:k1:" + Privacy((KEY,)).written("card", Clear(card), 0).rpartition(":")[2] for card in ("4711", "4712")
    }
    assert "4711" not in repr((disk.rows, disk.state))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["swipe", "unheard", "kill", "torn", "tick", "skew"]), max_size=25),
)
def test_every_record_becomes_one_row_whatever_happens_when(steps: list[str]) -> None:
    """Kills before and after the commit, commits without their state, lost live records, wrong clocks (not both of the last: the
    correction of a clock is in the commit of the event that showed it, unless hundreds of events go with it).
    """
    asyncio.run(_live([step for step in steps if step != "skew" or "torn" not in steps]))


async def _live(steps: list[str]) -> None:
    clock, disk = VirtualClock(), Disk()
    doors, skew_ms, number, left = doors_of(clock), 0, 0, deque(steps)
    while left:
        async with Site(doors, disk, clock, [door()]).running():
            while left and (step := left.popleft()) != "kill":
                if step in ("swipe", "unheard"):
                    number += 1
                    doors.happens(1, swipe(number, clock.wall_ms() + skew_ms + number), is_heard=step == "swipe")
                    await clock.advance(0.01)
                elif step == "tick":
                    await clock.advance(70)
                elif step == "skew":
                    skew_ms = -HOUR_MS if skew_ms == 0 else 0
                elif step == "torn":
                    disk.is_torn = True
        disk.cut()
    async with Site(doors, disk, clock, [door()]).running():
        await clock.advance(70)
    keys = [row[0] for row in granted(disk)]
    assert len(set(keys)) == number, "none lost"
    assert len(keys) == number, "one record, one time"


def test_rotation_takes_the_key_of_the_events_time() -> None:
    later = PseudonymKey("k2", b"another key of at least 32 bytes!", since_ms=1_000_000)
    privacy = Privacy((KEY, later))
    assert privacy.written("card", Clear("1"), 999_999).startswith("hmac:k1:")
    assert privacy.written("card", Clear("1"), 1_000_000).startswith("hmac:k2:")
    assert privacy.written("card", Clear("1"), 5) != privacy.written("plate", Clear("1"), 5)
    assert Privacy((KEY,), cards="clear").written("card", Clear("1"), 5) == "1"
    assert "another" not in repr(privacy)


@given(st.integers(-(10**12), 10**12), st.integers(0, 100_000))
def test_a_wrong_clock_is_corrected_the_same_way_each_time(skew_ms: int, later_ms: int) -> None:
    now = 1_795_355_245_000
    clock = DeviceClock()
    clock.heard(now - skew_ms, now)
    first = clock.time_of(now - skew_ms)
    assert abs(first - now) <= 300_000
    again = DeviceClock(clock.correction_ms)
    assert not again.heard(now + later_ms - skew_ms, now + later_ms)
    assert again.time_of(now - skew_ms) == first


def test_an_alarm_is_raised_once_and_shown_while_it_lasts() -> None:
    shown: dict[str, bytes] = {}
    alarms = Alarms("door-1", shown.__setitem__)
    assert alarms.take("alarm.cleared", {"id": "tamper"}, 1) is None
    assert alarms.take("alarm.raised", {"id": "tamper", "sev": "high"}, 5) == {
        "id": "tamper",
        "sev": "high",
        "since": 5,
    }
    assert alarms.take("alarm.raised", {"id": "tamper", "sev": "high"}, 7) is None
    assert b'"n":2' in shown["alarm/door-1/tamper"]
    shown.clear()
    again = Alarms("door-1", shown.__setitem__, alarms.active)
    again.announce()
    assert shown
    cleared = again.take("alarm.cleared", {"id": "tamper"}, 9)
    assert cleared == {"id": "tamper", "sev": "high", "since": 5, "n": 2}
    assert shown["alarm/door-1/tamper"] == b""


def test_an_alarm_without_an_end_is_told_each_time_and_never_active() -> None:
    alarms = Alarms("door-1", {}.__setitem__)
    for t_ms in (5, 90):
        told = alarms.take("alarm.raised", {"id": "fire", "sev": "critical", "moment": True}, t_ms)
        assert told == {"id": "fire", "sev": "critical", "since": t_ms}
    assert alarms.active == {}


async def test_an_alarm_of_a_device_is_no_second_event() -> None:
    clock, disk = VirtualClock(), Disk()
    site = Site(doors_of(clock), disk, clock, [door()])
    for number, name in enumerate(("alarm.raised", "alarm.raised", "alarm.cleared", "alarm.cleared")):
        told = Occurrence("door-1", name, f"t:{number}", {"id": "tamper", "sev": "high"})  # type: ignore[arg-type]
        site.register.take(told)
    disk.commit()
    assert [row[2] for row in disk.order] == ["alarm.raised", "alarm.cleared"]
    assert site.register.figures("door-1") == {
        "count": 2, "recalled": 0, "refused": 0, "last": clock.wall_ms() + 1, "index": None, "alarms": [],
    }  # fmt: skip
