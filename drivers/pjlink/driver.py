"""The `pjlink` driver: projectors and displays over TCP, one a link."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.base import Batch, Layout, Limits, LinkConfig, Trace

from . import codec
from .notices import Notices
from .session import Ask, PjlinkSession, connection, fact_of


class PjlinkDriver:
    """See drivers.base.Driver."""

    protocol: ClassVar[str] = "pjlink"

    def __init__(self) -> None:
        self._notices = Notices()

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """One visit for all points. Raises ConfigError for a point of another protocol."""
        if not points:
            return ()
        facts = tuple(fact_of(point) for point in points)
        commands = len({codec.command_of(fact) for fact in facts})
        return (Batch(tuple(point.id for point in points), 9 * commands, 18 + 12 * commands, Ask(facts)),)

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[PjlinkSession]:
        """Looks whether somebody answers. Raises LinkError; ConfigError for a link that is no TCP."""
        if link.kind != "tcp":
            raise ConfigError(f"a {link.kind!r} link carries no PJLink", where=link.id, next_step="use kind: tcp")
        return self._open(link, trace)

    @asynccontextmanager
    async def _open(self, link: LinkConfig, trace: Trace | None) -> AsyncIterator[PjlinkSession]:
        async with connection(link, link.where):
            pass
        session = PjlinkSession(link, trace, self._notices)
        try:
            yield session
        finally:
            await session.close()
