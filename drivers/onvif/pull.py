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
from drivers.device_time import epoch_ms

from .device import OnvifHost, path_of

if TYPE_CHECKING:
    from .soap import Soap

_log = logging.getLogger("onvif")
_LIVES_S = 120
"""How long a subscription lives without being renewed: a device keeps few of them, and ours ends soon after us."""
_SHORTEST_S = 3.0
_FIRST_S, _LAST_S = 2.0, 60.0
_MOST = 100
"""Messages in one answer."""
_SOON_S = 0.5
"""Who answers an empty pull so soon does not wait for messages."""

Take = Callable[[Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Point:
    path: str
    headers: tuple[Any, ...]
    lives_s: float
    """As long as the device grants, which may be less than was asked for."""


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
        self._most = _MOST
        self._pause_s = first_s
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
        while True:
            try:
                point = point or await self._subscribe()
                await self._pull(point)
            except (DeviceError, LinkError, ConfigError) as error:
                _log.debug("pull point of %s: %s", self._soap.client.link.id, error.what)
            finally:
                if point is not None:
                    await self._unsubscribe(point)
            point = None
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(_LAST_S, self._pause_s * 2)

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
        self._soap.addresses[place] = str(address).strip()
        return _Point(place, reference_headers(data), _lives(found))

    async def _pull(self, point: _Point) -> None:
        """Until it ends. Raises DeviceError, LinkError."""
        renewed, lives_s, has_pulled = time.monotonic(), point.lives_s, False
        while True:
            asked = time.monotonic()
            waits_s = min(self._waits_s, lives_s / 3)
            try:
                found = await self._soap.ask(
                    "pullpoint", "PullMessages", point.path, waits_s=waits_s, headers=point.headers,
                    Timeout=timedelta(seconds=waits_s), MessageLimit=self._most,
                )  # fmt: skip
            except DeviceRefused:
                if not has_pulled:  # more than it grants, perhaps: it need not say how much that is
                    self._waits_s, self._most = max(1.0, self._waits_s / 2), max(1, self._most // 2)
                raise
            has_pulled = True
            self._pause_s = self._first_s
            await self._take(found)
            now = time.monotonic()
            if not found.get("NotificationMessage") and now - asked < min(_SOON_S, waits_s / 2):
                await asyncio.sleep(min(1.0, self._first_s))
            if now - renewed > lives_s / 3:
                renewed = now
                with contextlib.suppress(DeviceRefused):  # some renew with each PullMessages and know no Renew
                    told = await self._soap.ask(
                        "subscription", "Renew", point.path, headers=point.headers, TerminationTime=f"PT{_LIVES_S}S"
                    )
                    lives_s = _lives(told)

    async def _unsubscribe(self, point: _Point) -> None:
        """As well as it can be done: what is not ended ends by itself after `_LIVES_S`."""
        with contextlib.suppress(DeviceError, LinkError, ConfigError, TimeoutError):
            async with asyncio.timeout(2):
                await self._soap.ask("subscription", "Unsubscribe", point.path, headers=point.headers)
        self._soap.addresses.pop(point.path, None)


def _lives(told: Mapping[str, Any]) -> float:
    """Seconds from now to the end of a subscription, by the device's own clock; what was asked for where it does not say."""
    now, end = epoch_ms(str(told.get("CurrentTime", ""))), epoch_ms(str(told.get("TerminationTime", "")))
    if now is None or end is None or end <= now:
        return float(_LIVES_S)
    return min(float(_LIVES_S), max(_SHORTEST_S, (end - now) / 1000))
