"""What ZKTeco terminals write into their push requests, and what they want to read. Pure.

Two protocols share the paths: attendance push (`ATTLOG`, fields by place) and security push (`rtlog`, fields by name). Source:
ZKTeco, Attendance PUSH Communication Protocol (2.4.1), 11 (uploads), 13 (answers to commands), appendices 3 to 5; Security PUSH
Communication Protocol (3.1.2), 4 and 7; datasheet/ADMS.md of s0x90/zkteco-adms for the commands that a SpeedFace took.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

_TIME = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})[ T](\d{1,2}):(\d{1,2}):(\d{1,2})")
_NAME = re.compile(r"~?[A-Za-z][A-Za-z0-9_]{0,62}")
_DIGITS = re.compile(r"-?[0-9]{1,15}")
MOST_OPTIONS = 300
_ALARM = 3


@dataclass(frozen=True, slots=True)
class Record:
    """Something that happened. `words` are what a profile's `when` asks for; `who` is a PIN, `card` a card's number."""

    at: datetime
    """The terminal's own local time."""
    words: Mapping[str, int | str]
    who: str = ""
    card: str = ""
    index: str = ""
    """The terminal's own number of it, "" for none."""


def lines_of(body: bytes) -> list[str]:
    """The lines that are not empty. Bytes that are no UTF-8 are replaced: names in another encoding are not wanted."""
    return [line for line in body.decode("utf-8", "replace").replace("\r", "\n").split("\n") if line.strip(" \0")]


def attlog_of(line: str) -> Record | None:
    """`PIN \\t time \\t state \\t verify mode \\t work code`, two reserved, `identity card \\t kind`; None for no such line.

    Kind 1 is somebody compared with an identity card, table `IDCARD` in our words: state 0 is right, 1 wrong, 2 blocked.
    """
    fields = line.split("\t")
    at = _time(fields[1]) if len(fields) > 1 else None
    if at is None or not (pin := _pin(fields[0])):
        return None
    words: dict[str, int | str] = {"table": "IDCARD" if fields[8:9] == ["1"] else "ATTLOG"}
    words |= {name: int(text) for name, text in zip(("state", "verify"), fields[2:4], strict=False) if _is_int(text)}
    return Record(at, words, who=pin)


def oplog_of(line: str) -> Record | None:
    """`OPLOG type \\t operator \\t time \\t object \\t values`; None for a line that is none: people's data stand in between."""
    if not line.startswith("OPLOG "):
        return None
    fields = line[6:].split("\t")
    at = _time(fields[2]) if len(fields) > 2 else None
    if at is None or not _is_int(fields[0]):
        return None
    words: dict[str, int | str] = {"table": "OPERLOG", "op": int(fields[0])}
    values = [int(field) for field in fields[3:5] if _is_int(field)]
    if values and words["op"] == _ALARM:  # its reason is the second object by the document, the first at some terminals
        words["value"] = values[0] or values[-1]
    return Record(at, words)


def rtlog_of(line: str) -> Record | None:
    """`time`, `pin`, `cardno`, `eventaddr`, `event`, `inoutstatus`, `verifytype`, `index`; or as in the table `transaction`:
    `time_second`, `doorid`, `eventtype`, `inoutstate`, `verified`. None for a line that is none.
    """
    fields = keyed(line.removeprefix("transaction "), "\t")
    seconds = fields.get("time_second", "")
    at = decoded_time(int(seconds)) if _is_int(seconds) else _time(fields.get("time", ""))
    event = fields.get("event", fields.get("eventtype", ""))
    if at is None or not _is_int(event):
        return None
    words: dict[str, int | str] = {"table": "rtlog", "event": int(event)}
    for word, names in (
        ("door", ("eventaddr", "doorid")), ("inout", ("inoutstatus", "inoutstate")), ("verify", ("verifytype", "verified")),
    ):  # fmt: skip
        text = next((fields[name] for name in names if name in fields), "")
        if _is_int(text):
            words[word] = int(text)
    card = _pin(fields.get("cardno", ""))
    return Record(at, words, who=_pin(fields.get("pin", "")), card=card, index=_pin(fields.get("index", "")))


def keyed(text: str, separator: str) -> dict[str, str]:
    """`name=value` fields, names in lower case; what is none is left out."""
    found: dict[str, str] = {}
    for field in text.split(separator)[:MOST_OPTIONS]:
        name, equals, value = field.strip(" \r\n\0").partition("=")
        if equals and name:
            found[name.lower()] = value.strip()[:256]
    return found


def options_of(body: bytes) -> dict[str, str]:
    """What a terminal says of itself when it registers, `~DeviceName=..,MAC=..`: names as written, without `~`."""
    found: dict[str, str] = {}
    for line in lines_of(body):
        for field in line.replace("\t", ",").split(",")[:MOST_OPTIONS]:
            if len(found) >= MOST_OPTIONS:
                return found
            name, equals, value = field.strip(" \r\n\0").partition("=")
            if equals and _NAME.fullmatch(name) and "key" not in name.lower() and "pass" not in name.lower():
                found[name.removeprefix("~")] = value.strip()[:256]
    return found


def info_of(text: str) -> dict[str, str]:
    """The `INFO` of a `getrequest`: version, users, fingerprints, records, address."""
    names = ("FWVersion", "UserCount", "FPCount", "TransactionCount", "IPAddress")
    return {name: value.strip()[:64] for name, value in zip(names, text.split(","), strict=False) if value.strip()}


def results_of(body: bytes) -> Iterator[tuple[int, int]]:
    """(id, return code) of each command in a `devicecmd`: `ID=1&Return=0&CMD=INFO`, one a line, or one field a line."""
    number: int | None = None
    for line in lines_of(body):
        for field in line.split("&"):
            name, _, value = field.strip().partition("=")
            if name == "ID" and _is_int(value):
                number = int(value)
            elif name == "Return" and _is_int(value) and number is not None:
                yield number, int(value)
                number = None


def encoded_time(at: datetime) -> int:
    """The maker's packed time: seconds in a calendar whose months have 31 days. `at` as the terminal shows it."""
    days = ((at.year - 2000) * 12 + at.month - 1) * 31 + at.day - 1
    return days * 86400 + at.hour * 3600 + at.minute * 60 + at.second


def decoded_time(packed: int) -> datetime | None:
    """The same the other way; None for what is no time."""
    if not 0 <= packed < 1 << 32:
        return None
    days, seconds = divmod(packed, 86400)
    months, day = divmod(days, 31)
    try:
        midnight = datetime(2000 + months // 12, months % 12 + 1, day + 1)  # noqa: DTZ001 (the terminal's own local time)
    except ValueError:
        return None
    return midnight + timedelta(seconds=seconds)


def zone_field(zone: ZoneInfo, at: datetime) -> int:
    """The `TimeZone` of the handshake: whole hours below 12, else minutes, as terminals tell them apart; `5.5` is read as 5.

    Source: users of such terminals (330 for UTC+5:30, 345 for UTC+5:45); the maker's document was not at hand.
    """
    minutes = int((at.astimezone(zone).utcoffset() or timedelta()) / timedelta(minutes=1))
    return minutes // 60 if minutes % 60 == 0 and abs(minutes) < 12 * 60 else minutes


def _time(text: str) -> datetime | None:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    try:
        return datetime(*map(int, match.groups()))  # type: ignore[arg-type]  # noqa: DTZ001 (the terminal's own local time)
    except ValueError:
        return None


def _pin(text: str) -> str:
    """A PIN, card or index; "" for none."""
    text = text.strip(" \0")
    return "" if text in ("", "0") or len(text) > 32 or not text.isprintable() else text


def _is_int(text: str) -> bool:
    return text.isascii() and _DIGITS.fullmatch(text) is not None
