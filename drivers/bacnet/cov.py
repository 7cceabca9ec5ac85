"""Change-of-value subscriptions: made, renewed before they end, made again after a restart, ended on exit.

Unconfirmed notifications on our own network, where a lost one is rare and the audit poll finds it; confirmed ones from behind
routers and through a BBMD, where losses are not rare. What a device refuses, or has no room for, stays polled. Knows no schedule
but that of its renewals. Source: ANSI/ASHRAE 135-2020, clauses 13.14 (SubscribeCOV), 13.15 (SubscribeCOVProperty) and 19.3
(device restart).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import zlib
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from device_profiles.errors import DeviceError, DeviceRefused, LinkError
from device_profiles.schema import Point
from drivers.base import Address, Change, Layout, Unsubscribed

from . import codec, names
from .bulk import BulkReader, unsigned_of
from .client import BacnetClient, Peer
from .codec import Notification, Ref
from .notify import MOST_QUEUED, Inbox, Reported, Watch, key_of
from .subscribing import (
    BY_OBJECT,
    BY_PROPERTY,
    Wish,
    encode_cancel,
    encode_cancel_property,
    encode_subscribe,
    encode_subscribe_property,
    wishes_of,
)

LIFETIME_S = 1800
"""How long a device keeps a subscription: short enough that one left behind is gone within the hour, long enough that renewing
20,000 of them takes 15 requests a second."""
_SHORT_LIFETIME_S = 300
"""For devices that refuse the longer one."""
_RENEW = (0.6, 0.8)
"""When a subscription is renewed, in parts of its lifetime."""
_RETRY_S = 15.0
_LOOK_S = 30.0
"""After an I-Am a device is asked at most so often whether it restarted."""
_UNSURE_S = 300.0
"""A device that does not say when it restarted is subscribed again after an I-Am, at most so often."""
_AT_ONCE = 8
"""Devices that are renewed at the same time."""
_GOODBYE_S = 3.0
_DEVICE, _RESTARTED, _RELIABILITY = 8, 203, 103
_UNRECOGNIZED = frozenset({names.REJECTED + 9, 67})
"""The reject, and the error code that some send in its place."""
_FULL = frozenset({18, 19, 20, 133, names.ABORTED + 9})
"""no-space-*, out-of-memory, abort out-of-resources: a device has no room for more subscriptions."""
_LIFETIME_REFUSED = frozenset({37, 80, names.REJECTED + 6})
_SERVICES = frozenset({BY_OBJECT, BY_PROPERTY})
_log = structlog.get_logger("bacnet")


@dataclass(slots=True, eq=False)
class _Device:
    """One BACnet device with its subscriptions."""

    instance: int
    peer: Peer
    lifetime_s: int
    """What is asked for."""
    granted_s: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    watches: dict[Wish, Watch] = field(default_factory=dict)
    services: frozenset[str] | None = None
    """COV services that it says it has; None = not known."""
    most: int | None = None
    """Subscriptions that it has room for, found out when it was full."""
    restarted: str | None = None
    """Time_Of_Device_Restart as text; "" when it does not say."""
    looked_at: float = -1e9
    renewed_at: float = -1e9
    timer: asyncio.TimerHandle | None = None


class Subscriptions:
    """All subscriptions of a link. One process identifier, always the same one, so that an agent that was restarted takes over
    the slots that it had.
    """

    def __init__(
        self,
        client: BacnetClient,
        *,
        is_confirmed: bool | None = None,
        lifetime_s: int = LIFETIME_S,
        most_queued: int = MOST_QUEUED,
    ) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._is_confirmed = is_confirmed
        self._lifetime_s = lifetime_s
        self.process = zlib.crc32(client.link.id.encode()) % 0x7FFFFF + 1
        self.inbox = Inbox(self._faulty, self._granted, self._unknown, most=most_queued)
        self._devices: dict[int, _Device] = {}
        self._renewing = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._endings = (client.listen_cov(self.inbox.take), client.listen_i_am(self._i_am))
        self._is_closed = False

    @property
    def dropped(self) -> int:
        """Changes that came faster than they were read."""
        return self.inbox.dropped

    @property
    def refused(self) -> Mapping[str, int]:
        """Notifications that were not believed, by why."""
        return self.inbox.refused

    def changes(self) -> AsyncIterator[Sequence[Change | Unsubscribed]]:
        """See drivers.base.CanSubscribe."""
        return self.inbox.changes()

    # Subscribing.

    async def subscribe(self, device: Address, points: Sequence[Point], layout: Layout | None) -> frozenset[str]:
        """See drivers.base.CanSubscribe."""
        known = layout or {}
        instance = int(device.unit)
        if not self._client.own.cov:
            return frozenset()
        peer = await self._client.resolve(instance)
        entry = self._devices.get(instance)
        if entry is None:
            entry = self._devices[instance] = _Device(instance, peer, self._lifetime_s, self._lifetime_s)
        async with entry.lock:
            entry.peer = peer
            said = known.get("services")  # none at all: the device does not say
            entry.services = frozenset(said) if said else None
            wishes = wishes_of(points, known)
            await self._release(entry, device.device, keep=wishes)
            if wishes and entry.restarted is None:
                entry.restarted = await self._restart_stamp(entry)
            taken: set[str] = set()
            try:
                for wish, wanted in wishes.items():
                    reported = [Reported(device.device, point, ref) for point, ref in wanted]
                    if await self._subscribed(entry, wish, reported):
                        taken |= {point.id for point, _ in wanted}
            except (DeviceError, LinkError):
                self._forget(entry, device.device)
                raise
            entry.renewed_at = self._loop.time()
            self._plan_renewal(entry)
        return frozenset(taken)

    async def _subscribed(self, entry: _Device, wish: Wish, reported: list[Reported]) -> bool:
        """Subscribes for these points, whose watch hears from the very first notification on. False when it was refused."""
        if entry.services is not None and wish.service not in entry.services:
            return wish.otherwise is not None and await self._subscribed(entry, wish.otherwise, reported)
        watch = entry.watches.get(wish)
        is_new = watch is None
        if watch is None:
            if entry.most is not None and len(entry.watches) >= entry.most:
                return False
            watch = Watch(entry.instance, entry.peer.address, wish.ref)
            entry.watches[wish] = watch
            self.inbox.add(self._key(entry, wish), watch)
        watch.address = entry.peer.address
        watch.remaining_s = None
        watch.reported += reported
        try:
            await self._send(entry, wish)
        except DeviceRefused as error:
            if error.code in _FULL and is_new:
                entry.most = len(entry.watches) - 1
                _log.info("device has no room for more subscriptions", device=entry.instance, room=entry.most)
            for one in reported:
                one.is_lost = True  # never taken: there is nothing to be told
            self._drop(entry, wish, f"refused: {error.what}")
            if error.code in _UNRECOGNIZED and wish.otherwise is not None:
                fresh = [Reported(one.device, one.point, one.ref) for one in reported]
                return await self._subscribed(entry, wish.otherwise, fresh)
            return False
        return True

    async def _send(self, entry: _Device, wish: Wish) -> None:
        """One subscription, or its renewal. Raises DeviceError, LinkError."""
        is_confirmed = self._wants_confirmed(entry.peer)
        for _ in range(2):
            try:
                if wish.by_property:
                    service = codec.SUBSCRIBE_COV_PROPERTY
                    payload = encode_subscribe_property(
                        self.process, wish.ref, is_confirmed=is_confirmed, lifetime_s=entry.lifetime_s,
                        increment=wish.increment,
                    )  # fmt: skip
                else:
                    service = codec.SUBSCRIBE_COV
                    payload = encode_subscribe(
                        self.process, wish.ref, is_confirmed=is_confirmed, lifetime_s=entry.lifetime_s
                    )
                await self._client.confirmed(entry.peer, service, payload)
                return
            except DeviceRefused as error:
                if error.code in _UNRECOGNIZED:
                    known = _SERVICES if entry.services is None else entry.services
                    entry.services = known - {wish.service}
                if error.code not in _LIFETIME_REFUSED or entry.lifetime_s <= _SHORT_LIFETIME_S:
                    raise
                entry.lifetime_s = entry.granted_s = _SHORT_LIFETIME_S

    def _wants_confirmed(self, peer: Peer) -> bool:
        if self._is_confirmed is not None:
            return self._is_confirmed
        return ":0x" in peer.address or self._client.own.bbmd is not None

    def _key(self, entry: _Device, wish: Wish) -> bytes:
        return key_of(self.process, entry.instance, wish.ref)

    # Ending.

    async def unsubscribe(self, device: Address) -> None:
        """See drivers.base.CanSubscribe."""
        entry = self._devices.get(int(device.unit))
        if entry is not None:
            async with entry.lock:
                await self._release(entry, device.device, keep={})

    async def _release(self, entry: _Device, device: str, keep: Mapping[Wish, object]) -> None:
        """Takes the points of one of our devices out; subscriptions that nobody wants any more are ended where they are."""
        unwanted = self._forget(entry, device, keep)
        for wish in unwanted:
            if not await self._cancelled(entry, wish):
                return

    def _forget(self, entry: _Device, device: str, keep: Mapping[Wish, object] | None = None) -> list[Wish]:
        unwanted: list[Wish] = []
        for wish, watch in tuple(entry.watches.items()):
            for one in watch.reported:
                one.is_lost = one.is_lost or one.device == device
            watch.reported = [one for one in watch.reported if one.device != device]
            watch.held = {one: value for one, value in watch.held.items() if not one.is_lost}
            if not watch.reported and wish not in (keep or ()):
                del entry.watches[wish]
                self.inbox.remove(self._key(entry, wish), watch)
                unwanted.append(wish)
        return unwanted

    async def _cancelled(self, entry: _Device, wish: Wish) -> bool:
        """Ends a subscription at the device. False when the device does not answer: it will end by itself."""
        service = codec.SUBSCRIBE_COV_PROPERTY if wish.by_property else codec.SUBSCRIBE_COV
        encode = encode_cancel_property if wish.by_property else encode_cancel
        try:
            await self._client.confirmed(entry.peer, service, encode(self.process, wish.ref))
        except DeviceRefused:
            return True
        except (DeviceError, LinkError):
            return False
        return True

    def _drop(self, entry: _Device, wish: Wish, reason: str) -> None:
        """The device does not report this any more."""
        watch = entry.watches.pop(wish, None)
        if watch is not None:
            self.inbox.remove(self._key(entry, wish), watch)
            self.inbox.lost(watch.reported, reason)

    async def close(self) -> None:
        """Ends every subscription, as well as that goes within a few seconds."""
        self._is_closed = True
        for ending in self._endings:
            ending()
        for entry in self._devices.values():
            if entry.timer is not None:
                entry.timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(_GOODBYE_S), asyncio.TaskGroup() as group:
                for entry in self._devices.values():
                    group.create_task(self._goodbye(entry), name=f"bacnet unsubscribe {entry.instance}")
        except TimeoutError:
            _log.info("devices were left with subscriptions that will end by themselves", link=self._client.link.id)
        finally:
            self.inbox.close()

    async def _goodbye(self, entry: _Device) -> None:
        async with self._renewing:
            for wish in tuple(entry.watches):
                if not await self._cancelled(entry, wish):
                    return

    # Renewing.

    def _plan_renewal(self, entry: _Device, after_s: float | None = None) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
        entry.timer = None
        if entry.watches and not self._is_closed:
            span_s = entry.granted_s * random.uniform(*_RENEW) if after_s is None else after_s
            entry.timer = self._loop.call_later(span_s, self._spawn_renewal, entry)

    def _spawn_renewal(self, entry: _Device) -> None:
        self._spawn(self._renew(entry), f"bacnet renew {entry.instance}")

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        if self._is_closed:
            work.close()
            return
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _renew(self, entry: _Device) -> None:
        """Subscribes anew for all that a device reports: one that forgot it, or never knew, then knows."""
        async with self._renewing, entry.lock:
            try:
                entry.peer = await self._client.resolve(entry.instance)
                for wish in tuple(entry.watches):
                    watch = entry.watches[wish]
                    watch.address = entry.peer.address
                    try:
                        await self._send(entry, wish)
                    except DeviceRefused as error:
                        self._drop(entry, wish, f"not renewed: {error.what}")
            except (DeviceError, LinkError) as error:
                self._not_renewed(entry, str(error))
                return
            entry.renewed_at = self._loop.time()
            self._plan_renewal(entry)

    def _not_renewed(self, entry: _Device, reason: str) -> None:
        """Tries again while the subscriptions last; the device may also have moved."""
        self._client.forget(entry.instance)
        if self._loop.time() - entry.renewed_at + _RETRY_S < entry.granted_s:
            self._plan_renewal(entry, _RETRY_S)
            return
        for wish in tuple(entry.watches):
            self._drop(entry, wish, f"not renewed before its end: {reason}")

    def _granted(self, watch: Watch, seconds: int) -> None:
        """A device that grants less than was asked for is renewed earlier; 0 is without end."""
        entry = self._devices[watch.instance]
        if 0 < seconds < 0.9 * entry.granted_s:
            entry.granted_s = seconds
            if entry.timer is not None:
                self._plan_renewal(entry)

    # Restarts.

    def _i_am(self, peer: Peer) -> None:
        entry = self._devices.get(peer.instance)
        now = self._loop.time()
        if entry is None or not entry.watches or now - entry.looked_at < _LOOK_S:
            return
        entry.looked_at = now
        if peer.address != entry.peer.address:
            self._spawn_renewal(entry)  # it moved: whoever is at its old place has none of these subscriptions
        else:
            self._spawn(self._look(entry), f"bacnet look {entry.instance}")

    async def _look(self, entry: _Device) -> None:
        """Asks a device that said I-Am whether it restarted: it has then forgotten its subscriptions."""
        try:
            stamp = await self._restart_stamp(entry)
        except (DeviceError, LinkError):
            return  # the next renewal meets it
        is_unsure = stamp == "" and self._loop.time() - entry.renewed_at > _UNSURE_S
        if stamp != entry.restarted or is_unsure:
            entry.restarted = stamp
            await self._renew(entry)

    def restarted(self, instance: int) -> None:
        """The device was found to have restarted, or to be another one: subscribes again, soon."""
        entry = self._devices.get(instance)
        if entry is not None and entry.watches:
            self._spawn_renewal(entry)

    async def _restart_stamp(self, entry: _Device) -> str:
        result = await BulkReader(self._client, entry.peer).one(Ref(_DEVICE, entry.instance, _RESTARTED))
        return "" if result.error is not None else repr(result.elements)

    # Notifications.

    def _unknown(self, source: str, told: Notification) -> str | None:
        """Why a notification is not believed; None for one that tells of a restart."""
        entry = self._devices.get(told.device)
        if entry is None:
            return "device"
        if source != entry.peer.address:
            return "source"
        if told.process == 0 and told.kind == _DEVICE and told.instance == told.device:
            if self._loop.time() - entry.renewed_at > 1.0:
                self._spawn_renewal(entry)
            return None
        return "process" if told.process != self.process else "object"

    def _faulty(self, watch: Watch) -> None:
        self._spawn(self._judge(watch), f"bacnet reliability {watch.instance}")

    async def _judge(self, watch: Watch) -> None:
        """Reads why an object is at fault: a notification does not say."""
        ref = Ref(watch.ref.kind, watch.ref.instance, _RELIABILITY)
        reliability = None
        with contextlib.suppress(DeviceError, LinkError):
            reader = BulkReader(self._client, self._devices[watch.instance].peer)
            reliability = unsigned_of(await reader.one(ref))
        self.inbox.judged(watch, reliability)
