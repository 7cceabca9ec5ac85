"""From a device's message to what happened in the contract's terms, as the profile says; and what begins and ends. No I/O."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from device_profiles.credential import Clear, Credential, CredentialError
from device_profiles.events import source_of
from drivers.base import WireCount
from drivers.device_time import epoch_ms, zone_of
from drivers.listening import Listened, Occurrence

from .messages import Message

_AGAIN_S = 60.0
"""A state that was not said again for so long has ended, whether the device said so or not."""
_MOST_STATES = 1000
_NO_PLATES = frozenset({"", "UNKNOWN", "NOPLATE", "无车牌", "未识别"})
_CARD = Credential(form="decimal")
_ATTENDANCE = {
    "checkIn": "in", "breakIn": "in", "overtimeIn": "in", "checkOut": "out", "breakOut": "out", "overtimeOut": "out",
}  # fmt: skip


@dataclass(slots=True)
class Happening:
    """Of one session: what is going on at its devices now."""

    counts: WireCount
    clock: Callable[[], float] = time.monotonic
    _active: OrderedDict[tuple[Any, ...], tuple[bool, float, int]] = field(default_factory=OrderedDict)
    """Is it going on, when was that said, and for how many times (activePostCount begins anew with each beginning)."""

    def occurrence(self, device: Listened, message: Message, *, from_memory: bool = False) -> Occurrence | None:
        """None for what the profile knows as no event or not at all, and for a state that goes on as it was."""
        if message.is_stored and not from_memory:
            return None  # asked for by its number instead
        if not message.is_moment and not self._is_news(device.address.device, message):
            return None
        source = source_of(device.events, dict(message.words))
        if source is None:
            self._note("unknown_event")
            return None
        if source.event is None:
            return None
        clear = self._clear(device, message, source.event)
        if source.event == "card.read" and "card" not in clear:
            return None
        t_ms = epoch_ms(message.time, zone_of(device.tz))
        if t_ms is None:
            self._note("no_time")
        data = _data(source.event, device, message) | source.data
        if source.event.startswith("alarm."):
            data |= {"since": t_ms or time.time_ns() // 1_000_000}
            channel = message.words.get("channel")
            if device.address.unit in (0, "", "0") and isinstance(channel, int) and channel > 0 and "id" in source.data:
                data["id"] = f"{source.data['id']}_{channel}"
        return Occurrence(
            device.address.device, source.event, _key(message), data, clear, t_ms, message.serial, from_memory
        )

    def _is_news(self, device: str, message: Message) -> bool:
        words = message.words
        state = (device, words.get("type"), words.get("channel"), words.get("region"))
        is_active = words.get("state", "active") == "active"
        now = self.clock()
        said = words.get("activePostCount")
        count = said if isinstance(said, int) else 0
        was, heard, times = self._active.pop(state, (None, 0.0, 0))
        self._active[state] = is_active, now, count
        while len(self._active) > _MOST_STATES:
            self._active.popitem(last=False)
        if is_active:
            return not was or now - heard > _AGAIN_S or count < times
        return was is not False

    def _clear(self, device: Listened, message: Message, event: str) -> dict[str, Clear]:
        words, found = message.words, dict[str, Clear]()
        if event.startswith(("access.", "card.")):
            text, person = str(words.get("cardNo", "")).strip(), str(words.get("employeeNoString", "")).strip()
            try:
                if text.strip("0"):
                    found["card"] = (device.credential or _CARD).of_text(text)
                elif person:
                    found["card"] = Clear(f"pin:{person[:64]}")  # marked, because it is no card
            except CredentialError:
                self._note("no_card")
        if event.startswith("vehicle."):
            plate = "".join(each for each in str(words.get("licensePlate", "")).upper() if each.isalnum())[:32]
            if plate not in _NO_PLATES:
                found["plate"] = Clear(plate)
        return found

    def _note(self, why: str) -> None:
        self.counts.errors[why] = self.counts.errors.get(why, 0) + 1


def unnumbered(told: Occurrence) -> Occurrence:
    """The same of a device whose memory nobody reads: its number orders nothing, and begins anew when the memory is wiped."""
    return told if told.index is None else replace(told, index=None, key=f"{told.key}:{told.t_ms}")


def _data(event: str, device: Listened, message: Message) -> dict[str, Any]:
    words = message.words
    data: dict[str, Any] = {}
    if event.startswith("vehicle."):
        if "line" in words:
            data["lane"] = str(words["line"])
        if (share := _number(words.get("confidenceLevel"))) is not None and 0 <= share <= 100:
            data["confidence"] = share / 100
        data |= _address(words.get("pictureURL"))
    elif event.startswith("camera."):
        if "region" in words:
            data["line" if event == "camera.line_cross" else "region"] = str(words["region"])
        data |= _address(words.get("bkgUrl"))
    elif event == "call.raised":
        data["station"] = device.address.device
    direction = device.direction or _ATTENDANCE.get(str(words.get("attendanceStatus", "")))
    if direction is not None and event.startswith(("access.", "card.", "gate.", "vehicle.")):
        data["dir"] = direction
    return data


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _address(url: Any) -> dict[str, str]:
    """A picture's address, without whoever may fetch it."""
    try:
        parts = urlsplit(str(url or ""))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return {}
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return {}
    return {"url": urlunsplit((parts.scheme, f"{parts.hostname}{port}", parts.path, "", ""))[:1024]}


def _key(message: Message) -> str:
    """The same whichever way the message comes."""
    if message.serial is not None:
        return f"record:{message.serial}"
    if message.uuid:
        return f"uuid:{message.uuid}"
    words: Mapping[str, Any] = message.words
    return (
        ":".join(str(words.get(name, ""))[:64] for name in ("type", "channel", "region", "state"))
        + f":{message.time[:40]}"
    )
