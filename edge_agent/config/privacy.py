"""What agent.yaml says of cards and plates: pseudonym or clear, and the keys of the pseudonyms."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from pathlib import Path

from device_profiles.problems import Problems
from device_profiles.secrets import read_secret
from device_profiles.yamlfile import KeyPath
from edge_agent.config.schema import PrivacyEntry
from edge_agent.events.pseudonym import SHORTEST_KEY, Privacy, PseudonymKey
from edge_agent.model import Device

_WITH_CARDS = frozenset({"card_reader", "door", "gate", "plate_camera", "barrier"})


def read_privacy(entry: PrivacyEntry, folder: Path, devices: Iterable[Device], problems: Problems) -> Privacy:
    """The privacy of the site. What is wrong with a key is noted, and that there is none where readers are."""
    keys: list[PseudonymKey] = []
    for index, own in enumerate(entry.keys):
        at: KeyPath = ("privacy", "keys", index)
        text = read_secret(own.secret, folder, (*at, "secret"), problems)
        if text is None:
            continue
        if len(text) < SHORTEST_KEY:
            step = "make one: openssl rand -hex 32"
            problems.add((*at, "secret"), f"the key has {len(text)} characters, {SHORTEST_KEY} are needed", step)
        elif own.id in {key.id for key in keys}:
            problems.add((*at, "id"), f"key id {own.id} is there twice", "give each key its own id, for ever")
        elif _since_ms(own.since) in {key.since_ms for key in keys}:
            problems.add(
                (*at, "since"), "another key begins at the same time", "give the day from which on this one is used"
            )
        else:
            keys.append(PseudonymKey(own.id, text.encode(), _since_ms(own.since)))
    is_needed = "pseudonym" in (entry.cards, entry.plates) and any(device.cls in _WITH_CARDS for device in devices)
    if is_needed and not entry.keys:
        step = "give privacy.keys, the same for all agents that see the same cards"
        problems.warn(("privacy",), "no key for pseudonyms: this agent makes one that no other has", step)
    return Privacy(tuple(keys), entry.cards, entry.plates)


def _since_ms(day: str | None) -> int:
    """The beginning of a day in UTC."""
    if day is None:
        return 0
    return round(datetime.combine(date.fromisoformat(day), time(), UTC).timestamp() * 1000)
