"""What tests of the ISAPI driver share: a session with a simulated host, and a reader of what it tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from device_profiles.control import Operation
from drivers.base import Address, HttpLink, Limits, LinkConfig
from drivers.isapi.driver import IsapiDriver
from drivers.isapi.session import IsapiSession
from drivers.isapi.stream import AlertStream
from drivers.listening import Listened, Occurrence
from firmware_sim.isapi import IsapiHost
from tests.shipped import LIBRARY

WAIT_S = 5


def listened(profile: str, unit: int = 0, device: str = "dev-1", **more: object) -> Listened:
    found = LIBRARY.get(profile)
    return Listened(Address(unit, device), found.events, found.credential, **more)  # type: ignore[arg-type]


@asynccontextmanager
async def session_of(host: IsapiHost, tmp_path: Path, *, idle_s: float = 5.0) -> AsyncIterator[IsapiSession]:
    file = tmp_path / "password"
    file.write_text(host.password)
    own = HttpLink(
        user=host.user if host.password else "",
        password_file=str(file) if host.password else "",
        pictures=str(tmp_path / "pictures"),
    )
    link = LinkConfig("host", "http", host="127.0.0.1", port=host.port, timeout_s=3, connect_timeout_s=3, http=own)
    async with IsapiDriver().open(link) as session:
        assert isinstance(session, IsapiSession)
        session.stream = AlertStream(session._client, session._take, idle_s=idle_s, first_s=0.01)
        yield session


async def values(session: IsapiSession, profile: str, unit: int = 0) -> dict[str, object]:
    found: dict[str, object] = {}
    for batch in IsapiDriver().plan(LIBRARY.get(profile).points, Limits(), None, session.link):
        found |= dict(zip(batch.points, await session.read(Address(unit, "dev-1"), batch), strict=True))
    return found


def operation(profile: str, name: str) -> Operation:
    return next(each for each in LIBRARY.get(profile).operations if each.id == name)


class Reader:
    """Takes turns as the agent does: word goes back that they are stored."""

    def __init__(self, session: IsapiSession) -> None:
        self.told: list[Occurrence] = []
        self._session = session
        self._more = asyncio.Condition()
        self._task = asyncio.create_task(self._read(), name="reader")

    async def _read(self) -> None:
        async for turn in self._session.occurrences():
            async with self._more:
                self.told += turn
                self._more.notify_all()
            self._session.stored(turn)

    async def until(self, fits: Callable[[list[Occurrence]], bool]) -> list[Occurrence]:
        async with asyncio.timeout(WAIT_S), self._more:
            await self._more.wait_for(lambda: fits(self.told))
        return self.told

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def hearing(session: IsapiSession, *devices: Listened) -> AsyncIterator[Reader]:
    reader = Reader(session)
    try:
        for device in devices:
            await session.listen(device)
        yield reader
    finally:
        await reader.end()


async def recalled(session: IsapiSession, device: Listened, after: int) -> list[Occurrence]:
    return [each async for portion in session.recall_events(device.address, after) for each in portion]
