"""An open BACnet/IP link: reads batches, locates devices, learns what they refuse, notices when they are not the same any more.

No retry and no schedule: a timeout is raised once, the poller decides. Subscribing, writing and recalling are in modules of their
own; this one only opens the door to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from device_profiles.address import Bacnet
from device_profiles.errors import DeviceError, DeviceMismatch, DeviceRefused
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Point
from drivers.base import Address, Batch, Layout, LinkConfig, WireCount

from . import locate, names
from .abilities import Abilities, instance_of
from .bulk import BulkReader
from .client import BacnetClient, Peer
from .codec import (
    READ_MULTIPLE,
    Ref,
    Result,
    decode_read_multiple_ack,
    encode_read_multiple,
)
from .directory import network_of
from .planner import object_key, octets_of
from .request import Request
from .tags import BacnetError

CHECK_S = 600.0
"""A device is asked so often whether it is still the same."""
_UNRECOGNIZED = names.REJECTED + 9
_TOO_MUCH = frozenset(
    {names.ABORTED + reason for reason in (0, 1, 4, 9, 11)} | {names.REJECTED + reason for reason in (0, 1, 7)}
    | {51, 54, 59, 65, 123, 125}
)  # fmt: skip
"""What devices say when a request or its answer is too long for them."""
_ABOUT_ONE = frozenset({27, 31, 32, 36, 42, 50, 85})
"""Errors about one property, with which some devices refuse the whole request."""
_ABSENT = frozenset({31, 32, 36, 42, 50})
"""Errors of what is not there, and will not be there with the next request either."""
_BUSY = frozenset({3, 82})
_RELIABILITY = names.PROPERTIES["reliability"]


class _Device:
    """What the session knows of one device beyond its layout."""

    __slots__ = ("checked_at", "layout", "news", "points")

    def __init__(self) -> None:
        self.layout: Layout | None = None
        self.news: Layout | None = None
        self.points: dict[str, Point] = {}
        self.checked_at: float | None = None


class BacnetSession(Abilities):
    """A Session that also locates, learns, identifies and asks in parallel (see drivers.base)."""

    def __init__(self, link: LinkConfig, client: BacnetClient) -> None:
        super().__init__(link, client)
        self._devices: dict[int, _Device] = {}
        self._loop = asyncio.get_running_loop()

    @property
    def counts(self) -> WireCount:
        """What went over the wire since the link was opened; datagrams that were not taken, by why."""
        client, subscriptions = self.client, self._subscriptions
        client.counts.errors = {
            "malformed": client.malformed,
            "unexpected": client.unexpected,
            "dropped": client.dropped + client.segments_dropped,
            "i_am_dropped": client.i_am_dropped,
            "duplicates": client.duplicates,
            "cov_unasked": client.cov_dropped + (sum(subscriptions.refused.values()) if subscriptions else 0),
            "cov_dropped": subscriptions.dropped if subscriptions else 0,
        }
        return client.counts

    @property
    def parallel(self) -> int:
        """Devices that are asked at the same time."""
        return self.client.own.parallel

    def lane(self, device: Address) -> str:
        """A device of our own network has its own lane; those behind a router share their network."""
        peer = self.client.known(instance_of(device))
        if peer is None:
            return f"device {device.unit}"
        network = network_of(peer)
        return peer.address if network is None else f"network {network}"

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """The values of the batch. A request that is too much, or that one property spoils, is taken apart at once."""
        request: Request | None = batch.plan
        if request is None:
            return [PointFault("BadNodeIdUnknown", "the device has no object of this name") for _ in batch.points]
        known = self._device(device, request)
        try:
            peer = await self.client.resolve(instance_of(device))
            if known.checked_at is None or self._loop.time() - known.checked_at >= CHECK_S:
                await self._check(peer, known, request)
            if request.layout.get("rpm") is False and not request.is_single:
                return await self._apart(peer, known, request)
            try:
                answer = await self.client.confirmed(peer, request.service, request.payload)
            except DeviceRefused as error:
                return await self._refused(peer, known, request, error)
            quick = request.quick(answer)
            return quick if quick is not None else await self._slow(peer, known, request, answer)
        except DeviceError as error:
            raise self.placed(error, device) from error.__cause__

    async def _slow(
        self, peer: Peer, known: _Device, request: Request, answer: bytes
    ) -> Sequence[Raw | Sample | PointFault]:
        try:
            results = request.decode(answer)
        except BacnetError as error:
            raise DeviceMismatch(
                f"an answer that cannot be decoded: {error}", next_step="look at the frames with --trace"
            ) from error
        return await self._readings(peer, known, request, results)

    async def _readings(
        self, peer: Peer, known: _Device, request: Request, results: Sequence[Result]
    ) -> Sequence[Raw | Sample | PointFault]:
        """Values with their quality; reliability is asked for only where an object says fault."""
        self._note_refusals(known, request, results)
        faulty = request.faulty(results)
        reliability: dict[tuple[int, int], int | None] = {}
        if faulty:
            refs = [Ref(ref.kind, ref.instance, _RELIABILITY) for ref in faulty]
            for result in await self._results(peer, refs):
                value = result.elements[0].value if len(result.elements) == 1 else None
                reliability[result.ref.kind, result.ref.instance] = value if isinstance(value, int) else None
        return request.readings(results, reliability)

    # Refusals.

    async def _refused(
        self, peer: Peer, known: _Device, request: Request, error: DeviceRefused
    ) -> Sequence[Raw | Sample | PointFault]:
        if request.is_single:
            return [PointFault(error.status, error.what, later=error.code in _BUSY) for _ in request.points]
        layout = self._layout(known, request)
        if error.code == _UNRECOGNIZED:
            self._learn(known, {**layout, "rpm": False})
            return await self._apart(peer, known, request)
        if error.code in _TOO_MUCH:
            self._learn(known, {**layout, "octets": max(50, octets_of(request.layout) // 2)})
        elif error.code not in _ABOUT_ONE:
            raise error
        return await self._readings(peer, known, request, await self._results(peer, request.refs))

    def _note_refusals(self, known: _Device, request: Request, results: Sequence[Result]) -> None:
        """Objects without status flags, and points that are not there, are learned; points that are there again are too."""
        layout = self._layout(known, request)
        absent, bad, good = set(layout.get("no_flags", ())), set(layout.get("refused", ())), set()
        for point, (at, flag) in zip(request.points, request.places, strict=True):
            error = results[at].error
            if error is not None and error[1] in _ABSENT:
                bad.add(point.id)
            elif error is None:
                good.add(point.id)
                if flag >= 0 and results[flag].error is not None:
                    absent.add(object_key(results[flag].ref))
        found = {"no_flags": sorted(absent), "refused": sorted(bad - good)}
        if any(found[key] != sorted(layout.get(key, ())) for key in found):
            self._learn(known, {**layout, **found})

    async def _apart(self, peer: Peer, known: _Device, request: Request) -> Sequence[Raw | Sample | PointFault]:
        results = [await self._one(peer, ref) for ref in request.refs]
        return await self._readings(peer, known, request, results)

    async def _results(self, peer: Peer, refs: Sequence[Ref]) -> list[Result]:
        """Results in the order of `refs`, in halves as long as the device refuses."""
        if len(refs) == 1:
            return [await self._one(peer, refs[0])]
        half = len(refs) // 2
        results: list[Result] = []
        for part in (refs[:half], refs[half:]):
            if len(part) == 1:
                results.append(await self._one(peer, part[0]))
                continue
            try:
                answer = await self.client.confirmed(peer, READ_MULTIPLE, encode_read_multiple(part))
                found = decode_read_multiple_ack(answer)
            except DeviceRefused:
                found = await self._results(peer, part)
            except BacnetError as error:
                raise DeviceMismatch(f"an answer that cannot be decoded: {error}") from error
            if [result.ref for result in found] != list(part):
                raise DeviceMismatch("an answer about other properties than those asked for")
            results += found
        return results

    async def _one(self, peer: Peer, ref: Ref) -> Result:
        """One property by ReadProperty; a refusal is its error."""
        return await BulkReader(self.client, peer).one(ref)

    # What is known of a device.

    def learned(self, device: Address) -> Layout | None:
        """The layout with what was found out since the last call; None when nothing is new."""
        known = self._devices.get(instance_of(device))
        if known is None or known.news is None:
            return None
        news, known.news = known.news, None
        return news

    def needs_locating(self, points: Sequence[Point]) -> bool:
        """True for every BACnet device: units, labels and identity are its own."""
        return any(isinstance(point.address, Bacnet) for point in points)

    async def locate(self, device: Address, points: Sequence[Point]) -> Layout:
        """See `locate.locate`. Raises DeviceError, LinkError."""
        known = self._devices.setdefault(instance_of(device), _Device())
        try:
            peer = await self.client.resolve(instance_of(device))
            layout = await locate.locate(self.client, peer, points, known.layout or {})
        except DeviceError as error:
            raise self.placed(error, device) from error.__cause__
        known.points |= {point.id: point for point in points}
        known.checked_at = self._loop.time()
        known.layout = layout
        return layout

    async def identify(self, device: Address) -> Mapping[str, str]:
        """Vendor, model, serial number, firmware, name and vendor id, as far as the device says them."""
        try:
            peer = await self.client.resolve(instance_of(device))
            found: Mapping[str, str] = (await locate.facts(self.client, peer))["identity"]
        except DeviceError as error:
            raise self.placed(error, device) from error.__cause__
        return found

    async def _check(self, peer: Peer, known: _Device, request: Request) -> None:
        """Asks who the device is; another identity, restart or Database_Revision makes us look at it anew."""
        known.checked_at = self._loop.time()
        layout = self._layout(known, request)
        if not layout:
            return
        found = await locate.facts(self.client, peer)
        if locate.changed(layout, found):
            self._learn(known, await locate.locate(self.client, peer, tuple(known.points.values()), layout))
            self.restarted(peer.instance)

    def _device(self, device: Address, request: Request) -> _Device:
        known = self._devices.get(instance_of(device))
        if known is None:
            known = self._devices[instance_of(device)] = _Device()
        if request.is_new:
            request.is_new = False
            known.points |= {point.id: point for point in request.points}
        return known

    def _layout(self, known: _Device, request: Request) -> Layout:
        return known.layout if known.layout is not None else request.layout

    def _learn(self, known: _Device, layout: Layout) -> None:
        if layout != known.layout:
            known.layout = known.news = layout
