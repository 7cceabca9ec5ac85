"""The `rest` driver: resources and operations of a host as its profile says them. One link is one host.

Its devices tell nothing by themselves: the agent compares readings where a profile's event says `when: {point: .., becomes: ..}`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

from device_profiles.control import Operation
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Point
from drivers import http_calls, http_points
from drivers.base import Address, Batch, Layout, Limits, LinkConfig, Trace, WireCount
from drivers.http_client import HttpClient, open_http
from drivers.http_login import Lockouts


class RestSession:
    """A Session that carries out operations."""

    def __init__(self, client: HttpClient) -> None:
        self.link = client.link
        self._client = client

    @property
    def counts(self) -> WireCount:
        """What went over the link since it was opened."""
        return self._client.counts

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """One request. Raises DeviceError, LinkError."""
        return await http_points.read(self._client, device, batch, self._where(device))

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """One request, once, and the read-back that the profile names (see http_calls)."""
        return await http_calls.carry_out(self._client, device, operation, inputs, self._where(device))

    def _where(self, device: Address) -> str:
        return f"{device.device} ({self.link.where})" if device.device else self.link.where


class RestDriver:
    """See drivers.base.Driver."""

    protocol: ClassVar[str] = "rest"

    def __init__(self) -> None:
        self._lockouts = Lockouts()

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """One request a resource. Raises ConfigError for a point that cannot be read."""
        return http_points.plan(points, link)

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[RestSession]:
        """Connects. Raises LinkError; ConfigError for a kind of link that asks no host."""
        return self._open(link, trace)

    @asynccontextmanager
    async def _open(self, link: LinkConfig, trace: Trace | None) -> AsyncIterator[RestSession]:
        async with open_http(link, self._lockouts.link(link.id), trace) as client:
            yield RestSession(client)
