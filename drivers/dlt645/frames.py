"""DL/T 645 frames in a stream, with their values as far as an identifier alone tells them (`plantroom decode`)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from drivers import bcd
from drivers.frames import Frame, Matched, Part, Reject, Scanner, Value, Verdict

from . import frame as wire
from . import load, operations
from .item import Item, decode
from .items import items_2007, load_items
from .items_1997 import items_1997

_RIGHTS = {4: 8, 2: 4}
"""Bytes of class, password and operator in an order, by the size of an identifier."""
_LOADED = load_items()
_DIGITS = b"[" + b"".join(b"\\x%x0-\\x%xa" % (high, high) for high in range(11)) + b"]"
_START = re.compile(rb"(?s)\xfe{0,32}h(?=%b{6}h|%b{0,6}\Z)" % (_DIGITS, _DIGITS))
"""`frame.PATTERN` where the digits of an address follow, as far as there are bytes: most of noise is passed over by it."""


class Decoder2007(Scanner):
    """`drivers.frames.FrameDecoder` for DL/T 645-2007."""

    def __init__(self) -> None:
        super().__init__(_match_2007, _START, width=wire.WIDTH, longest=wire.LONGEST, size=wire.size)


class Decoder1997(Scanner):
    """`drivers.frames.FrameDecoder` for DL/T 645-1997."""

    def __init__(self) -> None:
        super().__init__(_match_1997, _START, width=wire.WIDTH, longest=wire.LONGEST, size=wire.size)


def _match_2007(data: bytes, at: int) -> Matched:
    return _matched(data, at, wire.CONTROLS_2007, 4)


def _match_1997(data: bytes, at: int) -> Matched:
    return _matched(data, at, wire.CONTROLS_1997, 2)


def _matched(data: bytes, at: int, controls: dict[int, str], di_size: int) -> Matched:
    found = wire.match(data, at)
    if isinstance(found, Reject | Verdict):
        return found
    frame, raw = found
    function = frame.control & 0x1F
    name = controls.get(function, f"function {function:02X}")
    direction = "error" if frame.is_error else "reply" if frame.is_reply else "request"
    facts: dict[str, object] = {"is": direction, "function": name}
    if frame.has_more:
        facts["more"] = True
    said = _said(frame, name, di_size, facts)
    values = tuple(value for value, _ in said if value is not None)
    return Frame(at, raw, frame.address, f"{frame.control:02X}", values, facts, _parts(raw, frame, facts, said))


_Said = list[tuple[Value | None, int]]
"""Values, or None for what stands in the facts, and how many bytes of the data each is."""


def _said(frame: wire.Frame, name: str, di_size: int, facts: dict[str, object]) -> _Said:
    """What the data says: facts are added to, values and their bytes given."""
    body = frame.data
    if frame.is_error:
        facts["error"] = body.hex().upper()
        known = wire.ERRORS_2007 if di_size == 4 else wire.ERRORS_1997
        if len(body) == 1:  # one word of them; with more it is another one
            facts["reasons"] = [text for bit, text in enumerate(known) if text and body[0] >> bit & 1]
    elif name in ("read", "read follow-on", "read again", "write") and len(body) >= di_size:
        di = int.from_bytes(body[:di_size], "little")
        facts["di"] = f"{di:0{2 * di_size}X}"
        rest = body[di_size:]
        if frame.is_reply:
            return [(None, di_size), *_answered(frame, di, rest, name, di_size, facts)]
        return [(None, di_size), *_asked(di, rest, name, di_size, facts)]
    elif name in ("read address", "write address") and len(body) == 6:
        facts["meter"] = bcd.digits(body)
    elif name == "time broadcast" and len(body) == 6:
        facts["time"] = _time(body)
    elif name == "freeze" and len(body) == 4:
        facts["freeze_at"] = bcd.digits(body)
    elif name == "change baud rate" and len(body) == 1:
        facts["baud"] = wire.BAUD_RATES.get(body[0])
    elif name == "relay control" and len(body) == 16:
        facts |= {"command": operations.NAMES.get(body[8], f"{body[8]:02X}"), "level": body[0]}
        facts |= {"operator": bcd.digits(body[4:8]), "until": _time(body[10:])}
    return []


def _asked(di: int, rest: bytes, name: str, di_size: int, facts: dict[str, object]) -> _Said:
    """Of a question or an order: a password is left out of the facts."""
    if name == "write" and len(rest) >= _RIGHTS[di_size]:
        facts["level"] = rest[0]
        if di_size == 4:
            facts["operator"] = bcd.digits(rest[4:8])
        size = _RIGHTS[di_size]
        return [(None, size), *decode(_items(di, di_size), rest[size:])]
    if name == "read follow-on" and di_size == 4 and len(rest) == 1:
        facts["frame"] = rest[0]
    elif name == "read" and di >> 24 == 0x06 and len(rest) in (1, 6):
        facts["blocks"] = bcd.digits(rest[:1])
        if len(rest) == 6:
            facts["since"] = _time(b"\0" + rest[1:])
    return []


def _answered(
    frame: wire.Frame, di: int, rest: bytes, name: str, di_size: int, facts: dict[str, object]
) -> Iterator[tuple[Value | None, int]]:
    """Values of an answer. Those that an answer over several frames cuts in two, and its later frames, stay bytes."""
    if name == "read follow-on":
        tail = 1 if di_size == 4 and rest else 0
        if tail:
            facts["frame"] = rest[-1]
        if len(rest) > tail:
            yield Value("part", rest[: len(rest) - tail].hex(), None, "UncertainDataSubNormal"), len(rest) - tail
    elif di >> 24 == 0x06 and not frame.has_more and rest:
        yield from ((value, 0) for value in _load(rest, di >> 16 & 0xFF))
        yield None, len(rest)
    else:
        for value, size in decode(_items(di, di_size), rest):
            cut = frame.has_more and value.id == "undecoded"
            yield (Value("part", value.value, None, "UncertainDataSubNormal") if cut else value), size


def _items(di: int, di_size: int) -> tuple[Item, ...]:
    return items_2007(di) if di_size == 4 else items_1997(di)


def _load(data: bytes, number: int) -> Iterator[Value]:
    """The values of load records, each record's time before its own."""
    is_any = False
    for count, record in enumerate(load.records(data, number), 1):
        is_any = True
        yield Value(f"load_{count}_time_text", record.local.isoformat(timespec="minutes"))
        for each, content in record.classes.items():
            for value, _ in decode(_LOADED[each], content):
                yield Value(f"load_{count}_{value.id}", value.value, value.unit, value.status)
    if not is_any:
        yield Value("undecoded", data.hex(), None, "BadDecodingError")


def _time(data: bytes) -> str | None:
    """YYMMDDhhmmss as people write it; None where it is no time."""
    text = bcd.digits(data)
    if text is None:
        return None
    return f"20{text[:2]}-{text[2:4]}-{text[4:6]}T{text[6:8]}:{text[8:10]}:{text[10:12]}"


def _parts(raw: bytes, frame: wire.Frame, facts: dict[str, object], said: _Said) -> tuple[Part, ...]:
    first = len(raw) - wire.HEAD - len(frame.data) - 2
    at = data = first + wire.HEAD
    parts = [Part(0, first, "wake-up", f"{first} x FE")] if first else []
    parts += [
        Part(first, first + 1, "start"),
        Part(first + 1, first + 7, "address", frame.address),
        Part(first + 7, first + 8, "start"),
        Part(first + 8, first + 9, "control", f"{facts['is']}: {facts['function']}"),
        Part(first + 9, first + 10, "length", str(len(frame.data))),
    ]
    for value, size in said:
        if not size:
            continue
        meant = frame.data[at - data : at - data + size].hex(" ")
        if value is None and at == data:
            parts.append(Part(at, at + size, "identifier", str(facts["di"])))
        elif value is None:
            parts.append(Part(at, at + size, "data", f"{meant} (33H taken away)"))
        else:
            is_said = value.value is not None
            shown = f"{value.value}{' ' + value.unit if value.unit else ''}" if is_said else value.status
            parts.append(Part(at, at + size, value.id, f"{shown}  ({meant}, 33H taken away)"))
        at += size
    if at < len(raw) - 2:
        parts.append(Part(at, len(raw) - 2, "data", f"{frame.data[at - data :].hex(' ')} (33H taken away)"))
    return (*parts, Part(len(raw) - 2, len(raw) - 1, "checksum", "right"), Part(len(raw) - 1, len(raw), "end"))
