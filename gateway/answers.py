"""What the HTTP API answers: one struct a route. Times are UTC milliseconds; an unusable value is null."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.contract.messages import Flag, PointMeta, Scalar

Value = float | int | str | None


class StoreState(msgspec.Struct, kw_only=True):
    ok: bool
    kind: str
    detail: str = ""
    size_bytes: int | None = None


class Healthz(msgspec.Struct, kw_only=True):
    """`ok` only when the store takes rows and the broker is connected."""

    ok: bool
    version: str
    store: StoreState
    ingest: dict[str, Any]


class Configuration(msgspec.Struct, kw_only=True):
    """The configuration that an agent has in force."""

    applied: int
    seen: int
    state: str
    t: int
    errors: list[dict[str, Any]]


class Agent(msgspec.Struct, kw_only=True):
    site: str
    id: str
    state: str
    registered: bool
    last_seen: int | None = None
    since: int | None = None
    version: str | None = None
    spool_msgs: int | None = None
    spool_oldest: int | None = None
    refused: int = 0
    config: Configuration | None = None


class SiteAnswer(msgspec.Struct, kw_only=True):
    id: str
    name: str
    tz: str
    building: str | None
    agents: list[Agent]
    devices: dict[str, int]
    """Devices by state."""


class Device(msgspec.Struct, kw_only=True):
    site: str
    id: str
    agent: str
    name: str
    cls: str
    system: str
    space: str | None
    parent: str | None
    profile: str
    proto: str
    addr: str
    codes: dict[str, str]
    points: int
    state: str
    """ok, degraded, down, disabled, lost (its agent is), other (a word of a later version) or unknown."""
    sc: str | None = None
    since: int | None = None
    last_ok: int | None = None
    last_seen: int | None = None
    rtt_ms: float | None = None
    ok: int = 0
    err: int = 0
    note: str | None = None
    alarms: int = 0
    """Active ones."""


class PointAnswer(msgspec.Struct, kw_only=True):
    site: str
    device: str
    id: str
    meta: PointMeta


class LatestAnswer(msgspec.Struct, kw_only=True):
    """`stale`: its device is down or disabled, its agent lost, or it is older than three heartbeats."""

    site: str
    device: str
    point: str
    t: int
    value: Value
    unit: str | None
    label: str | None
    q: int
    sc: str
    stale: bool


class Gap(msgspec.Struct, kw_only=True):
    """From `a` to `b` nothing usable is stored, and why where it is known."""

    a: int
    b: int
    reason: str


class Series(msgspec.Struct, kw_only=True):
    """`samples` are [t, value]; with a step the t of a bucket is its begin, and an empty bucket has value null."""

    unit: str | None
    samples: list[tuple[int, Value]]
    gaps: list[Gap]


class History(msgspec.Struct, kw_only=True):
    site: str
    device: str
    from_: int = msgspec.field(name="from")
    to: int
    step: str | None
    aggregate: str | None
    tz: str
    points: dict[str, Series]


class EventAnswer(msgspec.Struct, kw_only=True):
    site: str
    device: str
    type: str
    t: int
    id: str
    data: dict[str, float | int | bool | str]


class AlarmAnswer(msgspec.Struct, kw_only=True):
    """An alarm that is active now: raised `n` times since it began."""

    site: str
    device: str
    id: str
    sev: str
    state: str
    since: int
    n: int
    val: float | None = None
    lim: float | None = None


class LastAnswer(msgspec.Struct, kw_only=True):
    """What a device said last, as its agent retains it: `flags` has what is not good. At most five minutes behind."""

    site: str
    device: str
    t: int
    values: dict[str, Scalar]
    flags: list[Flag]


class Slots(msgspec.Struct, kw_only=True):
    """Slots of one point: filled, explained by reason, and missing with the ranges that are."""

    point: str
    slot_s: int
    slots: int
    filled: int
    explained: dict[str, int]
    missing: int
    missing_ranges: list[tuple[int, int]]


class CompletenessAnswer(msgspec.Struct, kw_only=True):
    site: str
    device: str
    from_: int = msgspec.field(name="from")
    to: int
    slots: int
    filled: int
    explained: int
    missing: int
    share: float | None
    """Filled and explained slots of all; null where there are none."""
    points: list[Slots]


class LedgerAnswer(msgspec.Struct, kw_only=True):
    """What an agent's epoch has in the store: `ranges` of sequence numbers, and the `missing` ones between 1 and the last."""

    agent: str
    epoch: str
    first: int
    last: int
    messages: int
    missing: list[tuple[int, int]]
    since: int
    until: int
