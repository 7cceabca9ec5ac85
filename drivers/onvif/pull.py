"""The pull point of one host: made, asked again and again, renewed, and made anew after every end, with growing pauses.

Source: ONVIF Core Specification 24.06, 9.2 (real-time pull-point notification interface), 9.2.3 (PullMessages), 9.1.2 (Renew).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from device_profiles.errors import ConfigError, DeviceError, DeviceMismatch, DeviceRefused, LinkError

from .device import OnvifHost, path_of

if TYPE_CHECKING:
    from .soap import Soap

_log = logging.getLogger("onvif")
_LIVES_S = 120
"""How long a subscription lives without being renewed: a device keeps few of them, and ours ends soon after us."""
_FIRST_S, _LAST_S = 2.0, 60.0
_MOST = 100
"""Messages in one answer."""

Take = Callable[[Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Point:
    path: str
    headers: tuple[Any, ...]


class PullPoint:
    """`open` once; then it goes on by itself. Every answer is given to `take` and waited for: the device waits with us."""

    def __init__(
        self, soap: Soap, host: OnvifHost, take: Take, *, waits_s: float = 20.0, first_s: float = _FIRST_S
    ) -> None:
        self._soap = soap
        self._host = host
        self._take = take
        self._waits_s = waits_s
        self._first_s = first_s
        self._task: asyncio.Task[None] | None = None
        self.openings = 0

    async def open(self) -> None:
        """Returns once there is a subscription, and does nothing where it runs already. Raises DeviceError, LinkError."""
        if self._task is not None and not self._task.done():
            return
        point = await self._subscribe()
        self._task = asyncio.create_task(self._run(point), name=f"pull point of {self._soap.client.link.id}")

    async def close(self) -> None:
        """Ends it, and tells the device."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self, point: _Point | None) -> None:
        pause_s = self._first_s
        while True:
            try:
                point = point or await self._subscribe()
                pause_s = self._first_s
                await self._pull(point)
            except (DeviceError, LinkError, ConfigError) as error:
                _log.debug("pull point of %s: %s", self._soap.client.link.id, error.what)
            finally:
                if point is not None:
                    await self._unsubscribe(point)
            point = None
            await asyncio.sleep(pause_s)
            pause_s = min(_LAST_S, pause_s * 2)

    async def _subscribe(self) -> _Point:
        from .soap import pick_body, reference_headers

        path = await self._host.path("events")
        data = await self._soap.ask_raw(
            "events", "CreatePullPointSubscription", path, login=True, waits_s=0, headers=(),
            InitialTerminationTime=f"PT{_LIVES_S}S",
        )  # fmt: skip
        found = pick_body(data, "CreatePullPointSubscription", self._soap.where)
        reference = found.get("SubscriptionReference")
        address = reference.get("Address") if isinstance(reference, dict) else None
        place = path_of(address if isinstance(address, str) else None)
        if not place:
            raise DeviceMismatch("its pull point has no address", where=self._soap.where)
        self.openings += 1
        return _Point(place, reference_headers(data))

    async def _pull(self, point: _Point) -> None:
        """Until it ends. Raises DeviceError, LinkError."""
        renewed = time.monotonic()
        while True:
            found = await self._soap.ask(
                "pullpoint", "PullMessages", point.path, waits_s=self._waits_s, headers=point.headers,
                Timeout=timedelta(seconds=self._waits_s), MessageLimit=_MOST,
            )  # fmt: skip
            await self._take(found)
            if time.monotonic() - renewed > _LIVES_S / 3:
                renewed = time.monotonic()
                with contextlib.suppress(DeviceRefused):  # some renew with each PullMessages and know no Renew
                    await self._soap.ask(
                        "subscription", "Renew", point.path, headers=point.headers, TerminationTime=f"PT{_LIVES_S}S"
                    )

    async def _unsubscribe(self, point: _Point) -> None:
        """As well as it can be done: what is not ended ends by itself after `_LIVES_S`."""
        with contextlib.suppress(DeviceError, LinkError, ConfigError, TimeoutError):
            async with asyncio.timeout(2):
                await self._soap.ask("subscription", "Unsubscribe", point.path, headers=point.headers)
