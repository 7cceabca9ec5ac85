"""Change-of-value notifications as they arrive: whose they are, what they say, and a bounded queue of it. No I/O.

The hot path of COV. The octets of process, device and object are one key; a value of the usual shape (present-value of at most
four octets, then status-flags) is taken from its place, every other notification goes through `codec.decode_cov`.
Source: ANSI/ASHRAE 135-2020, clauses 13.6 and 13.8 (COV notifications).
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import WHOLE_TYPES, Point
from drivers.base import Change, Unsubscribed

from . import codec, tags, values
from .codec import Notification, Ref
from .quality import FAULT
from .tags import BacnetError

PRESENT_VALUE, STATUS_FLAGS = 85, 111
MOST_QUEUED = 50_000
"""Values that wait for their reader: five seconds of the fastest that one core takes."""

_VALUE_HEAD = b"\x4e\x09\x55\x2e"
"""Opening tag 4; property 85 in context 0; opening tag 2."""
_FLAGS_HEAD, _TAIL = b"\x2f\x09\x6f\x2e\x82\x04", b"\x2f\x4f"
_REAL = struct.Struct(">f")

Reading = Raw | Sample | PointFault


@dataclass(slots=True, eq=False)
class Reported:
    """One point that is reported. `is_lost` once its reader was told that it is not any more."""

    device: str
    point: Point
    ref: Ref
    is_lost: bool = False
    is_real: bool = False
    """A REAL is its raw value as it is."""
    is_whole: bool = False

    def __post_init__(self) -> None:
        self.is_real = self.point.type in ("f32", "f64")
        self.is_whole = self.is_real or self.point.type in WHOLE_TYPES


@dataclass(slots=True, eq=False)
class Watch:
    """One subscription at a device: all points of ours that its notifications bring."""

    instance: int
    """The BACnet device's."""
    address: str
    ref: Ref
    """The object; `prop` is what SubscribeCOVProperty was asked for, or present-value."""
    reported: list[Reported] = field(default_factory=list)
    reliability: int | None = None
    """Read when the fault flag rose; None while it is not known, or there is no fault."""
    held: dict[Reported, Raw | PointFault] = field(default_factory=dict)
    """Values of a faulty object that wait for its reliability, and the flags they came with."""
    held_flags: int = 0
    remaining_s: int | None = None
    """What the device said at first that it granted; 0 is without end."""


def key_of(process: int, device: int, ref: Ref) -> bytes:
    """The first octets of every notification of this subscription's object."""
    return b"".join(
        (
            tags.tag(0, tags.unsigned(process)),
            tags.tag(1, tags.object_octets(8, device)),
            tags.tag(2, tags.object_octets(ref.kind, ref.instance)),
        )
    )


class Inbox:
    """Takes notifications apart and keeps them until they are read, oldest first.

    `faulty` is called when an object's fault flag rose: its values are held until `judged`. `unknown` is called with a
    notification that belongs to no subscription; what it cannot place either is counted in `refused`.
    """

    def __init__(
        self,
        faulty: Callable[[Watch], None],
        granted: Callable[[Watch, int], None],
        unknown: Callable[[str, Notification], str | None],
        *,
        most: int = MOST_QUEUED,
    ) -> None:
        self.watches: dict[bytes, list[Watch]] = {}
        self.received = 0
        self.dropped = 0
        self.refused: Counter[str] = Counter()
        """Notifications that were not believed, by why: `malformed`, `source`, `process`, `device`, `object`."""
        self._faulty = faulty
        self._granted = granted
        self._unknown = unknown
        self._most = most
        self._queue: deque[tuple[Reported, Reading]] = deque()
        self._ended: list[Unsubscribed] = []
        self._ready = asyncio.Event()
        self._is_closed = False

    # Subscriptions.

    def add(self, key: bytes, watch: Watch) -> None:
        """From now on notifications with this key are the watch's."""
        self.watches.setdefault(key, []).append(watch)

    def remove(self, key: bytes, watch: Watch) -> None:
        """They are not any more."""
        there = self.watches.get(key, [])
        if watch in there:
            there.remove(watch)
        if not there:
            self.watches.pop(key, None)

    def lost(self, reported: Sequence[Reported], reason: str) -> None:
        """Tells the reader that these points are not reported any more; values that wait are read first."""
        by_device: dict[str, list[str]] = {}
        for one in reported:
            if not one.is_lost:
                one.is_lost = True
                by_device.setdefault(one.device, []).append(one.point.id)
        for device, points in by_device.items():
            self._ended.append(Unsubscribed(device, tuple(points), reason))
        if by_device:
            self._ready.set()

    # Notifications.

    def take(self, source: str, body: bytes, is_confirmed: bool) -> None:
        """One notification as it arrived, undecoded."""
        self.received += 1
        try:
            cut = (body[0] & 7) + 11
            watches = self.watches.get(body[:cut])
            at = cut + 1 + (body[cut] & 7)
            if watches is None or len(watches) != 1 or body[at : at + 4] != _VALUE_HEAD:
                return self._decoded(source, body, watches)
            [watch] = watches
            head = body[at + 4]
            size = head & 7
            end = at + 5 + size
            kind = head >> 4
            if size > 4 or head & 8 or body[end : end + 6] != _FLAGS_HEAD or body[end + 7 :] != _TAIL:
                return self._decoded(source, body, watches)
            if kind == tags.REAL and size == 4:
                real: float = _REAL.unpack_from(body, at + 5)[0]
                if real - real != 0.0:  # NaN or infinity
                    return self._decoded(source, body, watches)
                value: Raw = real
            elif kind in (tags.UNSIGNED, tags.ENUMERATED) and size:
                value = int.from_bytes(body[at + 5 : end])
            else:
                return self._decoded(source, body, watches)
            flags = body[end + 6]
        except IndexError:
            return self._decoded(source, body, None)
        if source != watch.address:
            self.refused["source"] += 1
            return None
        if watch.remaining_s is None:
            watch.remaining_s = int.from_bytes(body[cut + 1 : at])
            self._granted(watch, watch.remaining_s)
        if flags or watch.reliability is not None or watch.held:
            return self._values(watch, value, flags)
        for one in watch.reported:
            is_plain = one.is_real if kind == tags.REAL else one.is_whole
            self._put(one, value if is_plain else values.shaped(one.point, value))
        return None

    def _decoded(self, source: str, body: bytes, watches: Sequence[Watch] | None) -> None:
        """A notification of an unusual shape, or of nobody."""
        try:
            told = codec.decode_cov(body)
        except BacnetError:
            self.refused["malformed"] += 1
            return
        if not watches:
            reason = self._unknown(source, told)
            if reason is not None:
                self.refused[reason] += 1
            return
        if source != watches[0].address:
            self.refused["source"] += 1
            return
        flags = next((values.flags_of(one) for one in told.values if one.ref.prop == STATUS_FLAGS), 0)
        for watch in watches:
            if watch.remaining_s is None:
                watch.remaining_s = told.seconds
                self._granted(watch, told.seconds)
            for one in watch.reported:
                found = next((result for result in told.values if result.ref == one.ref), None)
                if found is not None:
                    self._judge(watch, one, values.raw_of(one.point, found.elements), flags)

    def _values(self, watch: Watch, value: Raw, flags: int) -> None:
        for one in watch.reported:
            self._judge(watch, one, values.shaped(one.point, value), flags)

    def _judge(self, watch: Watch, one: Reported, value: Raw | PointFault, flags: int) -> None:
        """Puts a value with its quality into the queue, or holds it until the object's reliability is known."""
        if not flags & FAULT:
            watch.reliability = None
            self._release(watch)
        elif watch.reliability is None:
            if one in watch.held:
                self._put(one, values.with_quality(watch.held[one], watch.held_flags, None))
            is_new = not watch.held
            watch.held[one] = value
            watch.held_flags = flags
            if is_new:
                self._faulty(watch)
            return
        self._put(one, values.with_quality(value, flags, watch.reliability))

    def judged(self, watch: Watch, reliability: int | None) -> None:
        """The reliability of a faulty object was read (None: it has none); its held values go on."""
        if watch.held:
            watch.reliability = reliability or 0
        self._release(watch)

    def _release(self, watch: Watch) -> None:
        for one, value in watch.held.items():
            self._put(one, values.with_quality(value, watch.held_flags, watch.reliability))
        watch.held.clear()

    # The queue.

    def _put(self, one: Reported, value: Reading) -> None:
        if one.is_lost:
            return
        queue = self._queue
        if len(queue) >= self._most:
            oldest, _ = queue.popleft()
            self.dropped += 1
            self.lost([oldest], f"changes came faster than they were read: {self._most} waited")
        queue.append((one, value))
        if not self._ready.is_set():
            self._ready.set()

    def close(self) -> None:
        """Nothing more will come; what waits is still read."""
        self._is_closed = True
        self._ready.set()

    async def changes(self) -> AsyncIterator[Sequence[Change | Unsubscribed]]:
        """See drivers.base.CanSubscribe."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            turn = self._turn()
            if turn:
                yield turn
            if self._is_closed and not self._queue:
                return

    def _turn(self) -> list[Change | Unsubscribed]:
        """Everything that waits: neighbours of one device together, a point at most once in a Change."""
        queue, self._queue = self._queue, deque()
        ended, self._ended = self._ended, []
        groups: list[tuple[str, dict[str, Reading]]] = []
        current: dict[str, dict[str, Reading]] = {}
        for one, value in queue:
            device, point = one.device, one.point.id
            group = current.get(device)
            if group is None or point in group:
                group = current[device] = {}
                groups.append((device, group))
            group[point] = value
        turn: list[Change | Unsubscribed] = [
            Change(device, tuple(group), list(group.values())) for device, group in groups
        ]
        return [*turn, *ended]
