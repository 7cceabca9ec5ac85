"""One subscription of a link: monitored items of many devices, answers to Publish as they come, and a watch over its silence.

The server says something each publishing interval, a keep-alive when nothing changed; two intervals of silence are a hung server,
whatever its TCP connection says. What is not read in time is dropped oldest first, counted, and its points are given up until
they are subscribed again, so that nobody believes an incomplete series.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.ua_binary import struct_from_binary

from device_profiles.errors import DeviceError, DeviceTimeout, LinkError, LinkLost, PlantroomError
from device_profiles.schema import Point
from drivers.base import Change, Unsubscribed

from . import binary
from .channel import Channel
from .status import name_of

QUEUE = 200_000
"""Values that may wait for the reader."""
_PARALLEL_PUBLISHES = 3
_ITEM_QUEUE = 10
_LIFETIME_COUNT = 60
_WATCH_LEAST_S = 0.25
_STALL_S = 0.05
"""A watch that wakes later than this was held up itself, and looks again."""
_ITEM_ERRORS_OF_FILTER = frozenset(
    {
        "BadMonitoredItemFilterInvalid", "BadMonitoredItemFilterUnsupported", "BadFilterNotAllowed", "BadDeadbandFilterInvalid",
        "BadEventFilterInvalid",
    }
)  # fmt: skip
_log = structlog.get_logger("opcua")


@dataclass(slots=True)
class _Items:
    """What is monitored for one device: server ids by client handle."""

    ids: dict[int, int] = field(default_factory=dict)


class Subscription:
    """Made once a session, opened on the server with the first `subscribe`."""

    def __init__(self, channel: Channel, publish_ms: int, most_items: int) -> None:
        self._channel, self._publish_ms, self._most_items = channel, publish_ms, most_items
        self._id: int | None = None
        self._targets: list[tuple[str, str] | None] = []
        """(device, point) by client handle; None = given up."""
        self._devices: dict[str, _Items] = {}
        self._ready: deque[Change | Unsubscribed] = deque()
        self._waiting = 0
        self._news = asyncio.Event()
        self._acknowledge: list[tuple[int, int]] = []
        self._expected = 0
        self._published_at = 0.0
        self._interval_s = 0.0
        self._slack_ms = 0
        self._setting_up = 0
        self._one_at_a_time = asyncio.Lock()
        self._limit_s = 0.0
        self._is_open = asyncio.Event()
        self._publishers: list[asyncio.Task[None]] = []
        self._watcher: asyncio.Task[None] | None = None
        self._deleting: asyncio.Task[None] | None = None
        self._fresh: set[int] = set()
        """Handles whose first value has not come yet: its source time is of an older change."""
        self.dropped = 0
        channel.when_lost.append(self._news.set)

    @property
    def interval_s(self) -> float:
        """The publishing interval that the server granted; 0 while there is no subscription."""
        return self._interval_s

    async def replace(self, device: str, points: Sequence[Point], nodes: Mapping[str, ua.NodeId]) -> frozenset[str]:
        """Monitors these points of a device instead of those before. Raises DeviceError, LinkError.

        A server may be busy with a thousand new items for longer than the watch allows: it waits as long as their own limit.
        """
        self._setting_up += 1
        try:
            async with self._one_at_a_time:
                return await self._replace(device, points, nodes)
        finally:
            self._setting_up -= 1
            self._published_at = time.monotonic()

    async def _replace(self, device: str, points: Sequence[Point], nodes: Mapping[str, ua.NodeId]) -> frozenset[str]:
        await self.remove(device)
        wanted = [point for point in points if point.id in nodes and point.cov is not False]
        if not wanted:
            return frozenset()
        if self._id is None:
            await self._open()
        items = self._devices[device] = _Items()
        done: set[str] = set()
        for at in range(0, len(wanted), self._most_items):
            portion = wanted[at : at + self._most_items]
            refused = await self._monitor(device, items, portion, nodes, done, with_filter=True)
            if refused:
                _log.info("the server filters these nodes not by deadband", link=self._channel.link.id, device=device)
                await self._monitor(device, items, refused, nodes, done, with_filter=False)
        return frozenset(done) if self._devices.get(device) is items else frozenset()

    async def remove(self, device: str) -> None:
        """Ends what is monitored for a device."""
        items = self._devices.pop(device, None)
        if items is None:
            return
        self._give_up(items.ids)
        if self._id is not None and items.ids:
            params = ua.DeleteMonitoredItemsParameters(self._id, list(items.ids.values()))
            with contextlib.suppress(DeviceError):
                await self._channel.service("ending monitored items", UaSession.delete_monitored_items, params)

    async def _monitor(
        self,
        device: str,
        items: _Items,
        points: Sequence[Point],
        nodes: Mapping[str, ua.NodeId],
        done: set[str],
        *,
        with_filter: bool,
    ) -> list[Point]:
        """Creates monitored items; gives the points whose filter was refused. Nothing once the subscription has ended."""
        if self._id is None or self._devices.get(device) is not items:
            return []
        first = len(self._targets)
        requests = [
            _item(nodes[point.id], first + n, point, self._publish_ms, with_filter) for n, point in enumerate(points)
        ]
        self._targets += [(device, point.id) for point in points]
        self._fresh.update(range(first, first + len(points)))
        params = ua.CreateMonitoredItemsParameters(self._id, ua.TimestampsToReturn.Source, requests)
        results = []
        try:
            results = await self._channel.service("creating monitored items", UaSession.create_monitored_items, params)
        finally:
            if not results or self._devices.get(device) is not items:
                self._give_up(range(first, first + len(points)))
        if self._devices.get(device) is not items:
            return []  # what was created has ended with its subscription
        refused: list[Point] = []
        for handle, point, result in zip(range(first, first + len(points)), points, results, strict=False):
            if result.StatusCode.is_good():
                items.ids[handle] = result.MonitoredItemId
                done.add(point.id)
                continue
            self._give_up((handle,))
            name = name_of(result.StatusCode.value)
            if with_filter and name in _ITEM_ERRORS_OF_FILTER:
                refused.append(point)
            else:
                _log.debug(
                    "a node is not monitored", link=self._channel.link.id, device=device, point=point.id, status=name
                )
        return refused

    async def _open(self) -> None:
        params = ua.CreateSubscriptionParameters(float(self._publish_ms), _LIFETIME_COUNT, 1, 0, True, 0)
        result = await self._channel.service("creating a subscription", _create, params)
        self._id, self._expected = result.SubscriptionId, 0
        self._interval_s = max(result.RevisedPublishingInterval, 1.0) / 1000
        self._slack_ms = int(max(2000.0, 2 * result.RevisedPublishingInterval))
        self._published_at = time.monotonic()
        silence_s = self._watch_s * max(1, result.RevisedMaxKeepAliveCount)
        self._limit_s = _PARALLEL_PUBLISHES * (silence_s + self._channel.link.timeout_s)
        self._is_open.set()
        link = self._channel.link.id
        if not self._publishers:
            self._publishers = [
                asyncio.create_task(self._publish(), name=f"opcua publish {n} {link}")
                for n in range(_PARALLEL_PUBLISHES)
            ]
        self._watcher = asyncio.create_task(self._watch(silence_s), name=f"opcua watch {link}")

    @property
    def _watch_s(self) -> float:
        return 2 * max(self._interval_s, _WATCH_LEAST_S)

    async def _publish(self) -> None:
        """Keeps one Publish request waiting at the server, as long as the session lives: what waits there belongs to the session,
        and an answer to a request that was given up with an earlier subscription would be lost.
        """
        channel = self._channel
        while True:
            await self._is_open.wait()
            acknowledged, self._acknowledge = self._acknowledge[:1000], self._acknowledge[1000:]
            try:
                parameters = binary.publish_parameters(acknowledged)
                body, at = await channel.ask(binary.PUBLISH_REQUEST, parameters, "publishing", self._limit_s)
                self._published_at = time.monotonic()
                told = binary.window(time.time_ns() // 1_000_000, self._slack_ms)
                self._take(binary.published(body, at, told))
            except DeviceTimeout:
                continue
            except DeviceError as error:
                if error.status == "BadTooManyPublishRequests":
                    return
                self._end(str(error))
            except LinkError:
                return

    def _take(self, published: binary.Published) -> None:
        if published.subscription != self._id:
            return
        if published.overflows:
            self._count("queue_overflow", published.overflows)
        if published.status >> 30 >= 2:
            self._end(f"the server ended the subscription ({name_of(published.status)})")
            return
        if published.is_keep_alive:
            return
        missed = published.sequence - self._expected if self._expected else 0
        self._expected = published.sequence % 0xFFFF_FFFF + 1
        self._acknowledge.append((published.subscription, published.sequence))
        if missed > 0:
            self._count("missed_notifications", missed)
            self._end(f"{missed} notifications are missing before number {published.sequence}")
            return
        for handles, values in published.items:
            self._sort(handles, values)

    def _sort(self, handles: Sequence[int], values: Sequence[binary.Heard]) -> None:
        """Makes changes of one notification: one a device, each point once, later values of a point in later changes."""
        if self._fresh:
            values = self._without_first_times(handles, values)
        targets = self._targets
        try:
            whose = [targets[handle] for handle in handles]
        except IndexError:
            self._count("unknown_handles", 1)
            return
        if len(set(handles)) == len(handles) and len(self._devices) == 1 and None not in whose:
            ((device, _),) = {(target[0], 0) for target in whose[:1] if target}
            self._keep(Change(device, tuple([target[1] for target in whose if target]), values))
            return
        layers: list[dict[str, tuple[list[str], list[binary.Heard]]]] = []
        seen: dict[int, int] = {}
        for handle, target, value in zip(handles, whose, values, strict=True):
            if target is None:
                continue
            turn = seen[handle] = seen.get(handle, -1) + 1
            if turn == len(layers):
                layers.append({})
            names, kept = layers[turn].setdefault(target[0], ([], []))
            names.append(target[1])
            kept.append(value)
        for layer in layers:
            for device, (names, kept) in layer.items():
                self._keep(Change(device, tuple(names), kept))

    def _without_first_times(self, handles: Sequence[int], values: Sequence[binary.Heard]) -> list[binary.Heard]:
        """The first value of an item may be years old, and is true now all the same."""
        plain: list[binary.Heard] = []
        for handle, value in zip(handles, values, strict=True):
            if handle in self._fresh:
                self._fresh.discard(handle)
                value = binary.without_time(value)
            plain.append(value)
        return plain

    def _keep(self, change: Change) -> None:
        self._ready.append(change)
        self._waiting += len(change.points)
        while self._waiting > QUEUE:
            self._drop()
        self._news.set()

    def _drop(self) -> None:
        oldest = self._ready.popleft()
        if isinstance(oldest, Unsubscribed):
            self._ready.append(oldest)
            return
        self._waiting -= len(oldest.points)
        self.dropped += len(oldest.points)
        lost = frozenset(oldest.points)
        items = self._devices.get(oldest.device, _Items())
        given_up = [handle for handle in items.ids if (target := self._targets[handle]) and target[1] in lost]
        if given_up:
            points = tuple(target[1] for handle in given_up if (target := self._targets[handle]))
            self._give_up(given_up)
            self._ready.append(Unsubscribed(oldest.device, points, "changes came faster than they were taken"))

    def _give_up(self, handles: Iterable[int]) -> None:
        """What still comes for these is nobody's."""
        for handle in handles:
            self._targets[handle] = None
            self._fresh.discard(handle)

    def _end(self, reason: str) -> None:
        """Gives everything up; the next `subscribe` begins anew."""
        gone, self._id = self._id, None
        self._is_open.clear()
        self._interval_s = 0.0
        for device, items in self._devices.items():
            points = tuple(target[1] for handle in items.ids if (target := self._targets[handle]))
            self._give_up(items.ids)
            if points:
                self._ready.append(Unsubscribed(device, points, reason))
        self._devices.clear()
        self._news.set()
        if self._watcher is not None:
            self._watcher.cancel()
        if gone is not None and self._channel.lost is None:
            self._deleting = asyncio.create_task(self._delete(gone), name=f"opcua end {self._channel.link.id}")

    async def _delete(self, subscription: int) -> None:
        with contextlib.suppress(PlantroomError):
            await self._channel.service("ending a subscription", UaSession.delete_subscriptions, [subscription])

    async def _watch(self, limit_s: float) -> None:
        """Ends the link when the server has said nothing for so long; not when it was we who did not listen."""
        while True:
            due = self._published_at + limit_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if time.monotonic() - due > _STALL_S:
                await asyncio.sleep(_STALL_S)
            if self._channel.lost is not None:
                return
            if self._setting_up:
                self._published_at = time.monotonic()
            if time.monotonic() - self._published_at < limit_s:
                continue
            step = "look at the server: its TCP connection is open, but it says nothing"
            what = f"no answer to Publish for {limit_s:g} s"
            self._channel.fail(LinkLost(what, where=self._channel.where, next_step=step))
            return

    def _count(self, what: str, number: int) -> None:
        errors = self._channel.counts.errors
        errors[what] = errors.get(what, 0) + number

    async def changes(self) -> AsyncIterator[Sequence[Change | Unsubscribed]]:
        """What arrived since the last turn. Raises LinkError when the link is lost, after all points were given up."""
        while True:
            if self._ready:
                turn, self._ready = self._ready, deque()
                self._waiting = 0
                yield list(turn)
            elif self._channel.lost is None:
                self._news.clear()
                await self._news.wait()
            elif self._devices:
                self._end(self._channel.lost.what)
            else:
                self._channel.check()

    async def close(self) -> None:
        """Ends the tasks; the session's end ends the subscription."""
        tasks = [task for task in (*self._publishers, self._watcher, self._deleting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _create(session: UaSession, params: ua.CreateSubscriptionParameters) -> ua.CreateSubscriptionResult:
    """Without asyncua's own publish loop, which its `create_subscription` starts."""
    request = ua.CreateSubscriptionRequest(Parameters=params)
    response = struct_from_binary(ua.CreateSubscriptionResponse, await session._send_request(request))
    response.ResponseHeader.ServiceResult.check()
    result: ua.CreateSubscriptionResult = response.Parameters
    return result


def _item(
    node: ua.NodeId, handle: int, point: Point, sampling_ms: int, with_filter: bool
) -> ua.MonitoredItemCreateRequest:
    chosen = None
    if with_filter and point.cov is not None and not isinstance(point.cov, bool):
        absolute = ua.DeadbandType.Absolute
        chosen = ua.DataChangeFilter(ua.DataChangeTrigger.StatusValue, absolute, float(point.cov))
    parameters = ua.MonitoringParameters(handle, float(sampling_ms), chosen, _ITEM_QUEUE, True)
    what = ua.ReadValueId(node, ua.AttributeIds.Value)
    return ua.MonitoredItemCreateRequest(what, ua.MonitoringMode.Reporting, parameters)
