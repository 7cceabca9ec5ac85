"""Lines of PJLink, in and out, and what stands in them. Pure; whatever the bytes are, only BadLine leaves this module.

A command is `%1POWR ?` and CR, its answer `%1POWR=0` and CR: class, four letters, a blank or an equals sign, at most 128 bytes of
parameter. Source: JBMIA, PJLink Specifications class 1 version 1.05 and class 2 version 2.1, sections 2.2 (format), 4 (commands),
5 (security).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from device_profiles.address_pjlink import ERRORS, FLAGS, TEXTS
from device_profiles.reading import PointFault, Raw

MOST = 136
"""Bytes of the longest line with its CR."""
_GREETING = re.compile(rb"PJLINK (?:(?P<open>0)|1 (?P<salt>[0-9A-Fa-f]{8})|(?P<refused>ERRA))", re.IGNORECASE)
_STRONG = re.compile(rb"PJLINK 2 (?P<salt>[0-9A-Fa-f]{32})", re.IGNORECASE)
_ANSWER = re.compile(rb"%(?P<level>[12])(?P<word>[A-Z0-9]{4})=(?P<body>[^\r\x00]{0,128})", re.IGNORECASE)
_NOTICE = re.compile(rb"%2(?P<word>LKUP|ERST|POWR|INPT)=(?P<body>[0-9A-Z:-]{1,20})", re.IGNORECASE)
_PADDING = b"\x00\n "
"""Some end their lines with CR LF, and some fill their packets with zeros."""
_INPUT = re.compile(r"[1-6][1-9A-Z]")
_LAMP = re.compile(r"(?:[0-9]{1,5} [01])(?: [0-9]{1,5} [01]){0,7}")
_FAULTS = {
    "ERR1": (1, "BadNotSupported", "it does not know this command"),
    "ERR2": (2, "BadOutOfRange", "it does not take this value"),
    "ERR3": (3, "BadInvalidState", "not now (in standby, warming up or cooling down)"),
    "ERR4": (4, "BadDeviceFailure", "its projector has a failure"),
}
_ASKED = {
    "power": "%1POWR", "input": "%1INPT", "picture_mute": "%1AVMT", "audio_mute": "%1AVMT", "freeze": "%2FREZ",
    "name": "%1NAME", "manufacturer": "%1INF1", "product": "%1INF2", "info": "%1INFO", "serial": "%2SNUM",
    "software": "%2SVER", "resolution": "%2IRES", "recommended_resolution": "%2RRES", "filter_hours": "%2FILT",
    "inputs": "%1INST", "lamp_model": "%2RLMP", "filter_model": "%2RFIL",
}  # fmt: skip


class BadLine(ValueError):
    """A line that is no PJLink, or says what the specification does not know."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """ERR1 to ERR4."""

    code: int
    status: str
    words: str


SILENCE = Refusal(0, "BadTimeout", "it said nothing to this, and answered before")


def trimmed(line: bytes) -> bytes:
    """A line without what no line has."""
    return line.strip(_PADDING)


def salt_of(line: bytes) -> str | None:
    """The random number that the password is to be hashed with; None where no login is asked for. Raises BadLine.

    Raises PermissionError where the display refused to speak at all (`PJLINK ERRA`).
    """
    match = _GREETING.fullmatch(line)
    if match is None:
        raise BadLine("no greeting of PJLink")
    if match["refused"]:
        raise PermissionError
    return None if match["open"] else match["salt"].decode()


def is_refused_login(line: bytes) -> bool:
    """`PJLINK ERRA` in place of an answer."""
    return line.upper() == b"PJLINK ERRA"


def login(salt: str, password: str) -> str:
    """What goes before the first command: 32 hexadecimal digits of MD5 over the random number and the password."""
    return hashlib.md5((salt + password).encode(), usedforsecurity=False).hexdigest()


def strong_salt_of(line: bytes) -> bytes | None:
    """The random number in the answer to `PJLINK 2`, 16 bytes; None where the display knows no such login."""
    match = _STRONG.fullmatch(line)
    return None if match is None else bytes.fromhex(match["salt"].decode())


def strong_login(salt: bytes, own: bytes, password: str) -> str:
    """What goes before the first command in version 2.10: our random number (16 bytes), and SHA-256 over the exclusive or of both
    in hexadecimal digits and the password. Source: unverified; four public implementations agree.
    """
    mixed = bytes(one ^ other for one, other in zip(salt, own, strict=True))
    return own.hex() + hashlib.sha256((mixed.hex() + password).encode()).hexdigest()


def command_of(fact: str) -> str:
    """`%1LAMP` for `lamp_hours:1`: class and command that bring a fact of device_profiles.address_pjlink."""
    kind = fact.partition(":")[0]
    return {"error": "%1ERST", "lamp_hours": "%1LAMP", "lamp_on": "%1LAMP"}.get(kind) or _ASKED[kind]


def body_of(command: str, line: bytes) -> str | Refusal | None:
    """What an answer says; None for the answer to another command. Raises BadLine.

    Refusals may name the other class. Some displays in standby answer `POWR=0` to whatever they are asked: not now.
    """
    match = _ANSWER.fullmatch(line)
    if match is None:
        raise BadLine("no answer of PJLink")
    is_refusal = match["body"].upper().decode("latin-1") in _FAULTS
    if match["word"].upper() != command[2:].encode() or (match["level"] != command[1].encode() and not is_refusal):
        is_standby = match["word"].upper() == b"POWR" and match["body"] == b"0"
        return Refusal(*_FAULTS["ERR3"]) if is_standby else None
    try:
        body = match["body"].decode("utf-8")
    except UnicodeDecodeError:
        body = match["body"].decode("latin-1")  # class 1 says ASCII, and makers take their own
    return Refusal(*_FAULTS[body.upper()]) if body.upper() in _FAULTS else body


def level_of(answer: str | Refusal) -> int:
    """The class in an answer to CLSS, also of those who write it out (`Class 2`); 0 where it is not said now."""
    if isinstance(answer, Refusal):
        return 0 if answer.code == 3 else 1
    return 2 if answer.strip().endswith("2") else 1


def notices_of(data: bytes) -> list[tuple[str, str]]:
    """(word, body) of what a display tells by itself, LKUP, ERST, POWR or INPT; what is none is left out."""
    found = []
    for line in data.split(b"\r")[:8]:
        match = _NOTICE.fullmatch(line.strip(_PADDING))
        if match is not None:
            found.append((match["word"].decode().upper(), match["body"].decode()))
    return found


def value_of(fact: str, body: str) -> Raw | PointFault:
    """A fact in the answer to its command. Raises BadLine."""
    kind, _, part = fact.partition(":")
    if kind in TEXTS:
        return _resolution(body) if kind == "resolution" else body.strip()
    if kind == "power" and body in ("0", "1", "2", "3"):
        return int(body)
    if kind == "input" and _INPUT.fullmatch(body.upper()):
        return input_number(body.upper())
    if kind in FLAGS:
        return _flag(kind, body)
    if kind == "error" and re.fullmatch("[0-2]{6}", body):
        return int(body[ERRORS.index(part)])
    if kind == "filter_hours" and body.isdecimal() and len(body) <= 5:
        return int(body)
    if kind in ("lamp_hours", "lamp_on") and _LAMP.fullmatch(body):
        words, at = body.split(" "), 2 * (int(part) - 1)
        if at >= len(words):
            return PointFault("BadNodeIdUnknown", f"it has {len(words) // 2} lamps")
        return int(words[at]) if kind == "lamp_hours" else words[at + 1] == "1"
    raise BadLine(f"{body[:20]!r} is no value of {command_of(fact)}")


def _flag(kind: str, body: str) -> bool:
    if kind == "freeze" and body in ("0", "1"):
        return body == "1"
    if kind != "freeze" and body in ("10", "11", "20", "21", "30", "31"):
        return body == "31" or body == ("11" if kind == "picture_mute" else "21")
    raise BadLine(f"{body[:20]!r} is no value of {command_of(kind)}")


def _resolution(body: str) -> str | PointFault:
    if body == "-":
        return PointFault("BadNoData", "it has no signal")
    return PointFault("UncertainNoData", "it does not know the signal") if body == "*" else body.strip()


def input_number(text: str) -> int:
    """31 for `31`, 310 for `3A`: kind and number of an input."""
    return int(text) if text.isdecimal() else int(text[0]) * 100 + ord(text[1]) - ord("A") + 10


def input_text(number: int) -> str | None:
    """The two characters of an input; None for a number that is none."""
    text = f"{number // 100}{chr(ord('A') + number % 100 - 10)}" if 110 <= number <= 635 else str(number)
    return text if _INPUT.fullmatch(text) and input_number(text) == number else None


def order_of(fact: str, value: Raw) -> str | None:
    """The command that sets a fact: `%1POWR 1`; None where it cannot be set, or not to this."""
    if isinstance(value, str) or value != int(value):
        return None
    if fact == "input":
        text = input_text(int(value))
        return None if text is None else f"%{1 if text.isdecimal() and text[0] != '6' else 2}INPT {text}"
    on = _ORDERS.get(fact)
    return None if on is None or value not in (0, 1) else f"{on}{int(value)}"


def step_of(call: Mapping[str, object]) -> str | None:
    """The command of an operation, `{volume: up}` or `{microphone: down}`; None for another call."""
    [(kind, way)] = call.items() if len(call) == 1 else [("", "")]
    word = {"volume": "%2SVOL ", "microphone": "%2MVOL "}.get(kind)
    return f"{word}{int(way == 'up')}" if word and way in ("up", "down") else None


_ORDERS: Mapping[str, str] = {
    "power": "%1POWR ", "picture_mute": "%1AVMT 1", "audio_mute": "%1AVMT 2", "freeze": "%2FREZ ",
}  # fmt: skip
