"""What a driver is: how bytes become raw values, and nothing else.

A driver has no schedule, no retry, no scaling, no unit and no MQTT. The scope of a failure is its type: a bad point is a
returned PointFault, a bad device raises DeviceError, a dead link raises LinkError; library exceptions never leave a driver.
A Session exists only while connected. What only some protocols can do is an optional capability, asked for with isinstance.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, runtime_checkable
from urllib.parse import parse_qsl, urlsplit

from device_profiles.errors import ConfigError
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Point


class NotLocated(ConfigError):
    """Points whose place on the device is known only once it was looked at (`CanLocate`)."""


Trace = Callable[[str, bytes, str], None]
"""Called with (direction ">" or "<" or "!", frame, remark) for each frame on the wire, for people who want to see it."""

LINK_KINDS = ("tcp", "rtu+tcp", "serial", "fake")


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """One wire or socket with one owner.

    `kind`: `tcp` (Modbus TCP), `rtu+tcp` (a serial server that passes bytes), `serial` (a port of this machine).
    Times are in seconds. `turnaround_s` is the silence a line keeps after a reply beyond the protocol's own gap.
    """

    id: str
    kind: str
    host: str = ""
    port: int = 502
    path: str = ""
    baud: int = 9600
    parity: str = "N"
    stop_bits: int = 1
    data_bits: int = 8
    timeout_s: float = 1.0
    connect_timeout_s: float = 5.0
    turnaround_s: float = 0.0
    echo: bool = False

    @property
    def is_line(self) -> bool:
        """True where one owner speaks at a time and bytes cost time (serial ports and serial servers)."""
        return self.kind in ("serial", "rtu+tcp")

    @property
    def place(self) -> str:
        """The wire in words for people: `127.0.0.1:502`, `/dev/ttyUSB0 9600 8N1`."""
        if self.kind == "serial":
            return f"{self.path} {self.baud} {self.data_bits}{self.parity}{self.stop_bits}"
        return f"{self.host}:{self.port}"

    @property
    def bits_per_char(self) -> int:
        """Start bit, data bits, parity bit and stop bits of one character."""
        return 1 + self.data_bits + (0 if self.parity == "N" else 1) + self.stop_bits


@dataclass(frozen=True, slots=True)
class Address:
    """Where a device is on its link. `unit` is a Modbus unit id, a meter number, a BACnet instance."""

    unit: int | str
    device: str = ""
    """The device's id, for error texts."""


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
"""What was learned of one device, JSON-able and kept over restarts: model bases of a SunSpec chain, registers that refuse."""


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
    """Finds devices on the link. Yields (address, facts) as they answer."""

    def discover(self, units: Sequence[int]) -> AsyncIterator[tuple[Address, Mapping[str, str]]]: ...


@dataclass(slots=True)
class WireCount:
    """What went over a link, for figures."""

    requests: int = 0
    replies: int = 0
    timeouts: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    discarded_bytes: int = 0
    errors: dict[str, int] = field(default_factory=dict)


_SERIAL_KEYS = {"baud": int, "stop_bits": int, "data_bits": int}
_TIME_KEYS = ("timeout_s", "connect_timeout_s", "turnaround_s")


def parse_link(text: str, *, link_id: str = "link") -> LinkConfig:
    """A link from its short form: `tcp://host:502`, `rtu+tcp://host:4001?baud=9600`, `serial:/dev/ttyUSB0?baud=9600&parity=N`,
    `serial:COM3?baud=9600`. Raises ConfigError naming the part that is wrong.
    """
    where = f"--link {text!r}"
    shapes = "write tcp://host:502, rtu+tcp://host:port or serial:/dev/ttyUSB0?baud=9600&parity=N"
    kind, separator, _ = text.partition(":")
    if not separator or kind not in LINK_KINDS:
        raise ConfigError(f"unknown kind of link {kind!r}", where=where, next_step=shapes)
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise ConfigError(f"this is no address ({error})", where=where, next_step=shapes) from error
    link = LinkConfig(id=link_id, kind=kind)
    if kind == "serial":
        path = parts.netloc + parts.path
        if not path:
            raise ConfigError("a serial link names no port", where=where, next_step=shapes)
        link = replace(link, path=path)
    elif kind in ("tcp", "rtu+tcp"):
        try:
            port = parts.port
        except ValueError as error:
            raise ConfigError(
                f"port out of range ({error})", where=where, next_step="use a port of 1 to 65535"
            ) from error
        if not parts.hostname or (kind == "rtu+tcp" and port is None) or port == 0:
            raise ConfigError("a host, or a port of 1 to 65535, is missing", where=where, next_step=shapes)
        link = replace(link, host=parts.hostname, port=port or 502)
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        link = _with_option(link, key, value, where)
    return link


def _with_option(link: LinkConfig, key: str, value: str, where: str) -> LinkConfig:
    try:
        if key in _SERIAL_KEYS:
            return replace(link, **{key: int(value)})  # type: ignore[arg-type]
        if key in _TIME_KEYS:
            return replace(link, **{key: float(value)})  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(f"{key}={value!r} is no number", where=where, next_step=f"give {key} as a number") from error
    if key == "parity" and value.upper() in ("N", "E", "O"):
        return replace(link, parity=value.upper())
    if key == "echo" and value in ("true", "false", "0", "1"):
        return replace(link, echo=value in ("true", "1"))
    known = ", ".join((*_SERIAL_KEYS, "parity (N, E, O)", "echo (true, false)", *_TIME_KEYS))
    raise ConfigError(f"unknown option {key}={value!r}", where=where, next_step=f"known are {known}")
