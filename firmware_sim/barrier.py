"""A vehicle barrier behind a relay board: an arm that takes its time, a loop and a light barrier, and cars that come and go.

Relays 1, 2 and 3 open, close and hold; the arm closes by itself when nothing stands below. `fire` is its own release contact: up,
whatever anybody says. Time is the caller's, so that a test drives it.
"""

from __future__ import annotations

from firmware_sim.registers import Value
from firmware_sim.worlds import ILLEGAL_VALUE

MOVE_S = 2.0
STAY_S = 8.0
"""The arm stays up so long after it was opened."""
PERIOD_S = 60.0
"""One car in each so long: on the loop from the 20th second on, below the arm as it leaves."""


class Barrier:
    """One barrier. `seed` shifts its cars."""

    def __init__(self, seed: int) -> None:
        self._shift = (seed * 7) % 60
        self._opened_at: float | None = None
        self._closed_at = -1e12
        self._hold = False
        self._pulses = [-1e12, -1e12]
        """Until when relays 1 and 2 are on."""
        self.fire = False

    def write(self, quantity: str, raw: int, t: float) -> int:
        """`relay1` to `relay3` on and off; `flash1`, `flash2`: on for so many tenths of a second."""
        kind, number = quantity[:-1], int(quantity[-1])
        if kind not in ("relay", "flash") or number > 3:
            return ILLEGAL_VALUE
        if number == 3:
            self._hold = bool(raw)
            return 0
        seconds = raw / 10 if kind == "flash" else 1e12 if raw else 0.0
        self._pulses[number - 1] = t + seconds
        if seconds and number == 1:
            self._opened_at = t
        elif seconds and not self._car(t)[1]:
            self._closed_at = t
            self._opened_at = None
        return 0

    def snapshot(self, t: float) -> dict[str, Value]:
        on_loop, below = self._car(t)
        values: dict[str, Value] = {f"relay{at + 1}": t < until for at, until in enumerate(self._pulses)}
        values |= {"relay3": self._hold, "input1": self._is_up(t), "input2": below, "input3": on_loop}
        return values | {f"input{number}": False for number in range(4, 9)} | {f"relay{n}": False for n in range(4, 9)}

    def _is_up(self, t: float) -> bool:
        if self.fire or self._hold:
            return True
        if self._opened_at is None:
            return False
        return MOVE_S <= t - self._opened_at < MOVE_S + STAY_S

    def _car(self, t: float) -> tuple[bool, bool]:
        """(on the loop, below the arm): it waits until the arm is up, or turns back after a while."""
        second = (t + self._shift) % PERIOD_S
        return 20 <= second < 30, 30 <= second < 33 and self._is_up(t)
