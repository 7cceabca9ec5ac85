"""Counters that never run backwards: a fall is a roll-over, an exchange or an error, and one of three events says which.

How it is decided what the way from `before` to `after` is:

- *Exchange*, at once: the device's identity (serial number) changed since the last reading, whichever way the value went.
  `counter.exchanged`, reason `identity`.
- *Roll-over*, at once: the counter has a `wrap` (from the profile, else the range of an unsigned or BCD type), `before` was in
  its last tenth, and the way across the wrap is at most a tenth of it. `counter.rolled_over`.
- Less than one part in a million: the device's own rounding and no fall; the higher value stands for later comparisons.
- Any other fall is doubtful: the readings go out as uncertain until the next ones decide.
  - The next reading is at or above `before` again: a glitch. `counter.error`, reason `glitch`.
  - Three readings in a row, none lower than the one before, that began at about 0 (at most a hundredth of `before`, or 10):
    a new or a reset meter. `counter.exchanged`, reason `restarted`.
  - Three in a row that began elsewhere: nobody knows why. `counter.error`, reason `fell`; counting goes on from there.

Pure. The state is JSON-able and kept over restarts; readings themselves are never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from device_profiles.schema import Point

DOUBTFUL = "UncertainSensorNotAccurate"
"""Status of a reading that is lower than the one before it, until it is known why."""
_CONFIRM = 3
_NOISE = 1e-6
_BITS = {"u16": 16, "u32": 32, "u64": 64, "bcd16": 0, "bcd32": 0, "bcd64": 0}
_BCD_DIGITS = {"bcd16": 4, "bcd32": 8, "bcd64": 16}


@dataclass(frozen=True, slots=True)
class Fall:
    """Why a counter fell: the event's name and its data."""

    event: str
    data: Mapping[str, Any]


def wrap_of(point: Point, slope: Fraction) -> float | None:
    """The published value at which the counter starts again at 0; None where only an exchange can explain a fall.

    `slope` is published units per raw unit. A profile's `wrap` is in the device's unit, scaled; without one it is one more than
    the largest raw value of an unsigned or BCD type.
    """
    if point.wrap is not None:
        scale = Fraction(1) if point.scale is None or not point.scale else Fraction(point.scale)
        return float(Fraction(point.wrap) * slope / scale)
    if point.parts or point.bits is not None:
        return None
    if point.type in _BCD_DIGITS:
        return float(10 ** _BCD_DIGITS[point.type] * slope)
    bits = _BITS.get(point.type)
    return float(2**bits * slope) if bits else None


class Counter:
    """One counter point. `last` is the highest value that is believed, -inf before the first.

    While `is_pending` every reading must go through `take`; otherwise a caller may just set `last` when the value did not fall.
    """

    __slots__ = ("_before", "_doubts", "_first_low", "_is_new_device", "is_pending", "last", "point", "wrap")

    def __init__(self, point: str, wrap: float | None, memory: Mapping[str, Any] | None = None) -> None:
        self.point = point
        self.wrap = wrap
        memory = memory or {}
        self.last = float(memory.get("last", "-inf"))
        self._before: float | None = memory.get("before")
        self._first_low = float(memory.get("first_low", 0.0))
        self._doubts = int(memory.get("doubts", 0))
        self._is_new_device = False
        self.is_pending = self._before is not None

    def memory(self) -> dict[str, Any]:
        """What `__init__` takes after a restart."""
        if self.last == float("-inf"):
            return {}
        if self._before is None:
            return {"last": self.last}
        return {"last": self.last, "before": self._before, "first_low": self._first_low, "doubts": self._doubts}

    def identity_changed(self) -> None:
        """Another device answers now."""
        if self.last > float("-inf"):
            self._is_new_device = self.is_pending = True

    def take(self, value: float) -> tuple[str, Fall | None]:
        """(status, event) for one reading; status "" is good."""
        before = self.last if self._before is None else self._before
        if self._is_new_device:
            return "", self._settle("counter.exchanged", before, value, value, reason="identity")
        if self._before is not None:
            return self._decide(value, self._before)
        if value >= before:
            self.last = value
            return "", None
        if self.wrap is not None and _is_roll_over(before, value, self.wrap):
            return "", self._settle("counter.rolled_over", before, value, value, wrap=self.wrap)
        if before - value <= abs(before) * _NOISE:
            return "", None
        self._before, self._first_low, self._doubts = before, value, 1
        self.last, self.is_pending = value, True
        return DOUBTFUL, None

    def _decide(self, value: float, before: float) -> tuple[str, Fall | None]:
        if value >= before:
            return "", self._settle("counter.error", before, self._first_low, value, reason="glitch")
        if value < self.last:
            self._first_low, self._doubts = value, 0
        self._doubts += 1
        self.last = value
        if self._doubts < _CONFIRM:
            return DOUBTFUL, None
        has_restarted = self._first_low <= max(abs(before) / 100.0, 10.0)
        event, reason = ("counter.exchanged", "restarted") if has_restarted else ("counter.error", "fell")
        return "", self._settle(event, before, self._first_low, value, reason=reason)

    def _settle(self, event: str, before: float, after: float, value: float, **more: Any) -> Fall:
        self.last, self._before, self._doubts = value, None, 0
        self._is_new_device = self.is_pending = False
        return Fall(event, {"point": self.point, "before": before, "after": after, **more})


def _is_roll_over(before: float, after: float, wrap: float) -> bool:
    return (
        wrap * 0.9 <= before <= wrap and after >= 0 and before - after > wrap / 2 and after + wrap - before <= wrap / 10
    )
