"""OSDP frames in a stream, and what those say that are not encrypted (`plantroom decode`)."""

from __future__ import annotations

from drivers.frames import Frame, Matched, Part, Reject, Scanner, Value, Verdict

from . import fields
from . import frame as wire

_LONGEST = wire.LONGEST + 1


class Decoder(Scanner):
    """`drivers.frames.FrameDecoder` for OSDP."""

    def __init__(self) -> None:
        super().__init__(_match, wire.PATTERN, width=wire.WIDTH, longest=_LONGEST, size=wire.size)


def _match(data: bytes, at: int) -> Matched:
    found = wire.match(data, at)
    if isinstance(found, Reject | Verdict):
        return found
    frame, raw = found
    facts: dict[str, object] = {
        "is": "reply" if frame.is_reply else "command",
        "name": frame.name,
        "sequence": frame.sequence,
    }
    if frame.security:
        kind = frame.security[0]
        facts["security"] = f"SCS_{kind:02X}"
        if kind < 0x14 and len(frame.security) > 1:
            facts["key"] = "the reader's own" if frame.security[1] else "the one that everybody knows"
        elif kind == 0x14 and len(frame.security) > 1:
            facts["established"] = frame.security[1] == 1
    values: tuple[Value, ...] = ()
    if frame.is_encrypted and frame.data:
        facts["encrypted"] = len(frame.data)
    else:
        values = fields.values(frame.code, frame.data, is_reply=frame.is_reply)
    return Frame(at, raw, str(frame.address), f"{frame.code:02X}", values, facts, _parts(frame, raw))


def _parts(frame: wire.Frame, raw: bytes) -> tuple[Part, ...]:
    at = 1 if raw[0] == wire.MARK else 0
    parts = [Part(0, 1, "mark")] if at else []
    tail = 2 if frame.has_crc else 1
    end = len(raw) - tail
    direction = "reply" if frame.is_reply else "command"
    parts += [
        Part(at, at + 1, "start"),
        Part(at + 1, at + 2, "address", f"{frame.address}, {direction}"),
        Part(at + 2, at + 4, "length", str(len(raw) - at)),
        Part(at + 4, at + 5, "control", f"sequence {frame.sequence}"),
    ]
    at += wire.HEAD
    if frame.security:
        parts.append(Part(at, at + 1 + len(frame.security), "security", f"SCS_{frame.security[0]:02X}"))
        at += 1 + len(frame.security)
    parts.append(Part(at, at + 1, "code", frame.name))
    if frame.data:
        parts.append(
            Part(at + 1, end - len(frame.mac), "data", "encrypted" if frame.is_encrypted else frame.data.hex(" "))
        )
    if frame.mac:
        parts.append(Part(end - len(frame.mac), end, "mac"))
    return (*parts, Part(end, len(raw), "crc" if frame.has_crc else "checksum", "right"))
