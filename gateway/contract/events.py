"""The events of the contract: CloudEvents 1.0 with a closed schema of `data` for each type (CONTRACT.md section 7).

One function makes all of them. Times are UTC ms; `id` follows from what happened, so that a repeat has the same one.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from gateway.contract.messages import Event, encode, event_type

Direction = Literal["in", "out"]
Severity = Literal["low", "medium", "high", "critical"]


class _Data(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The fields of one type of event; nothing else may be in it."""


class Access(_Data):
    """At a reader or door. `card` is a keyed pseudonym, `hmac:{key id}:{hex}`, unless the site wants cards in clear."""

    card: str | None = None
    reason: str | None = None
    dir: Direction | None = None
    held_s: float | None = None
    door: int | None = None
    """Which one, from 1, of a controller of several."""


class CardRead(_Data):
    card: str
    dir: Direction | None = None
    bits: int | None = None
    door: int | None = None


class Keypad(_Data):
    """Somebody typed at a keypad. Only how many keys: the digits are a secret and never travel."""

    count: int
    dir: Direction | None = None


class Gate(_Data):
    dir: Direction | None = None
    reason: str | None = None
    by: str | None = None
    door: int | None = None


class _Image(_Data):
    """An image stays where it is: only its address, hash and end of life travel."""

    url: str | None = None
    sha256: str | None = None
    expires: int | None = None


class Vehicle(_Image):
    """`plate` is a keyed pseudonym like `card`."""

    plate: str | None = None
    lane: str | None = None
    dir: Direction | None = None
    confidence: float | None = None


class Camera(_Image):
    region: str | None = None
    line: str | None = None
    dir: Direction | None = None
    reason: str | None = None


class Call(_Data):
    """A call station. SOS calls are neither pseudonymised nor rate-limited."""

    station: str
    sos: bool = False
    by: str | None = None
    wait_s: float | None = None


class Alarm(_Data):
    id: str
    sev: Severity
    since: int
    n: int = 1
    val: float | None = None
    lim: float | None = None
    by: str | None = None
    text: str | None = None


class Counter(_Data):
    """A counter went back. `before` and `after` are readings in the point's unit, `wrap` the value it rolls over at."""

    point: str
    before: float
    after: float
    wrap: float | None = None
    reason: str | None = None


class ClockSkew(_Data):
    """A device's own clock is off by `skew_ms`; its times are not believed until it is right."""

    skew_ms: int
    point: str | None = None


class RatioChanged(_Data):
    param: str
    before: float
    after: float


class IdentityChanged(_Data):
    """Another serial number answers at the address."""

    after: str
    before: str | None = None


class Restart(_Data):
    """The first message of an epoch: the ledger closes the former one at `prev_last`."""

    reason: str
    boot_id: str
    prev_epoch: str | None = None
    prev_last: int | None = None


class DeviceDown(_Data):
    since: int
    sc: str | None = None


class DeviceUp(_Data):
    since: int
    down_ms: int


class DataLost(_Data):
    """What the edge had to drop: (epoch, seq) ranges, and the first and last time of acquisition if known."""

    epoch: str
    ranges: list[tuple[int, int]]
    reason: str
    t0: int | None = None
    t1: int | None = None


class ConfigApplied(_Data):
    rev: int
    added: list[str] = []
    removed: list[str] = []
    changed: list[str] = []


class ClockStep(_Data):
    by_ms: int
    before_ms: int
    after_ms: int
    clk: str


DATA: dict[str, type[_Data]] = {
    "access.granted": Access,
    "access.denied": Access,
    "access.forced": Access,
    "access.held_open": Access,
    "access.duress": Access,
    "card.read": CardRead,
    "keypad.entered": Keypad,
    "gate.opened": Gate,
    "gate.closed": Gate,
    "gate.pass": Gate,
    "gate.obstructed": Gate,
    "vehicle.entered": Vehicle,
    "vehicle.left": Vehicle,
    "camera.motion": Camera,
    "camera.line_cross": Camera,
    "camera.tamper": Camera,
    "camera.offline": Camera,
    "call.raised": Call,
    "call.answered": Call,
    "alarm.raised": Alarm,
    "alarm.acked": Alarm,
    "alarm.cleared": Alarm,
    "counter.rolled_over": Counter,
    "counter.exchanged": Counter,
    "counter.error": Counter,
    "device.clock_skew": ClockSkew,
    "device.ratio_changed": RatioChanged,
    "device.identity_changed": IdentityChanged,
    "system.restart": Restart,
    "system.device_down": DeviceDown,
    "system.device_up": DeviceUp,
    "system.data_lost": DataLost,
    "system.config_applied": ConfigApplied,
    "system.clock_step": ClockStep,
}
"""Every event of the contract and the fields of its `data`."""


def make_event(
    name: str,
    *,
    site: str,
    agent: str,
    device: str,
    data: Mapping[str, Any],
    key: str,
    t_ms: int,
    epoch: str,
    seq: int,
) -> bytes:
    """A CloudEvents message, ready to send. `key` tells this occurrence from all others of its name and device.

    `device` is the agent's own id for what concerns the agent itself. Raises ValueError for a name that is not of the
    contract, or data outside its schema: a defect of the caller.
    """
    try:
        fields = msgspec.convert(data, DATA[name])
    except KeyError:
        raise ValueError(f"the contract has no event {name!r}") from None
    except msgspec.ValidationError as exc:
        raise ValueError(f"event {name}: {exc}") from exc
    source = f"/{site}/{agent}" if device in ("", agent) else f"/{site}/{agent}/{device}"
    return encode(
        Event(
            id=event_id(name, source, key),
            source=source,
            type=event_type(name),
            time=_rfc3339(t_ms),
            subject=device or agent,
            epoch=epoch,
            seq=str(seq),
            datacontenttype="application/json",
            data=msgspec.to_builtins(fields),
        )
    )


def event_id(name: str, source: str, key: str) -> str:
    """24 base32 characters (120 bits) that follow from what happened where."""
    digest = hashlib.blake2b("\n".join((name, source, key)).encode(), digest_size=15).digest()
    return b32encode(digest).decode().lower()


def _rfc3339(t_ms: int) -> str:
    seconds, ms = divmod(t_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"
