"""What is known of one device on a strings link: what was heard last, who waits for an answer, which frames are events."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from device_profiles.credential import Clear, Credential, CredentialError
from device_profiles.events import EventName, source_of
from device_profiles.strings_codec import Heard, Language, Scalar
from drivers.base import Address
from drivers.listening import Listened, Occurrence

REPEAT_S = 60.0
"""The same bytes with the same record number within this time are one record that was sent again."""
EVERY = "*"
"""The `id` of an `alarm.cleared` that ends all alarms of the device."""
_ANSWERS = 32
_MOST_ALARMS = 2000
_WITH_DIRECTION = ("access.", "card.", "gate.", "vehicle.", "keypad.")
_NOT_ID = re.compile(r"[^a-z0-9_-]+")
_PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")


@dataclass(slots=True)
class Station:
    """One device."""

    address: Address
    language: Language
    since: float
    """Monotonic: when it became known."""
    listened: Listened | None = None
    latest: dict[str, tuple[Heard, int, float]] = field(default_factory=dict)
    """By frame: what was heard last, UTC ms and monotonic."""
    heard_at: float | None = None
    heard: int = 0
    refused: int = 0
    waits: frozenset[str] = frozenset()
    answers: asyncio.Queue[Heard] = field(default_factory=lambda: asyncio.Queue(_ANSWERS))
    doubt: tuple[float, float] | None = None
    """An answer is owed and may still come: (since, quiet until), monotonic."""
    records: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    """By frame: the last one with a record number."""
    told: int = 0
    alarms: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Raised since the link was opened, and not cleared: by id, what was said of them."""

    def is_meant(self, heard: Heard) -> bool:
        """A frame with a `unit` is for the device of that unit; one without is for whoever is there."""
        unit = heard.values.get("unit")
        return unit is None or str(unit) == str(self.address.unit)

    def take(self, heard: Heard, t_ms: int, now: float) -> tuple[Occurrence, ...]:
        """Notes a frame; gives the event that it is, if any: a reset (`id: "*"`) is the end of each alarm that was raised here.

        Raises CredentialError for a card that is none.
        """
        self.heard += 1
        self.heard_at = now
        self.latest[heard.frame] = (heard, t_ms, now)
        if heard.frame in self.waits and not self.answers.full():
            self.answers.put_nowait(heard)
        if self.listened is None or self._is_repeat(heard, now):
            return ()
        source = source_of(self.listened.events, {"frame": heard.frame, **heard.values})
        if source is None or source.event is None:
            return ()
        data = {name: _filled(value, heard.values) for name, value in source.data.items()}
        if source.event == "alarm.cleared" and data.get("id") == EVERY:
            ended, self.alarms = self.alarms, {}
            return tuple(self._occurrence(source.event, heard, t_ms, alarm, {}) for alarm in ended.values())
        if "id" in data:
            data["id"] = _as_id(str(data["id"]))
            self._remember(source.event, data)
        if self.listened.direction and source.event.startswith(_WITH_DIRECTION):
            data.setdefault("dir", self.listened.direction)
        if "digits" in heard.texts:
            data["count"] = len(heard.texts["digits"].strip())
        clear = self._clear(heard, self.listened.credential)
        return (self._occurrence(source.event, heard, t_ms, data, clear),)

    def _occurrence(
        self, name: EventName, heard: Heard, t_ms: int, data: Mapping[str, Any], clear: Mapping[str, Clear]
    ) -> Occurrence:
        self.told += 1
        return Occurrence(self.address.device, name, f"{heard.frame}:{t_ms}:{self.told}", data, clear)

    def _remember(self, name: EventName, data: Mapping[str, Any]) -> None:
        """Which alarms a reset would end; a panel that has more than anybody wires loses the oldest."""
        if name == "alarm.raised":
            self.alarms[data["id"]] = data
            if len(self.alarms) > _MOST_ALARMS:
                del self.alarms[next(iter(self.alarms))]
        elif name == "alarm.cleared":
            self.alarms.pop(data["id"], None)

    def _is_repeat(self, heard: Heard, now: float) -> bool:
        if "index" not in heard.values:
            return False
        before = self.records.get(heard.frame)
        self.records[heard.frame] = (heard.raw, now)
        return before is not None and before[0] == heard.raw and now - before[1] < REPEAT_S

    def _clear(self, heard: Heard, credential: Credential | None) -> dict[str, Clear]:
        clear: dict[str, Clear] = {}
        if "card" in heard.texts:
            clear["card"] = self._card(heard, credential or Credential())
        if "plate" in heard.texts:
            plate = str(heard.values["plate"]).replace(" ", "").replace("-", "").upper()
            if not plate:
                raise CredentialError("a plate without a character")
            clear["plate"] = Clear(plate)
        return clear

    def _card(self, heard: Heard, credential: Credential) -> Clear:
        text = heard.texts["card"]
        spec = self.language.spec.frames[heard.frame].field("card")
        if spec.as_ in ("uint", "bcd"):
            data = text.encode("latin-1")
            text = (data[::-1] if spec.order == "little" else data).hex()
        if credential.form == "bits":
            bits = text if spec.as_ == "bits" else f"{int(text, 16):0{4 * len(text)}b}"
            return credential.of_bits(bits)
        return credential.of_text(text)


def _filled(value: str | int | float | bool, values: Mapping[str, Scalar]) -> Any:
    """A field of an event, with what the frame says in the place of `{name}`."""
    if not isinstance(value, str):
        return value
    return _PLACE.sub(lambda place: str(values.get(place[1], "")), value)


def _as_id(text: str) -> str:
    """The text as an id of the contract: `fire_z1_1.1.Z1` is `fire_z1_1-1-z1`."""
    return _NOT_ID.sub("-", text.lower())[:48]
