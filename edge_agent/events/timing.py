"""When something happened: the device's own time where it can be believed, else corrected. Pure.

A record may be told twice, live and again from the device's memory after a crash. It must get the same time both times, or the
store keeps it twice. So a wrong clock is corrected by whole minutes that are kept with the event, and not by what is measured
each time.
"""

from __future__ import annotations

BELIEVED_MS = 5 * 60_000
"""A device's own time is believed within this of ours (CONTRACT.md section 3)."""
_STEP_MS = 60_000


class DeviceClock:
    """The clock of one device. `correction_ms` is what was kept of it."""

    def __init__(self, correction_ms: int = 0) -> None:
        self.correction_ms = correction_ms

    def heard(self, t_ms: int, now_ms: int) -> bool:
        """The device told something as it happened, with its own time. True when another correction holds from now on."""
        skew_ms = now_ms - t_ms
        if abs(skew_ms) <= BELIEVED_MS:
            wanted = 0
        elif abs(skew_ms - self.correction_ms) <= 2 * _STEP_MS:
            return False  # as wrong as before: a slow link or a rounding is no change
        else:
            wanted = round(skew_ms / _STEP_MS) * _STEP_MS
        changed, self.correction_ms = wanted != self.correction_ms, wanted
        return changed

    def time_of(self, t_ms: int) -> int:
        """UTC ms of a record."""
        return t_ms + self.correction_ms
