"""Events of devices that are only polled: what a change of a point means, as the profile's `events` say it. No clock, no I/O.

`when: {point: door_open, becomes: true}` fits when the point was something else before; with `for_s: 60` when it is so
for a minute. The first value after a start is no change: what happened while nobody looked is not told, since nobody knows when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from device_profiles.events import EventSource
from device_profiles.reading import Acquisition, Value
from drivers.listening import Occurrence
from edge_agent.model import Device


def is_derived(source: EventSource) -> bool:
    """The event is told by a change of a point, not by a message of the device."""
    return source.event is not None and "point" in source.when and "becomes" in source.when


def derives(device: Device) -> bool:
    """Changes of the device's points are events."""
    return any(is_derived(source) for source in device.profile.events)


class Derived:
    """The derived events of one device. `take` its acquisitions in their order."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._sources = [source for source in device.profile.events if is_derived(source)]
        self._points = {str(source.when["point"]) for source in self._sources}
        self._values: dict[str, tuple[Value, int | None]] = {}
        """By point: the value, and since when; None = since before we looked."""
        self._told: set[int] = set()
        """Sources with `for_s` that were told for the state that stands."""

    def take(self, acquisition: Acquisition) -> Iterator[Occurrence]:
        """What the acquisition says that happened. A value that is not good says nothing, and ends nothing."""
        if acquisition.src is not None:
            return
        for point, value, t_ms in self._of(acquisition):
            before = self._values.get(point)
            if before is not None and before[0] == value:
                continue
            self._values[point] = (value, None if before is None else t_ms)
            for index, source in self._about(point):
                self._told.discard(index)
                if before is not None and "for_s" not in source.when and _is(value, source.when["becomes"]):
                    yield self._occurrence(source, t_ms)
        yield from self._lasting(acquisition.t_ms)

    def _lasting(self, now_ms: int) -> Iterator[Occurrence]:
        for index, source in enumerate(self._sources):
            value, since = self._values.get(str(source.when["point"]), (None, None))
            if "for_s" not in source.when or since is None or index in self._told:
                continue
            held_ms = now_ms - since
            if _is(value, source.when["becomes"]) and held_ms >= 1000 * float(source.when["for_s"]):
                self._told.add(index)
                held = {"held_s": held_ms / 1000} if source.event == "access.held_open" else {}
                yield self._occurrence(source, now_ms, held)

    def _of(self, acquisition: Acquisition) -> Iterator[tuple[str, Value, int]]:
        for point in self._points & acquisition.good.keys():
            yield point, acquisition.good[point], acquisition.t_ms
        for flag in acquisition.flagged:
            if flag.point in self._points and flag.value is not None and flag.status[:4] in ("", "Good"):
                yield flag.point, flag.value, acquisition.t_ms + flag.dt_ms

    def _about(self, point: str) -> Iterable[tuple[int, EventSource]]:
        return [(index, source) for index, source in enumerate(self._sources) if source.when["point"] == point]

    def _occurrence(self, source: EventSource, t_ms: int, more: dict[str, Any] | None = None) -> Occurrence:
        assert source.event is not None
        data: dict[str, Any] = {
            name: value.replace("{device}", self._device.id) if isinstance(value, str) else value
            for name, value in source.data.items()
        }
        if self._device.direction and source.event.startswith(("gate.", "access.", "vehicle.")):
            data.setdefault("dir", self._device.direction)
        key = f"{source.when['point']}:{source.when['becomes']}:{source.when.get('for_s', '')}:{t_ms}"
        return Occurrence(self._device.id, source.event, key, data | (more or {}))


def _is(value: object, wanted: object) -> bool:
    return value in wanted if isinstance(wanted, list) else value == wanted
