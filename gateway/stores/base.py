"""What every store keeps and answers: the rows of CONTRACT.md section 10, a batch of them, and the questions of the HTTP API.

A store decides nothing about meaning: rows come checked from `gateway.rows`. Writing the same row again changes nothing; rows of
one series and time merge field by field. Times are UTC milliseconds unless a name says `_ns`; ranges are half open, [t0, t1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import msgspec

from device_profiles.errors import StoreUnavailable

FieldValue = float | int | str
"""A number of a point (booleans are 0 and 1), or the text of a point whose id ends in `_text`."""

EventValue = float | int | bool | str
"""A field of an event; whatever the event nests deeper is JSON text."""


class ClassRow(msgspec.Struct, frozen=True, gc=False):
    """Usable values of one device at one time; `cls` is the measurement.

    `text` is `fields` as the JSON object that the message held, where the row is just that: a store that keeps JSON need not
    write it anew.
    """

    site: str
    dev: str
    cls: str
    t_ms: int
    fields: dict[str, FieldValue]
    text: str | None = None


class PointRow(msgspec.Struct, frozen=True, gc=False):
    """One value of a point that has no column of its own: ids that begin with `x_`, and harmonics."""

    site: str
    dev: str
    pt: str
    t_ms: int
    value: FieldValue


class QualityRow(msgspec.Struct, frozen=True, gc=False):
    """A change of quality, the return to good (`q` 0) too: it holds until the next row of the point. `flags` comma-joined."""

    site: str
    dev: str
    pt: str
    t_ms: int
    q: int
    sc: str
    flags: str = ""


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """Something that happened. `type` is short (`access.denied`); `t_ns` is made unique by the event's id."""

    site: str
    dev: str
    type: str
    t_ns: int
    id: str
    data: dict[str, EventValue]
    agent: str = ""

    @property
    def t_ms(self) -> int:
        return self.t_ns // 1_000_000


class LedgerRow(msgspec.Struct, frozen=True, gc=False):
    """Messages `a` to `b` (both included) of an (agent, epoch) are stored or in the dead-letter file."""

    agent: str
    epoch: str
    a: int
    b: int
    t_ms: int
    worker: str = ""
    """Who vouches, where there are several workers: two may vouch for one epoch in the same millisecond."""


Row = ClassRow | PointRow | QualityRow | EventRow | LedgerRow


@dataclass(slots=True)
class RowBatch:
    """Rows that are written together, in order of receipt. `owners[i]` is the caller's number of the message behind `rows[i]`."""

    rows: list[Row] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)

    def add(self, rows: Sequence[Row], owner: int) -> None:
        self.rows += rows
        self.owners += (owner,) * len(rows)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Refused:
    """One row that the store will never take; all the others are stored."""

    index: int
    """Position in `RowBatch.rows`."""
    reason: str
    """A short word for `down/ack` and the dead-letter file: `type`, `retention`, `malformed` ..."""
    detail: str
    """What the store said."""
    line: str = ""
    """The row as it was written, where the store's language is text."""


class StoreMisconfigured(StoreUnavailable):
    """The store says that we may not, or that what we write to is not there: nothing is dropped, a person is needed."""


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """`ok`, and one line that says why not."""

    ok: bool
    detail: str = ""
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest value of a point. `value` None: no usable value; `q`, `sc` and `since_ms` say how good it is since when."""

    site: str
    dev: str
    cls: str
    pt: str
    t_ms: int
    value: FieldValue | None
    q: int = 0
    sc: str = ""
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """The width of a bucket: `every` units. Days and months are those of the time zone `tz`; seconds count from 1970 in UTC."""

    every: int
    unit: Literal["second", "day", "month"] = "second"
    tz: str = "UTC"

    QUARTER_S: ClassVar[int] = 900


@dataclass(frozen=True, slots=True)
class Bucket:
    """Samples of one point in [t_ms, end_ms). A bucket without samples is present only where a counter ran through it.

    `increase` is None for points that are no counters. It is the difference of the counter at both ends, interpolated between
    the readings around each end, so that the buckets of a month add up to the month; `n` 0 says that it is interpolated only.
    """

    t_ms: int
    end_ms: int
    n: int
    mean: float | None
    min: float | None
    max: float | None
    first: FieldValue | None
    last: FieldValue | None
    increase: float | None = None


Samples = dict[str, list[tuple[int, FieldValue]]]
"""Samples by point id: (t_ms, value), oldest first. Every point that was asked for is a key."""


class Store(Protocol):
    """One store. `write` is called by one task; queries run beside it and never hold it up."""

    name: ClassVar[str]

    async def open(self) -> None:
        """Makes what is missing. Raises StoreError."""

    async def close(self) -> None: ...

    async def health(self) -> StoreHealth:
        """Never raises."""

    async def write(self, batch: RowBatch) -> list[Refused]:
        """Durable on return, but for the rows that are returned.

        Raises StoreUnavailable (write the same batch again later) and StoreMisconfigured (the same, once a person has acted).
        """

    async def latest(self, site: str | None = None, device: str | None = None) -> list[Latest]:
        """The newest value and quality of every point, by site, device and point."""

    async def samples(
        self, site: str, device: str, points: Sequence[str], t0_ms: int, t1_ms: int, *, limit: int = 100_000
    ) -> Samples:
        """Raw samples; at most `limit` a point, the newest of them."""

    async def buckets(
        self, site: str, device: str, points: Sequence[str], t0_ms: int, t1_ms: int, step: Step
    ) -> dict[str, list[Bucket]]:
        """Samples taken together; t0 and t1 are widened to whole buckets. Text points give `n`, `first` and `last` only."""

    async def quality(
        self, site: str, device: str, t0_ms: int, t1_ms: int, *, point: str | None = None, before: bool = True
    ) -> list[QualityRow]:
        """Changes of quality in the range, oldest first; with `before`, the last one of each point ahead of the range too."""

    async def events(
        self,
        t0_ms: int,
        t1_ms: int,
        *,
        site: str | None = None,
        device: str | None = None,
        types: Sequence[str] = (),
        limit: int = 1000,
    ) -> list[EventRow]:
        """Events, newest first. `types` holds whole types (`access.denied`) or classes (`access`)."""

    async def ledger(self, agent: str, *, t0_ms: int = 0) -> list[LedgerRow]:
        """Ledger rows of an agent that were written since `t0_ms`, oldest first."""

    def figures(self) -> Mapping[str, float]:
        """Counters and gauges of the store for /metrics, by name without prefix."""
