"""The messages of the contract as msgspec structs (CONTRACT.md sections 3 to 8).

Encoding writes exactly these keys. Decoding ignores unknown keys and takes any text where a set of words is listed, so that
later 1.x messages still parse (`consumer` reads an unknown word as `other`); that the values make sense is checked by
`gateway.ingest`, because only there a refusal has a place to go.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Scalar = float | int | bool | str
"""A sample's value: numbers, booleans, enum ordinals, and text for text points."""

MAX_SAMPLES = 500
MAX_BYTES = 64 * 1024
CLOCKS = ("ntp", "rtc", "unsync")
STATES = ("ok", "degraded", "down", "disabled")
AGENT_STATES = ("online", "offline", "maintenance", "lost")
POINT_TYPES = ("num", "bool", "enum", "text")
RESULT_STATES = ("accepted", "running", "succeeded", "failed", "rejected", "expired", "cancelled", "unknown")
REVISION_STATES = ("applied", "pending", "rejected", "rolled_back")
SEVERITIES = ("low", "medium", "high", "critical")
ALARM_STATES = ("active", "acked")

KNOWN_VALUES = "x-known-values"
"""In a struct's JSON Schema: the words a producer of this version may write. `generate` makes each side's rule of it."""


def _words(known: tuple[str, ...]) -> msgspec.Meta:
    return msgspec.Meta(extra_json_schema={KNOWN_VALUES: list(known)})


class Flag(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One entry of `x`: a sample that is not good, is good again, carries a flag, or has a time of its own."""

    p: str
    q: int | None = None
    sc: str | None = None
    val: Scalar | None = None
    dt: int | None = None
    ts: str | None = None
    f: list[str] | None = None


class Telemetry(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="v", tag=1):
    """One device, one acquisition, one message."""

    cls: str
    epoch: str
    seq: int
    meta: str
    clk: str
    t: int
    mk: int | None = None
    part: tuple[int, int] | None = None
    src: str | None = None
    s: dict[str, Scalar] = {}
    x: list[Flag] = []


class Ack(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="v", tag=1):
    """`down/ack`: `ok` ranges may be forgotten; `dead` names those of them that lie in the dead-letter file, with the reason."""

    epoch: str
    ok: list[tuple[int, int]]
    dead: list[tuple[int, str]] = []


class PointMeta(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What a point is: quantity, UCUM unit, type and reading plan."""

    type: Annotated[str, _words(POINT_TYPES)]
    q: str | None = None
    unit: str | None = None
    ref: str | None = None
    poll_s: float | None = None
    hb_s: float | None = None
    align_s: int | None = None
    deadband: float | None = None
    min: float | None = None
    max: float | None = None
    res: float | None = None
    labels: dict[str, str] | None = None
    brick: str | None = None
    w: bool | None = None


class Meta(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="v", tag=1):
    """What a device is. `rev` is a short hash of everything else, named by each message of the device."""

    rev: str
    name: str
    cls: str
    system: str
    space: str | None = None
    parent: str | None = None
    profile: str
    proto: str
    addr: str
    serial: str | None = None
    asset: str | None = None
    codes: dict[str, str] = {}
    params: dict[str, float] = {}
    ext: dict[str, Any] = {}
    points: dict[str, PointMeta]


class State(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="v", tag=1):
    """Reachability and counters of a device."""

    t: int
    state: Annotated[str, _words(STATES)]
    since: int
    ok: int
    err: int
    sc: str | None = None
    last_ok: int | None = None
    rtt_ms: float | None = None
    note: str | None = None


class SpoolFill(msgspec.Struct, kw_only=True):
    msgs: int
    oldest: int | None = None


class Status(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="v", tag=1):
    """The agent's presence; the will says `lost` with the same epoch and sid and no t."""

    state: Annotated[str, _words(AGENT_STATES)]
    epoch: str
    sid: int
    t: int | None = None
    sw: str | None = None
    contract: list[str] = []
    spool: SpoolFill | None = None


class Site(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="v", tag=1):
    """What "a day" means here."""

    tz: str
    name: str
    building: str | None = None
    calendar: dict[str, list[str]] = {}


class Caps(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="v", tag=1):
    """What the agent can do: contract versions, drivers, operations with argument schemas."""

    contract: list[str]
    drivers: list[str]
    ops: dict[str, dict[str, Any]]


class Last(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="v", tag=1):
    """Last values of a device, retained: what a new subscriber sees."""

    t: int
    meta: str
    s: dict[str, Scalar] = {}
    x: list[Flag] = []


class Command(msgspec.Struct, kw_only=True, tag_field="v", tag=1):
    """`down/cmd/{id}` (section 6). `to` is `site/agent`: a signed command is good for that agent only."""

    id: str
    op: str
    dev: str | None = None
    args: dict[str, Any] = {}
    t: int | None = None
    exp: int | None = None
    by: str | None = None
    why: str | None = None
    dry: bool = False
    group: str | None = None
    kid: str | None = None
    sig: str | None = None
    to: str | msgspec.UnsetType | None = msgspec.UNSET
    if_: dict[str, Any] | None = msgspec.field(name="if", default=None)


class CommandResult(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="v", tag=1):
    """`up/cmd/{id}`: progress and result."""

    id: str
    n: int
    st: Annotated[str, _words(RESULT_STATES)]
    t: int
    res: dict[str, Any] | None = None
    err: dict[str, Any] | None = None


class ConfigDesired(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="v", tag=1):
    """`down/config/desired` (section 8). `rev` only grows."""

    rev: int
    sha256: str
    config: dict[str, Any]
    t: int | None = None
    by: str | None = None
    confirm_s: float | None = None


class ConfigReported(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="v", tag=1):
    """`up/config/reported` (section 8)."""

    seen: int
    applied: int
    st: Annotated[str, _words(REVISION_STATES)]
    t: int
    prev: int | None = None
    sha256: str | None = None
    errors: list[dict[str, Any]] = []


class Alarm(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="v", tag=1):
    """`up/alarm/{dev}/{alarm}`: projection of an active alarm; the events are the truth (section 7)."""

    id: str
    sev: Annotated[str, _words(SEVERITIES)]
    st: Annotated[str, _words(ALARM_STATES)]
    since: int
    n: int = 1
    val: float | None = None
    lim: float | None = None


class Event(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="specversion", tag="1.0"):
    """A CloudEvents 1.0 event, structured JSON (section 7). `seq` is decimal text, as CloudEvents attributes have no long."""

    id: str
    source: str
    type: str
    time: str
    subject: str
    epoch: str
    seq: str
    datacontenttype: str
    data: dict[str, Any] = {}


EVENT_PREFIX = "plantroom."
EVENT_SUFFIX = ".v1"


def event_type(name: str) -> str:
    """`system.restart` -> `plantroom.system.restart.v1`."""
    return f"{EVENT_PREFIX}{name}{EVENT_SUFFIX}"


_encoder = msgspec.json.Encoder()
encode = _encoder.encode
"""Any struct of this module to JSON bytes. NaN and infinities become null: callers must not have them."""


def encode_any(value: Any) -> bytes:
    """Plain JSON-ready values to bytes (`up/metrics`, answers to diagnostics: their content is open)."""
    return _encoder.encode(value)


def to_plain(value: Any) -> Any:
    """A struct as dicts and lists with the contract's keys."""
    return msgspec.to_builtins(value)
