"""What ISAPI terminals kept: recalled by number after an outage, each record once and in order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from drivers.listening import Occurrence
from firmware_sim.isapi_terminal import Terminal
from tests.drivers.isapi_world import hearing, listened, recalled, session_of


@pytest.mark.parametrize("knows_begin", [True, False])
async def test_records_are_recalled_by_number(tmp_path: Path, knows_begin: bool) -> None:
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal(password="pw", room=200) as terminal, session_of(terminal, tmp_path) as session:
        terminal.knows_begin, terminal.replays = knows_begin, 20
        assert await session.kept(door.address) is None, "nobody listens yet"
        await session.listen(door)
        assert await session.kept(door.address) is None
        for number in range(250):
            terminal.record(5, 1 if number % 5 else 21, cardNo=str(1000 + number))
        assert await session.kept(door.address) == (51, 250)
        told = await recalled(session, door, 0)
        assert [each.index for each in told] == [index for index in range(51, 251) if (index - 1) % 5]
        assert all(each.from_memory and each.key == f"record:{each.index}" for each in told)
        assert told[0].clear["card"].text == "1051"
        assert [each.index for each in await recalled(session, door, 240)] == [242, 243, 244, 245, 247, 248, 249, 250]


async def test_a_terminal_that_wants_times_is_asked_with_times(tmp_path: Path) -> None:
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal() as terminal, session_of(terminal, tmp_path) as session:
        terminal.needs_times = True
        terminal.is_deaf = True
        for number in range(40):
            terminal.swipe(str(1000 + number))
        await session.listen(door)
        assert await session.kept(door.address) == (1, 40)
        assert [each.index for each in await recalled(session, door, 0)] == list(range(1, 41))


async def test_each_door_of_one_controller_recalls_its_own_records(tmp_path: Path) -> None:
    first, second = (listened("hikvision-ds-k1t", unit=number, device=f"door-{number}") for number in (1, 2))
    async with Terminal() as terminal, session_of(terminal, tmp_path) as session:
        await session.listen(first)
        await session.listen(second)
        for number in range(6):
            terminal.record(5, 1, cardNo=str(1000 + number), doorNo=1 + number % 2)
        assert [each.index for each in await recalled(session, first, 0)] == [1, 3, 5]
        assert [each.index for each in await recalled(session, second, 0)] == [2, 4, 6]


async def test_numbers_that_began_anew_beside_older_records(tmp_path: Path) -> None:
    """A terminal that counts from 1 again after a restart and keeps what it had: only the new ones are told, as 1, 2, 3."""
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal() as terminal, session_of(terminal, tmp_path) as session:
        await session.listen(door)
        terminal.next_serial = 4000
        for _ in range(70):
            terminal.swipe("1")
        assert await session.kept(door.address) == (4000, 4069)
        terminal.next_serial = 1
        for _ in range(3):
            terminal.swipe("2")
        assert await session.kept(door.address) == (1, 3)
        told = await recalled(session, door, 0)
        assert [(each.index, each.clear["card"].text) for each in told] == [(1, "2"), (2, "2"), (3, "2")]


async def test_an_alarm_is_the_same_live_and_recalled(tmp_path: Path) -> None:
    """Raised live and cleared in the memory, it would stay active for ever under another name."""
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal() as terminal, session_of(terminal, tmp_path) as session, hearing(session, door) as reader:
        terminal.record(1, 1028)
        (live,) = await reader.until(lambda told: len(told) == 1)
        (again,) = await recalled(session, door, 0)
        assert again == replace(live, from_memory=True, data={**live.data, "since": again.data["since"]})
        assert live.data["id"] == again.data["id"]


async def test_a_face_has_the_number_of_the_person_and_no_card(tmp_path: Path) -> None:
    """cardNo is "0" or missing where no card was shown: everybody would be the same card."""
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal() as terminal, session_of(terminal, tmp_path) as session:
        await session.listen(door)
        terminal.record(5, 75, employeeNoString="1001", attendanceStatus="checkOut")
        terminal.record(5, 75, employeeNoString="1002", cardNo="0")
        terminal.record(5, 104, cardNo="")
        out, other, picture = await recalled(session, door, 0)
        assert (out.name, out.data, out.clear["card"].text) == ("access.granted", {"dir": "out"}, "pin:1001")
        assert other.clear["card"].text == "pin:1002"
        assert (picture.name, picture.data) == ("access.denied", {"reason": "no_live_person"})
        assert picture.clear == {}
        assert "1001" not in repr(out)


async def test_records_without_an_event_count_among_what_is_kept(tmp_path: Path) -> None:
    """Or a terminal whose last record is the lock's would look as if its records had begun anew."""
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal() as terminal, session_of(terminal, tmp_path) as session:
        await session.listen(door)
        terminal.swipe("1")
        for _ in range(100):
            terminal.record(3, 80)
        for _ in range(2):
            assert await session.kept(door.address) == (1, 101)
            assert [each.index for each in await recalled(session, door, 0)] == [1]
        terminal.swipe("2")
        before = terminal.searches
        assert await session.kept(door.address) == (1, 102)
        assert [each.index for each in await recalled(session, door, 101)] == [102]
        assert terminal.searches - before <= 3, "the hundred were not read again"
        terminal.clear()
        terminal.swipe("3")
        assert await session.kept(door.address) == (1, 1)
        assert [each.index for each in await recalled(session, door, 0)] == [1]


async def test_a_thousand_swipes_through_outages_exactly_once_and_in_order(tmp_path: Path) -> None:
    """The way the agent goes: a cursor, live records that follow it, and the memory for those that do not."""
    door = listened("hikvision-ds-k1t", device="door-1")
    got: list[int] = []

    def take(each: Occurrence) -> bool:
        assert each.index is not None
        if each.index == (got[-1] if got else 0) + 1:
            got.append(each.index)
            return True
        return each.index <= (got[-1] if got else 0)

    async with Terminal(password="pw") as terminal:
        for part in range(5):
            terminal.is_deaf = True
            for number in range(150):
                terminal.swipe(str(10_000 + 200 * part + number))
            async with session_of(terminal, tmp_path) as session, hearing(session, door) as reader:
                async for portion in session.recall_events(door.address, got[-1] if got else 0):
                    assert all(take(each) for each in portion)
                terminal.is_deaf = False
                seen = 0
                for number in range(50):
                    terminal.swipe(str(10_150 + 200 * part + number))
                told = await reader.until(lambda told: bool(told) and told[-1].index == terminal.next_serial - 1)
                for each in told[seen:]:
                    assert take(each)
                terminal.hang_up()
    assert got == list(range(1, 1001))


async def test_a_terminal_without_a_search_tells_its_records_live_and_without_a_number(tmp_path: Path) -> None:
    door = listened("hikvision-ds-k1t", device="door-1")
    async with Terminal(password="pw") as terminal, session_of(terminal, tmp_path) as session:
        terminal.has_search = False
        async with hearing(session, door) as reader:
            assert await session.kept(door.address) is None
            terminal.swipe("1234567")
            [told] = await reader.until(lambda told: len(told) == 1)
        assert (told.index, told.key) == (None, f"record:1:{told.t_ms}"), (
            "a number would have the agent wait for its memory"
        )
        assert await recalled(session, door, 0) == []
