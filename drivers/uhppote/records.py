"""A record of a board's memory as what happened, in the words of the device's profile. Pure.

The words of `EventSource.when`: `kind` (1 card, 2 door or button, 3 warning), `reason`, `granted`, `door`, `direction`.
"""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from device_profiles.credential import Clear, Credential, CredentialError
from device_profiles.events import EventSource, source_of
from drivers.listening import Listened, Occurrence

from .frame import Record

_DIRECTIONS = {1: "in", 2: "out"}
_CARD = Credential(form="facility_digits")
"""A 26-bit card is its facility code and, in five digits, its number: 10058399 is 100 and 58399. Source: uhppoted, get-card."""
_WITH_CARD = ("access.granted", "access.denied", "access.duress", "card.read")


def occurrence_of(record: Record, listened: Listened, *, from_memory: bool) -> Occurrence | None:
    """None for a record that was overwritten, or that the profile knows no event for.

    The key has the board's own time in it: a cleared memory begins with index 1 again.
    """
    if record.kind in (0, 255):
        return None
    words: dict[str, Any] = {
        "kind": record.kind,
        "reason": record.reason,
        "granted": record.granted,
        "door": record.door,
        "direction": record.direction,
    }
    source: EventSource | None = source_of(listened.events, words)
    if source is None or source.event is None:
        return None
    data: dict[str, Any] = dict(source.data)
    has_card = record.kind == 1 and record.card and source.event in _WITH_CARD
    direction = _DIRECTIONS.get(record.direction) if record.kind == 1 else None
    if source.event.startswith(("access.", "card.", "gate.")) and (direction or listened.direction):
        data.setdefault("dir", direction or listened.direction)
    if source.event.startswith(("access.", "card.", "gate.")) and record.door:
        data.setdefault("door", record.door)
    stamp = "" if record.at is None else record.at.strftime("%Y%m%dT%H%M%S")
    return Occurrence(
        device=listened.address.device,
        name=source.event,
        key=f"record:{record.index}:{stamp}",
        data=data,
        clear=_card(record.card, listened.credential) if has_card else {},
        t_ms=None if record.at is None else int(record.at.replace(tzinfo=ZoneInfo(listened.tz)).timestamp() * 1000),
        index=record.index,
        from_memory=from_memory,
    )


def _card(number: int, credential: Credential | None) -> dict[str, Clear]:
    try:
        return {"card": (credential or _CARD).of_text(str(number))}
    except CredentialError:
        return {}
