"""The two answers that come in thousands, from their bytes: ReadResponse and PublishResponse (OPC 10000-6, 5.2). Pure.

asyncua builds some ten objects for each value that changed; here a notification of equal scalars is unpacked in one pass and
mixed ones by one precompiled layout an item. Every other service goes through asyncua's own codec. What is no right encoding
raises DeviceMismatch, and nothing else: counts are believed only up to the bytes that are there, nesting only to a bound.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import repeat
from typing import NamedTuple

from device_profiles.reading import PointFault, Raw, Sample

from .status import is_of_the_node, name_of
from .variant import SCALARS, bad_encoding, skip_diagnostic, skip_string, variant

READ_REQUEST, READ_RESPONSE = 631, 634
PUBLISH_REQUEST, PUBLISH_RESPONSE = 826, 829
SERVICE_FAULT = 397
_DATA_CHANGE, _STATUS_CHANGE = 811, 820
"""Binary encoding ids of namespace 0 (OPC 10000-6, annex A)."""

_EPOCH_TICKS = 116_444_736_000_000_000
"""1970-01-01 in 100 ns since 1601-01-01."""
_VALUE, _STATUS, _SOURCE_TIME, _SERVER_TIME, _SOURCE_PICO, _SERVER_PICO = 1, 2, 4, 8, 16, 32
_OVERFLOW = 0x480
"""Info bits of a status code that say: this item's queue lost values (OPC 10000-4, 7.39.1)."""
_SEVERITY = 0xC000_0000
_CODE = 0xFFFF_0000
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_FOUR_BYTE_ID = struct.Struct("<BBH")
_RESPONSE_HEAD = struct.Struct("<qII")
_REQUEST_TAIL = struct.Struct("<qIIiI3s")

Heard = Raw | Sample | PointFault


class Window(NamedTuple):
    """Source times (100 ns since 1601) between these two say no more than the time of arrival, and are not kept."""

    first: int
    last: int


EVERY_TIME = Window(-(1 << 63), (1 << 63) - 1)


def window(now_ms: int, slack_ms: int) -> Window:
    """Around now, UTC ms."""
    return Window((now_ms - slack_ms) * 10_000 + _EPOCH_TICKS, (now_ms + slack_ms) * 10_000 + _EPOCH_TICKS)


def unix_ms(ticks: int) -> int:
    """UTC ms of a DateTime."""
    return (ticks - _EPOCH_TICKS) // 10_000


def request(kind: int, token: bytes, now_ms: int, handle: int, timeout_ms: int, parameters: bytes) -> bytes:
    """A service request: encoding id, RequestHeader (`token` is the encoded authentication token) and encoded parameters."""
    tail = _REQUEST_TAIL.pack(now_ms * 10_000 + _EPOCH_TICKS, handle, 0, -1, timeout_ms, b"\0\0\0")
    return b"".join((_FOUR_BYTE_ID.pack(1, 0, kind), token, tail, parameters))


def read_parameters(nodes: Sequence[bytes]) -> bytes:
    """Parameters of a Read of the Value of encoded node ids, with source times, from the server's cache of any age up to 0 ms."""
    value = struct.pack("<IiHi", 13, -1, 0, -1)
    return struct.pack("<dii", 0.0, 0, len(nodes)) + b"".join([node + value for node in nodes])


def publish_parameters(acknowledged: Sequence[tuple[int, int]]) -> bytes:
    """Parameters of a Publish that acknowledges (subscription, sequence number) pairs."""
    return _I32.pack(len(acknowledged)) + b"".join([struct.pack("<II", *pair) for pair in acknowledged])


class Response(NamedTuple):
    """The head of an answer: encoding id (0 when it is not of namespace 0), service result, where the parameters begin."""

    kind: int
    status: int
    at: int


def response(body: bytes) -> Response:
    """Reads encoding id and ResponseHeader. Raises DeviceMismatch."""
    try:
        kind, at = _type_id(body, 0)
        _, _, status = _RESPONSE_HEAD.unpack_from(body, at)
        at = skip_diagnostic(body, at + 16)
        count, at = _count(body, at, 4)
        for _ in range(count):
            at = skip_string(body, at)
        return Response(kind, status, _skip_extension(body, at))
    except (struct.error, IndexError) as error:
        raise bad_encoding("the answer ends too early") from error


def read_results(body: bytes, at: int, expected: int, told: Window) -> list[Heard]:
    """The values of a ReadResponse. Raises DeviceMismatch when they are not `expected` values."""
    try:
        count, at = _count(body, at, 1)
        if count != expected:
            raise bad_encoding(f"{count} values for {expected} nodes")
        values: list[Heard] = []
        for _ in range(count):
            value, at = _data_value(body, at, told)
            values.append(value)
    except (struct.error, IndexError) as error:
        raise bad_encoding("a value ends too early") from error
    return values


@dataclass(slots=True)
class Published:
    """One PublishResponse. `items` are (client handles, values) of its DataChangeNotifications, oldest first."""

    subscription: int
    sequence: int = 0
    is_keep_alive: bool = True
    more: bool = False
    items: list[tuple[Sequence[int], Sequence[Heard]]] = field(default_factory=list)
    status: int = 0
    """Of a StatusChangeNotification: why the subscription ended."""
    overflows: int = 0
    """Items whose queue on the server lost values."""


def published(body: bytes, at: int, told: Window) -> Published:
    """The parameters of a PublishResponse. Raises DeviceMismatch."""
    try:
        (subscription,) = _U32.unpack_from(body, at)
        count, at = _count(body, at + 4, 4)
        at += 4 * count
        found = Published(subscription, more=bool(body[at]))
        found.sequence, _ = struct.unpack_from("<Iq", body, at + 1)
        count, at = _count(body, at + 13, 3)
        for _ in range(count):
            at = _notification(body, at, told, found)
    except (struct.error, IndexError) as error:
        raise bad_encoding("a notification ends too early") from error
    return found


def _notification(body: bytes, at: int, told: Window, found: Published) -> int:
    kind, at = _type_id(body, at)
    if body[at] != 1:
        return _skip_content(body, at)
    length: int = _I32.unpack_from(body, at + 1)[0]
    at += 5
    if not 0 <= length <= len(body) - at:
        raise bad_encoding(f"a notification of {length} bytes")
    found.is_keep_alive = False
    if kind == _DATA_CHANGE:
        count, start = _count(body, at, 5)
        if count:
            found.items.append(_data_change(body, start, count, told, found))
    elif kind == _STATUS_CHANGE:
        (found.status,) = _U32.unpack_from(body, at)
    return at + length


def _data_change(
    body: bytes, at: int, count: int, told: Window, found: Published
) -> tuple[Sequence[int], Sequence[Heard]]:
    """MonitoredItemNotifications: the client handle and a DataValue each."""
    equal = _equal_items(body, at, count, told)
    if equal is not None:
        return equal
    handles: list[int] = []
    values: list[Heard] = []
    first, last = told
    for _ in range(count):
        layout = _item_layout(body[at + 4], body[at + 5])
        if layout is not None:
            handle, _, _, value, status, time = layout.unpack(body, at)
            if not status and first <= time <= last:
                handles.append(handle)
                values.append(float(f"{value:.7g}") if layout.is_f32 else value)
                at += layout.size
                continue
        (handle,) = _U32.unpack_from(body, at)
        found.overflows += _has_overflow(body, at + 4)
        heard_value, at = _data_value(body, at + 4, told)
        handles.append(handle)
        values.append(heard_value)
    return handles, values


def _equal_items(body: bytes, at: int, count: int, told: Window) -> tuple[Sequence[int], Sequence[Heard]] | None:
    """The items when all are good scalars of one type and mask; None sends them the long way."""
    mask, kind = body[at + 4], body[at + 5]
    layout = _item_layout(mask, kind)
    end = at + count * layout.size if layout is not None else 0
    if layout is None or end > len(body):
        return None
    columns = list(zip(*layout.struct.iter_unpack(memoryview(body)[at:end]), strict=True))
    if columns[1].count(mask) != count or columns[2].count(kind) != count:
        return None
    if layout.status_at and any(columns[layout.status_at]):
        return None
    if layout.time_at and not (
        told.first <= min(columns[layout.time_at]) and max(columns[layout.time_at]) <= told.last
    ):
        return None
    values = columns[3]
    if layout.is_f32:
        return columns[0], list(map(float, map(format, values, repeat(".7g"))))
    return columns[0], values


@dataclass(frozen=True, slots=True)
class _Layout:
    """A MonitoredItemNotification of one DataValue mask with a scalar of one type."""

    struct: struct.Struct
    size: int
    is_f32: bool
    status_at: int
    time_at: int
    """Columns of status and source time; 0 = none."""

    def unpack(self, body: bytes, at: int) -> tuple[int, int, int, Raw, int, int]:
        """(handle, mask, type, value, status, source time)."""
        row = self.struct.unpack_from(body, at)
        return (*row[:4], row[self.status_at] if self.status_at else 0, row[self.time_at] if self.time_at else 0)


@cache
def _item_layout(mask: int, kind: int) -> _Layout | None:
    code = SCALARS.get(kind)
    if code is None or not mask & _VALUE or mask & ~0x3F:
        return None
    text, columns, status_at, time_at = "<IBB" + code, 4, 0, 0
    if mask & _STATUS:
        text, status_at, columns = text + "I", columns, columns + 1
    if mask & _SOURCE_TIME:
        text, time_at, columns = text + "q", columns, columns + 1
    text += "H" * bool(mask & _SOURCE_PICO) + "q" * bool(mask & _SERVER_TIME) + "H" * bool(mask & _SERVER_PICO)
    layout = struct.Struct(text)
    return _Layout(layout, layout.size, code == "f", status_at, time_at)


def _has_overflow(body: bytes, at: int) -> int:
    """1 when the DataValue's status says that the item's queue lost values."""
    mask = body[at]
    if not mask & _STATUS:
        return 0
    if mask & _VALUE:
        _, at = variant(body, at + 1)
    else:
        at += 1
    return int(_U32.unpack_from(body, at)[0] & _OVERFLOW == _OVERFLOW)


def _data_value(body: bytes, at: int, told: Window) -> tuple[Heard, int]:
    mask = body[at]
    at += 1
    if mask & ~0x3F:
        raise bad_encoding(f"a DataValue with mask 0x{mask:02x}")
    value: Raw | PointFault | None = None
    status, time = 0, None
    if mask & _VALUE:
        value, at = variant(body, at)
    if mask & _STATUS:
        (status,) = _U32.unpack_from(body, at)
        at += 4
    if mask & _SOURCE_TIME:
        (time,) = struct.unpack_from("<q", body, at)
        at += 8
    at += 2 * bool(mask & _SOURCE_PICO) + 8 * bool(mask & _SERVER_TIME) + 2 * bool(mask & _SERVER_PICO)
    if at > len(body):
        raise bad_encoding("a value ends too early")
    if not status & _CODE and value is not None and (time is None or told.first <= time <= told.last):
        return value, at
    return heard(value, status, time, told), at


def heard(value: Raw | PointFault | None, status: int, time: int | None, told: Window) -> Heard:
    """A value with a status code and a source time, as drivers say it."""
    if isinstance(value, PointFault):
        return value
    name = name_of(status)
    if status & _SEVERITY == 0 and value is None:
        return PointFault("BadNoData", "the node has no value")
    if status & _SEVERITY >= 0x8000_0000:
        return PointFault(name, "said by the server") if is_of_the_node(status) else Sample(None, name)
    is_told = time is not None and not told.first <= time <= told.last
    return Sample(value, name, unix_ms(time) if is_told and time is not None else None)


def without_time(value: Heard) -> Heard:
    """The same without a source time."""
    if not isinstance(value, Sample) or value.source_time_ms is None:
        return value
    return value.value if value.status == "Good" and value.value is not None else Sample(value.value, value.status)


def _type_id(body: bytes, at: int) -> tuple[int, int]:
    """The id of an encoding in namespace 0, else 0; and where it ends."""
    form = body[at] & 0x3F
    if form == 0:
        return body[at + 1], at + 2
    if form == 1:
        _, space, number = _FOUR_BYTE_ID.unpack_from(body, at)
        return (number if space == 0 else 0), at + 4
    if form == 2:
        space, number = struct.unpack_from("<HI", body, at + 1)
        return (number if space == 0 else 0), at + 7
    if form in (3, 5):
        return 0, skip_string(body, at + 3)
    if form == 4:
        return 0, at + 19
    raise bad_encoding(f"a node id of form {form}")


def _skip_extension(body: bytes, at: int) -> int:
    _, at = _type_id(body, at)
    return _skip_content(body, at)


def _skip_content(body: bytes, at: int) -> int:
    """Past the body of an ExtensionObject, whose encoding byte is at `at`."""
    if body[at] == 0:
        return at + 1
    if body[at] > 2:
        raise bad_encoding(f"an ExtensionObject of encoding {body[at]}")
    return skip_string(body, at + 1)


def _count(body: bytes, at: int, least: int) -> tuple[int, int]:
    """The length of an array whose elements take at least `least` bytes; null is empty."""
    (count,) = _I32.unpack_from(body, at)
    at += 4
    if count > (len(body) - at) // least or count < -1:
        raise bad_encoding(f"an array of {count} in {len(body) - at} bytes")
    return max(count, 0), at
