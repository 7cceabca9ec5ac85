"""The DL/T 645 drivers, editions 2007 and 1997: on a serial line, and on a serial server that passes bytes over TCP."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.base import Batch, Layout, Limits, LinkConfig, Trace
from drivers.serial_line import LineAccess, LineShare

from . import planner
from .master import EDITION_1997, EDITION_2007, GAP_CHARS, Edition
from .session import Dlt645Session, open_line


class Dlt645Driver2007:
    """See drivers.base.Driver."""

    protocol: ClassVar[str] = "dlt645-2007"
    _edition: ClassVar[Edition] = EDITION_2007

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """One read an identifier or block (see planner). Raises ConfigError for a point that cannot be read."""
        return planner.plan(points, layout, link, di_size=self._edition.di_size)

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[Dlt645Session]:
        """Opens the line. Raises LinkError; ConfigError for a kind of link that is no line."""
        if not link.is_line:
            raise ConfigError(
                f"a {link.kind!r} link carries no DL/T 645", where=link.id, next_step="use serial or rtu+tcp"
            )
        return open_line(link, self._edition, trace)

    def share(self, line: LineAccess, link: LinkConfig) -> Dlt645Session:
        """See drivers.base.CanShare."""
        return Dlt645Session(LineShare(line, link, GAP_CHARS), self._edition)


class Dlt645Driver1997(Dlt645Driver2007):
    """See drivers.base.Driver."""

    protocol: ClassVar[str] = "dlt645-1997"
    _edition: ClassVar[Edition] = EDITION_1997
