"""What a driver is: how bytes become raw values, and nothing else.

A driver has no schedule, no retry, no scaling, no unit and no MQTT. The scope of a failure is its type: a bad point is a
returned PointFault, a bad device raises DeviceError, a dead link raises LinkError; library exceptions never leave a driver.
A Session exists only while connected. What only some protocols can do is an optional capability, asked for with isinstance.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from device_profiles.control import Operation
from device_profiles.errors import ConfigError
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Point
from device_profiles.secrets import Secret
from device_profiles.strings import Strings

from .link import LINK_KINDS as LINK_KINDS
from .link import BacnetLink as BacnetLink
from .link import HttpLink as HttpLink
from .link import LineSettings as LineSettings
from .link import LinkConfig as LinkConfig
from .link import ListenLink as ListenLink
from .link import OpcUaLink as OpcUaLink
from .link import parse_link as parse_link

if TYPE_CHECKING:
    from .serial_line import LineAccess


class NotLocated(ConfigError):
    """Points whose place on the device is known only once it was looked at (`CanLocate`)."""


Trace = Callable[[str, bytes, str], None]
"""Called with (direction ">" or "<" or "!", frame, remark) for each frame on the wire, for people who want to see it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a device is on its link. `unit` is a Modbus unit id, a meter number, a BACnet instance."""

    unit: int | str
    device: str = ""
    """The device's id, for error texts."""
    at: str = ""
    """`host` or `host:port` of the device itself, where a link has many of them or they dial in."""
    secret: Secret | None = None
    """Where the device's own secret is (a key, a token): read when it is needed, kept nowhere."""
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The device's options, as its profile names them."""
    protocol: str = ""
    """Its protocol, where a link has several."""
    line: LineSettings | None = None
    """How it speaks, where that differs from its link."""
    tz: str = ""
    """IANA time zone of the site, for devices whose clocks tell local time."""
    strings: Strings | None = field(default=None, hash=False, compare=False, repr=False)
    """Protocol `strings`: what its messages look like, from its profile."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a device can bear in one request, from its profile and its device entry."""

    max_registers: int = 125
    max_bits: int = 2000
    max_gap: int | None = None
    """Longest hole that may be bridged, in registers; None leaves it to the cost model, 0 never bridges."""
    forbidden: tuple[tuple[str, int, int], ...] = ()
    """(table, first, last) that must never be read, not even as part of a block."""


Layout = Mapping[str, Any]
"""What was learned of one device, JSON-able and kept over restarts: model bases of a SunSpec chain, registers that refuse.

Most of it is its driver's own. Every driver that finds out about these says them under these keys, because the agent reads them:
`units` {point: UCUM code} in which the device itself gives the point, `increments` {point: raw difference} at which it reports a
change, `labels` {point: {ordinal: text}}, and `identity`, facts by name (`vendor`, `model`, `serial`, `firmware`) that differ
when another device stands there.
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """One request's worth of points. Results come in the order of `points`; `plan` is the driver's own."""

    points: tuple[str, ...]
    request_bytes: int = 0
    reply_bytes: int = 0
    """Bytes on the wire of request and full reply, for the load arithmetic of a line."""
    plan: Any = None
    suspect: bool = False
    """The device has refused these points before: read them seldom, and on their own."""


@runtime_checkable
class Session(Protocol):
    """An open link. One call at a time a device; a line serialises by itself."""

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """The batch's points, in order. Raises DeviceError for the device, LinkError for the link."""
        ...


class Driver(Protocol):
    """A protocol."""

    protocol: ClassVar[str]

    def plan(
        self, points: Sequence[Point], limits: Limits, layout: Layout | None, link: LinkConfig
    ) -> tuple[Batch, ...]:
        """The cheapest reads that bring these points. Pure. Raises ConfigError for points that cannot be read."""
        ...

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[Session]:
        """Connects. Raises LinkError."""
        ...


@runtime_checkable
class CanCycle(Protocol):
    """A driver that polls the devices of a line all the time, whatever is read: reads cost the line nothing, the cycle does."""

    cycle_s: ClassVar[float]
    """Each device is polled at least so often."""

    def poll(self, *, is_secure: bool) -> Batch:
        """The bytes of one poll of one device and its shortest answer."""
        ...


@runtime_checkable
class CanMeasure(Protocol):
    """A driver whose bytes are described in a device's profile, so that points alone do not tell how many there are."""

    def measured(self, batches: Sequence[Batch], device: Address) -> tuple[Batch, ...]:
        """Those of a plan that cost the line anything, with the fewest bytes that they can have."""
        ...


@runtime_checkable
class CanShare(Protocol):
    """A driver of a serial protocol whose devices may stand on a line with others (`LinkConfig.mixed`).

    `open` makes a LineOwner and a session on it; `share` makes the same session on a LineShare of a line that is open already:

        def share(self, line: LineAccess, link: LinkConfig) -> Session:
            return MySession(LineShare(line, link))

    The session must take all it knows of the line from `LineAccess` (`link`, `counts`, `call`) and keep no piece of work on the
    line longer than one exchange. `link` has the baud rate and character format of the devices in question.
    """

    def share(self, line: LineAccess, link: LinkConfig) -> Session:
        """Opens nothing, so that it raises nothing."""
        ...


@runtime_checkable
class SpeaksMany(Protocol):
    """The driver of a mixed line: plans are made by the driver of each device's own protocol."""

    def speaking(self, protocol: str) -> Driver:
        """Raises ConfigError for a protocol that cannot share a line."""
        ...


@runtime_checkable
class CanLocate(Protocol):
    """Finds where a device keeps its points before planning (SunSpec chains, M-Bus records, discovered objects)."""

    def needs_locating(self, points: Sequence[Point]) -> bool: ...

    async def locate(self, device: Address, points: Sequence[Point]) -> Layout: ...


@runtime_checkable
class CanLearn(Protocol):
    """Finds out by reading what a device refuses, and says so once: the poller keeps it and plans anew."""

    def learned(self, device: Address) -> Layout | None:
        """What is new since the last call, merged with what `read` knew; None when nothing is."""
        ...


@runtime_checkable
class CanIdentify(Protocol):
    """Asks a device who it is."""

    async def identify(self, device: Address) -> Mapping[str, str]: ...


@runtime_checkable
class CanDiscover(Protocol):
    """Finds devices among these units of a link. Yields (address, facts) as they answer. (BACnet and OPC UA have no units to
    go through: their own `scan` commands ask in their own way.)"""

    def discover(self, units: Sequence[int]) -> AsyncIterator[tuple[Address, Mapping[str, str]]]: ...


@runtime_checkable
class CanParallel(Protocol):
    """Asks several devices at the same time (BACnet/IP). The poller never has two calls in one lane at once."""

    @property
    def parallel(self) -> int:
        """Most calls at the same time."""
        ...

    def lane(self, device: Address) -> str:
        """What the device shares with others that must wait for each other: its own address, or an MS/TP network."""
        ...


@dataclass(frozen=True, slots=True)
class Change:
    """What a device said without being asked; `values` in the order of `points`."""

    device: str
    points: tuple[str, ...]
    values: Sequence[Raw | Sample | PointFault]


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """These points are not reported any more; they want polling until another `subscribe` succeeds."""

    device: str
    points: tuple[str, ...]
    reason: str


@runtime_checkable
class CanSubscribe(Protocol):
    """Lets devices report changes. Renewing, and subscribing again after a device restarted, is the session's own work."""

    async def subscribe(self, device: Address, points: Sequence[Point], layout: Layout | None) -> frozenset[str]:
        """The points that the device reports from now on; the others stay polled. Replaces what was subscribed for this
        device before. Raises DeviceError when the device does not answer, LinkError.
        """
        ...

    async def unsubscribe(self, device: Address) -> None:
        """Ends what is subscribed for this device, as well as it can be ended."""
        ...

    def changes(self) -> AsyncIterator[Sequence[Change | Unsubscribed]]:
        """What arrived since the last turn, oldest first and never an empty turn. One reader; ends with the session. What came
        faster than it was read and did not fit is counted in `dropped`, oldest first, and its points are `Unsubscribed`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands on a point after a write. `value` is what it shows now; the rest only where a protocol has priorities."""

    value: Raw | Sample | PointFault
    held_by: int | None = None
    """The highest slot of the priority array that holds a value (1 is highest); None = none, or there are no priorities."""
    ours: Raw | None = None
    """What stands in our own slot."""
    has_slots: bool | None = None
    """False: the device keeps no priority array for this point, so that there is nothing to release; None = it did not say."""


@runtime_checkable
class CanWrite(Protocol):
    """Writes points. Knows no limits, no unit and no hold: the agent's command path does, and calls nothing else."""

    async def write(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> None:
        """Writes the raw value, once: a repetition is never the driver's. None releases our slot (BACnet NULL).

        Raises ConfigError for a value or a priority that cannot be written; DeviceRefused for what the device refused;
        any other DeviceError (DeviceTimeout, DeviceMismatch) or LinkError when it is not known whether the device took it.
        """
        ...

    async def standing(
        self, device: Address, point: Point, layout: Layout | None, *, priority: int | None = None
    ) -> Standing:
        """Reads the point back. Raises DeviceError, LinkError."""
        ...


@runtime_checkable
class CanRehearse(Protocol):
    """Says beforehand what `CanWrite.write` would send, for the dry run."""

    def rehearse(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> str:
        """In the protocol's own words, as `FC 6: holding register 1 (0x0001) = 10000 (0x2710)`. Sends nothing.

        Raises ConfigError for what `write` would refuse by itself.
        """
        ...


@runtime_checkable
class CanOperate(Protocol):
    """Carries out a profile's operations (OPC UA methods, door controllers)."""

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """Does it, once; gives what the device answered by name. Raises as `CanWrite.write`."""
        ...


@dataclass(frozen=True, slots=True)
class Recalled:
    """One value that a device kept: `value` is raw, as a read would give it, at the device's own time, UTC ms."""

    point: str
    t_ms: int
    value: Raw | Sample | PointFault


@runtime_checkable
class CanRecall(Protocol):
    """Reads the past from a device's own memory (trend logs, load profiles)."""

    def recall(
        self, device: Address, points: Sequence[Point], layout: Layout | None, since_ms: int, until_ms: int
    ) -> AsyncIterator[Sequence[Recalled]]:
        """What the device kept of these points within [since_ms, until_ms), in portions, each point oldest first.

        Raises DeviceError, LinkError. Points without a memory are passed over.
        """
        ...


@runtime_checkable
class CanCount(Protocol):
    """Knows what went over its link."""

    @property
    def counts(self) -> WireCount: ...


@dataclass(slots=True)
class Stranger:
    """Somebody who speaks to us and stands in no configuration. All of it is what a peer says: shown, never believed."""

    who: str
    """What it calls itself: a serial number; "" for an address that is not on the allow-list."""
    peer: str
    facts: dict[str, str] = field(default_factory=dict)
    count: int = 0


@dataclass(slots=True)
class WireCount:
    """What went over a link since it was opened, for figures. `errors` are messages that were not taken, by why."""

    requests: int = 0
    replies: int = 0
    timeouts: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    discarded_bytes: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    strangers: list[Stranger] = field(default_factory=list)
    """Those who dial in unknown, the last heard behind; bounded."""
