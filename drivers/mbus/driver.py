"""The M-Bus driver: slaves behind a level converter on a serial line, and on a serial server that passes bytes over TCP."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.base import Batch, Layout, Limits, LinkConfig, Trace
from drivers.serial_line import LineAccess, LineShare

from . import planner
from .master import GAP_CHARS
from .session import MbusSession, open_line


class MbusDriver:
    """See drivers.base.Driver and CanShare."""

    protocol: ClassVar[str] = "mbus"

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """One readout of everything (see planner). Raises ConfigError for a point that cannot be read."""
        return planner.plan(points, layout, link)

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[MbusSession]:
        """Opens the line. Raises LinkError; ConfigError for a kind of link that is no line."""
        if not link.is_line:
            raise ConfigError(
                f"a {link.kind!r} link carries no M-Bus", where=link.id, next_step="use serial or rtu+tcp"
            )
        return open_line(link, trace)

    def share(self, line: LineAccess, link: LinkConfig) -> MbusSession:
        """See drivers.base.CanShare."""
        return MbusSession(LineShare(line, link, GAP_CHARS))
