"""What the tests of the strings driver share: a simulated device on a wire of any kind, an open session, and what it tells."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from device_profiles.schema import Profile
from drivers.base import Address, Limits, LinkConfig, ListenLink, Trace
from drivers.listening import Listened, Occurrence
from drivers.registry import load_driver
from drivers.strings.session import StringsSession
from firmware_sim.strings_wire import StringsWire, Talker
from tests.shipped import LIBRARY

WAIT_S = 10.0


def profile(name: str) -> Profile:
    return LIBRARY.get(name)


def address(of: Profile, *, unit: int | str = 1, at: str = "", device: str = "d") -> Address:
    return Address(unit, device, at, strings=of.strings)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class World:
    """An open session and its device."""

    def __init__(self, session: StringsSession, wire: StringsWire, of: Profile, at: Address) -> None:
        self.session, self.wire, self.profile, self.device = session, wire, of, at
        self._turns = session.occurrences()
        self._told: list[Occurrence] = []

    async def listen(self, direction: Any = None) -> None:
        await self.session.listen(Listened(self.device, self.profile.events, self.profile.credential, direction))

    async def next(self) -> Occurrence:
        async with asyncio.timeout(WAIT_S):
            while not self._told:
                self._told += await anext(self._turns)
        return self._told.pop(0)

    async def values(self, *names: str) -> Mapping[str, Any]:
        points = [point for point in self.profile.points if not names or point.id in names]
        found: dict[str, Any] = {}
        for batch in load_driver("strings").plan(points, Limits(), None, self.session.link):
            found |= zip(batch.points, await self.session.read(self.device, batch), strict=True)
        return found

    def operation(self, name: str) -> Any:
        return next(one for one in self.profile.operations if one.id == name)

    async def until(self, true: Any) -> None:
        async with asyncio.timeout(WAIT_S):
            while not true():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def opened(
    talker: Talker, profile_id: str | Profile, kind: str = "serial", *, timeout_s: float = 0.15, trace: Trace | None = None,
    unit: int | str = 1, **link: Any,
) -> AsyncIterator[World]:  # fmt: skip
    of = profile(profile_id) if isinstance(profile_id, str) else profile_id
    ours = free_port() if kind in ("tcp-listen", "udp") else 0
    async with StringsWire(talker, kind, baud=115200, to=ours) as wire:
        config = LinkConfig(
            "line-1", kind, host="127.0.0.1", port=ours or wire.port, path=wire.path, baud=115200, timeout_s=timeout_s,
            listen=ListenLink() if ours else None, **link,
        )  # fmt: skip
        at = "" if kind in ("serial", "tcp") else f"127.0.0.1:{wire.port}" if kind == "udp" else "127.0.0.1"
        async with load_driver("strings").open(config, trace) as session:
            assert isinstance(session, StringsSession)
            yield World(session, wire, of, address(of, unit=unit, at=at))
