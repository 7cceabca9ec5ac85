"""What a device says about something that happened, in one form whichever way it says it: stream, push, or its memory. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.document import TEXT, Document, DocumentError, parse

ACCESS = "accesscontrollerevent"
_SAME = {
    "majorEventType": "major", "subEventType": "minor", "doorNo": "door", "cardReaderNo": "reader",
    "eventState": "state", "regionID": "region",
}  # fmt: skip
_NUMBERS = ("major", "minor", "door", "reader", "channel", "region", "activePostCount", "serialNo", "line")


@dataclass(frozen=True, slots=True)
class Message:
    """One record. `words` is what a profile's `when` asks for: the device's own names, and beside them `type` (lower case),
    `state`, `channel`, `major`, `minor`, `door`, `reader`, `region`; numbers are numbers.
    """

    words: Mapping[str, Any]
    time: str
    serial: int | None
    uuid: str = ""
    is_moment: bool = True
    """It happened at one moment; False for what begins and ends (motion), and is said again and again meanwhile."""

    @property
    def is_stored(self) -> bool:
        """An old record that the device tells anew when somebody begins to listen."""
        return self.serial is not None and str(self.words.get("currentEvent", "true")).lower() == "false"


def message_of(data: bytes, content_type: str = "") -> Message | None:
    """The message in a part; None for what is none (a picture's caption, an answer). Raises DocumentError."""
    return of_document(parse(data, content_type))


def of_document(document: Document) -> Message | None:
    """As `message_of`, from a parsed document."""
    if not isinstance(document, dict):
        raise DocumentError("no object")
    alert = document.get("EventNotificationAlert")
    top = alert if isinstance(alert, dict) else document
    kind = str(top.get("eventType", "")) or ("AccessControllerEvent" if "AccessControllerEvent" in top else "")
    if not kind:
        return None
    inner = next(
        (value for name, value in top.items() if name.lower() == kind.lower() and isinstance(value, dict)), None
    )
    words = _scalars(top)
    if inner is not None:
        words |= _scalars(inner)
    words |= _scalars(_region(top))
    words["type"] = kind.lower()
    told = (
        top.get(name) for name in ("channelID", "dynChannelID")
    )  # recorders may say the first, empty, and the second
    channel = next((each for each in told if isinstance(each, str | int) and each != ""), None)
    if channel is not None:
        words["channel"] = channel
    return _made(words, str(top.get("dateTime", words.get("time", ""))), is_moment=inner is not None)


def of_record(record: Any) -> Message | None:
    """A record of `AcsEvent`'s InfoList; None for what is none."""
    if not isinstance(record, dict):
        return None
    words = (
        {"channel": 1} | _scalars(record) | {"type": ACCESS}
    )  # the channelID that terminals give when they tell it live
    return _made(words, str(record.get("time", "")), is_moment=True)


def _made(words: dict[str, Any], time: str, *, is_moment: bool) -> Message:
    for name, ours in _SAME.items():
        if name in words:
            words[ours] = words[name]
    for name in _NUMBERS:
        value = words.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
            words[name] = int(value)
    serial = words.get("serialNo")
    known = serial if isinstance(serial, int) and not isinstance(serial, bool) and serial >= 0 else None
    return Message(words, time, known, str(words.get("UUID", ""))[:128], is_moment or known is not None)


def _scalars(found: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, dict) and TEXT in value:
            value = value[TEXT]
        if isinstance(value, str | int | float | bool) and not name.startswith("@"):
            plain[name] = value
    return plain


def _region(top: Mapping[str, Any]) -> dict[str, Any]:
    """The first region of a detection: cameras send one event a region."""
    found: Any = top
    for step in ("DetectionRegionList", "DetectionRegionEntry"):
        found = found.get(step) if isinstance(found, dict) else None
        if isinstance(found, list):
            found = found[0] if found else None
    return found if isinstance(found, dict) else {}
