"""The `onvif` driver: cameras and recorders over HTTP, one host a link. zeep is imported when a link is opened, not before."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import ClassVar

from device_profiles.errors import ConfigError
from device_profiles.schema import Onvif, Point
from drivers.base import Batch, Layout, Limits, LinkConfig, Trace
from drivers.http_login import Lockouts

from .device import group_of
from .happening import States
from .session import Ask, OnvifSession

_QUESTION, _ANSWER = 1500, 4000
"""About the bytes of a request with its login, and of an answer, for the arithmetic of load."""


class OnvifDriver:
    """See drivers.base.Driver."""

    protocol: ClassVar[str] = "onvif"

    def __init__(self) -> None:
        self._lockouts = Lockouts()
        self._states: dict[str, States] = {}
        """By link: what changes while there is no connection is told by the next one."""

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """One batch a group of facts. Raises ConfigError for a point of another protocol."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for point in points:
            if not isinstance(point.address, Onvif):
                step = "add onvif: online, or another fact"
                raise ConfigError(f"{point.id} names no fact of ONVIF", where=link.id, next_step=step)
            fact = point.address.onvif
            groups.setdefault(group_of(fact), []).append((point.id, fact))
        return tuple(
            Batch(tuple(name for name, _ in group), _QUESTION, _ANSWER, Ask(tuple(fact for _, fact in group)))
            for group in groups.values()
        )

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[OnvifSession]:
        """Connects. Raises LinkError; ConfigError for a kind of link that asks no host."""
        return self._open(link, trace)

    @asynccontextmanager
    async def _open(self, link: LinkConfig, trace: Trace | None) -> AsyncIterator[OnvifSession]:
        lockout = self._lockouts.link(link.id)
        http = await asyncio.to_thread(import_module, "drivers.http_client")
        soap = await asyncio.to_thread(import_module, "drivers.onvif.soap")
        async with http.open_http(link, lockout, trace) as client:
            own = client.link.http
            services = soap.Soap(client, lockout, own.user, own.password_file)
            session = OnvifSession(client, services, self._states.setdefault(link.id, OrderedDict()))
            try:
                yield session
            finally:
                await session.close()
