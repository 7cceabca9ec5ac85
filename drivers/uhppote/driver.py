"""The driver of UHPPOTE (UT0311-L0x) door controllers over UDP."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.base import Batch, Layout, Limits, LinkConfig, Trace

from . import planner
from .session import UhppoteSession, open_session


class UhppoteDriver:
    """See drivers.base.Driver."""

    protocol: ClassVar[str] = "uhppote"

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """One status for most points (see planner). Raises ConfigError for a point that cannot be read."""
        return planner.plan(points, link)

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[UhppoteSession]:
        """Binds our UDP port. Raises LinkRefused; ConfigError for another kind of link."""
        if link.kind != "udp":
            raise ConfigError(
                f"a {link.kind!r} link carries no UHPPOTE boards", where=link.id, next_step="use udp://0.0.0.0:60001"
            )
        return open_session(link, trace)
