"""Makes events of what drivers tell, each record once, and remembers in the same commit how far every device has been told.

A record with an index is told once because its index is kept with it. One without is told once as long as the process lives,
and a repeat after that has the same id, the same time and the same content, which the store takes for the same row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Any, NamedTuple, Protocol

import structlog

from device_profiles.credential import Clear
from drivers.listening import Occurrence
from edge_agent.clock import Clock
from edge_agent.events.alarms import CLEARED, RAISED, Alarms, Retain
from edge_agent.events.pseudonym import Privacy
from edge_agent.events.timing import DeviceClock
from gateway.contract.topics import is_id

NAMESPACE = "events"
"""Of the kept state: device id to `{index, mark, era, last, correction, alarms}`."""
_CALLS = ("call.raised", "call.answered")
"""Who calls for help is to be found, so these have no pseudonyms."""
_REMEMBERED = 2_000
"""Keys of records without an index that are known for repeats, a device."""
_EARLIEST_MS, _AHEAD_MS = 1_577_836_800_000, 5 * 60_000
"""The centre stores nothing from before 2020 or further ahead: a time outside of it is the fault of an unset clock."""
_MOST_AHEAD_MS = 10_000
"""So far a storm of events may run ahead of the clock; more is a clock that was set back, and what it says counts."""
_log = structlog.get_logger("events")


class Put(Protocol):
    """Puts an event into the spool, and `state` (key, value of `NAMESPACE`) into the same commit."""

    def __call__(
        self,
        device_id: str,
        name: str,
        data: Mapping[str, Any],
        key: str,
        *,
        t_ms: int | None = None,
        state: tuple[str, str, Any] | None = None,
    ) -> None: ...


class Mark(NamedTuple):
    """The record that was told last, to know it again in its device's memory."""

    number: int
    key: str
    t_ms: int | None
    """By the device's own clock."""


class _Device:
    """What is known of the events of one device."""

    __slots__ = (
        "alarms",
        "clock",
        "count",
        "era",
        "index",
        "last_ms",
        "mark",
        "recalled",
        "record_ms",
        "refused",
        "seen",
        "seen_order",
    )

    def __init__(self, device_id: str, kept: Mapping[str, Any], retain: Retain) -> None:
        self.index: int | None = kept.get("index")
        mark = kept.get("mark")
        self.mark = Mark(*mark) if mark else None
        """Records up to `index` that came after it were no events."""
        self.era: int = kept.get("era", 0)
        """How often its records began anew: record 1 of another device is another event."""
        self.record_ms: int | None = kept.get("last")
        """The time that the last record with an index was given."""
        self.clock = DeviceClock(kept.get("correction", 0))
        self.alarms = Alarms(device_id, retain, kept.get("alarms"))
        self.seen: set[str] = set()
        self.seen_order: deque[str] = deque()
        self.count = self.recalled = self.refused = 0
        self.last_ms: int | None = None

    def kept(self) -> dict[str, Any]:
        kept = {
            "index": self.index,
            "mark": self.mark,
            "era": self.era,
            "last": self.record_ms,
            "correction": self.clock.correction_ms,
        }
        return kept | {"alarms": self.alarms.active}

    def in_order(self, t_ms: int) -> int:
        """The time of the next record. Of a device that knows seconds only, records of one second follow each other by 1 ms:
        the store orders by time. The same again after a crash, because records are told in order from what was kept.
        """
        last = self.record_ms
        if last is not None and t_ms % 1000 == 0 and t_ms <= last < t_ms + _MOST_AHEAD_MS:
            t_ms = last + 1
        self.record_ms = t_ms
        return t_ms

    def next_of(self, now_ms: int) -> int:
        """The time of what has none: after what was told before it, or the store would shuffle the events of one millisecond."""
        last = self.last_ms
        return last + 1 if last is not None and now_ms <= last < now_ms + _MOST_AHEAD_MS else now_ms

    def is_repeat(self, key: str) -> bool:
        """It was told before in this life; if not, it is known from now on."""
        if key in self.seen:
            return True
        self.seen.add(key)
        self.seen_order.append(key)
        if len(self.seen_order) > _REMEMBERED:
            self.seen.discard(self.seen_order.popleft())
        return False


class Register:
    """Of one agent. `memory` is the kept state of `NAMESPACE`; `settle` returns when everything put so far is on the disk."""

    def __init__(
        self,
        *,
        put: Put,
        remember: Callable[[str, str, Any], None],
        retain: Retain,
        settle: Callable[[], Awaitable[None]],
        privacy: Privacy,
        clock: Clock,
        memory: Mapping[str, Mapping[str, Any]],
        devices: Container[str] | None = None,
    ) -> None:
        """`devices` are those of the configuration: what is kept of others is forgotten. None = all that is kept counts."""
        self._put = put
        self._remember = remember
        self._retain = retain
        self._clock = clock
        self._memory = dict(memory)
        self.privacy = privacy
        self.settle = settle
        self._devices: dict[str, _Device] = {}
        for device_id in tuple(memory):
            if devices is not None and device_id not in devices:
                self.forget(device_id)
            else:
                self._of(device_id).alarms.announce()

    def _of(self, device_id: str) -> _Device:
        known = self._devices.get(device_id)
        if known is None:
            known = self._devices[device_id] = _Device(device_id, self._memory.get(device_id, {}), self._retain)
        return known

    def index_of(self, device_id: str) -> int | None:
        """The index of the last record that was told; None = none ever was."""
        return self._of(device_id).index

    def mark_of(self, device_id: str) -> Mark | None:
        """The last record that was told; None where there was none."""
        return self._of(device_id).mark

    def begin(self, device_id: str, index: int) -> None:
        """Records up to this index are not told: what a device kept before we came, or what is no event."""
        device = self._of(device_id)
        device.index = index
        self._remember(NAMESPACE, device_id, device.kept())

    def replaced(self, device_id: str, before: int, newest: int) -> None:
        """The device's records begin anew: it was exchanged, or its memory cleared. `begin` follows."""
        device = self._of(device_id)
        device.era += 1
        device.mark = None
        data = {"before": f"record {before}", "after": f"record {newest}"}
        self._put(device_id, "device.identity_changed", data, f"records:{before}:{newest}:{self._clock.wall_ms()}")

    def overwritten(self, device_id: str, first: int, last: int) -> None:
        """These records were never told, and the device keeps them no more: said once, for who asks what is missing."""
        count = last - first + 1
        _log.warning("a device has overwritten records", device=device_id, count=count, first=first, last=last)
        text = f"records {first} to {last} were overwritten before they could be read"
        data = {"id": "records_lost", "sev": "high", "since": self._clock.wall_ms(), "val": count, "text": text}
        self._put(device_id, RAISED, data, f"overwritten:{first}:{last}")

    def forget(self, device_id: str) -> None:
        """The device is not configured any more."""
        self._of(device_id).alarms.end()
        del self._devices[device_id]
        self._memory.pop(device_id, None)
        self._remember(NAMESPACE, device_id, None)

    def take(self, told: Occurrence) -> bool:
        """Writes it, unless it was written before. Committed when `settle` returns. False for a repeat, and for what is no event
        of the contract: that is logged and counted, and told no second time.
        """
        device = self._of(told.device)
        if told.index is not None and device.index is not None and told.index <= device.index:
            return False
        now_ms = self._clock.wall_ms()
        changed = False
        if told.t_ms is not None and not told.from_memory and self._clock.quality() != "unsync":
            changed = device.clock.heard(told.t_ms, now_ms)
        t_ms = device.next_of(now_ms) if told.t_ms is None else device.clock.time_of(told.t_ms)
        if not _EARLIEST_MS <= t_ms <= max(now_ms, _EARLIEST_MS) + _AHEAD_MS and self._clock.quality() != "unsync":
            t_ms = max(now_ms, (device.last_ms or 0) + 1)
        data = dict(told.data)
        for name, clear in told.clear.items():
            data[name] = clear.text if told.name in _CALLS else self._written(name, clear, t_ms)
        key = ":".join((told.key, *(str(data[name]) for name in sorted(told.clear))))
        key = f"{device.era}:{key}" if device.era else key
        if told.index is None and device.is_repeat(key):
            return False
        if told.index is not None:
            device.index, device.mark = told.index, Mark(told.index, told.key, told.t_ms)
            t_ms = device.in_order(t_ms)
        if told.name in (RAISED, CLEARED):
            if not is_id(str(data.get("id"))):
                return self._refuse(device, told, "an alarm's id is of a-z, 0-9, _ and -")
            shown = device.alarms.take(told.name, data, t_ms)
            if shown is None:
                self._remember(NAMESPACE, told.device, device.kept())
                return False
            data = shown
        try:
            self._put(told.device, told.name, data, key, t_ms=t_ms, state=(NAMESPACE, told.device, device.kept()))
        except ValueError as error:
            return self._refuse(device, told, str(error))
        device.count += 1
        device.recalled += told.from_memory
        device.last_ms = t_ms if told.t_ms is None else max(t_ms, device.last_ms or 0)
        if changed:
            self._tell_skew(told, now_ms)
        return True

    def _written(self, field: str, clear: Clear, t_ms: int) -> str:
        return self.privacy.written("plate" if field == "plate" else "card", clear, t_ms)

    def _refuse(self, device: _Device, told: Occurrence, reason: str) -> bool:
        """What profile or driver made of a message is no event. Its record counts as told, or it would come for ever."""
        device.refused += 1
        _log.error("not an event of the contract", device=told.device, name=told.name, key=told.key, reason=reason)
        self._remember(NAMESPACE, told.device, device.kept())
        return False

    def _tell_skew(self, told: Occurrence, now_ms: int) -> None:
        assert told.t_ms is not None
        skew_ms = told.t_ms - now_ms
        _log.warning("a device's clock is wrong" if abs(skew_ms) > 60_000 else "a device's clock is right again",
                     device=told.device, skew_s=round(skew_ms / 1000))  # fmt: skip
        self._put(told.device, "device.clock_skew", {"skew_ms": skew_ms}, f"skew:{told.key}")

    def figures(self, device_id: str) -> dict[str, Any] | None:
        """How many events a device had since the start, of them recalled, what was refused as none of the contract's, the time of
        the last, the index told last, and which alarms are active. None for a device that never had any.
        """
        device = self._devices.get(device_id)
        if device is None or (not device.count and not device.refused and device.index is None):
            return None
        return {
            "count": device.count,
            "recalled": device.recalled,
            "refused": device.refused,
            "last": device.last_ms if device.last_ms is not None else device.record_ms,
            "index": device.index,
            "alarms": sorted(device.alarms.active),
        }
