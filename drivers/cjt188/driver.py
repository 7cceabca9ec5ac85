"""The CJ/T 188 driver: water, gas and heat meters on a serial line, and on a serial server that passes bytes over TCP."""

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
from .session import Cjt188Session, open_line


class Cjt188Driver:
    """See drivers.base.Driver and CanShare."""

    protocol: ClassVar[str] = "cjt188"

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """One read an identifier (see planner). Raises ConfigError for a point that cannot be read."""
        return planner.plan(points, layout, link)

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[Cjt188Session]:
        """Opens the line. Raises LinkError; ConfigError for a kind of link that is no line."""
        if not link.is_line:
            raise ConfigError(
                f"a {link.kind!r} link carries no CJ/T 188", where=link.id, next_step="use serial or rtu+tcp"
            )
        return open_line(link, trace)

    def share(self, line: LineAccess, link: LinkConfig) -> Cjt188Session:
        """See drivers.base.CanShare."""
        return Cjt188Session(LineShare(line, link, GAP_CHARS))
