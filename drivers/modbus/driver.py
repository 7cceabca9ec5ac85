"""The Modbus driver: over TCP, on a serial line, and on a serial server that passes RTU bytes over TCP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.base import Batch, Layout, Limits, LinkConfig, Trace

from . import planner
from .session import ModbusSession

if TYPE_CHECKING:
    from drivers.serial_line import LineAccess


class ModbusDriver:
    """See drivers.base.Driver."""

    protocol: ClassVar[str] = "modbus"

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """The cheapest reads (see planner). Raises ConfigError for a point that cannot be read."""
        return planner.plan(points, limits, layout, link)

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[ModbusSession]:
        """Connects. Raises LinkError; ConfigError for a kind of link that carries no Modbus."""
        if link.kind not in ("tcp", "rtu+tcp", "serial"):
            raise ConfigError(
                f"a {link.kind!r} link carries no Modbus", where=link.id, next_step="use tcp, rtu+tcp or serial"
            )
        return _open(link, trace)

    def share(self, line: LineAccess, link: LinkConfig) -> ModbusSession:
        """See drivers.base.CanShare."""
        from drivers.serial_line import LineShare

        from .rtu import RtuWire

        return ModbusSession(link, RtuWire(LineShare(line, link)))


@asynccontextmanager
async def _open(link: LinkConfig, trace: Trace | None) -> AsyncIterator[ModbusSession]:
    if link.kind == "tcp":
        from .tcp import open_tcp  # 22 MB that a box with serial lines only does not need

        async with open_tcp(link, trace) as wire:
            yield ModbusSession(link, wire)
    else:
        from .rtu import open_rtu

        async with open_rtu(link, trace) as line:
            yield ModbusSession(link, line)
