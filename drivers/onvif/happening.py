"""From ONVIF's notification messages to what happened in the contract's terms, as the profile says. No I/O.

A message is about a property when it says PropertyOperation: its state at the beginning (Initialized) is no event, and neither is
a state that is said again. Source: ONVIF Core Specification 24.06, 9.4 (properties), 9.5 (message format), 9.6 (topics).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from device_profiles.events import source_of
from drivers.base import WireCount
from drivers.device_time import epoch_ms
from drivers.document import TEXT
from drivers.listening import Listened, Occurrence

MOST_STATES = 1000
_AGAIN_S = 60.0
"""A state without PropertyOperation that was not said for so long is told as new."""
States = OrderedDict[str, tuple[str, float]]
"""What each property was said to be last, and when."""
_SOURCES = ("VideoSourceConfigurationToken", "VideoSourceToken", "VideoSource", "Source")


@dataclass(frozen=True, slots=True)
class Message:
    """One notification. `words` is what a profile's `when` sees: topic, operation, and each item by its own name."""

    topic: str
    operation: str
    time: str
    source: Mapping[str, Any] = field(hash=False)
    data: Mapping[str, Any] = field(hash=False)

    @property
    def words(self) -> dict[str, Any]:
        """`{topic: RuleEngine/CellMotionDetector/Motion, operation: Changed, IsMotion: True, Rule: MyMotion}`."""
        return {**self.source, **self.data, "topic": self.topic, "operation": self.operation}

    @property
    def video_source(self) -> str:
        """The token of the video source, or of its configuration, that it is about; "" where it does not say."""
        return next((str(self.source[name]) for name in _SOURCES if name in self.source), "")


def messages_of(body: Mapping[str, Any]) -> list[Message]:
    """The notifications of a PullMessagesResponse, oldest first. What is none is left out."""
    found = body.get("NotificationMessage", [])
    rows = [_message(each) for each in (found if isinstance(found, list) else [found])]
    return [message for message in rows if message is not None]


def _message(row: Any) -> Message | None:
    if not isinstance(row, dict):
        return None
    topic = row.get("Topic", "")
    text = str(topic.get(TEXT, "") if isinstance(topic, dict) else topic).strip()
    inner = row.get("Message")
    inner = inner.get("Message") if isinstance(inner, dict) else None
    if not text or len(text) > 512 or not isinstance(inner, dict):
        return None
    path = "/".join(step.rpartition(":")[2] for step in text.split("/"))
    source = _items(inner.get("Source")) | _items(inner.get("Key"))
    return Message(
        path,
        str(inner.get("@PropertyOperation", "")),
        str(inner.get("@UtcTime", "")),
        source,
        _items(inner.get("Data")),
    )


def _items(value: Any) -> dict[str, Any]:
    items = value.get("SimpleItem", []) if isinstance(value, dict) else []
    rows = items if isinstance(items, list) else [items]
    return {
        each["@Name"][:64]: _plain(each["@Value"])
        for each in rows[:64]
        if isinstance(each, dict) and isinstance(each.get("@Name"), str) and isinstance(each.get("@Value"), str)
    }


def _plain(text: str) -> Any:
    """true and false as such, whole numbers as numbers (so that 1 fits true), everything else as it is: 00001 is a token."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    is_number = text.isascii() and text.isdecimal() and len(text) < 10 and (text == "0" or text[0] != "0")
    return int(text) if is_number else text[:256]


@dataclass(slots=True)
class Happening:
    """Of one link: the state of each property at its devices, also from one connection to the next."""

    counts: WireCount
    states: States = field(default_factory=OrderedDict)
    clock: Callable[[], float] = time.monotonic

    def is_news(self, message: Message) -> bool:
        """False for a state as it was, and for one that is heard of for the first time as it was at the beginning.

        After a reconnect the beginning tells what was missed meanwhile: a state that differs is news.
        """
        has_state = any(
            name != "ObjectId" and each in (0, 1) for name, each in message.data.items()
        )  # False is 0, True is 1
        if message.operation not in ("Initialized", "Changed", "") or not (message.operation or has_state):
            return message.operation != "Deleted"
        name, now = _text([message.topic, message.source]), _text(message.data)
        is_moment = message.operation == "Changed" and "ObjectId" in message.data and not has_state
        was, heard = self.states.pop(name, (None, 0.0))
        self.states[name] = now, self.clock()
        while len(self.states) > MOST_STATES:
            self.states.popitem(last=False)
        if not message.operation:  # a camera that says a state again and again, and its end perhaps never
            return was != now or self.clock() - heard > _AGAIN_S
        if is_moment:  # a line that one object crosses twice: makes send it as a property, which it is not
            return True
        return was != now if was is not None else message.operation == "Changed"

    def occurrence(self, device: Listened, message: Message) -> Occurrence | None:
        """None for what the profile knows as no event, or not at all."""
        source = source_of(device.events, message.words)
        if source is None:
            self.counts.errors["unknown_event"] = self.counts.errors.get("unknown_event", 0) + 1
            return None
        if source.event is None:
            return None
        t_ms = epoch_ms(message.time)
        data: dict[str, Any] = {}
        if source.event.startswith("camera.") and (
            rule := message.source.get("Rule") or message.source.get("RuleName")
        ):
            data["line" if source.event == "camera.line_cross" else "region"] = str(rule)[:64]
        data |= source.data
        if source.event.startswith("alarm."):
            data["since"] = t_ms or time.time_ns() // 1_000_000
            if "InputToken" in message.source and "id" in data:  # each input is an alarm of its own
                name = re.sub(r"[^a-z0-9]+", "_", str(message.source["InputToken"]).lower()).strip("_")[:32]
                data["id"] = f"{data['id']}_{name}" if name else data["id"]
        return Occurrence(device.address.device, source.event, _key(message), data, {}, t_ms)


def _key(message: Message) -> str:
    digest = hashlib.sha256(_text([message.source, message.data, message.time]).encode()).hexdigest()[:24]
    return f"{message.topic[:80]}:{digest}"


def _text(value: Sequence[Any] | Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, default=str)
