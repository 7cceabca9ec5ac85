"""A login that a device refused is not tried again for long: cameras lock an account after a handful of wrong passwords.

Opens nothing and holds no password; only when its file was changed is known, so that a corrected one is tried at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FIRST_PAUSE_S, LAST_PAUSE_S = 300.0, 3600.0
"""How long a login that was refused is not tried again; doubles with each refusal."""


@dataclass(slots=True)
class Lockout:
    """What is remembered of a refused login, for as long as its driver lives: reconnecting does not try the password again."""

    clock: Callable[[], float] = time.monotonic
    until: float = 0.0
    pause_s: float = 0.0
    password: tuple[int, int] | None = None
    """Time and size of the password file that was refused."""

    def refused(self, stamp: tuple[int, int] | None) -> None:
        """The password was tried, and the device said no."""
        self.pause_s = min(LAST_PAUSE_S, self.pause_s * 2) if self.pause_s else FIRST_PAUSE_S
        self.until = self.clock() + self.pause_s
        self.password = stamp

    def accepted(self) -> None:
        self.pause_s = self.until = 0.0

    def remaining_s(self, stamp: tuple[int, int] | None) -> float:
        """Seconds in which it is not tried; none where the file has changed since."""
        if self.pause_s and stamp != self.password:
            self.accepted()
        return max(0.0, self.until - self.clock())


@dataclass(slots=True)
class Lockouts:
    """A driver's lockouts, by link."""

    of: dict[str, Lockout] = field(default_factory=dict)

    def link(self, link_id: str) -> Lockout:
        return self.of.setdefault(link_id, Lockout())


def stamp_of(path: str) -> tuple[int, int] | None:
    """Time of change and size of a file; None without one."""
    try:
        found = Path(path).stat() if path else None
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size)
