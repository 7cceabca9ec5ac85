"""The BACnet/IP driver: devices by instance, on our own network, behind routers and behind BBMDs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.base import Batch, Layout, Limits, LinkConfig, Trace

from . import planner

if TYPE_CHECKING:
    from .session import BacnetSession


class BacnetDriver:
    """See drivers.base.Driver."""

    protocol: ClassVar[str] = "bacnet"

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """As few requests as the device's answers allow (see planner). Raises ConfigError for a point that cannot be read."""
        return planner.plan(points, layout)

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[BacnetSession]:
        """Opens our UDP port. Raises LinkError; ConfigError for a kind of link that carries no BACnet."""
        if link.kind != "bacnet":
            raise ConfigError(
                f"a {link.kind!r} link carries no BACnet", where=link.id, next_step="use bacnet://our-address/24"
            )
        return _open(link, trace)


@asynccontextmanager
async def _open(link: LinkConfig, trace: Trace | None) -> AsyncIterator[BacnetSession]:
    from .client import open_client  # bacpypes3: only where a link needs it
    from .session import BacnetSession

    async with open_client(link, trace) as client:
        session = BacnetSession(link, client)
        try:
            yield session
        finally:
            await session.close()
