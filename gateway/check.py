"""Decides whether a message may become rows: size, JSON, version, keys, numbers, text and time. Pure; no state but a cache.

Raises `Rejection` with a short reason, and nothing else, in bounded time and memory, whatever the bytes are. The reasons go into
`down/ack` and the dead-letter file, so they are part of the contract's open vocabulary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from gateway.contract.messages import EVENT_PREFIX, EVENT_SUFFIX, MAX_BYTES, MAX_SAMPLES, Event, Telemetry
from gateway.contract.topics import Parsed, is_id

EARLIEST_MS = 1_577_836_800_000
"""2020-01-01: before it no clock of ours was right."""
AHEAD_MS = 300_000
"""How far in the future a time may lie."""
MAX_TEXT = 4096

RESERVED = frozenset({"point", "quality", "event", "ledger"})
"""Measurements that are ours; no device class may have these names."""

_CLASS = re.compile(r"[a-z][a-z0-9_]{0,47}")
_POINT = re.compile(r"[a-z][a-z0-9_]{0,62}")
_EPOCH = re.compile(r"[0-9A-Za-z]{1,16}")
_STATUS = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_FLAG = re.compile(r"[a-z][a-z0-9_]{0,31}")
_EVENT_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_DATA_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONG = 2**63

_telemetry = msgspec.json.Decoder(Telemetry)
_event = msgspec.json.Decoder(Event)

_plain: set[str] = set()
"""Ids seen to be right and to have a column of their own: the whole check of a usual message is one subset test."""
_MOST_PLAIN = 100_000
_NUMBERS = frozenset({float, int})
_KEYS = 8
"""Keys of every telemetry message: v, cls, epoch, seq, meta, clk, t and s."""


class Rejection(Exception):
    """This message will never become rows. `reason` is one short word, `detail` says what was seen."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def telemetry(payload: bytes, now_ms: int) -> tuple[Telemetry, str | None]:
    """The message in `payload` of `up/data/...` or `up/hist/...`, checked. Raises Rejection.

    Most messages hold nothing but `s`, and in it nothing but numbers with a column of their own. Then, with it, the JSON text of
    `s` as it came: the next stages have nothing to sort out and nothing to write anew.
    """
    message: Telemetry = _decode(_telemetry, payload)
    s, x = message.s, message.x
    # As many colons as keys: then no key is there twice, none is unknown, and no text holds a colon.
    usual = payload.count(b":") == _KEYS + len(s) and payload.startswith(b'{"v":1,')
    if not usual:
        _check_document(payload, "v", 1)
    if len(s) + len(x) > MAX_SAMPLES:
        raise Rejection("samples", f"{len(s) + len(x)} samples; at most {MAX_SAMPLES}")
    _check_head(message, now_ms)
    kinds = set(map(type, s.values()))
    plain = kinds <= _NUMBERS and _plain.issuperset(s)
    if not plain:
        _check_samples(s.items())
        plain = kinds <= _NUMBERS and _plain.issuperset(s)
    elif int in kinds and any(type(value) is int and not -_LONG <= value < _LONG for value in s.values()):
        raise Rejection("number", "an integer of more than 64 bits")
    for flag in x:
        if not _POINT.fullmatch(flag.p):
            raise Rejection("point", f"point id {_shown(flag.p)}")
        if flag.q is not None and not 0 <= flag.q <= 2:
            raise Rejection("quality", f"q {flag.q} of {flag.p}")
        if flag.sc is not None and not _STATUS.fullmatch(flag.sc):
            raise Rejection("quality", f"sc {_shown(flag.sc)} of {flag.p}")
        if flag.f and not all(_FLAG.fullmatch(word) for word in flag.f):
            raise Rejection("quality", f"f of {flag.p}")
        if flag.val is not None:
            _check_samples(((flag.p, flag.val),))
        if flag.dt is not None:
            _check_time(message.t + flag.dt, now_ms, f"t + dt of {flag.p}")
    return message, _object_text(payload) if usual and plain else None


def _object_text(payload: bytes) -> str | None:
    """`{...}` of `s` in a message without other objects and without text in it."""
    begin = payload.find(b'"s":{')
    return None if begin < 0 else payload[begin + 4 : payload.index(b"}", begin) + 1].decode()


def event(payload: bytes, now_ms: int) -> tuple[Event, str, datetime]:
    """The event in `payload`, its short type (`access.denied`) and its time. Raises Rejection."""
    message = _decode(_event, payload)
    _check_document(payload, "specversion", "1.0")
    name = message.type.removeprefix(EVENT_PREFIX).removesuffix(EVENT_SUFFIX)
    if message.type != f"{EVENT_PREFIX}{name}{EVENT_SUFFIX}" or not _EVENT_NAME.fullmatch(name):
        raise Rejection("version", f"type {_shown(message.type)}")
    if not (message.seq.isascii() and message.seq.isdigit() and len(message.seq) <= 18):
        raise Rejection("seq", f"seq {_shown(message.seq)}")
    if not _EPOCH.fullmatch(message.epoch):
        raise Rejection("epoch", f"epoch {_shown(message.epoch)}")
    if not message.id or len(message.id) > 256:
        raise Rejection("id", f"id {_shown(message.id)}")
    for text in (message.id, message.source, message.subject):
        _check_text(text, "an attribute")
    try:
        time = datetime.fromisoformat(message.time)
        ms = int(time.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise Rejection("time", f"time {_shown(message.time)}") from error
    if time.tzinfo is None:
        raise Rejection("time", f"time {_shown(message.time)} names no zone")
    _check_time(ms, now_ms, "time")
    for key, value in message.data.items():
        if not _DATA_KEY.fullmatch(key):
            raise Rejection("key", f"data key {_shown(key)}")
        _check_data(value)
    return message, name, time


def telemetry_topic(topic: Parsed) -> str | None:
    """The device of `up/data/{dev}` or `up/hist/{dev}`; None for another topic."""
    match topic.rest:
        case ("data" | "hist", dev) if topic.direction == "up" and is_id(dev):
            return dev
    return None


def event_topic(topic: Parsed) -> tuple[str, str] | None:
    """(device, class) of `up/event/{dev}/{class}`; None for another topic."""
    match topic.rest:
        case ("event", dev, name) if topic.direction == "up" and is_id(dev) and _CLASS.fullmatch(name):
            return dev, name
    return None


def event_agrees(topic: Parsed, dev: str, event_class: str, message: Event, name: str) -> None:
    """Raises Rejection `topic` when the event speaks of another source than its topic does."""
    source = f"/{topic.site}/{topic.agent}"
    if message.source != source and message.source != f"{source}/{dev}":
        raise Rejection("topic", f"source {_shown(message.source)} under {source}/{dev}")
    if message.subject != dev or name.split(".", 1)[0] != event_class:
        raise Rejection("topic", f"{_shown(message.type)} of {_shown(message.subject)} under {dev}/{event_class}")


def seq_of(payload: bytes) -> tuple[str, int] | None:
    """(epoch, seq) of a message that was rejected, as far as it says so: what `dead` of the acknowledgement names."""
    if len(payload) > MAX_BYTES:
        return None
    try:
        document = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    epoch, seq = document.get("epoch"), document.get("seq")
    if isinstance(seq, str) and seq.isascii() and seq.isdigit() and len(seq) <= 18:
        seq = int(seq)
    if isinstance(epoch, str) and _EPOCH.fullmatch(epoch) and type(seq) is int and 0 <= seq < _LONG:
        return epoch, seq
    return None


def is_plain(point: str) -> bool:
    """True for a point with a column of its own in the class row and a number in it."""
    return not point.startswith(("x_", "harmonic_")) and not point.endswith("_text")


def _decode(decoder: msgspec.json.Decoder[Any], payload: bytes) -> Any:
    if len(payload) > MAX_BYTES:
        raise Rejection("size", f"{len(payload)} bytes; at most {MAX_BYTES}")
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        text = str(error)
        if "Number out of range" in text:
            raise Rejection("number", text) from error
        raise Rejection("version" if "$.v`" in text or "$.specversion`" in text else "schema", text) from error
    except RecursionError as error:
        raise Rejection("depth", "nested too deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejection("json", str(error)) from error


def _check_document(payload: bytes, version_key: str, version: object) -> None:
    """The slow and complete look: no key twice in any object, all of it UTF-8, and the version said."""
    try:
        document = json.loads(payload, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=float)
    except RecursionError as error:
        raise Rejection("depth", "nested too deep") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are both
        raise Rejection("json", str(error)) from error
    if document.get(version_key) != version:
        raise Rejection("version", f"{version_key} {_shown(document.get(version_key))}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise Rejection(
            "duplicate_key", f"key {_shown(next(key for key in keys if keys.count(key) > 1))} is here twice"
        )
    return found


def _no_constant(word: str) -> None:
    raise Rejection("json", f"{word} is no JSON number")


def _check_head(message: Telemetry, now_ms: int) -> None:
    if not _CLASS.fullmatch(message.cls) or message.cls in RESERVED:
        raise Rejection("class", f"cls {_shown(message.cls)}")
    if not _EPOCH.fullmatch(message.epoch):
        raise Rejection("epoch", f"epoch {_shown(message.epoch)}")
    if not 0 <= message.seq < _LONG:
        raise Rejection("seq", f"seq {message.seq}")
    if not EARLIEST_MS <= message.t <= now_ms + AHEAD_MS:
        _check_time(message.t, now_ms, "t")
    if message.mk is not None:
        _check_time(message.mk, now_ms, "mk")


def _check_time(t_ms: int, now_ms: int, what: str) -> None:
    if not EARLIEST_MS <= t_ms <= now_ms + AHEAD_MS:
        ahead = f"{(t_ms - now_ms) // 1000} s ahead" if t_ms > now_ms else "before 2020"
        raise Rejection("time", f"{what} {t_ms} is {ahead}")


def _check_samples(samples: Iterable[tuple[str, Any]]) -> None:
    for point, value in samples:
        if point not in _plain:
            if not _POINT.fullmatch(point):
                raise Rejection("point", f"point id {_shown(point)}")
            if is_plain(point) and len(_plain) < _MOST_PLAIN:
                _plain.add(point)
        is_text = isinstance(value, str)
        if is_text != point.endswith("_text"):
            raise Rejection("type", f"{point} is {'text' if is_text else 'a number'}")
        if is_text:
            _check_text(value, point)
        elif isinstance(value, int) and not -_LONG <= value < _LONG:
            raise Rejection("number", f"{point}: an integer of more than 64 bits")


def _check_text(text: str, what: str) -> None:
    if len(text) > MAX_TEXT:
        raise Rejection("text", f"{what}: {len(text)} characters; at most {MAX_TEXT}")
    found = _CONTROL.search(text)
    if found:
        raise Rejection("control", f"{what}: control character U+{ord(found[0]):04X}")


def _check_data(value: object) -> None:
    """Every text and number in an event's data, however deep; JSON has no cycles and the size is bounded."""
    if isinstance(value, str):
        _check_text(value, "data")
    elif isinstance(value, int) and not -_LONG <= value < _LONG:
        raise Rejection("number", "data: an integer of more than 64 bits")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_text(key, "a data key")
            _check_data(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_data(inner)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 64 else f"{text[:61]}..."
