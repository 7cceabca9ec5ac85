"""OSDP frames in a stream, and what those say that are not encrypted (`plantroom decode`)."""

from __future__ import annotations

from drivers.frames import Frame, Matched, Part, Reject, Scanner, Value, Verdict

from . import frame as wire

_NAKS = ("none", "checksum", "length", "unknown command", "sequence", "security block", "encryption needed", "biometric type",
         "biometric format", "command content")  # fmt: skip
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
        facts["security"] = f"{frame.security[0]:02X}"
    values: tuple[Value, ...] = ()
    if frame.is_encrypted and frame.data:
        facts["encrypted"] = len(frame.data)
    elif frame.is_reply:
        values = _values(frame.code, frame.data)
    return Frame(at, raw, str(frame.address), f"{frame.code:02X}", values, facts, _parts(frame, raw))


def _values(code: int, data: bytes) -> tuple[Value, ...]:
    if code == 0x41 and data:
        return (Value("nak", _NAKS[data[0]] if data[0] < len(_NAKS) else f"reason {data[0]:02X}"),)
    if code == 0x45 and len(data) == 12:
        return (
            Value("vendor", data[0:3].hex()),
            Value("model", data[3]),
            Value("version", data[4]),
            Value("serial_text", f"{int.from_bytes(data[5:9], 'little'):08X}"),
            Value("firmware_text", ".".join(str(byte) for byte in data[9:12])),
        )
    if code == 0x46 and len(data) % 3 == 0:
        return tuple(Value(f"capability_{data[at]}", data[at + 1 : at + 3].hex()) for at in range(0, len(data), 3))
    if code == 0x48 and len(data) >= 2:
        return Value("tamper", bool(data[0])), Value("power_fault", bool(data[1]))
    if code in (0x49, 0x4A, 0x4B):
        name = {0x49: "input", 0x4A: "output", 0x4B: "reader_status"}[code]
        return tuple(Value(f"{name}_{number}", byte) for number, byte in enumerate(data))
    if code == 0x50 and len(data) >= 4:
        return _card(data)
    if code == 0x53 and len(data) >= 2:
        digits = data[2 : 2 + data[1]]
        keys = "".join(
            {0x0D: "#", 0x7F: "*"}.get(byte, chr(byte) if 32 <= byte < 127 else f"<{byte:02x}>") for byte in digits
        )
        return Value("reader", data[0]), Value("keys_text", keys)
    if code == 0x54 and len(data) == 5:
        return Value("address", data[0]), Value("baud_rate", int.from_bytes(data[1:5], "little"), "Bd")
    return (Value("undecoded", data.hex(), None, "UncertainDataSubNormal"),) if data else ()


def _card(data: bytes) -> tuple[Value, ...]:
    """Bits come left-aligned, first bit first; a count that the bytes do not hold leaves no card."""
    count = int.from_bytes(data[2:4], "little")
    size = (count + 7) // 8
    reader = Value("reader", data[0])
    if not count or len(data) - 4 < size:
        return reader, Value("card_bits_text", None, None, "BadDecodingError")
    bits = "".join(f"{byte:08b}" for byte in data[4 : 4 + size])[:count]
    return reader, Value("card_format", data[1]), Value("card_bits", count), Value("card_bits_text", bits)


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
        parts.append(Part(at, at + 1 + len(frame.security), "security", f"{frame.security[0]:02X}"))
        at += 1 + len(frame.security)
    parts.append(Part(at, at + 1, "code", frame.name))
    if frame.data:
        parts.append(
            Part(at + 1, end - len(frame.mac), "data", "encrypted" if frame.is_encrypted else frame.data.hex(" "))
        )
    if frame.mac:
        parts.append(Part(end - len(frame.mac), end, "mac"))
    return (*parts, Part(end, len(raw), "crc" if frame.has_crc else "checksum", "right"))
