"""Several protocols and line settings on one RS-485 line: one owner of the port, and a session for each of them on a share of it.

Which session a call goes to is told by the address: its protocol and its own line settings. The port is re-configured between
two pieces of work when their settings differ (`serial_line.Line.tune`). Knows no protocol by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

from device_profiles.control import Operation
from device_profiles.errors import ConfigError
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Point

from .base import (
    Address,
    Batch,
    CanIdentify,
    CanLearn,
    CanLocate,
    CanOperate,
    CanRecall,
    CanRehearse,
    CanShare,
    CanWrite,
    Driver,
    Layout,
    Limits,
    LineSettings,
    LinkConfig,
    Recalled,
    Session,
    Standing,
    Trace,
    WireCount,
)
from .link import MIXABLE
from .registry import load_driver
from .serial_line import LineAccess, LineOwner


class MixedDriver:
    """See drivers.base.Driver and SpeaksMany."""

    protocol: ClassVar[str] = "mixed"

    def __init__(self) -> None:
        self.spoken: dict[str, Driver] = {}
        """Drivers that were asked for so far, by protocol."""

    def speaking(self, protocol: str) -> Driver:
        """See SpeaksMany."""
        if protocol not in self.spoken:
            driver = load_driver(protocol)
            if not isinstance(driver, CanShare):
                step = f"give it a line of its own; {', '.join(MIXABLE)} can share one"
                raise ConfigError(f"{protocol} cannot share a line with other protocols", next_step=step)
            self.spoken[protocol] = driver
        return self.spoken[protocol]

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """Raises ConfigError always: points do not tell their protocol, see `speaking`."""
        raise ConfigError("a mixed line has no protocol of its own", where=link.id, next_step="plan by speaking()")

    @asynccontextmanager
    async def open(self, link: LinkConfig, trace: Trace | None = None) -> AsyncIterator[MixedSession]:
        """Opens the line with the link's own settings. Raises LinkError; ConfigError for what is no line."""
        if not link.is_line:
            raise ConfigError(f"a {link.kind!r} link is no line", where=link.id, next_step="use serial or rtu+tcp")
        owner = LineOwner(link, trace)
        try:
            await owner.open()
            yield MixedSession(self, owner)
        finally:
            await owner.close()


class MixedSession:
    """A Session with every ability that those on the line have; a device whose protocol lacks one raises ConfigError."""

    def __init__(self, driver: MixedDriver, line: LineAccess) -> None:
        self.link = line.link
        self._driver = driver
        self._line = line
        self._sessions: dict[tuple[str, LineSettings | None], Session] = {}

    @property
    def counts(self) -> WireCount:
        """What went over the wire since the link was opened."""
        return self._line.counts

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """See drivers.base.Session."""
        return await self._of(device).read(device, batch)

    def needs_locating(self, points: Sequence[Point]) -> bool:
        """See drivers.base.CanLocate."""
        sessions = (self._session(protocol, None) for protocol in tuple(self._driver.spoken))
        return any(isinstance(session, CanLocate) and session.needs_locating(points) for session in sessions)

    async def locate(self, device: Address, points: Sequence[Point]) -> Layout:
        """See drivers.base.CanLocate."""
        session = self._of(device)
        if not isinstance(session, CanLocate):
            raise _unable(device, "tells nothing of where it keeps its points")
        return await session.locate(device, points)

    def learned(self, device: Address) -> Layout | None:
        """See drivers.base.CanLearn."""
        session = self._of(device)
        return session.learned(device) if isinstance(session, CanLearn) else None

    async def identify(self, device: Address) -> Mapping[str, str]:
        """See drivers.base.CanIdentify."""
        session = self._of(device)
        if not isinstance(session, CanIdentify):
            raise _unable(device, "does not say who it is")
        return await session.identify(device)

    async def write(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> None:
        """See drivers.base.CanWrite."""
        session = self._of(device)
        if not isinstance(session, CanWrite):
            raise _unable(device, "is not written")
        await session.write(device, point, value, layout, priority=priority)

    async def standing(
        self, device: Address, point: Point, layout: Layout | None, *, priority: int | None = None
    ) -> Standing:
        """See drivers.base.CanWrite."""
        session = self._of(device)
        if not isinstance(session, CanWrite):
            raise _unable(device, "is not written")
        return await session.standing(device, point, layout, priority=priority)

    def rehearse(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> str:
        """See drivers.base.CanRehearse; empty where a protocol does not say."""
        session = self._of(device)
        if not isinstance(session, CanRehearse):
            return ""
        return session.rehearse(device, point, value, layout, priority=priority)

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """See drivers.base.CanOperate."""
        session = self._of(device)
        if not isinstance(session, CanOperate):
            raise _unable(device, "has no operations")
        return await session.operate(device, operation, inputs, layout)

    async def recall(
        self, device: Address, points: Sequence[Point], layout: Layout | None, since_ms: int, until_ms: int
    ) -> AsyncIterator[Sequence[Recalled]]:
        """See drivers.base.CanRecall; nothing where a protocol's devices keep nothing."""
        session = self._of(device)
        if isinstance(session, CanRecall):
            async for portion in session.recall(device, points, layout, since_ms, until_ms):
                yield portion

    def _of(self, device: Address) -> Session:
        return self._session(device.protocol, device.line)

    def _session(self, protocol: str, line: LineSettings | None) -> Session:
        key = (protocol, line)
        if key not in self._sessions:
            driver = self._driver.speaking(protocol)
            assert isinstance(driver, CanShare), "speaking gives no other"
            self._sessions[key] = driver.share(self._line, self.link.tuned(line))
        return self._sessions[key]


def _unable(device: Address, what: str) -> ConfigError:
    return ConfigError(f"a device of {device.protocol} {what}", where=device.device, next_step="see its profile")
