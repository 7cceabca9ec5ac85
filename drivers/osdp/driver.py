"""The OSDP driver: a control panel on a serial line, and on a serial server that passes bytes over TCP."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from device_profiles.address import Osdp
from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.base import Batch, Layout, Limits, LinkConfig, Trace

from .cycle import CYCLE_S
from .session import OsdpSession, open_line

_POLL_BYTES = 9
"""Mark, POLL with a CRC; an ACK is as long."""
_SECURE_BYTES = 6
"""Security block and MAC."""


class OsdpDriver:
    """See drivers.base.Driver and CanCycle."""

    protocol: ClassVar[str] = "osdp"
    cycle_s: ClassVar[float] = CYCLE_S

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """One batch, which costs the line nothing: the poll cycle brings it. Raises ConfigError for another protocol's point."""
        facts = []
        for point in points:
            if not isinstance(point.address, Osdp):
                raise ConfigError(f"point {point.id} has no OSDP address", next_step="write osdp: online, tamper ...")
            facts.append(point.address.osdp)
        return (Batch(tuple(point.id for point in points), plan=tuple(facts)),) if facts else ()

    def poll(self, *, is_secure: bool) -> Batch:
        """See drivers.base.CanCycle: POLL and ACK."""
        size = _POLL_BYTES + (_SECURE_BYTES if is_secure else 0)
        return Batch((), size, size)

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[OsdpSession]:
        """Opens the line. Raises LinkError; ConfigError for a kind of link that is no line."""
        if not link.is_line:
            raise ConfigError(f"a {link.kind!r} link carries no OSDP", where=link.id, next_step="use serial or rtu+tcp")
        return open_line(link, trace)
