"""How the process itself does: memory, processor time, lag of the event loop, and what systemd is told.

A blocking call of a second or more is found by the loop's own lateness and logged. No policy: it measures and reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import itertools
import os
import resource
import socket
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import structlog

_PERIOD_S = 1.0
_TRIM_AFTER = 4
"""Periods after which starting is over."""
_BLOCKED_S = 1.0
_log = structlog.get_logger("health")
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def rss_mb() -> float:
    """Resident memory of this process in MB (10^6 bytes), from /proc; the peak where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return pages * _PAGE / 1e6


def open_files() -> int:
    """File descriptors in use; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def notify(state: str) -> None:
    """Tells systemd (`READY=1`, `WATCHDOG=1`, `STOPPING=1`, `RELOADING=1`); nothing happens without systemd (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
        try:
            link.connect("\0" + address[1:] if address.startswith("@") else address)
            link.sendall(state.encode())
        except OSError as error:
            _log.warning("systemd could not be told", state=state, error=str(error))


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the process, since it started."""

    rss_mb: float
    cpu_s: float
    uptime_s: float
    loop_lag_p99_ms: float
    files: int


def give_back() -> None:
    """Returns what starting needed once (profiles, YAML, schemas) to the system, and spares what stays from further collection.

    6 MB of 61 with five devices (glibc's malloc_trim(3); nothing happens with another C library).
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Health:
    """Watches the loop once a second and feeds systemd's watchdog."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._lags: deque[float] = deque(maxlen=300)

    def figures(self) -> Figures:
        """What is now."""
        lags = sorted(self._lags)
        p99 = lags[min(len(lags) - 1, int(len(lags) * 0.99))] if lags else 0.0
        return Figures(
            rss_mb=round(rss_mb(), 1),
            cpu_s=round(time.process_time(), 2),
            uptime_s=round(time.monotonic() - self._started, 1),
            loop_lag_p99_ms=round(p99 * 1000, 1),
            files=open_files(),
        )

    async def run(self) -> None:
        """Until cancelled."""
        for period in itertools.count():
            if period == _TRIM_AFTER:
                give_back()
            before = time.monotonic()
            await asyncio.sleep(_PERIOD_S)
            lag = max(0.0, time.monotonic() - before - _PERIOD_S)
            self._lags.append(lag)
            if lag >= _BLOCKED_S:
                _log.warning("the event loop was blocked", seconds=round(lag, 1))
            notify("WATCHDOG=1")
