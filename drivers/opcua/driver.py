"""The OPC UA driver: one link is one endpoint, with as many devices behind it as its address space holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

from device_profiles.errors import DeviceError, LinkRefused
from device_profiles.schema import Point
from drivers.base import Batch, Layout, Limits, LinkConfig, Trace

from . import nodes
from .connect import opened, own_link
from .session import MOST_NODES, OpcUaSession, ReadPlan, located

_REQUEST_BYTES, _REPLY_BYTES = 40, 22
"""About what a node takes in a Read and its answer, for the arithmetic of load."""


class OpcUaDriver:
    """See drivers.base.Driver."""

    protocol: ClassVar[str] = "opcua"

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """As few batches as there can be; the session cuts them to what the server takes. Raises ConfigError."""
        addresses = nodes.addresses_of(points)
        batches: list[Batch] = []
        for at in range(0, len(points), MOST_NODES):
            part = points[at : at + MOST_NODES]
            paths = {point.id: addresses[point.id] for point in part if addresses[point.id].path is not None}
            plan = ReadPlan(tuple(located(point, layout) for point in part), paths, layout)
            size = len(part)
            batches.append(
                Batch(tuple(point.id for point in part), 100 + _REQUEST_BYTES * size, 60 + _REPLY_BYTES * size, plan)
            )
        return tuple(batches)

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[OpcUaSession]:
        """Connects. Raises LinkError; ConfigError for a link that is wrong whatever the server does."""
        own_link(link)
        return _open(link, trace)


@asynccontextmanager
async def _open(link: LinkConfig, trace: Trace | None) -> AsyncIterator[OpcUaSession]:
    async with opened(link, trace) as channel:
        try:
            session = await OpcUaSession.begin(channel)
        except DeviceError as error:
            raise LinkRefused(error.what, where=channel.where, next_step=error.next_step) from error
        try:
            yield session
        finally:
            await session.close()
