"""What agents hold retained at this moment: active alarms, last values, the configuration in force. In memory only.

The broker gives all of it again with each new session, so none is kept in a file: an alarm that was cleared while nobody
listened leaves no message behind, and a copy of ours would show it for ever.
"""

from __future__ import annotations

import msgspec

from gateway.contract.consumer import read_alarm, read_reported
from gateway.contract.messages import Alarm, ConfigReported, Last
from gateway.contract.topics import is_id

MOST_ALARMS = 500
"""Active alarms that are shown of one device; their events are stored all the same."""

_last = msgspec.json.Decoder(Last)


class Current:
    """By site and device, or site and agent. The `take_..` methods give why a document was refused, None when it was taken.

    They raise what msgspec raises for a document that is none of the contract's. An empty payload takes the document back.
    """

    def __init__(self) -> None:
        self._alarms: dict[tuple[str, str], dict[str, Alarm]] = {}
        self._last: dict[tuple[str, str], Last] = {}
        self._reported: dict[tuple[str, str], ConfigReported] = {}

    def take_alarm(self, site: str, dev: str, alarm_id: str, payload: bytes) -> str | None:
        """`up/alarm/{dev}/{alarm}`."""
        active = self._alarms.setdefault((site, dev), {})
        if not payload:
            active.pop(alarm_id, None)
            return None
        alarm = read_alarm(payload)
        if alarm.id != alarm_id or not is_id(alarm_id):
            return "topic"
        if alarm_id not in active and len(active) >= MOST_ALARMS:
            return "too_many"
        active[alarm_id] = alarm
        return None

    def take_last(self, site: str, dev: str, payload: bytes) -> str | None:
        """`up/dev/{dev}/last`."""
        if payload:
            self._last[site, dev] = _last.decode(payload)
        else:
            self._last.pop((site, dev), None)
        return None

    def take_reported(self, site: str, agent: str, payload: bytes) -> str | None:
        """`up/config/reported`."""
        if payload:
            self._reported[site, agent] = read_reported(payload)
        else:
            self._reported.pop((site, agent), None)
        return None

    def forget(self, site: str, dev: str) -> None:
        """The device was removed."""
        self._alarms.pop((site, dev), None)
        self._last.pop((site, dev), None)

    def begin(self) -> None:
        """A new session: the broker says what it holds from the start."""
        self._alarms.clear()
        self._last.clear()
        self._reported.clear()

    def alarms(self, site: str, dev: str) -> list[Alarm]:
        """Active alarms of a device, oldest first."""
        return sorted(self._alarms.get((site, dev), {}).values(), key=lambda alarm: (alarm.since, alarm.id))

    def last(self, site: str, dev: str) -> Last | None:
        """What the device said last, as its agent retains it (every five minutes)."""
        return self._last.get((site, dev))

    def reported(self, site: str, agent: str) -> ConfigReported | None:
        """Which configuration the agent has in force."""
        return self._reported.get((site, agent))
