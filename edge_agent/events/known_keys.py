"""Tells when a key for pseudonyms is another than before: every card has another pseudonym then, and nothing else shows it.

What is kept of a key is a short fingerprint, never the key. The agent goes on, because meters and doors matter more; it says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from edge_agent.events.own_key import OWN
from edge_agent.events.pseudonym import PseudonymKey
from edge_agent.events.register import Put

NAMESPACE = "pseudonym_keys"
"""Of the kept state: key id to fingerprint; the agent's own key, whose id is of its content, has the one name."""
_log = structlog.get_logger("events")


def tell_changed(
    keys: Iterable[PseudonymKey],
    known: Mapping[str, Any],
    remember: Callable[[str, str, Any], None],
    put: Put,
    now_ms: int,
) -> None:
    """An alarm of the agent for each key that has another content than when it was used last. `known` is the kept state."""
    for key in keys:
        name = "own" if key.id.startswith(OWN) else key.id
        print_ = hashlib.sha256(b"fingerprint:" + key.secret).hexdigest()[:6]
        before = known.get(name)
        if before == print_:
            continue
        remember(NAMESPACE, name, print_)
        if before is None:
            continue
        what = (
            "the agent's own key was lost, and another is used"
            if name == "own"
            else f"key {key.id} has another content"
        )
        text = f"{what}: every card has another pseudonym from now on; put the former key back"
        _log.error("the key for pseudonyms is another than before", key=key.id)
        data = {"id": "pseudonym_key_changed", "sev": "high", "since": now_ms, "text": text}
        put("", "alarm.raised", data, f"key:{name}:{before}:{print_}:{now_ms}")
