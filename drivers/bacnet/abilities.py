"""What a BACnet session can do beyond reading: drivers.base.CanSubscribe, CanWrite, CanRehearse and CanRecall.

Only opens doors: finds the station and the property, and leaves the work to `cov`, `write` and `history`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

import structlog

from device_profiles.bacnet import MAX_INSTANCE, object_number, parse_object
from device_profiles.errors import ConfigError, DeviceError, DeviceRefused, DeviceTimeout
from device_profiles.reading import PointFault, Raw
from device_profiles.schema import Point
from drivers.base import Address, Change, Layout, LinkConfig, Recalled, Standing, Unsubscribed

from . import history, names, quality, values, write
from .bulk import BulkReader, unsigned_of
from .client import BacnetClient
from .codec import Ref
from .cov import Subscriptions
from .history import LOG_BUFFER
from .notify import Reading
from .planner import STATUS_FLAGS, has_flags, ref_of

_TREND_LOG = 20
_RELIABILITY = names.PROPERTIES["reliability"]
_log = structlog.get_logger("bacnet")


class Abilities:
    """The optional half of a session; it shares the client."""

    def __init__(self, link: LinkConfig, client: BacnetClient) -> None:
        self.link = link
        self.client = client
        self._subscriptions: Subscriptions | None = None

    async def close(self) -> None:
        """Ends the subscriptions at their devices."""
        if self._subscriptions is not None:
            await self._subscriptions.close()

    # Subscribing.

    @property
    def subscriptions(self) -> Subscriptions:
        """Made when it is first wanted: a link that only polls hears no notifications."""
        if self._subscriptions is None:
            self._subscriptions = Subscriptions(self.client)
        return self._subscriptions

    async def subscribe(self, device: Address, points: Sequence[Point], layout: Layout | None) -> frozenset[str]:
        """See drivers.base.CanSubscribe."""
        instance_of(device)
        try:
            return await self.subscriptions.subscribe(device, points, layout)
        except DeviceError as error:
            raise self.placed(error, device) from error.__cause__

    async def unsubscribe(self, device: Address) -> None:
        """See drivers.base.CanSubscribe."""
        if self._subscriptions is not None:
            await self._subscriptions.unsubscribe(device)

    def changes(self) -> AsyncIterator[Sequence[Change | Unsubscribed]]:
        """See drivers.base.CanSubscribe."""
        return self.subscriptions.changes()

    def restarted(self, instance: int) -> None:
        """The device forgot what was subscribed."""
        if self._subscriptions is not None:
            self._subscriptions.restarted(instance)

    @property
    def dropped(self) -> int:
        """Changes that came faster than they were read."""
        return 0 if self._subscriptions is None else self._subscriptions.dropped

    # Writing.

    def rehearse(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> str:
        """See drivers.base.CanRehearse."""
        return write.wording(point, _property_of(point, layout), value, priority)

    async def write(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> None:
        """See drivers.base.CanWrite."""
        ref = _property_of(point, layout)
        write.encode(point, ref, value, priority)  # what cannot be written is said before the device is looked for
        try:
            peer = await self.client.resolve(instance_of(device))
            await write.write(self.client, peer, point, ref, value, priority=priority)
        except DeviceError as error:
            raise self.placed(error, device) from error.__cause__

    async def standing(
        self, device: Address, point: Point, layout: Layout | None, *, priority: int | None = None
    ) -> Standing:
        """See drivers.base.CanWrite."""
        ref = _property_of(point, layout)
        try:
            peer = await self.client.resolve(instance_of(device))
            reader = BulkReader(self.client, peer)
            with_flags = has_flags(ref, frozenset((layout or {}).get("no_flags", ())))
            refs = [ref]
            if with_flags:
                refs.append(Ref(ref.kind, ref.instance, STATUS_FLAGS))
            if ref.prop == write.PRESENT_VALUE:
                refs.append(Ref(ref.kind, ref.instance, write.PRIORITY_ARRAY))
            results = await reader.read(refs)
            flags = values.flags_of(results[1]) if with_flags else 0
            reliability = None
            if flags & quality.FAULT:
                reliability = unsigned_of(await reader.one(Ref(ref.kind, ref.instance, _RELIABILITY)))
        except DeviceError as error:
            raise self.placed(error, device) from error.__cause__
        value, last = results[0], results[-1]
        if value.error is not None:
            return Standing(values.fault_of(value.error))
        shown = values.with_quality(values.raw_of(point, value.elements), flags, reliability)
        if last.ref.prop != write.PRIORITY_ARRAY:
            return Standing(shown)
        slots = write.slots_of(last, priority)
        if slots is None:
            is_lacking = last.error is not None and last.error[1] == write.UNKNOWN_PROPERTY
            return Standing(shown, has_slots=False if is_lacking else None)
        return Standing(shown, slots.held_by, slots.ours, has_slots=True)

    # Recalling.

    async def recall(
        self, device: Address, points: Sequence[Point], layout: Layout | None, since_ms: int, until_ms: int
    ) -> AsyncIterator[Sequence[Recalled]]:
        """See drivers.base.CanRecall. A log that the device does not give out is passed over, and said."""
        kept = [(point, log) for point in points if (log := _log_of(point, layout)) is not None]
        if not kept or since_ms >= until_ms:
            return
        try:
            peer = await self.client.resolve(instance_of(device))
            zone = await history.read_zone(self.client, peer, time.time)
            for point, log in kept:
                try:
                    async for portion in history.read_log(self.client, peer, log, zone, since_ms, until_ms):
                        yield [Recalled(point.id, at_ms, _recorded(point, record)) for at_ms, record in portion]
                except DeviceRefused as error:
                    _log.warning(
                        "a trend log is not given out", device=device.device, point=point.id, reason=error.what
                    )
        except DeviceError as error:
            raise self.placed(error, device) from error.__cause__

    def placed(self, error: DeviceError, device: Address) -> DeviceError:
        """The error with the device in it. Who does not answer is asked for anew: it may have moved."""
        if isinstance(error, DeviceTimeout):
            self.client.forget(instance_of(device))
        if not error.where:
            name = f"{device.device} ({self.link.id}, instance {device.unit})" if device.device else ""
            error.where = name or f"{self.link.id}, instance {device.unit}"
        return error


def _recorded(point: Point, record: history.Record) -> Reading:
    value = record.value if isinstance(record.value, PointFault) else values.shaped(point, record.value)
    return values.with_quality(value, quality.octet(record.flags), None)


def _property_of(point: Point, layout: Layout | None) -> Ref:
    """The property of a point. Raises ConfigError."""
    ref = ref_of(point, layout or {})
    if ref is None:
        raise ConfigError(
            "the device has no object of this name", where=point.id, next_step="correct the name, or give object"
        )
    return ref


def _log_of(point: Point, layout: Layout | None) -> Ref | None:
    """The log buffer that keeps a point's past; None where nothing does."""
    known = layout or {}
    text = known.get("logs", {}).get(point.id) or getattr(point.address, "log", None)
    if text is None or "read-range" not in (known.get("services") or ("read-range",)):
        return None
    kind, instance = parse_object(text)
    return Ref(_TREND_LOG, instance, LOG_BUFFER) if object_number(kind) == _TREND_LOG else None


def instance_of(device: Address) -> int:
    """The device instance. Raises ConfigError for what is none."""
    try:
        instance = int(device.unit)
    except ValueError:
        instance = -1
    if not 0 <= instance <= MAX_INSTANCE:
        raise ConfigError(
            f"{device.unit!r} is no device instance (4194303 is the broadcast)", where=device.device,
            next_step=f"give a number of 0 to {MAX_INSTANCE}",
        )  # fmt: skip
    return instance
