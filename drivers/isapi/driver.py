"""The ISAPI driver: a host that is asked (`http`), or hosts that push to us (`http-listen`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

from device_profiles.schema import Point
from drivers import http_points
from drivers.base import Batch, Layout, Limits, LinkConfig, Session, Trace
from drivers.http_client import open_http
from drivers.http_login import Lockouts

from .push import open_push
from .session import IsapiSession


class IsapiDriver:
    """See drivers.base.Driver."""

    protocol: ClassVar[str] = "isapi"

    def __init__(self) -> None:
        self._lockouts = Lockouts()

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """One request a resource. Raises ConfigError for a point that cannot be read."""
        return http_points.plan(points, link)

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[Session]:
        """Connects, or listens. Raises LinkError; ConfigError for a kind of link that does neither."""
        return open_push(link, trace) if link.kind == "http-listen" else self._open(link, trace)

    @asynccontextmanager
    async def _open(self, link: LinkConfig, trace: Trace | None) -> AsyncIterator[Session]:
        async with open_http(link, self._lockouts.link(link.id), trace) as client:
            session = IsapiSession(client)
            try:
                yield session
            finally:
                await session.close()
