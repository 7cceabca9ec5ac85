"""Events of devices that are wrong themselves: unset clocks, data that is no event, records that begin anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from device_profiles.credential import Clear
from device_profiles.errors import ConfigError, DeviceRefused, DeviceTimeout
from drivers.listening import Occurrence
from edge_agent.clock import VirtualClock
from edge_agent.events.pseudonym import Privacy
from edge_agent.events.register import Register
from gateway.contract.events import make_event
from tests.edge_agent.event_world import KEY, Disk, Site, door, doors_of, swipe


class StrictDisk(Disk):
    """Refuses what the contract refuses, as the spool does."""

    def put(self, device_id: str, name: str, data: Any, key: str, **more: Any) -> None:
        make_event(name, site="hq", agent="gw-01", device=device_id, data=data, key=key, t_ms=0, epoch="E", seq=1)
        super().put(device_id, name, data, key, **more)


async def test_what_is_no_event_holds_up_nothing() -> None:
    clock, disk = VirtualClock(), StrictDisk()
    doors = doors_of(clock)
    async with Site(doors, disk, clock, [door()]).running() as site:
        doors.happens(1, swipe(1, clock.wall_ms()))
        doors.happens(1, replace(swipe(2, clock.wall_ms()), data={"dir": "sideways", "colour": "red"}))
        doors.happens(1, Occurrence("", "alarm.raised", "record:3", {"sev": "high"}))
        doors.happens(1, Occurrence("", "alarm.raised", "record:4", {"id": "door/1", "sev": "high"}))
        doors.happens(1, swipe(5, clock.wall_ms() + 5))
        await clock.advance(70)
        assert [row[2] for row in disk.order] == ["access.granted"] * 2
        figures = site.register.figures("door-1")
        assert figures is not None
        assert (figures["count"], figures["refused"], figures["index"]) == (2, 3, 5)
        assert disk.state["door-1"]["index"] == 5
        assert site.poller.figures()["crashes"] == 0


async def test_a_record_of_an_unset_clock_gets_a_time_that_is_stored() -> None:
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    async with Site(doors, disk, clock, [door()]).running():
        await clock.advance(1)
    for number, t_ms in enumerate((0, 5, clock.wall_ms() + 10**11), start=1):
        doors.happens(1, swipe(number, t_ms))
    async with Site(doors, disk, clock, [door()]).running():
        await clock.advance(1)
    times = [row[1] for row in disk.order if row[2] == "access.granted"]
    assert len(times) == 3
    assert sorted(set(times)) == times, "in order, and each has its own"
    assert all(abs(t_ms - clock.wall_ms()) < 5_000 for t_ms in times)


async def test_a_clock_of_ours_that_is_not_set_corrects_nobody() -> None:
    clock, disk = VirtualClock(quality="unsync"), Disk()
    site = Site(doors_of(clock), disk, clock, [door()])
    t_ms = clock.wall_ms() + 40 * 86_400_000
    assert site.register.take(replace(swipe(1, t_ms), device="door-1"))
    disk.commit()
    assert [(row[1], row[2]) for row in disk.order] == [(t_ms, "access.granted")]


async def test_record_1_of_another_device_is_another_event() -> None:
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    async with Site(doors, disk, clock, [door()]).running():
        doors.happens(1, swipe(1, clock.wall_ms()))
        doors.happens(1, swipe(2, clock.wall_ms()))
        await clock.advance(1)
        doors.records.clear()
        doors.happens(1, swipe(1, clock.wall_ms()))
        await clock.advance(130)  # its number is one that was told: found when the device is looked at
    ids = [row[0] for row in disk.order if row[2] == "access.granted"]
    assert len(set(ids)) == 3
    assert disk.state["door-1"]["era"] == 1


@pytest.mark.parametrize(
    ("replaced_ms", "is_another"), [(600_000, True), (-600_000, False), (1_000, False), (3_600_000, False)]
)
async def test_a_device_that_was_exchanged_while_it_did_not_answer(replaced_ms: int, is_another: bool) -> None:
    """Another memory has later records under the numbers that were told; older ones or whole zones of a clock say nothing."""
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    async with Site(doors, disk, clock, [door()]).running():
        begin = clock.wall_ms()
        for number in range(1, 4):
            doors.happens(1, swipe(number, begin + number), is_heard=False)
        doors.happens(1, swipe(4, begin + 4))
        await clock.advance(70)
        assert len(disk.order) == 4
        doors.deaf.add(1)
        await clock.advance(120)
        doors.records[1].clear()
        for number in range(1, 7):
            doors.happens(1, swipe(number, begin + replaced_ms + number), is_heard=False)
        doors.deaf.clear()
        await clock.advance(400)
    assert len(disk.order) == disk.writes
    names = [row[2] for row in disk.order]
    assert names.count("device.identity_changed") == is_another
    assert names.count("access.granted") == 4 + (6 if is_another else 2)


@pytest.mark.parametrize("is_first_contact", [True, False])
async def test_a_record_that_comes_while_the_device_answers_is_no_new_memory(is_first_contact: bool) -> None:
    """The device said how much it keeps, and then one more happened, which is heard before its answer is looked at."""
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    doors.happens(1, swipe(1, clock.wall_ms()))
    doors.happens(1, swipe(2, clock.wall_ms()))
    site = Site(doors, disk, clock, [door()])
    async with site.running():
        assert doors.session is not None
        kept = doors.session.kept

        async def slow(device: Any) -> Any:
            answer = await kept(device)
            doors.happens(1, swipe(len(doors.records) + 3, clock.wall_ms()))
            await clock.sleep(0.01)
            return answer

        doors.session.kept = slow  # type: ignore[method-assign]
        if is_first_contact:
            site.register.forget("door-1")
        await clock.advance(150)
    assert {row[2] for row in disk.order} == {"access.granted"}
    assert disk.state["door-1"]["era"] == 0
    assert len(disk.order) == disk.writes


async def test_what_a_device_overwrote_is_said_once() -> None:
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    doors.happens(1, swipe(1, clock.wall_ms()))
    async with Site(doors, disk, clock, [door()]).running():
        doors.happens(1, swipe(2, clock.wall_ms()))
        await clock.advance(1)
    for number in range(3, 20):
        doors.happens(1, swipe(number, clock.wall_ms()))
    for _ in range(10):
        doors.records[1].pop(0)
    for _ in range(2):
        async with Site(doors, disk, clock, [door()]).running():
            await clock.advance(70)
    [lost] = [data for row, data in disk.rows.items() if row[2] == "alarm.raised"]
    assert (lost["id"], lost["val"]) == ("records_lost", 8)
    assert "records 3 to 10" in lost["text"]
    assert len([row for row in disk.order if row[2] == "access.granted"]) == 10


async def test_what_is_heard_before_the_memory_can_be_read_is_told() -> None:
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    doors.happens(1, swipe(1, clock.wall_ms()))
    doors.happens(1, swipe(2, clock.wall_ms()))
    site = Site(doors, disk, clock, [door()])
    async with site.running():
        assert doors.session is not None
        kept, tries = doors.session.kept, 0

        async def fails(device: Any) -> Any:
            nonlocal tries
            tries += 1
            if tries < 3:
                raise DeviceTimeout("no answer")
            return await kept(device)

        site.register.forget("door-1")  # as on first contact
        doors.session.kept = fails  # type: ignore[method-assign]
        doors.happens(1, swipe(3, clock.wall_ms()))
        await clock.advance(60)
    assert [row[2] for row in disk.order] == ["access.granted"]
    assert disk.state["door-1"]["index"] == 3


def test_alarms_of_a_device_that_is_not_there_any_more_are_taken_back() -> None:
    disk = Disk()
    alarm = {"sev": "high", "since": 5, "n": 1}
    memory = {name: {"index": 7, "alarms": {"tamper": alarm}} for name in ("door-1", "door-2")}
    Register(
        put=disk.put, remember=disk.remember, retain=disk.retained.__setitem__, settle=disk.settle,
        privacy=Privacy((KEY,)), clock=VirtualClock(), memory=memory, devices={"door-1"},
    )  # fmt: skip
    assert disk.retained["alarm/door-1/tamper"]
    assert disk.retained["alarm/door-2/tamper"] == b""
    disk.commit()
    assert disk.state == {"door-2": None}


async def test_records_that_are_no_events_are_read_once() -> None:
    """A terminal numbers logins, too; its driver tells only what happened at the door."""
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    async with Site(doors, disk, clock, [door()]).running() as site:
        assert doors.session is not None
        kept = doors.session.kept

        async def with_logins(device: Any) -> tuple[int, int]:
            oldest, newest = await kept(device) or (1, 0)
            return oldest, newest + 3

        doors.session.kept = with_logins  # type: ignore[method-assign]
        doors.happens(1, swipe(1, clock.wall_ms()))
        await clock.advance(70)
        assert site.register.index_of("door-1") == 4
        recalls = len(doors.recalls)
        await clock.advance(600)
        assert len(doors.recalls) == recalls
    assert [row[2] for row in disk.order] == ["access.granted"]


@pytest.mark.parametrize("kills", [(), (3,), (1, 4, 5)])
async def test_records_of_one_second_keep_their_order(kills: tuple[int, ...]) -> None:
    """Many controllers know seconds only; whatever is read again after a crash gets the same time."""
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    second = clock.wall_ms() // 1000 * 1000
    async with Site(doors, disk, clock, [door()]).running():
        await clock.advance(1)
    doors.portion = 2
    for number in range(1, 9):
        doors.happens(1, swipe(number, second + (1000 if number > 6 else 0), card=str(number)))
        if number in kills:
            disk.is_torn = True  # the messages are on the disk, what was to be kept of them is not
            async with Site(doors, disk, clock, [door()]).running():
                await clock.advance(5)
            disk.cut()
    async with Site(doors, disk, clock, [door()]).running():
        await clock.advance(5)
    rows = [row for row in disk.order if row[2] == "access.granted"]
    assert [row[1] - second for row in rows] == [0, 1, 2, 3, 4, 5, 1000, 1001]
    assert [data["card"] for data in disk.rows.values()] == [
        Privacy((KEY,)).written("card", Clear(str(number)), 0) for number in range(1, 9)
    ]


async def test_a_storm_of_one_door_keeps_its_order() -> None:
    """More records in a second than it has milliseconds."""
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    second = clock.wall_ms() // 1000 * 1000
    async with Site(doors, disk, clock, [door()]).running():
        await clock.advance(1)
    for number in range(1, 3_001):
        doors.happens(1, swipe(number, second + number // 2_000 * 1000))
    async with Site(doors, disk, clock, [door()]).running():
        await clock.advance(5)
    times = [row[1] for row in disk.order if row[2] == "access.granted"]
    assert times == list(range(second, second + 3_000))


async def test_a_device_that_dials_in_and_falls_silent_is_down_and_told_again_later() -> None:
    """Its driver says with a timeout of its reads that it was not heard; state and events follow as for one that is polled."""
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    async with Site(doors, disk, clock, [door()]).running() as site:
        assert _state(site) == "ok"
        doors.devices[1].error = DeviceTimeout("not heard for 90 s")
        doors.deaf.add(1)
        doors.happens(1, swipe(1, clock.wall_ms()), is_heard=False)
        await clock.advance(120)
        assert _state(site) == "down"
        assert [name for _, name, _, _ in site.sink.events] == ["system.device_down"]
        doors.devices[1].error = None
        doors.deaf.clear()
        await clock.advance(600)
        assert _state(site) == "ok"
        assert [name for _, name, _, _ in site.sink.events] == ["system.device_down", "system.device_up"]
        assert [row[2] for row in disk.order] == ["access.granted"]
        assert len(doors.listened) > 1, "one that was started anew is told again where to send"


def _state(site: Site) -> str | None:
    state = site.sink.state_of("door-1")
    return state.state if state is not None else None


def test_a_call_for_help_has_no_pseudonym_and_none_is_left_out() -> None:
    clock, disk = VirtualClock(), StrictDisk()
    register = Site(doors_of(clock), disk, clock, [door()]).register
    for number in range(500):
        data = {"station": "lift 2", "sos": True}
        assert register.take(Occurrence("door-1", "call.raised", f"press:{number}", data, {"by": Clear("4711")}))
    disk.commit()
    assert len(disk.rows) == 500
    assert all(data == {"station": "lift 2", "sos": True, "by": "4711"} for data in disk.rows.values())


def test_a_storm_within_a_millisecond_keeps_its_order_and_a_clock_set_back_is_followed() -> None:
    clock, disk = VirtualClock(), StrictDisk()
    register = Site(doors_of(clock), disk, clock, [door()]).register
    for number in range(3_000):
        assert register.take(Occurrence("door-1", "gate.pass", f"heard:{number}"))
    disk.commit()
    times = [row[1] for row in disk.order]
    assert times == sorted(set(times)), "the store orders by time"
    assert times[-1] - clock.wall_ms() < 3_000
    clock.step(-3_600_000)
    for number in range(3):
        assert register.take(Occurrence("door-1", "gate.pass", f"again:{number}"))
    disk.commit()
    assert [row[1] - clock.wall_ms() for row in disk.order[-3:]] == [0, 1, 2]


async def test_a_device_that_comes_again_is_met_for_the_first_time() -> None:
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    disk.state["door-1"] = {"index": 2, "era": 0, "correction": 0, "alarms": {}}
    for number in range(1, 6):
        doors.happens(1, swipe(number, clock.wall_ms()))
    site = Site(doors, disk, clock, [])
    site.register.forget("door-1")
    async with site.running():
        site.poller.replace([door()])
        await clock.advance(5)
    assert disk.order == []
    assert disk.state["door-1"]["index"] == 5


@pytest.mark.parametrize("is_refused", [False, True])
async def test_numbered_records_of_a_device_that_lets_nobody_read_them_are_told_live(is_refused: bool) -> None:
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock)
    async with Site(doors, disk, clock, [door()]).running():
        assert doors.session is not None

        async def keeps_none(device: Any) -> None:
            if is_refused:
                raise DeviceRefused("HTTP 403", code=403, status="BadUserAccessDenied")

        doors.session.kept = keeps_none  # type: ignore[method-assign]
        for number in range(1, 7):
            doors.happens(1, swipe(number, clock.wall_ms() + number), is_heard=number not in (2, 3, 5))
            await clock.advance(0.1)
        await clock.advance(1)
    assert [row[2] for row in disk.order] == ["access.granted"] * 3
    assert disk.state["door-1"]["index"] == 6


async def test_a_device_that_is_described_wrongly_costs_the_others_nothing() -> None:
    clock, disk = VirtualClock(), Disk()
    doors = doors_of(clock, 1, 2)
    async with Site(doors, disk, clock, []).running() as site:
        assert doors.session is not None
        listen = doors.session.listen

        async def picky(device: Any) -> None:
            if device.address.unit == 1:
                raise ConfigError("its profile has no frames")
            await listen(device)

        doors.session.listen = picky  # type: ignore[method-assign]
        site.poller.replace([door(), door("door-2", 2)])
        await clock.advance(1)
        doors.happens(2, swipe(1, clock.wall_ms()))
        await clock.advance(1)
        assert site.poller.figures()["crashes"] == 0
    assert [row[2] for row in disk.order] == ["access.granted"]
