"""UHPPOTE boards: points, records live and from memory, operations, listeners, and answers that do not come or do not belong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceError, DeviceRefused, DeviceTimeout, LinkLost
from device_profiles.schema import Profile
from drivers.base import Address, Limits, LinkConfig, ListenLink, Trace
from drivers.listening import CanListen, CanRecallEvents, Listened, Occurrence
from drivers.uhppote import frame
from drivers.uhppote.driver import UhppoteDriver
from drivers.uhppote.records import occurrence_of
from drivers.uhppote.session import UhppoteSession
from firmware_sim.uhppote import CAPACITY, Board, UhppoteSim
from tests.shipped import LIBRARY

pytestmark = pytest.mark.asyncio
SERIAL = 423187757
ALICE, MALLORY = 6154410, 6154413


class World:
    """A board, its simulator and a session."""

    def __init__(self, board: Board, sim: UhppoteSim, session: UhppoteSession, profile: Profile) -> None:
        self.board, self.sim, self.session, self.profile = board, sim, session, profile
        self.address = Address(SERIAL, "door-1", at=sim.address)
        self.turns = session.occurrences()

    @property
    def listened(self) -> Listened:
        return Listened(self.address, self.profile.events, self.profile.credential)

    async def next(self) -> Sequence[Occurrence]:
        async with asyncio.timeout(5):
            turn = await anext(self.turns)
        self.session.stored(turn)
        return turn

    async def read(self, *points: str) -> dict[str, object]:
        wanted = [point for point in self.profile.points if point.id in points]
        values: dict[str, object] = {}
        for batch in UhppoteDriver().plan(wanted, Limits(), None, self.session.link):
            values |= dict(zip(batch.points, await self.session.read(self.address, batch), strict=True))
        return values

    def operation(self, name: str) -> Operation:
        return next(operation for operation in self.profile.operations if operation.id == name)


def link(**own: object) -> LinkConfig:
    listen = ListenLink(allow=("127.0.0.0/30",), **own)  # type: ignore[arg-type]
    return LinkConfig(id="doors", kind="udp", host="127.0.0.1", port=0, timeout_s=0.3, listen=listen)


def utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


@asynccontextmanager
async def world(trace: Trace | None = None, **own: object) -> AsyncIterator[World]:
    profile = LIBRARY.get("uhppote-l04")
    board = Board(SERIAL, now=utc_now)
    board.cards[ALICE] = {1, 2}
    async with UhppoteSim([board]) as sim, UhppoteDriver().open(link(**own), trace) as session:
        yield World(board, sim, session, profile)


async def test_points_of_a_board() -> None:
    async with world() as here:
        here.board.doors[2].is_open = True
        here.board.doors[1].unlocked = True
        here.board.doors[4].button = True
        here.board.doors[3].mode = 1
        here.board.clock_off = timedelta(seconds=90)
        values = await here.read(*(point.id for point in here.profile.points))
        skew = values.pop("clock_skew")
        assert isinstance(skew, float)
        assert abs(skew - 90) <= 2
        assert values == {
            "online": True,
            **{f"door_open_{n}": n == 2 for n in range(1, 5)},
            **{f"door_locked_{n}": n != 1 for n in range(1, 5)},
            **{f"x_button_{n}": n == 4 for n in range(1, 5)},
            **{f"door_mode_{n}": 1 if n == 3 else 3 for n in range(1, 5)},
            "x_system_error": 0, "x_newest_record": 0, "events_stored": 0, "cards_stored": 1,
        }  # fmt: skip
        assert await here.session.identify(here.address) == {
            "vendor": "UHPPOTE", "serial": str(SERIAL), "firmware": "8.92", "made": "2018-11-05",
            "address": "192.168.1.100", "mac": "00:66:19:39:55:2d",
        }  # fmt: skip


async def test_a_trace_shows_frames_and_no_card() -> None:
    seen: list[tuple[str, bytes, str]] = []
    async with world(lambda *shown: seen.append(shown)) as here:
        await here.session.listen(here.listened)
        here.board.swipe(ALICE, 1)
        await here.next()
        here.board.tell(b"\x17\x5a\0\0" + SERIAL.to_bytes(4, "little") + ALICE.to_bytes(4, "little"))
        while not any("no message" in remark for *_, remark in seen):
            await asyncio.sleep(0.001)
    assert [remark for _, _, remark in seen if "card (hidden)" in remark]
    assert all(ALICE.to_bytes(4, "little") not in data for _, data, _ in seen)
    assert any(data[1] == 0x90 and data[8:12] != bytes(4) for _, data, _ in seen), "the rest is shown"


async def test_swipes_are_told_as_they_happen_and_the_card_stays_hidden() -> None:
    async with world() as here:
        assert isinstance(here.session, CanListen)
        assert isinstance(here.session, CanRecallEvents)
        await here.session.listen(here.listened)
        assert here.board.listener == here.session.boards.port.own
        assert here.board.swipe(ALICE, 2)
        (granted,) = await here.next()
        assert (granted.name, granted.index, granted.from_memory) == ("access.granted", 1, False)
        assert granted.data == {"dir": "in", "door": 2}
        assert granted.clear["card"].text == str(61 << 16 | 54410)
        assert str(ALICE) not in f"{granted!r}{granted.key}"
        here.board.swipe(MALLORY, 1, 2)
        (denied,) = await here.next()
        assert (denied.name, denied.data) == ("access.denied", {"reason": "no_privilege", "dir": "out", "door": 1})
        here.board.move(3, True)
        (forced,) = await here.next()
        assert (forced.name, forced.data, forced.clear) == ("access.forced", {"door": 3}, {})


async def test_a_status_tells_its_newest_record_once() -> None:
    """Where another program is the listener, polling shows that there is something to recall."""
    async with world() as here:
        here.board.listener = ("127.0.0.1", 9)
        await here.session.listen(here.listened)
        assert here.board.listener == ("127.0.0.1", 9)
        here.board.swipe(ALICE)
        await here.read("online")
        await here.read("online")
        (told,) = await here.next()
        assert told.index == 1
        here.board.swipe(ALICE)
        await here.read("online")
        (told,) = await here.next()
        assert told.index == 2


@pytest.mark.parametrize(("policy", "before", "taken"), [
    ("free", ("0.0.0.0", 0), True), ("free", ("127.0.0.1", 9), False), ("take", ("127.0.0.1", 9), True),
    ("leave", ("0.0.0.0", 0), False),
])  # fmt: skip
async def test_another_programs_listener_is_left_in_place_unless_told(
    policy: str, before: tuple[str, int], taken: bool
) -> None:
    async with world() as here:
        here.board.listener = before
        here.address = replace(here.address, options={"listener": policy})
        await here.session.listen(here.listened)
        assert (here.board.listener == here.session.boards.port.own) is taken
        await here.session.forget(here.address)
        here.board.faults.mute = 9
        await here.session.forget(here.address)
        assert here.board.listener == (("0.0.0.0", 0) if taken else before)
        assert here.board.mark == 0


async def test_records_are_recalled_in_order_and_once() -> None:
    async with world() as here:
        await here.session.listen(here.listened)
        here.board.listener = ("0.0.0.0", 0)
        for _ in range(300):
            here.board.swipe(ALICE)
        assert await here.session.kept(here.address) == (1, 300)
        told = [each async for portion in here.session.recall_events(here.address, 120) for each in portion]
        assert [each.index for each in told] == list(range(121, 301))
        assert all(each.from_memory for each in told)
        assert len({each.key for each in told}) == 180


async def test_the_key_and_time_of_a_record_are_the_same_live_and_recalled() -> None:
    async with world() as here:
        await here.session.listen(here.listened)
        here.board.swipe(ALICE)
        (live,) = await here.next()
        [(recalled,)] = [portion async for portion in here.session.recall_events(here.address, 0)]
        assert replace(recalled, from_memory=False) == live


async def test_a_memory_that_wrapped_and_one_that_was_cleared() -> None:
    async with world() as here:
        await here.session.listen(here.listened)
        assert await here.session.kept(here.address) is None
        here.board.listener = ("0.0.0.0", 0)
        for _ in range(CAPACITY + 41):
            here.board.record(1, True, 1, 1, ALICE, 1)
        here.board.swipe(ALICE)
        assert await here.session.kept(here.address) == (43, CAPACITY + 42)
        told = [each async for portion in here.session.recall_events(here.address, CAPACITY + 41) for each in portion]
        assert [each.index for each in told] == [CAPACITY + 42]
        first = told[0].key
        here.board.clear()
        assert await here.session.kept(here.address) is None
        here.board.clock_off = timedelta(hours=1)
        here.board.swipe(ALICE)
        told = [each async for portion in here.session.recall_events(here.address, 0) for each in portion]
        assert [each.index for each in told] == [1]
        assert told[0].key != first


async def test_operations_are_read_back() -> None:
    async with world() as here:
        session, address = here.session, here.address
        assert await session.operate(address, here.operation("open_1"), {}, None) == {
            "unlocked": True,
            "door_open": False,
        }
        assert here.board.memory[1].reason == 44
        assert await session.operate(address, here.operation("hold_closed"), {"door": 2}, None) == {
            "mode": 2,
            "delay_s": 5,
        }
        with pytest.raises(DeviceRefused, match="did not open door 2"):
            await session.operate(address, here.operation("open_2"), {}, None)
        here.board.clock_off = timedelta(days=-3)
        assert abs(float((await session.operate(address, here.operation("set_time"), {}, None))["off_s"])) <= 2
        assert abs(here.board.clock_off) < timedelta(seconds=2)
        wrong = Operation.model_validate({"id": "x", "call": {"do": "open_door", "door": 9}})
        with pytest.raises(ConfigError, match="none of a board"):
            await session.operate(address, wrong, {}, None)


async def test_a_lost_answer_is_asked_for_again_but_a_door_is_opened_once() -> None:
    async with world() as here:
        here.board.faults.mute = 2
        assert await here.read("door_open_1") == {"door_open_1": False}
        here.board.faults.mute = 1
        with pytest.raises(DeviceTimeout):
            await here.session.operate(here.address, here.operation("open_1"), {}, None)
        assert here.board.newest == 1


async def test_a_late_answer_and_a_foreign_one_answer_nothing() -> None:
    async with world() as here:
        here.board.faults.foreign = 3
        with pytest.raises(DeviceTimeout, match="no answer"):
            await here.read("door_open_1")
        here.board.faults.short = 3
        with pytest.raises(DeviceTimeout):
            await here.read("door_open_1")
        assert here.session.counts.errors["no_message"] == 3
        here.board.faults.late, here.board.faults.late_s = 3, 0.32
        with pytest.raises(DeviceTimeout):
            await here.read("door_open_1")
        here.board.doors[1].is_open = True
        assert await here.read("door_open_1") == {"door_open_1": True}


async def test_a_second_answer_to_a_question_answers_no_other() -> None:
    """The oldest record, asked for twice and answered twice, is not taken for the newest: all would be told again."""
    async with world() as here:
        for _ in range(9):
            here.board.swipe(ALICE)
        answer, asked = here.board.answer, 0

        def slow(datagram: bytes) -> bytes | None:
            nonlocal asked
            asked += 1
            here.board.faults.late, here.board.faults.late_s = int(asked < 3), 0.18 if asked == 1 else 0.12
            here.board.faults.mute = int(asked == 3)
            return answer(datagram)

        here.board.answer = slow  # type: ignore[method-assign]
        assert await here.session.kept(here.address) == (1, 9)


async def test_an_answer_from_another_address_answers_nothing() -> None:
    """Whoever knows a serial number and a question in the air could tell us that a door is shut, or its memory empty."""
    async with world() as here:
        here.board.faults.mute = 9
        waiting = asyncio.create_task(here.read("door_open_1"))
        async with asyncio.timeout(5):
            while here.board.faults.mute == 9:
                await asyncio.sleep(0)
        here.board.doors[1].is_open = True
        here.session.boards.port.heard(here.board._status(), ("127.0.0.2", 60000))
        with pytest.raises(DeviceTimeout):
            await waiting
        assert here.session.counts.errors["foreign_address"] == 1


async def test_a_flood_of_datagrams_costs_a_line_a_second_and_no_memory() -> None:
    """Replayed from another address, with other serial numbers, cut, or of other functions."""
    async with world() as here:
        await here.session.listen(here.listened)
        here.board.swipe(ALICE)
        await here.next()
        status, port = here.board._status(), here.session.boards.port
        with structlog.testing.capture_logs() as lines:
            for number in range(3000):
                port.heard(status, ("127.0.0.2", 60000))
                port.heard(status, ("10.9.9.9", 60000))
                port.heard(status[:4] + number.to_bytes(4, "little") + status[8:], ("127.0.0.3", 60000))
                port.heard(status[: number % 64], ("127.0.0.3", 60000))
                port.heard(bytes((0x17, number % 256)) + status[2:], ("127.0.0.2", 60000))
        assert len(lines) <= 8, "one for each reason"
        assert len(here.session.counts.strangers) <= 32
        assert len(here.session.boards._boards) == 1
        assert len(here.session._sending) <= 1
        assert await here.read("online") == {"online": True}
        assert here.board.swipe(ALICE)
        (told,) = await here.next()
        assert told.index == 2


async def test_a_board_found_by_broadcast_is_heard_from_there_alone() -> None:
    board = Board(SERIAL, now=utc_now)
    profile = LIBRARY.get("uhppote-l04")
    async with UhppoteSim([board]) as sim, UhppoteDriver().open(link(broadcast=sim.address)) as session:
        await session.listen(Listened(Address(SERIAL, "door-1"), profile.events, profile.credential))
        board.tell = lambda datagram: session.boards.port.heard(datagram, ("127.0.0.2", 60000))
        board.swipe(ALICE)
        assert session.counts.errors["foreign_address"] == 1
        assert await session.kept(Address(SERIAL, "door-1")) == (1, 1)


async def test_numbers_that_began_anew_count_from_one() -> None:
    async with world() as here:
        for index in (4000, 4001):
            here.board.newest = index - 1
            here.board.swipe(ALICE)
        here.board.newest = 0
        here.board.swipe(ALICE)
        original = here.board.answer
        here.board.answer = (
            lambda datagram: (  # type: ignore[method-assign]
                original(datagram[:8] + (4000).to_bytes(4, "little") + datagram[12:])
                if datagram[1] == 0xB0 and datagram[8:12] == bytes(4)
                else original(datagram)
            )
        )
        assert await here.session.kept(here.address) == (1, 1)


async def test_a_stranger_is_counted_and_a_foreign_address_is_not_heard() -> None:
    async with world() as here, UhppoteSim([Board(99, now=utc_now)]) as other:
        stranger = other.boards[0]
        stranger.listener = here.session.boards.port.own
        stranger.swipe(1)
        async with asyncio.timeout(5):
            while not here.session.boards.port.admission.strangers:
                await asyncio.sleep(0)
        assert here.session.boards.port.admission.strangers["99"].count == 1


async def test_boards_are_found_by_broadcast() -> None:
    boards = [Board(serial, now=utc_now) for serial in (405419896, 303986753)]
    async with UhppoteSim(boards) as sim, UhppoteDriver().open(link(broadcast=sim.address)) as session:
        found = [facts async for facts in session.find(0.2)]
        assert sorted(facts["serial"] for facts in found) == ["303986753", "405419896"]
        assert found[0]["at"] == sim.address
        assert (await session.identify(Address(405419896, "door-1")))["serial"] == "405419896"


async def test_without_an_address_or_a_broadcast_the_board_is_not_there() -> None:
    async with UhppoteDriver().open(link()) as session:
        with pytest.raises(DeviceError, match="no broadcast"):
            await session.identify(Address(SERIAL, "door-1"))
        with pytest.raises(ConfigError, match="no serial number"):
            await session.identify(Address("x", "door-1", at="127.0.0.1"))
    with pytest.raises(LinkLost):
        await session.identify(Address(SERIAL, "door-1", at="127.0.0.1"))


async def test_times_are_the_boards_own_zone() -> None:
    async with world() as here:
        shanghai = replace(here.listened, tz="Asia/Shanghai")
        record = frame.Record(1, 1, True, 1, 1, ALICE, datetime(2026, 11, 22, 8, 0), 1)
        told = occurrence_of(record, shanghai, from_memory=False)
        assert told is not None
        assert told.t_ms == 1_795_305_600_000
