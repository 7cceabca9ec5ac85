"""Confirmed services of a simulated device: request parameters in, acknowledgement parameters out. No transport, no state.

Source: ANSI/ASHRAE 135-2020, clauses 13 to 16 and 21.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Protocol

from firmware_sim.bacnet import names, tags
from firmware_sim.bacnet.objects import PropertyFault, SimObject
from firmware_sim.bacnet.special import Record, TrendLog
from firmware_sim.bacnet.tags import Reader


class Rejected(Exception):
    """A request that is answered with Reject."""

    def __init__(self, reason: int) -> None:
        super().__init__(f"reject reason {reason}")
        self.reason = reason


class Holder(Protocol):
    """The device as the services see it."""

    def find(self, key: int) -> SimObject | None: ...
    def written(self, one: SimObject) -> None: ...


def _object(device: Holder, key: int) -> SimObject:
    found = device.find(key)
    if found is None:
        raise PropertyFault(names.UNKNOWN_OBJECT)
    return found


def read_property(device: Holder, payload: bytes) -> bytes:
    reader = Reader(payload)
    key, prop, index = reader.object(0), reader.unsigned(1), reader.optional(2)
    if not reader.is_done:
        raise Rejected(names.REJECT_PARAMETERS)
    one = _object(device, key)
    value = one.read(prop, index)
    head = tags.context_object(0, one.key) + tags.context_unsigned(1, prop)
    if index is not None:
        head += tags.context_unsigned(2, index)
    return head + tags.wrapped(3, value)


Specification = tuple[int, tuple[tuple[int, int | None], ...]]
"""An object and the properties of it, each with its array index."""


@lru_cache(maxsize=1024)
def _specifications(payload: bytes) -> tuple[Specification, ...]:
    """What a ReadPropertyMultiple asks for; hundreds of alike devices are asked the same. Raises TagError."""
    reader = Reader(payload)
    wanted: list[Specification] = []
    while not reader.is_done:
        key = reader.object(0)
        inner = Reader(reader.inside(1))
        references: list[tuple[int, int | None]] = []
        while not inner.is_done:
            references.append((inner.unsigned(0), inner.optional(1)))
        wanted.append((key, tuple(references)))
    return tuple(wanted)


def read_multiple(device: Holder, payload: bytes) -> bytes:
    """Every object and property gets a value or its own error (clause 15.7)."""
    parts: list[bytes] = []
    for key, references in _specifications(payload):
        one = device.find(key)
        parts.append(tags.context_object(0, key if one is None else one.key) + tags.opening(1))
        for prop, index in references:
            parts.extend(_result(one, each, index) for each in _expanded(one, prop))
        parts.append(tags.closing(1))
    if not parts:
        raise Rejected(names.REJECT_MISSING)
    return b"".join(parts)


def _expanded(one: SimObject | None, prop: int) -> tuple[int, ...]:
    if one is None or prop not in (names.ALL, names.REQUIRED, names.OPTIONAL):
        return (prop,)
    required, optional = one.required(), one.optional()
    return {names.ALL: required + optional, names.REQUIRED: required, names.OPTIONAL: optional}[prop]


def _result(one: SimObject | None, prop: int, index: int | None) -> bytes:
    head = tags.context_unsigned(2, prop)
    if index is not None:
        head += tags.context_unsigned(3, index)
    try:
        if one is None:
            raise PropertyFault(names.UNKNOWN_OBJECT)
        return head + tags.wrapped(4, one.read(prop, index))
    except PropertyFault as fault:
        return head + tags.wrapped(5, tags.enumerated(fault.cause[0]) + tags.enumerated(fault.cause[1]))


def write_property(device: Holder, payload: bytes) -> None:
    reader = Reader(payload)
    key, prop, index = reader.object(0), reader.unsigned(1), reader.optional(2)
    data = reader.inside(3)
    priority = reader.optional(4)
    one = _object(device, key)
    one.write(prop, data, index, priority)
    device.written(one)


def write_multiple(device: Holder, payload: bytes) -> None:
    """Writes one after the other and stops at the first that is refused; those before it stand (clause 15.10)."""
    reader = Reader(payload)
    while not reader.is_done:
        key = reader.object(0)
        inner = Reader(reader.inside(1))
        while not inner.is_done:
            prop, index = inner.unsigned(0), inner.optional(1)
            data, priority = inner.inside(2), inner.optional(3)
            try:
                one = _object(device, key)
                one.write(prop, data, index, priority)
            except PropertyFault as fault:
                raise WriteStopped(fault.cause, key, prop) from fault
            device.written(one)


class WriteStopped(Exception):
    """The error of WritePropertyMultiple, which names the first write that failed."""

    def __init__(self, cause: tuple[int, int], key: int, prop: int) -> None:
        super().__init__(f"error class {cause[0]} code {cause[1]} at object {key} property {prop}")
        self.cause, self.key, self.prop = cause, key, prop

    def encode(self, invoke: int) -> bytes:
        cause = tags.enumerated(self.cause[0]) + tags.enumerated(self.cause[1])
        first = tags.context_object(0, self.key) + tags.context_unsigned(1, self.prop)
        return bytes((0x50, invoke, names.WRITE_MULTIPLE)) + tags.wrapped(0, cause) + tags.wrapped(1, first)


_FIRST, _LAST, _MORE = 0, 1, 2
"""Bits of BACnetResultFlags."""


def read_range(device: Holder, payload: bytes, room: int) -> bytes:
    """Records of a trend log by position, sequence number or time; as many as `room` octets hold (clause 15.8)."""
    reader = Reader(payload)
    key, prop, index = reader.object(0), reader.unsigned(1), reader.optional(2)
    log = _object(device, key)
    if not isinstance(log, TrendLog) or prop != names.LOG_BUFFER:
        raise PropertyFault((1, 58) if log.array(prop) is None and log.single(prop) is None else (2, 22))
    records, by_position = _chosen(list(log.records), reader)
    picked: list[Record] = []
    size, backwards = 0, records is not None and by_position is False
    chosen = records or []
    for record in chosen if not backwards else chosen[::-1]:
        octets = len(record.encode())
        if size + octets > room - 40:
            break
        size += octets
        picked.append(record)
    if backwards:
        picked.reverse()
    held = log.records
    flags = [False, False, len(picked) < len(chosen)]
    if picked:
        flags[_FIRST] = picked[0].number == held[0].number
        flags[_LAST] = picked[-1].number == held[-1].number
    head = tags.context_object(0, key) + tags.context_unsigned(1, prop)
    if index is not None:
        head += tags.context_unsigned(2, index)
    head += tags.context(3, tags.bit_payload(flags)) + tags.context_unsigned(4, len(picked))
    head += tags.wrapped(5, b"".join(record.encode() for record in picked))
    if picked and by_position is not None and _is_numbered(payload):
        head += tags.context_unsigned(6, picked[0].number)
    return head


def _is_numbered(payload: bytes) -> bool:
    """By sequence number or by time: only then the answer tells the first sequence number."""
    reader = Reader(payload)
    reader.object(0), reader.unsigned(1), reader.optional(2)
    return reader.is_next(6, "open") or reader.is_next(7, "open")


def _chosen(records: list[Record], reader: Reader) -> tuple[list[Record], bool]:
    """The records asked for, in the order of the log, and False where the count runs backwards."""
    if reader.is_done:
        return records, True
    if reader.is_next(3, "open"):
        start, count = _two_numbers(reader.inside(3))
        at = start - 1
        if not 0 <= at < len(records):
            return [], True
    elif reader.is_next(6, "open"):
        start, count = _two_numbers(reader.inside(6))
        at = next((place for place, record in enumerate(records) if record.number == start), -1)
        if at < 0:
            return [], True
    elif reader.is_next(7, "open"):
        inner = Reader(reader.inside(7))
        day, hour = inner.expect(tags.DATE, "app"), inner.expect(tags.TIME, "app")
        said = tags.simple_value(inner.take())
        if not isinstance(said, int):
            raise Rejected(names.REJECT_TAG)
        count = said
        moment = _moment(day, hour)
        if count >= 0:  # records after the moment, oldest first
            later = [record for record in records if record.at > moment]
            return later[:count], True
        return [record for record in records if record.at < moment][count:], False
    else:
        raise Rejected(names.REJECT_TAG)
    if count > 0:
        return records[at : at + count], True
    return records[max(0, at + 1 + count) : at + 1], False


def _two_numbers(data: bytes) -> tuple[int, int]:
    reader = Reader(data)
    start, count = tags.simple_value(reader.take()), tags.simple_value(reader.take())
    if not isinstance(start, int) or not isinstance(count, int) or count == 0:
        raise Rejected(names.REJECT_PARAMETERS)
    return start, count


def _moment(day: bytes, hour: bytes) -> datetime:
    if len(day) != 4 or len(hour) != 4:
        raise Rejected(names.REJECT_PARAMETERS)
    try:
        at = datetime(1900 + day[0], day[1], day[2], hour[0], hour[1], hour[2])  # noqa: DTZ001 - local time of the device
    except ValueError as error:
        raise Rejected(names.REJECT_PARAMETERS) from error
    return at + timedelta(milliseconds=10 * hour[3])


Service = Callable[[Holder, bytes], bytes | None]
PLAIN: dict[int, Service] = {
    names.READ_PROPERTY: read_property,
    names.READ_MULTIPLE: read_multiple,
    names.WRITE_PROPERTY: write_property,
    names.WRITE_MULTIPLE: write_multiple,
}
"""Services that need nothing but the objects."""
