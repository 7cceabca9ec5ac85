"""CJ/T 188 frames in a stream, with their values in the order that most makers use (`plantroom decode`)."""

from __future__ import annotations

from drivers.frames import Frame, Matched, Part, Reject, Scanner, Value, Verdict

from . import frame as wire
from . import items


class Decoder(Scanner):
    """`drivers.frames.FrameDecoder` for CJ/T 188-2004 and -2018."""

    def __init__(self) -> None:
        super().__init__(_match, wire.PATTERN, width=wire.WIDTH, longest=wire.LONGEST, size=wire.size)


def _match(data: bytes, at: int) -> Matched:
    found = wire.match(data, at)
    if isinstance(found, Reject | Verdict):
        return found
    frame, raw = found
    name = wire.CONTROLS.get(frame.control & 0x3F, f"control {frame.control:02X}")
    direction = "error" if frame.is_error else "reply" if frame.is_reply else "request"
    facts: dict[str, object] = {
        "is": direction,
        "function": name,
        "type": f"{frame.kind:02X}",
        "counts": wire.type_name(frame.kind),
    }
    values: tuple[Value, ...] = ()
    body, di = frame.data, None
    if frame.is_error:
        facts["error"] = body.hex().upper()
    elif (di := items.identifier(body)) is not None and len(body) >= 3:
        facts |= {"di": f"{di:04X}", "serial": body[2]}
        if frame.is_reply or len(body) > 3:
            kind, rest = wire.type_name(frame.kind), body[3:]
            values = tuple(items.decode(kind, di, rest, items.likely_shape(kind, di, rest)))
    parts = _parts(raw, frame, f"{direction}: {name}", di if len(body) >= 3 else None)
    return Frame(at, raw, frame.address, f"{frame.control:02X}", values, facts, parts)


def _parts(raw: bytes, frame: wire.Frame, control: str, di: int | None) -> tuple[Part, ...]:
    first = len(raw) - wire.HEAD - len(frame.data) - 2
    data = first + wire.HEAD
    parts = [Part(0, first, "wake-up", f"{first} x FE")] if first else []
    parts += [
        Part(first, first + 1, "start"),
        Part(first + 1, first + 2, "type", wire.type_name(frame.kind)),
        Part(first + 2, first + 9, "address", frame.address),
        Part(first + 9, first + 10, "control", control),
        Part(first + 10, first + 11, "length", str(len(frame.data))),
    ]
    if di is not None:
        parts.append(Part(data, data + 2, "identifier", f"{di:04X} {items.NAMES.get(di, '')}".strip()))
        parts.append(Part(data + 2, data + 3, "serial", str(frame.data[2])))
        data += 3
    if data < len(raw) - 2:
        parts.append(Part(data, len(raw) - 2, "data", raw[data:-2].hex(" ")))
    return (*parts, Part(len(raw) - 2, len(raw) - 1, "checksum", "right"), Part(len(raw) - 1, len(raw), "end"))
