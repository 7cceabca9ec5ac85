"""The data of OSDP commands and replies: what a profile's `call` says as bytes, and bytes as what they say. Pure.

Source: SIA OSDP 2.2 (IEC 60839-11-5:2020), annex A (commands), annex B (replies), annex B.5 (capabilities).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from device_profiles.errors import ConfigError, DeviceMismatch

COLORS: Final = {
    name: at for at, name in enumerate(("black", "red", "green", "amber", "blue", "magenta", "cyan", "white"))
}
OUTPUTS: Final = {"off": 1, "on": 2, "pulse": 5, "pulse_off": 6}
"""Control codes: for good (a running timer ends), or for the time that is given."""
BAUD_RATES: Final = (9600, 19200, 38400, 57600, 115200, 230400)
NAKS: Final = {
    1: "it heard a wrong checksum", 2: "a command of wrong length", 3: "it does not know the command",
    4: "a wrong sequence number", 5: "it does not take this secure channel", 6: "it wants an encrypted channel",
    7: "it does not have this biometric type", 8: "it does not have this biometric format",
    9: "it cannot do this command as it was given",
}  # fmt: skip
REFUSAL: Final = "the reader refuses "
CAPABILITIES: Final = {
    1: "contact_monitoring", 2: "output_control", 3: "card_data_format", 4: "led_control", 5: "audible_output",
    6: "text_output", 7: "time_keeping", 8: "check_character", 9: "communication_security", 10: "receive_buffer_bytes",
    11: "largest_message_bytes", 12: "smart_card", 13: "readers", 14: "biometrics", 15: "secure_pin_entry",
    16: "osdp_version",
}  # fmt: skip
"""Function codes of PDCAP (annex B.5)."""
CHECKSUM, LENGTH, UNKNOWN, SEQUENCE, BLOCK, WANTS_CHANNEL, CONTENT = 1, 2, 3, 4, 5, 6, 9
CAP_INTEGRITY, CAP_SECURITY = 8, 9
_COMMANDS: Final = {"led": 0x69, "buzzer": 0x6A, "text": 0x6B, "output": 0x68, "comset": 0x6E, "keyset": 0x75}


@dataclass(frozen=True, slots=True)
class Identity:
    """A reader as PDID has it."""

    vendor: str
    model: str
    serial: str
    firmware: str

    def facts(self) -> dict[str, str]:
        return {"vendor": self.vendor, "model": self.model, "serial": self.serial, "firmware": self.firmware}


@dataclass(frozen=True, slots=True)
class Card:
    """Raw card data: `bits` are "0" and "1", the first that came first. Never to be logged."""

    reader: int
    form: int
    bits: str

    def __repr__(self) -> str:
        return f"Card(reader={self.reader}, form={self.form}, {len(self.bits)} bits)"


def identity(data: bytes) -> Identity:
    """PDID. Raises DeviceMismatch."""
    if len(data) != 12:
        raise DeviceMismatch(f"a PDID of {len(data)} bytes instead of 12")
    serial = f"{int.from_bytes(data[5:9], 'little'):08X}"
    return Identity(data[:3].hex().upper(), f"{data[3]}.{data[4]}", serial, ".".join(map(str, data[9:12])))


def capabilities(data: bytes) -> dict[int, tuple[int, int]]:
    """PDCAP: function code to (compliance level, number of them). Raises DeviceMismatch."""
    if len(data) % 3:
        raise DeviceMismatch(f"a PDCAP of {len(data)} bytes, which are no whole entries of 3")
    return {data[at]: (data[at + 1], data[at + 2]) for at in range(0, len(data), 3)}


def card(data: bytes) -> Card:
    """RAW. Raises DeviceMismatch where bits are missing or none."""
    count = int.from_bytes(data[2:4], "little")
    size = (count + 7) // 8
    if len(data) < 4 or not count or len(data) - 4 != size:
        raise DeviceMismatch(f"card data of {max(0, len(data) - 4)} bytes for {count} bits")
    return Card(data[0], data[1], "".join(f"{byte:08b}" for byte in data[4:])[:count])


def characters(data: bytes) -> tuple[int, str]:
    """FMT: (reader, the characters of the card, first to last). Raises DeviceMismatch."""
    if len(data) < 4 or len(data) - 3 != data[2]:
        raise DeviceMismatch(f"formatted card data of {len(data)} bytes that do not fit their own count")
    text = data[3:] if data[1] == 0 else data[:2:-1]
    if not text.isascii():
        raise DeviceMismatch("formatted card data that are no text")
    return data[0], text.decode("ascii")


def keys(data: bytes) -> tuple[int, int]:
    """KEYPAD: (reader, how many keys). The keys themselves go no further. Raises DeviceMismatch."""
    if len(data) < 2 or len(data) - 2 != data[1]:
        raise DeviceMismatch(f"keypad data of {len(data)} bytes that do not fit their own count")
    return data[0], data[1]


def statuses(data: bytes) -> tuple[bool, ...]:
    """ISTATR, OSTATR, LSTATR: one byte each, anything but 0 is active."""
    return tuple(byte != 0 for byte in data)


def command(call: Mapping[str, Any]) -> tuple[int, bytes]:
    """(code, data) of an operation's `call` with its inputs: `{command: led, color: green, seconds: 2}`. A keyset has no data:
    the key is its sender's. Raises ConfigError.
    """
    name = call.get("command")
    if name not in _COMMANDS:
        raise ConfigError(f"there is no OSDP command {name!r}", next_step=f"use one of {', '.join(_COMMANDS)}")
    return _COMMANDS[name], b"" if name == "keyset" else _ENCODERS[name](call)


def _led(call: Mapping[str, Any]) -> bytes:
    """For good, or for `seconds`: then back to what it was."""
    seconds = _number(call, "seconds", 0, 6553, scale=10)
    on, off = _number(call, "on_ms", 0, 25_500, 1000) // 100, _number(call, "off_ms", 0, 25_500) // 100
    look = bytes((on, off, _color(call, "color", "black"), _color(call, "off_color", "black")))
    timer = seconds.to_bytes(2, "little")
    temporary = b"\x02" + look + timer if seconds else b"\x01" + bytes(6)  # 1 ends a running one
    return _head(call, "led") + temporary + (bytes(5) if seconds else b"\x01" + look)


def _buzzer(call: Mapping[str, Any]) -> bytes:
    on, off = _number(call, "on_ms", 0, 25_500, 200) // 100, _number(call, "off_ms", 0, 25_500, 100) // 100
    count = _number(call, "count", 0, 255, 1)
    tone = 2 if call.get("sound", True) else 1
    return bytes((_number(call, "reader", 0, 127), tone, on, off, count))


def _text(call: Mapping[str, Any]) -> bytes:
    text, seconds = str(call.get("text", "")), _number(call, "seconds", 0, 255)
    if not text.isascii() or not text.isprintable() or len(text) > 255:
        raise ConfigError(f"a text of {len(text)} characters is not what a reader shows", next_step="use plain ASCII")
    place = (_number(call, "row", 1, 255, 1), _number(call, "column", 1, 255, 1))
    return bytes((_number(call, "reader", 0, 127), 3 if seconds else 1, seconds, *place, len(text))) + text.encode()


def _output(call: Mapping[str, Any]) -> bytes:
    state, seconds = call.get("state", "on"), _number(call, "seconds", 0, 6553, scale=10)
    if isinstance(state, bool) or state in (0, 1):
        state = "on" if state else "off"
    if state not in OUTPUTS:
        raise ConfigError(f"{state!r} is no state of an output", next_step=f"use one of {', '.join(OUTPUTS)}")
    if state in ("on", "off") and seconds:
        state = "pulse" if state == "on" else "pulse_off"
    if state.startswith("pulse") and not seconds:
        raise ConfigError("a pulse without a length", next_step="give seconds")
    return bytes((_number(call, "output", 0, 255), OUTPUTS[state])) + seconds.to_bytes(2, "little")


def _comset(call: Mapping[str, Any]) -> bytes:
    baud = _number(call, "baud", 0, 1_000_000)
    if baud not in BAUD_RATES or "address" not in call:
        rates = ", ".join(map(str, BAUD_RATES))
        raise ConfigError(f"COMSET to {baud} Bd is not possible", next_step=f"give address, and a baud of {rates}")
    return bytes((_number(call, "address", 0, 126),)) + baud.to_bytes(4, "little")


_ENCODERS: Final = {"led": _led, "buzzer": _buzzer, "text": _text, "output": _output, "comset": _comset}


def _head(call: Mapping[str, Any], what: str) -> bytes:
    return bytes((_number(call, "reader", 0, 127), _number(call, what, 0, 255)))


def _number(call: Mapping[str, Any], key: str, low: int, high: int, default: float = 0, *, scale: int = 1) -> int:
    value = call.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"{key} {value!r} is none of {low} to {high}", next_step="see the profile's operation")
    return round(value * scale)


def _color(call: Mapping[str, Any], key: str, default: str) -> int:
    value = call.get(key, default)
    if isinstance(value, str) and value in COLORS:
        return COLORS[value]
    if isinstance(value, int | float) and not isinstance(value, bool) and value in COLORS.values():
        return int(value)
    raise ConfigError(f"{key} {value!r} is none that OSDP has", next_step=f"use one of {', '.join(COLORS)}")
