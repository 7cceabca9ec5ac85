"""A terminal's record as what happened, in the words of the device's profile. Pure.

The words of `EventSource.when`: `table` (`ATTLOG`, `rtlog`, `OPERLOG`); `state` and `verify` of ATTLOG; `event`, `door`, `inout`
and `verify` of rtlog; `op` and `value` of OPERLOG.
"""

from __future__ import annotations

from typing import Any

from device_profiles.credential import Clear, Credential, CredentialError
from device_profiles.events import source_of
from drivers.listening import Listened, Occurrence

from .protocol import Record

_WITH_CARD = ("access.granted", "access.denied", "access.duress", "card.read")
_DIRECTIONS = {0: "in", 1: "out"}


def occurrence_of(record: Record, listened: Listened, t_ms: int, *, from_memory: bool) -> Occurrence | None:
    """None for a record that the profile knows no event for. Who it was is in `clear` alone: a card's number where there is one,
    else the PIN, marked as such because it is no card.
    """
    words = dict(record.words)
    source = source_of(listened.events, words)
    if source is None or source.event is None:
        return None
    data: dict[str, Any] = dict(source.data)
    clear: dict[str, Clear] = {}
    if source.event in _WITH_CARD:
        card = _card(record.card, listened.credential)
        if card is not None or record.who:
            clear["card"] = card or Clear(f"pin:{record.who}")
    if source.event == "card.read" and not clear:
        return None
    if source.event.startswith(("access.", "card.", "gate.")):
        direction = _DIRECTIONS.get(int(words["inout"])) if "inout" in words else None
        if direction or listened.direction:
            data.setdefault("dir", direction or listened.direction)
        if words.get("door"):
            data.setdefault("door", words["door"])
    if source.event == "call.raised":
        data.setdefault("station", listened.address.device)
    kept = ":".join(f"{name}={words[name]}" for name in sorted(words))
    return Occurrence(
        device=listened.address.device,
        name=source.event,
        key=f"{record.at:%Y%m%dT%H%M%S}:{kept}:{record.index}",
        data=data,
        clear=clear,
        t_ms=t_ms,
        from_memory=from_memory,
    )


def _card(text: str, credential: Credential | None) -> Clear | None:
    if not text:
        return None
    try:
        return (credential or Credential(form="decimal")).of_text(text)
    except CredentialError:
        return None
