"""Makes events of what drivers tell, each record once, and remembers in the same commit how far every device has been told.

A record with an index is told once because its index is kept with it. One without is told once as long as the process lives,
and a repeat after that has the same id, the same time and the same content, which the store takes for the same row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import structlog

from drivers.listening import Occurrence
from edge_agent.clock import Clock
from edge_agent.events.alarms import CLEARED, RAISED, Alarms, Retain
from edge_agent.events.pseudonym import Privacy
from edge_agent.events.timing import DeviceClock

NAMESPACE = "events"
"""Of the kept state: device id to `{index, correction, alarms}`."""
_REMEMBERED = 2_000
"""Keys of records without an index that are known for repeats, a device."""
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


class _Device:
    """What is known of the events of one device."""

    __slots__ = ("alarms", "clock", "count", "index", "last_ms", "recalled", "seen", "seen_order")

    def __init__(self, device_id: str, kept: Mapping[str, Any], retain: Retain) -> None:
        self.index: int | None = kept.get("index")
        self.clock = DeviceClock(kept.get("correction", 0))
        self.alarms = Alarms(device_id, retain, kept.get("alarms"))
        self.seen: set[str] = set()
        self.seen_order: deque[str] = deque()
        self.count = self.recalled = 0
        self.last_ms: int | None = None

    def kept(self) -> dict[str, Any]:
        return {"index": self.index, "correction": self.clock.correction_ms, "alarms": self.alarms.active}

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
    ) -> None:
        self._put = put
        self._remember = remember
        self._retain = retain
        self._clock = clock
        self._memory = memory
        self.privacy = privacy
        self.settle = settle
        self._devices: dict[str, _Device] = {}
        for device_id in memory:
            self._of(device_id).alarms.announce()

    def _of(self, device_id: str) -> _Device:
        known = self._devices.get(device_id)
        if known is None:
            known = self._devices[device_id] = _Device(device_id, self._memory.get(device_id, {}), self._retain)
        return known

    def index_of(self, device_id: str) -> int | None:
        """The index of the last record that was told; None = none ever was."""
        return self._of(device_id).index

    def begin(self, device_id: str, index: int) -> None:
        """Records up to this index are not told: what a device kept before we came, or what another device did there."""
        device = self._of(device_id)
        device.index = index
        self._remember(NAMESPACE, device_id, device.kept())

    def replaced(self, device_id: str, before: int, newest: int) -> None:
        """The device's records begin anew: it was exchanged, or its memory cleared."""
        data = {"before": f"record {before}", "after": f"record {newest}"}
        self._put(device_id, "device.identity_changed", data, f"records:{before}:{newest}:{self._clock.wall_ms()}")

    def forget(self, device_id: str) -> None:
        """The device is not configured any more."""
        device = self._devices.pop(device_id, None)
        if device is not None:
            device.alarms.end()
            self._remember(NAMESPACE, device_id, None)

    def take(self, told: Occurrence) -> bool:
        """Writes it, unless it was written before. Committed when `settle` returns. False for a repeat."""
        device = self._of(told.device)
        if told.index is not None and device.index is not None and told.index <= device.index:
            return False
        now_ms = self._clock.wall_ms()
        changed = False
        if told.t_ms is not None and not told.from_memory:
            changed = device.clock.heard(told.t_ms, now_ms)
        t_ms = now_ms if told.t_ms is None else device.clock.time_of(told.t_ms)
        data = dict(told.data)
        for name, clear in told.clear.items():
            data[name] = self.privacy.written("plate" if name == "plate" else "card", clear, t_ms)
        key = ":".join((told.key, *(str(data[name]) for name in sorted(told.clear))))
        if told.index is None and device.is_repeat(key):
            return False
        if told.index is not None:
            device.index = told.index
        if told.name in (RAISED, CLEARED):
            shown = device.alarms.take(told.name, data, t_ms)
            if shown is None:
                self._remember(NAMESPACE, told.device, device.kept())
                return False
            data = shown
        device.count += 1
        device.recalled += told.from_memory
        device.last_ms = max(t_ms, device.last_ms or 0)
        self._put(told.device, told.name, data, key, t_ms=t_ms, state=(NAMESPACE, told.device, device.kept()))
        if changed:
            self._tell_skew(told, now_ms)
        return True

    def _tell_skew(self, told: Occurrence, now_ms: int) -> None:
        assert told.t_ms is not None
        skew_ms = told.t_ms - now_ms
        _log.warning("a device's clock is wrong" if abs(skew_ms) > 60_000 else "a device's clock is right again",
                     device=told.device, skew_s=round(skew_ms / 1000))  # fmt: skip
        self._put(told.device, "device.clock_skew", {"skew_ms": skew_ms}, f"skew:{told.key}")

    def figures(self, device_id: str) -> dict[str, Any] | None:
        """How many events a device had since the start, of them recalled, the time of the last, and the index told last."""
        device = self._devices.get(device_id)
        if device is None or (not device.count and device.index is None):
            return None
        return {
            "count": device.count,
            "recalled": device.recalled,
            "last": device.last_ms,
            "index": device.index,
            "alarms": sorted(device.alarms.active),
        }
