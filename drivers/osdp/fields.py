"""The fields of every OSDP command and reply, for people (`plantroom decode`): a table, and the few that need more. Pure.

Keys are left out whoever asks. Source: SIA OSDP 2.2 (IEC 60839-11-5:2020), annex A (commands), annex B (replies).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

from drivers.frames import Value

from .words import CAPABILITIES, COLORS, NAKS

How = Mapping[int, str] | Literal["hex", "number", "signed", "100 ms", "ms", "s", "text"]
Layout = tuple[tuple[str, int, How], ...]
"""(name, bytes, meaning) one after the other, low byte first. 0 bytes: all that is left."""

_COLOR: Final = {number: name for name, number in COLORS.items()}
_LED: Final[Layout] = (
    ("reader", 1, "number"), ("led", 1, "number"),
    ("temporary", 1, {0: "no change", 1: "cancel", 2: "set"}), ("temporary_on", 1, "100 ms"),
    ("temporary_off", 1, "100 ms"), ("temporary_color", 1, _COLOR), ("temporary_off_color", 1, _COLOR),
    ("timer", 2, "100 ms"), ("permanent", 1, {0: "no change", 1: "set"}), ("permanent_on", 1, "100 ms"),
    ("permanent_off", 1, "100 ms"), ("permanent_color", 1, _COLOR), ("permanent_off_color", 1, _COLOR),
)  # fmt: skip
_OUT: Final[Layout] = (
    ("output", 1, "number"),
    ("control", 1, {0: "no change", 1: "off, ends a timer", 2: "on, ends a timer", 3: "off after a timer",
                    4: "on after a timer", 5: "on for a time", 6: "off for a time"}),
    ("timer", 2, "100 ms"),
)  # fmt: skip
_TEXT: Final = {1: "permanent, no wrap", 2: "permanent, wrap", 3: "for a time, no wrap", 4: "for a time, wrap"}
_COM: Final[Layout] = (("address", 1, "number"), ("baud_rate", 4, "number"))
_PART: Final[Layout] = (
    ("total_bytes", 2, "number"), ("offset", 2, "number"), ("fragment_bytes", 2, "number"), ("fragment", 0, "hex"),
)  # fmt: skip
_VENDOR: Final[Layout] = (("vendor", 3, "hex"), ("vendor_data", 0, "hex"))
_BIO: Final[Layout] = (("reader", 1, "number"), ("biometric_type", 1, "number"), ("biometric_format", 1, "number"),
                       ("quality", 1, "number"))  # fmt: skip

COMMANDS: Final[dict[int, Layout]] = {
    0x61: (("reply_type", 1, {0: "standard"}),),
    0x62: (("reply_type", 1, {0: "standard"}),),
    0x68: _OUT,
    0x69: _LED,
    0x6A: (("reader", 1, "number"), ("tone", 1, {0: "none", 1: "off", 2: "default"}), ("on", 1, "100 ms"),
           ("off", 1, "100 ms"), ("count", 1, "number")),
    0x6B: (("reader", 1, "number"), ("text_command", 1, _TEXT), ("time", 1, "s"), ("row", 1, "number"),
           ("column", 1, "number"), ("characters", 1, "number"), ("display_text", 0, "text")),
    0x6E: _COM,
    0x73: _BIO,
    0x74: (*_BIO, ("template_bytes", 2, "number"), ("template", 0, "hex")),
    0x75: (("key_type", 1, {1: "SCBK"}), ("key_bytes", 1, "number")),
    0x76: (("panel_random", 8, "hex"),),
    0x77: (("panel_cryptogram", 16, "hex"),),
    0x7B: (("receive_bytes", 2, "number"),),
    0x7C: (("file_type", 1, "number"), ("total_bytes", 4, "number"), ("offset", 4, "number"),
           ("fragment_bytes", 2, "number"), ("fragment", 0, "hex")),
    0x80: _VENDOR,
    0xA1: (("mode", 1, "number"), ("mode_command", 1, "number"), ("mode_data", 0, "hex")),
    0xA3: (("object_id", 3, "hex"), ("element_id", 1, "number"), ("offset", 2, "number")),
    0xA4: _PART,
    0xA5: _PART,
    0xA7: (("keep_active", 2, "ms"),),
}  # fmt: skip
REPLIES: Final[dict[int, Layout]] = {
    0x41: (("nak", 1, {0: "none", **NAKS}), ("details", 0, "hex")),
    0x54: _COM,
    0x57: (("reader", 1, "number"), ("biometric_status", 1, "number"), ("biometric_type", 1, "number"),
           ("quality", 1, "number"), ("template_bytes", 2, "number"), ("template", 0, "hex")),
    0x58: (("reader", 1, "number"), ("biometric_status", 1, "number"), ("score", 1, "number")),
    0x76: (("reader_id", 8, "hex"), ("reader_random", 8, "hex"), ("reader_cryptogram", 16, "hex")),
    0x78: (("initial_mac", 16, "hex"),),
    0x7A: (("action", 1, "number"), ("delay", 2, "ms"), ("transfer_status", 2, "signed"), ("most_bytes", 2, "number")),
    0x80: _PART,
    0x81: _PART,
    0x82: _PART,
    0x83: (("vendor_data", 0, "hex"),),
    0x84: (("vendor_data", 0, "hex"),),
    0x90: _VENDOR,
    0xB1: (("mode", 1, "number"), ("mode_reply", 1, "number"), ("mode_data", 0, "hex")),
}  # fmt: skip
_REPEATED: Final = frozenset({0x68, 0x69})
"""Commands that may hold several records."""


def values(code: int, data: bytes, *, is_reply: bool) -> tuple[Value, ...]:
    """What the data say; `undecoded` is what the standard does not have there, bad where something is missing."""
    special = _SPECIAL.get(code) if is_reply else None
    if special is not None:
        return special(data)
    layout = (REPLIES if is_reply else COMMANDS).get(code, ())
    if not is_reply and code == 0x75:
        return _read(layout, data[:2])[0]  # a key is shown to nobody
    found, rest = _read(layout, data)
    number = 2
    while code in _REPEATED and not is_reply and rest:
        more, rest = _read(layout, rest)
        found += tuple(Value(f"{one.id}_{number}", one.value, one.unit, one.status) for one in more)
        number += 1
    return found + _left(rest)


def _read(layout: Layout, data: bytes) -> tuple[tuple[Value, ...], bytes]:
    """(values, what is left). What is cut short is bad, and what would follow it left out."""
    found: list[Value] = []
    for name, size, how in layout:
        piece, data = (data, b"") if size == 0 else (data[:size], data[size:])
        if len(piece) < size:
            return (*found, Value(name, None, None, "BadDecodingError")), b""
        if piece:
            found.append(_value(name, piece, how))
    return tuple(found), data


def _value(name: str, piece: bytes, how: How) -> Value:
    if how == "hex":
        return Value(name, piece.hex())
    if how == "text":
        return Value(name, "".join(chr(byte) if 32 <= byte < 127 else f"<{byte:02x}>" for byte in piece))
    number = int.from_bytes(piece, "little", signed=how == "signed")
    if how == "100 ms":
        return Value(name, number / 10, "s")
    if isinstance(how, Mapping):
        return Value(name, how.get(number, f"{number:02X}"))
    return Value(name, number, how if how in ("ms", "s") else None)


def _left(data: bytes) -> tuple[Value, ...]:
    return (Value("undecoded", data.hex(), None, "UncertainDataSubNormal"),) if data else ()


def _identity(data: bytes) -> tuple[Value, ...]:
    if len(data) != 12:
        return (Value("vendor", None, None, "BadDecodingError"), *_left(data))
    return (
        Value("vendor", data[0:3].hex()),
        Value("model", data[3]),
        Value("version", data[4]),
        Value("serial_text", f"{int.from_bytes(data[5:9], 'little'):08X}"),
        Value("firmware_text", ".".join(str(byte) for byte in data[9:12])),
    )


def _capabilities(data: bytes) -> tuple[Value, ...]:
    """Level and number of each, sizes in bytes."""
    found: list[Value] = []
    for at in range(0, len(data) - 2, 3):
        name = CAPABILITIES.get(data[at], f"capability_{data[at]}")
        if name.endswith("_bytes"):
            found.append(Value(name, int.from_bytes(data[at + 1 : at + 3], "little")))
        else:
            found += [Value(f"{name}_level", data[at + 1]), Value(f"{name}_number", data[at + 2])]
    return (*found, *_left(data[len(data) // 3 * 3 :]))


def _states(name: str, words: Mapping[int, str]) -> Callable[[bytes], tuple[Value, ...]]:
    return lambda data: tuple(Value(f"{name}_{at}", words.get(byte, byte)) for at, byte in enumerate(data))


def _local(data: bytes) -> tuple[Value, ...]:
    if len(data) < 2:
        return (Value("tamper", None, None, "BadDecodingError"),)
    return (Value("tamper", bool(data[0])), Value("power_fault", bool(data[1])), *_left(data[2:]))


def _card(data: bytes) -> tuple[Value, ...]:
    """Bits come left-aligned, first bit first; a count that the bytes do not hold leaves no card."""
    if len(data) < 4:
        return Value("card_bits_text", None, None, "BadDecodingError"), *_left(data)
    count = int.from_bytes(data[2:4], "little")
    size = (count + 7) // 8
    head = Value("reader", data[0]), Value("card_format", {0: "raw", 1: "wiegand"}.get(data[1], data[1]))
    if not count or len(data) - 4 < size:
        return *head, Value("card_bits_text", None, None, "BadDecodingError")
    bits = "".join(f"{byte:08b}" for byte in data[4 : 4 + size])[:count]
    return *head, Value("card_bits", count), Value("card_bits_text", bits), *_left(data[4 + size :])


def _characters(data: bytes) -> tuple[Value, ...]:
    found, text = _read(
        (("reader", 1, "number"), ("direction", 1, {0: "forward", 1: "reverse"}), ("characters", 1, "number")), data
    )
    return *found, *_counted("card_text", text, data[2] if len(data) > 2 else 0)


def _keys(data: bytes) -> tuple[Value, ...]:
    found, keys = _read((("reader", 1, "number"), ("key_count", 1, "number")), data)
    return *found, *_counted(
        "keys_text", keys.replace(b"\r", b"#").replace(b"\x7f", b"*"), data[1] if len(data) > 1 else 0
    )


def _counted(name: str, data: bytes, count: int) -> tuple[Value, ...]:
    """So many characters as were announced."""
    if len(data) < count:
        return (Value(name, None, None, "BadDecodingError"),)
    return _value(name, data[:count], "text"), *_left(data[count:])


_SPECIAL: Final[dict[int, Callable[[bytes], tuple[Value, ...]]]] = {
    0x45: _identity,
    0x46: _capabilities,
    0x48: _local,
    0x49: _states("input", {}),
    0x4A: _states("output", {}),
    0x4B: _states("reader_status", {0: "normal", 1: "not connected", 2: "tamper"}),
    0x50: _card,
    0x51: _characters,
    0x53: _keys,
}
