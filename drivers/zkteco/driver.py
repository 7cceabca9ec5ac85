"""The driver of ZKTeco terminals and controllers that dial in by push (ADMS)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from device_profiles.address import Told
from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.base import Batch, Layout, Limits, LinkConfig, Trace

from .session import ZktecoSession, open_session


class ZktecoDriver:
    """See drivers.base.Driver."""

    protocol: ClassVar[str] = "zkteco-push"

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """One batch: nothing is asked for it. Raises ConfigError for a point without an address."""
        addresses: list[Told] = []
        for point in points:
            if not isinstance(point.address, Told):
                raise ConfigError(f"{point.id} is nothing that a terminal tells", where=link.id, next_step="add told:")
            addresses.append(point.address)
        return (Batch(points=tuple(point.id for point in points), plan=tuple(addresses)),) if points else ()

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[ZktecoSession]:
        """Listens. Raises LinkRefused; ConfigError for another kind of link."""
        if link.kind != "http-listen":
            raise ConfigError(
                f"a {link.kind!r} link is not dialled into", where=link.id, next_step="use http-listen://0.0.0.0:8090"
            )
        return open_session(link, trace)
