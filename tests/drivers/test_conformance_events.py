"""One suite over every driver that tells events: what listening and recalling promise, whatever the device is.

Above all: a record is the same whichever way it is told. The agent takes live and recalled ones for one by key, index and time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from strings_world import opened as strings_opened

from device_profiles.credential import Clear
from device_profiles.errors import DeviceError, LinkError
from device_profiles.events import EventName
from drivers.base import Address, Driver, HttpLink, LinkConfig, ListenLink, Session
from drivers.fake import FakeDevice
from drivers.fake_doors import FakeDoors
from drivers.listening import CanListen, CanRecallEvents, Listened, Occurrence
from drivers.registry import load_driver
from firmware_sim.isapi_terminal import Terminal
from firmware_sim.reader_strings import Reader
from firmware_sim.uhppote import Board, UhppoteSim
from tests.shipped import LIBRARY

WAIT_S = 10.0
CARD = 8_877_665


@dataclass
class World:
    """An open session with a device at which a card is shown by `swipe`; `unheard` swipes so that only the device knows."""

    session: Session
    device: Listened
    swipe: Callable[[], Awaitable[None] | None]
    silent: Listened | None = None
    """A device that does not answer."""

    async def happens(self) -> None:
        if (waiting := self.swipe()) is not None:
            await waiting


@asynccontextmanager
async def fake_world(folder: Path) -> AsyncIterator[World]:
    doors = FakeDoors({1: FakeDevice()}, portion=2)
    doors.deaf.add(9)
    numbers = iter(range(1, 100))

    def swipe() -> None:
        number = next(numbers)
        told = Occurrence("", "access.granted", f"record:{number}", {}, {"card": Clear(str(CARD))}, 1000 + number)
        doors.happens(1, told)

    async with _open(doors, LinkConfig("doors", "fake", timeout_s=0.1)) as session:
        yield World(session, Listened(Address(1, "door-1")), swipe, Listened(Address(9, "deaf")))


@asynccontextmanager
async def strings_world(folder: Path) -> AsyncIterator[World]:
    reader = Reader("decimal")
    async with strings_opened(reader, "generic-reader-decimal") as world:
        profile = world.profile

        async def swipe() -> None:
            reader.swipe(CARD)
            await asyncio.sleep(0.06)  # a reader's messages have a pause between them

        yield World(world.session, Listened(world.device, profile.events, profile.credential), swipe)


@asynccontextmanager
async def uhppote_world(folder: Path) -> AsyncIterator[World]:
    board = Board(423187757, now=lambda: datetime.now(UTC).replace(tzinfo=None))
    profile = LIBRARY.get("uhppote-l04")
    link = LinkConfig("doors", "udp", host="127.0.0.1", port=0, timeout_s=0.3, listen=ListenLink(allow=("127.0.0.1",)))
    async with UhppoteSim([board]) as sim, _open(load_driver("uhppote"), link) as session:

        def swipe() -> None:
            board.swipe(CARD)

        address = Address(board.serial, "door-1", at=sim.address)
        silent = Listened(Address(board.serial + 1, "gone", at=sim.address), profile.events, profile.credential)
        yield World(session, Listened(address, profile.events, profile.credential), swipe, silent)


@asynccontextmanager
async def isapi_world(folder: Path) -> AsyncIterator[World]:
    profile = LIBRARY.get("hikvision-ds-k1t")
    password = folder / "password"
    password.write_text("pw")
    async with Terminal(password="pw") as terminal:
        own = HttpLink(user=terminal.user, password_file=str(password))
        link = LinkConfig(
            "doors", "http", host="127.0.0.1", port=terminal.port, timeout_s=3, connect_timeout_s=3, http=own
        )
        async with _open(load_driver("isapi"), link) as session:

            def swipe() -> None:
                terminal.swipe(str(CARD))

            yield World(session, Listened(Address(0, "door-1"), profile.events, profile.credential), swipe)


@asynccontextmanager
async def _open(driver: Driver, link: LinkConfig) -> AsyncIterator[Session]:
    async with driver.open(link) as session:
        yield session


WorldOf = Callable[[Path], AbstractAsyncContextManager[World]]
WORLDS: dict[str, WorldOf] = {
    "fake": fake_world, "strings": strings_world, "uhppote": uhppote_world, "isapi": isapi_world,
}  # fmt: skip
KEEPING = ("fake", "uhppote", "isapi")
EVERY = pytest.mark.parametrize("world_of", WORLDS.values(), ids=WORLDS.keys())
THAT_KEEP = pytest.mark.parametrize("world_of", [WORLDS[name] for name in KEEPING], ids=KEEPING)
WITH_SILENCE = pytest.mark.parametrize("world_of", [fake_world, uhppote_world], ids=["fake", "uhppote"])


class Told:
    """The one reader: what is told, turn by turn, each said to be stored."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._turns = session.occurrences()
        self._told: list[Occurrence] = []

    async def next(self) -> Occurrence:
        async with asyncio.timeout(WAIT_S):
            while not self._told:
                turn = await anext(self._turns)
                assert turn, "never an empty turn"
                self._told += turn
                self._session.stored(turn)
        return self._told.pop(0)


@EVERY
async def test_what_happens_is_told_in_order_and_shows_no_card(world_of: WorldOf, tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        assert isinstance(world.session, CanListen)
        await world.session.listen(world.device)
        reader = Told(world.session)
        told = []
        for _ in range(3):
            await world.happens()
            told.append(await reader.next())
        assert {each.device for each in told} == {"door-1" if world.device.address.device == "door-1" else "d"}
        assert len({each.key for each in told}) == 3
        assert all(each.name in get_args(EventName) and not each.from_memory for each in told)
        assert all(each.clear["card"].text.lstrip("0") == str(CARD) for each in told)
        assert str(CARD) not in repr(told)
        numbers = [each.index for each in told]
        assert numbers == sorted(numbers, key=lambda number: number or 0)


@EVERY
async def test_listening_again_replaces_and_tells_nothing_twice(world_of: WorldOf, tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        assert isinstance(world.session, CanListen)
        for _ in range(2):
            await world.session.listen(world.device)
        reader = Told(world.session)
        await world.happens()
        first = await reader.next()
        await world.happens()
        assert (await reader.next()).key != first.key
        for _ in range(2):
            await world.session.forget(world.device.address)


@EVERY
async def test_occurrences_end_with_the_session(world_of: WorldOf, tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        assert isinstance(world.session, CanListen)
        turns = world.session.occurrences()
        waiting = asyncio.ensure_future(anext(turns, None))
        await asyncio.sleep(0)
    async with asyncio.timeout(WAIT_S):
        with suppress(LinkError):
            assert await waiting is None


@THAT_KEEP
async def test_a_record_is_the_same_live_and_recalled(world_of: WorldOf, tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        session = world.session
        assert isinstance(session, CanListen)
        assert isinstance(session, CanRecallEvents)
        await session.listen(world.device)
        reader = Told(session)
        live = []
        for _ in range(3):
            await world.happens()
            live.append(await reader.next())
        numbers = [each.index for each in live]
        assert None not in numbers
        assert await session.kept(world.device.address) == (numbers[0], numbers[-1])
        recalled = [
            each async for portion in session.recall_events(world.device.address, numbers[0] or 0) for each in portion
        ]
        assert all(each.from_memory for each in recalled)
        assert [replace(each, from_memory=False) for each in recalled] == live[1:]
        portions = session.recall_events(world.device.address, numbers[-1] or 0)
        assert [each async for portion in portions for each in portion] == []


@THAT_KEEP
async def test_an_empty_memory_keeps_nothing(world_of: WorldOf, tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        assert isinstance(world.session, CanListen)
        assert isinstance(world.session, CanRecallEvents)
        await world.session.listen(world.device)
        assert await world.session.kept(world.device.address) is None


@WITH_SILENCE
async def test_a_device_that_does_not_answer_is_a_device_error(world_of: WorldOf, tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        assert isinstance(world.session, CanRecallEvents)
        assert world.silent is not None
        with pytest.raises(DeviceError):
            await world.session.kept(world.silent.address)
