"""Trend logs read by ReadRange: what a device kept of a point, at UTC, oldest first and each record once.

Asks from a time on, then goes on by sequence number where the device has them, in portions that fit its answers. No sockets of
its own. Source: ANSI/ASHRAE 135-2020, clauses 12.25 (Trend Log), 15.8 (ReadRange) and 21 (BACnetLogRecord).
"""

from __future__ import annotations

import calendar
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from device_profiles.errors import DeviceMismatch, DeviceRefused
from device_profiles.reading import PointFault, Raw

from . import codec, names, tags
from .bulk import BulkReader, value_of
from .client import BacnetClient, Peer
from .codec import Element, Ref
from .tags import BacnetError, Date, Time

LOG_BUFFER, LOCAL_DATE, LOCAL_TIME, UTC_OFFSET, DAYLIGHT = 131, 56, 57, 119, 24
_DEVICE = 8
_RECORD_OCTETS = 32
"""What one record takes in an answer, about."""
_MOST_AT_ONCE = 500
_MOST_PORTIONS = 5000
_QUARTER_S = 900
_LOG_STATUS = ("log disabled", "buffer purged", "log interrupted")


@dataclass(frozen=True, slots=True)
class Zone:
    """How a device's clock is off from UTC. `offset_s` is what its zone adds (east is positive), a whole quarter of an hour;
    `skew_s` what is left, because its clock is wrong."""

    offset_s: int
    skew_s: float = 0.0

    def utc_ms(self, date: Date, time: Time) -> int | None:
        """UTC ms of a device's date and time; None where a part of it is not specific."""
        seconds = local_seconds(date, time)
        return None if seconds is None else round((seconds - self.offset_s) * 1000)

    def local(self, utc_ms: int) -> tuple[Date, Time]:
        """The device's date and time of an instant."""
        at = datetime.fromtimestamp(utc_ms / 1000, UTC) + timedelta(seconds=self.offset_s)
        return Date(at.year, at.month, at.day, at.isoweekday()), Time(
            at.hour, at.minute, at.second, at.microsecond // 10_000
        )


def local_seconds(date: Date, time: Time) -> float | None:
    """Seconds since 1970 of a date and time, as if it were UTC; None where a part of it is not specific or no date."""
    if 255 in date[:3] or 255 in time[:3]:
        return None
    try:
        whole = calendar.timegm(datetime(date.year, date.month, date.day, *time[:3]).timetuple())  # noqa: DTZ001
    except ValueError:
        return None
    return whole + (0 if time.hundredths > 99 else time.hundredths / 100)


def zone_of(local_s: float | None, utc_s: float, offset_min: int | None, is_daylight: bool | None) -> Zone:
    """The zone by comparing the device's clock with ours; where it tells no time, by its UTC_Offset (west is positive).

    The comparison goes first: UTC_Offset is left at 0 on many devices whose clock shows local time.
    """
    if local_s is None:
        return Zone(-60 * (offset_min or 0) + (3600 if is_daylight else 0))
    apart = local_s - utc_s
    offset = round(apart / _QUARTER_S) * _QUARTER_S
    if abs(offset) > 15 * 3600:  # no zone is so far off: the clock was never set
        return Zone(-60 * (offset_min or 0) + (3600 if is_daylight else 0), apart)
    return Zone(offset, apart - offset)


async def read_zone(client: BacnetClient, peer: Peer, now_s: Callable[[], float]) -> Zone:
    """The device's zone, as it is now. Raises DeviceError, LinkError."""
    props = (LOCAL_DATE, LOCAL_TIME, UTC_OFFSET, DAYLIGHT)
    results = await BulkReader(client, peer).read([Ref(_DEVICE, peer.instance, prop) for prop in props])
    date, time, offset, daylight = (value_of(result) for result in results)
    local = local_seconds(date, time) if isinstance(date, Date) and isinstance(time, Time) else None
    return zone_of(
        local,
        now_s(),
        offset if isinstance(offset, int) and abs(offset) <= 780 else None,
        daylight if isinstance(daylight, bool) else None,
    )


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a log. `flags` are the status flags that it carries (in-alarm, fault, overridden, out-of-service)."""

    date: Date
    time: Time
    value: Raw | PointFault
    flags: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Portion:
    """An answer to ReadRange. `first` is the sequence number of its first record; None where the device gives none.

    `records` holds None for a record that is no value (the clock was changed, the log was enabled).
    """

    records: tuple[Record | None, ...]
    first: int | None
    has_last: bool
    has_more: bool


def encode_by_time(log: Ref, date: Date, time: Time, count: int) -> bytes:
    """ReadRange-Request: `count` records after a time."""
    when = codec.encode_value(tags.DATE, date) + codec.encode_value(tags.TIME, time)
    return _head(log) + tags.opening(7) + when + codec.encode_value(tags.SIGNED, count) + tags.closing(7)


def encode_by_sequence(log: Ref, first: int, count: int) -> bytes:
    """ReadRange-Request: `count` records from a sequence number on."""
    which = codec.encode_value(tags.UNSIGNED, first) + codec.encode_value(tags.SIGNED, count)
    return _head(log) + tags.opening(6) + which + tags.closing(6)


def _head(log: Ref) -> bytes:
    return tags.tag(0, tags.object_octets(log.kind, log.instance)) + tags.tag(1, tags.unsigned(log.prop))


def decode_portion(data: bytes, log: Ref) -> Portion:
    """ReadRange-ACK. Raises BacnetError."""
    elements, _ = tags.read_elements(data, 0, len(data))
    given = {element.number: element for element in elements if element.form != tags.APPLICATION}
    if len(given) != len(elements) or not {0, 1, 3, 4, 5} <= given.keys():
        raise BacnetError("an answer to ReadRange without object, property, flags, count or records")
    if (
        tags.read_object(_octets(given[0])) != (log.kind, log.instance)
        or tags.read_unsigned(_octets(given[1])) != log.prop
    ):
        raise BacnetError("an answer about another log")
    bits = tags.read_bits(_octets(given[3])).bits
    records = tuple(_record(part) for part in _split(_inner(given[5])))
    count = tags.read_unsigned(_octets(given[4]))
    if count != len(records):
        raise BacnetError(f"{len(records)} records where {count} were announced")
    first = tags.read_unsigned(_octets(given[6])) if 6 in given else None
    if len(bits) != 3:
        raise BacnetError(f"{len(bits)} result flags where 3 are due")
    return Portion(records, first, bits[1], bits[2])


def _split(elements: tuple[Element, ...]) -> list[list[Element]]:
    """A list of log records is a row of their parts: each begins with its time stamp, in tag 0."""
    parts: list[list[Element]] = []
    for element in elements:
        if element.form == tags.CONSTRUCTED and element.number == 0:
            parts.append([])
        elif not parts:
            raise BacnetError("a log record without a time")
        parts[-1].append(element)
    return parts


def _record(parts: list[Element]) -> Record | None:
    stamp = _inner(parts[0])
    values = [element.value for element in stamp]
    if len(values) != 2 or not isinstance(values[0], Date) or not isinstance(values[1], Time):
        raise BacnetError("the time of a log record is none")
    if len(parts) < 2 or parts[1].number != 1:
        raise BacnetError("a log record without a value")
    datum = _inner(parts[1])
    if len(datum) != 1:
        raise BacnetError(f"a log record with {len(datum)} values")
    flags: tuple[bool, ...] = ()
    if len(parts) > 2 and parts[2].number == 2:
        flags = tags.read_bits(_octets(parts[2])).bits
    [element] = datum
    if element.form == tags.CONTEXT and element.number in (0, 9) and not _says_loss(element):
        return None
    return Record(values[0], values[1], _datum(element), flags)


def _says_loss(element: Element) -> bool:
    """True for a log-status of which a bit is set; that a log was enabled, or a clock changed, is no value."""
    return element.number == 0 and any(tags.read_bits(_octets(element)).bits)


def _datum(element: Element) -> Raw | PointFault:
    """The choice within log-datum."""
    number = element.number
    if number == 8 and element.form == tags.CONSTRUCTED:
        parts = [part.value for part in _inner(element)]
        error_class, code = (part if isinstance(part, int) else 0 for part in (*parts, 0, 0)[:2])
        return PointFault(names.error_status(code), f"the log says {names.error_text(error_class, code)}")
    if number == 10 and element.form == tags.CONSTRUCTED:
        [inner] = _inner(element) if len(_inner(element)) == 1 else [Element(tags.APPLICATION, tags.NULL, None)]
        value = inner.value
        if isinstance(value, bool | int | float | str):
            return _finite(value)
        return PointFault("BadDecodingError", "the log keeps a value that no point can hold")
    content = _octets(element)
    if number == 0:
        bits = tags.read_bits(content).bits
        said = ", ".join(text for text, bit in zip(_LOG_STATUS, bits, strict=False) if bit)
        return PointFault("BadNoData", said or "log status")
    if number == 1 and len(content) == 1:
        return content[0] != 0
    if number == 2:
        value = tags.read_primitive(tags.REAL, content, 0, len(content))
        assert isinstance(value, float)
        return _finite(value)
    if number in (3, 4):
        return tags.read_unsigned(content)
    if number == 5:
        value = tags.read_primitive(tags.SIGNED, content, 0, len(content))
        assert isinstance(value, int)
        return value
    if number == 6:
        return PointFault("BadDecodingError", "the log keeps a bit string, which no point can hold")
    if number == 7:
        return PointFault("BadNoData", "the log keeps no value (NULL)")
    raise BacnetError(f"value {number} of a log record is unknown")


def _finite(value: Raw) -> Raw | PointFault:
    if isinstance(value, float) and not math.isfinite(value):
        return PointFault("BadSensorFailure", f"the log keeps {value}")
    return value


def _octets(element: Element) -> bytes:
    if element.form != tags.CONTEXT or not isinstance(element.value, bytes):
        raise BacnetError(f"tag {element.number} of a log record is no primitive")
    return element.value


def _inner(element: Element) -> tuple[Element, ...]:
    if element.form != tags.CONSTRUCTED or not isinstance(element.value, tuple):
        raise BacnetError(f"tag {element.number} of a log record is not constructed")
    return tuple(part for part in element.value if isinstance(part, Element))


async def read_log(
    client: BacnetClient, peer: Peer, log: Ref, zone: Zone, since_ms: int, until_ms: int
) -> AsyncIterator[list[tuple[int, Record]]]:
    """The records within [since_ms, until_ms) with their UTC ms, oldest first, each time once, portion by portion.

    Where the clock was set back the records that repeat a stretch of time are passed over: the first stand. What the device
    overwrites meanwhile is missing, nothing is given twice. Raises DeviceError, LinkError.
    """
    can_segment = peer.segmentation in ("both", "transmit")
    count = _MOST_AT_ONCE if can_segment else max(1, (peer.max_apdu - 30) // _RECORD_OCTETS)
    last_ms = since_ms - 1
    sequence: int | None = None
    for _ in range(_MOST_PORTIONS):
        if sequence is None:
            request = encode_by_time(log, *zone.local(last_ms), count)  # gives what is younger than this hundredth
        else:
            request = encode_by_sequence(log, sequence, count)
        try:
            portion = _decoded(await client.confirmed(peer, codec.READ_RANGE, request), log, peer)
        except DeviceRefused as error:
            if error.status in ("BadResponseTooLarge", "BadResourceUnavailable") and count > 1:
                count //= 2
            elif sequence is not None:
                sequence = None  # overwritten meanwhile
            else:
                raise
            continue
        fresh: list[tuple[int, Record]] = []
        is_past = False
        for record in portion.records:
            at_ms = None if record is None else zone.utc_ms(record.date, record.time)
            if record is None or at_ms is None or at_ms <= last_ms:
                continue
            if at_ms >= until_ms:
                is_past = True
                break
            fresh.append((at_ms, record))
            last_ms = at_ms
        if fresh:
            yield fresh
        if is_past or (not portion.records and sequence is None):
            return
        if not portion.records:
            sequence = None  # overwritten meanwhile: once more by time
            continue
        if portion.first is not None:
            sequence = (portion.first + len(portion.records) - 1) % 0xFFFFFFFF + 1  # after the largest comes 1
        elif not fresh:
            return  # by time only, and nothing new: more of the same would follow
        if portion.has_last or (not portion.has_more and len(portion.records) < count):
            return


def _decoded(data: bytes, log: Ref, peer: Peer) -> Portion:
    try:
        return decode_portion(data, log)
    except BacnetError as error:
        raise DeviceMismatch(
            f"a trend log's answer is none: {error}",
            where=f"device {peer.instance} at {peer.address}, trend-log:{log.instance}",
        ) from error
