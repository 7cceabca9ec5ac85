"""The last events of the agent's devices, as they were written, for people on the box. Bounded, and gone with the process."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

MOST = 500


class Recent:
    """Numbers events from 1, so that one who looks again gets those that are new to him."""

    def __init__(self) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._last = 0

    def note(self, device: str, name: str, t_ms: int, data: Mapping[str, Any]) -> None:
        """An event was written; `data` has pseudonyms where a card or plate was."""
        self._last += 1
        self._events.append({"n": self._last, "t": t_ms, "device": device, "event": name, "data": dict(data)})

    def after(self, number: int | None, device: str | None = None) -> dict[str, Any]:
        """Events with a number above `number`, of one device or all, oldest first; None: none of those before now.

        `last` is what to ask for the next time, `missed` how many have gone in between (of all devices).
        """
        if number is None or number > self._last:  # the agent was started anew
            return {"last": self._last, "missed": 0, "events": []}
        found = [event for event in self._events if event["n"] > number and device in (None, event["device"])]
        oldest = self._events[0]["n"] if self._events else self._last + 1
        return {"last": self._last, "missed": max(0, oldest - number - 1), "events": found}
