"""Makes rows of checked messages (CONTRACT.md section 10). Pure; the same message always gives the same rows.

A good or uncertain value goes to the class row of its time, whatever is in `x` with a `q` to a quality row too, a bad sample to
the quality row only. Ids that begin with `x_`, and harmonics, go to rows of their own.
"""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta

import msgspec

from gateway.check import is_plain
from gateway.contract.messages import Event, Scalar, Telemetry
from gateway.stores.base import ClassRow, EventRow, EventValue, FieldValue, PointRow, QualityRow, Row

_BAD = 2
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_OURS = frozenset({"id", "agent"})
"""Fields of the event row that are ours; the same key in `data` takes the prefix `data_`."""


def telemetry_rows(site: str, dev: str, message: Telemetry, text: str | None = None) -> list[Row]:
    """The rows of one message: the class row at `t` first, then what `x` adds. `text` comes from the check: `s` as it came,
    where it is the class row and there is nothing else."""
    if text is not None and message.s:
        return [ClassRow(site, dev, message.cls, message.t, message.s, text)]
    rows: list[Row] = []
    at_t: dict[str, Scalar] = message.s
    later: dict[int, dict[str, Scalar]] = {}
    if message.x:
        at_t = dict(at_t)
        for flag in message.x:
            t_ms = message.t + (flag.dt or 0)
            if flag.q is not None:
                rows.append(QualityRow(site, dev, flag.p, t_ms, flag.q, flag.sc or "", ",".join(flag.f or ())))
            if flag.val is not None and flag.q != _BAD:
                (at_t if t_ms == message.t else later.setdefault(t_ms, {}))[flag.p] = flag.val
    values = _value_rows(site, dev, message.cls, message.t, at_t)
    for t_ms, samples in later.items():
        values += _value_rows(site, dev, message.cls, t_ms, samples)
    return values + rows


def _value_rows(site: str, dev: str, cls: str, t_ms: int, samples: dict[str, Scalar]) -> list[Row]:
    if not samples:
        return []
    fields: dict[str, FieldValue] = samples
    if bool in map(type, samples.values()):
        fields = {point: int(value) if value.__class__ is bool else value for point, value in samples.items()}
    rows: list[Row] = []
    own = [point for point in fields if point.startswith(("x_", "harmonic_"))]
    if own:
        rows = [PointRow(site, dev, point, t_ms, fields[point]) for point in own]
        fields = {point: value for point, value in fields.items() if is_plain(point) or point not in own}
    if fields:
        rows.insert(0, ClassRow(site, dev, cls, t_ms, fields))
    return rows


def event_row(site: str, agent: str, dev: str, message: Event, name: str, time: datetime) -> EventRow:
    """The row of an event. Its time in ns is made unique by the CRC-32 of its id: within the millisecond, or within the second
    where the source knows seconds only."""
    since = time - _EPOCH
    ms = since // timedelta(milliseconds=1)
    width = 1_000_000_000 if "." not in message.time else 1_000_000
    t_ns = ms * 1_000_000 + zlib.crc32(message.id.encode()) % width
    data: dict[str, EventValue] = {}
    for key, value in message.data.items():
        if value is not None:
            data[f"data_{key}" if key in _OURS else key] = _event_value(value)
    return EventRow(site, dev, name, t_ns, message.id, data, agent)


def _event_value(value: object) -> EventValue:
    """Scalars as they are, deeper things as JSON text."""
    if isinstance(value, str | bool | int | float):
        return value
    return msgspec.json.encode(value).decode()
