"""Alarms of devices while they last: the events are the truth, `up/alarm/..` shows what is active (CONTRACT.md section 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.contract import messages

RAISED, CLEARED = "alarm.raised", "alarm.cleared"
_SHOWN = ("val", "lim")

Retain = Callable[[str, bytes], None]


class Alarms:
    """Of one device. `active` is what was kept: alarm id to `{sev, since, n}`."""

    def __init__(self, device_id: str, retain: Retain, active: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._device_id = device_id
        self._retain = retain
        self.active: dict[str, dict[str, Any]] = {name: dict(alarm) for name, alarm in (active or {}).items()}

    def take(self, name: str, data: Mapping[str, Any], t_ms: int) -> dict[str, Any] | None:
        """The data of the event to be written; None where the alarm was active, or was not, already. One of a `moment` is never
        active: its device tells no end of it, and the next one is another.
        """
        if data.get("moment"):
            return {"sev": "medium", **{key: data[key] for key in data if key != "moment"}, "since": t_ms}
        alarm_id = str(data["id"])
        known = self.active.get(alarm_id)
        if name == RAISED and known is not None:
            known["n"] += 1
            self._show(alarm_id)
            return None
        if name == RAISED:
            self.active[alarm_id] = {"sev": data.get("sev", "medium"), "since": t_ms, "n": 1}
            self.active[alarm_id] |= {key: data[key] for key in _SHOWN if key in data}
            self._show(alarm_id)
            return {"sev": "medium", **data, "since": t_ms}
        if known is None:
            return None
        del self.active[alarm_id]
        self._retain(self._topic(alarm_id), b"")
        return {**data, "sev": known["sev"], "since": known["since"], "n": known["n"]}

    def announce(self) -> None:
        """Shows all that is active: after a start."""
        for alarm_id in self.active:
            self._show(alarm_id)

    def end(self) -> None:
        """The device is not there any more."""
        for alarm_id in self.active:
            self._retain(self._topic(alarm_id), b"")
        self.active.clear()

    def _topic(self, alarm_id: str) -> str:
        return f"alarm/{self._device_id}/{alarm_id}"

    def _show(self, alarm_id: str) -> None:
        self._retain(
            self._topic(alarm_id),
            messages.encode(messages.Alarm(id=alarm_id, st="active", **self.active[alarm_id])),
        )
