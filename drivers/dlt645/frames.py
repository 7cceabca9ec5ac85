"""DL/T 645 frames in a stream, with their values as far as an identifier alone tells them (`plantroom decode`)."""

from __future__ import annotations

import re

from drivers import bcd
from drivers.frames import Frame, Matched, Part, Reject, Scanner, Value, Verdict

from . import frame as wire
from . import items

_DIGITS = b"[" + b"".join(b"\\x%x0-\\x%xa" % (high, high) for high in range(11)) + b"]"
_START = re.compile(rb"(?s)\xfe{0,8}h(?=%b{6}h|%b{0,6}\Z)" % (_DIGITS, _DIGITS))
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
    is_read = name.startswith("read") and name != "read address"
    di: int | None = None
    values: tuple[Value, ...] = ()
    facts: dict[str, object] = {}
    body = frame.data
    if frame.is_error:
        facts["error"] = body.hex().upper()
        facts["reasons"] = [text for bit, text in enumerate(wire.ERRORS_2007) if body and body[0] >> bit & 1]
    elif is_read and len(body) >= di_size:
        di = int.from_bytes(body[:di_size], "little")
        facts["di"] = f"{di:0{2 * di_size}X}"
        if frame.is_reply:
            values = _values(frame, di, body[di_size:], name, di_size)
    elif name in ("read address", "write address") and frame.is_reply and len(body) == 6:
        facts["meter"] = bcd.digits(body)
    facts = {"is": "error" if frame.is_error else "reply" if frame.is_reply else "request", "function": name, **facts}
    if frame.has_more:
        facts["more"] = True
    parts = _parts(raw, frame, name, facts, di_size if di is not None else 0)
    return Frame(at, raw, frame.address, f"{frame.control:02X}", values, facts, parts)


def _values(frame: wire.Frame, di: int, data: bytes, name: str, di_size: int) -> tuple[Value, ...]:
    """Values of a whole answer; a part of an answer over several frames cuts values anywhere, so it stays bytes."""
    if frame.has_more or name == "read follow-on":
        return (Value("part", data.hex(), None, "UncertainDataSubNormal"),)
    known = items.items_2007(di) if di_size == 4 else items.items_1997(di)
    return tuple(items.decode(known, data))


def _parts(raw: bytes, frame: wire.Frame, name: str, facts: dict[str, object], di_size: int) -> tuple[Part, ...]:
    first = len(raw) - wire.HEAD - len(frame.data) - 2
    data = first + wire.HEAD
    parts = [Part(0, first, "wake-up", f"{first} x FE")] if first else []
    parts += [
        Part(first, first + 1, "start"),
        Part(first + 1, first + 7, "address", frame.address),
        Part(first + 7, first + 8, "start"),
        Part(first + 8, first + 9, "control", f"{facts['is']}: {name}"),
        Part(first + 9, first + 10, "length", str(len(frame.data))),
    ]
    if di_size:
        parts.append(Part(data, data + di_size, "identifier", str(facts["di"])))
    if len(frame.data) > di_size:
        meant = frame.data[di_size:].hex(" ")
        parts.append(Part(data + di_size, len(raw) - 2, "data", f"{meant} (33H taken away)"))
    return (*parts, Part(len(raw) - 2, len(raw) - 1, "checksum", "right"), Part(len(raw) - 1, len(raw), "end"))
