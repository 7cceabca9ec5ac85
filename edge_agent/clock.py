"""What time it is, how well that is known, and waiting. Every timer of the agent is monotonic; UTC only stamps.

`SystemClock` asks the machine; `VirtualClock` is the one of the tests. Both stamp by the same rules (`SteadyClock`), so that no
step of the machine's clock gives one device the same time twice. Readings that must wait for the first synchronisation are kept
by `edge_agent.clock_gate`, not here.
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import itertools
import sys
import time
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

Quality = Literal["ntp", "rtc", "unsync"]
"""`ntp`: disciplined now. `rtc`: set at boot by a hardware clock (or by the host of a container). `unsync`: neither."""

FLOOR_MS = 1_704_067_200_000
"""2024-01-01: a machine that says an earlier time does not know it."""
STEP_MS = 500
"""A change of UTC against the monotonic clock that is larger than this is a step; smaller ones are NTP at work."""
SLEW_MS = 300_000
"""A step back up to this is absorbed: stamps run at half speed until UTC has caught up. No stamp is further ahead of UTC."""
_TIE_MS = 10_000
"""A stamp this little ahead of UTC is one of many in a millisecond; a larger lead is a step back."""
_QUALITY_FOR_S = 5.0
_STA_UNSYNC = 0x0040
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Step:
    """UTC moved by `by_ms` against the monotonic clock, from `before_ms` to `after_ms`."""

    by_ms: int
    before_ms: int
    after_ms: int


class Clock(Protocol):
    """The time of the agent. `boot_id` changes with every boot of the machine."""

    boot_id: str

    def monotonic(self) -> float:
        """Seconds; never goes back and is never set."""
        ...

    def uptime_s(self) -> float:
        """Seconds since the machine was booted."""
        ...

    def wall_ms(self) -> int:
        """UTC in ms, never before 2024; in the five minutes after a step back it runs at half speed instead of back."""
        ...

    def stamp(self, after: int) -> int:
        """UTC in ms for the next acquisition of a device whose previous one was stamped `after` (0: none)."""
        ...

    def take_step(self) -> Step | None:
        """The last step of UTC that nobody has taken yet."""
        ...

    def quality(self) -> Quality: ...

    def alarm(self, seconds: float) -> asyncio.Future[None]:
        """A future that is done after so many seconds; whoever is not interested any more, or wants it earlier, ends it."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SteadyClock:
    """Stamps from a monotonic and a UTC clock; the rules that both clocks share.

    UTC that jumps forward is followed at once. A step back of at most five minutes is absorbed (see SLEW_MS), so that stamps go
    on growing. A larger step back is followed at once: a stamp more than five minutes ahead of UTC would be refused by the
    centre. So that the hours seen twice still give no stamp twice, stamps are even, and odd after such a step (even again after
    the next). A UTC before 2024 is replaced by `floor_ms` plus the time since boot.
    """

    boot_id: str
    floor_ms: int = FLOOR_MS

    def __init__(self) -> None:
        self._offset_ms = self._raw_ms = self._floored_utc_ms() - self.monotonic() * 1000.0
        self._read_at = self.monotonic()
        self._parity = 0
        self._step: Step | None = None

    def monotonic(self) -> float:
        raise NotImplementedError

    def uptime_s(self) -> float:
        raise NotImplementedError

    def utc_ms(self) -> float:
        """The machine's UTC as it is."""
        raise NotImplementedError

    def _floored_utc_ms(self) -> float:
        utc = self.utc_ms()
        return utc if utc >= FLOOR_MS else self.floor_ms + self.uptime_s() * 1000.0

    def wall_ms(self) -> int:
        now = self.monotonic()
        raw = self._floored_utc_ms() - now * 1000.0
        if abs(raw - self._raw_ms) > STEP_MS:
            before = now * 1000.0 + self._raw_ms
            self._step = Step(round(raw - self._raw_ms), round(before), round(now * 1000.0 + raw))
        self._raw_ms = raw
        ahead = self._offset_ms - raw
        if ahead > SLEW_MS:
            self._offset_ms = raw
            self._parity ^= 1
        elif ahead > 0:
            self._offset_ms = max(raw, self._offset_ms - (now - self._read_at) * 500.0)
        else:
            self._offset_ms = raw
        self._read_at = now
        return int(now * 1000.0 + self._offset_ms)

    def stamp(self, after: int) -> int:
        t_ms = self.wall_ms() & ~1 | self._parity
        return after + 2 if t_ms <= after <= t_ms + _TIE_MS else t_ms

    def take_step(self) -> Step | None:
        step, self._step = self._step, None
        return step


class SystemClock(SteadyClock):
    """The clock of the machine. Quality is asked of the kernel at most every five seconds."""

    def __init__(self) -> None:
        self.boot_id = _boot_id()
        self._quality: Quality = "unsync"
        self._quality_until = float("-inf")
        super().__init__()

    def monotonic(self) -> float:
        return time.monotonic()

    def uptime_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    def utc_ms(self) -> float:
        return time.time_ns() / 1e6

    def quality(self) -> Quality:
        now = time.monotonic()
        if now >= self._quality_until:
            self._quality_until = now + _QUALITY_FOR_S
            self._quality = _machine_quality(self.utc_ms())
        return self._quality

    def alarm(self, seconds: float) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _ring, future)
        future.add_done_callback(lambda _: timer.cancel())
        return future

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _ring(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(uuid.uuid4())


def _machine_quality(utc_ms: float) -> Quality:
    if utc_ms < FLOOR_MS:
        return "unsync"
    if Path("/run/systemd/timesync/synchronized").exists() or _kernel_says_synchronised():
        return "ntp"
    return "rtc" if _has_hardware_clock() else "unsync"


class _Timex(ctypes.Structure):
    """The head of `struct timex` (adjtimex(2)); what follows `status` is not used and only has to have room."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    ]


def _kernel_says_synchronised() -> bool:
    """STA_UNSYNC is clear: a daemon (chrony, ntpd, timesyncd) disciplines the clock. False where there is no adjtimex."""
    if not sys.platform.startswith("linux"):
        return False
    timex = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return False
    return state >= 0 and not timex.status & _STA_UNSYNC


def _has_hardware_clock() -> bool:
    """A hardware clock set the time at boot; a machine that shows no such class (container, Windows) has its host's clock."""
    devices = Path("/sys/class/rtc")
    if not devices.is_dir():
        return True
    for flag in devices.glob("*/hctosys"):
        try:
            if flag.read_text().strip() == "1":
                return True
        except OSError:
            continue
    return False


class VirtualClock(SteadyClock):
    """Time that stands still until a test moves it. Sleepers wake in the order of their times, and each runs until everything
    waits again before the next one wakes, so that a run is the same every time.

    Only what sleeps by this clock moves with it; sockets and asyncio's own timers do not.
    """

    def __init__(self, utc_ms: int = 1_795_355_245_000, *, quality: Quality = "ntp", uptime_s: float = 3600.0) -> None:
        self.boot_id = "00000000-0000-4000-8000-000000000000"
        self._now = 1000.0
        self._uptime_offset_s = uptime_s - self._now
        self._utc_offset_ms = utc_ms - self._now * 1000.0
        self._said: Quality = quality
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        super().__init__()

    def monotonic(self) -> float:
        return self._now

    def uptime_s(self) -> float:
        return self._now + self._uptime_offset_s

    def utc_ms(self) -> float:
        return self._now * 1000.0 + self._utc_offset_ms

    def quality(self) -> Quality:
        return self._said

    def set(self, *, utc_ms: float | None = None, quality: Quality | None = None) -> None:
        """Sets UTC, or says another quality, without moving the monotonic clock."""
        if utc_ms is not None:
            self._utc_offset_ms = utc_ms - self._now * 1000.0
        if quality is not None:
            self._said = quality

    def step(self, by_ms: float) -> None:
        """Moves UTC by so much."""
        self._utc_offset_ms += by_ms

    def alarm(self, seconds: float) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + max(0.0, seconds), next(self._order), future))
        return future

    async def sleep(self, seconds: float) -> None:
        await self.alarm(seconds)

    def elapse(self, seconds: float) -> None:
        """Moves on without waking anyone: for code that does not wait."""
        self._now += seconds

    async def advance(self, seconds: float) -> None:
        """Moves on by so many seconds and wakes everyone whose time comes on the way."""
        end = self._now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            await self._wake_next()
        self._now = end

    async def run(self, task: Awaitable[_Result], *, at_most_s: float = 86_400.0) -> _Result:
        """Moves on until `task` is done. Raises TimeoutError when it is not after `at_most_s` or nobody sleeps any more."""
        future = asyncio.ensure_future(task)
        end = self._now + at_most_s
        await self._settle()
        while not future.done():
            if not self._sleepers or self._sleepers[0][0] > end:
                future.cancel()
                raise TimeoutError(f"not done after {at_most_s} s of virtual time, {len(self._sleepers)} sleepers left")
            await self._wake_next()
        return await future

    async def _wake_next(self) -> None:
        due, _, future = heapq.heappop(self._sleepers)
        if future.done():
            return  # its sleeper was cancelled
        self._now = max(self._now, due)
        future.set_result(None)
        await self._settle()

    async def _settle(self) -> None:
        """Lets every task run until it waits for something else than the loop."""
        ready = getattr(asyncio.get_running_loop(), "_ready", None)
        if ready is None:  # uvloop does not show its queue
            for _ in range(64):
                await asyncio.sleep(0)
            return
        await asyncio.sleep(0)
        while ready:  # noqa: ASYNC110  the loop's own queue is what is waited for; it has no event
            await asyncio.sleep(0)
