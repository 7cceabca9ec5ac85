"""The strings driver: on serial lines and serial servers, TCP both ways, and UDP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from device_profiles.strings_codec import Language
from drivers.base import Address, Batch, Layout, Limits, LinkConfig, Trace
from drivers.link import CARRIERS

from . import planner
from .channel import open_channel
from .session import StringsSession


class StringsDriver:
    """See drivers.base.Driver and CanMeasure."""

    protocol: ClassVar[str] = "strings"

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """One batch a request (see planner). Raises ConfigError for a point that cannot be read."""
        return planner.plan(points)

    def measured(self, batches: Sequence[Batch], device: Address) -> tuple[Batch, ...]:
        """See drivers.base.CanMeasure."""
        return planner.measured(batches, Language(device.strings)) if device.strings is not None else ()

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[StringsSession]:
        """Opens the wire and listens. Raises LinkError; ConfigError for a kind of link that carries no strings."""
        if link.kind not in CARRIERS["strings"]:
            kinds = ", ".join(CARRIERS["strings"])
            raise ConfigError(f"a {link.kind!r} link carries no strings", where=link.id, next_step=f"use {kinds}")
        return _open(link, trace)


@asynccontextmanager
async def _open(link: LinkConfig, trace: Trace | None) -> AsyncIterator[StringsSession]:
    session = StringsSession(link, trace)
    try:
        async with open_channel(link, session.take, session.lost) as channel:
            session.attach(channel)
            yield session
    finally:
        session.close()
