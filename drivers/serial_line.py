"""One serial line: silences between frames, waiting for an answer, and the thread that owns it. Knows no protocol.

The line is half-duplex and has one owner: everything that touches it runs in that owner's thread, one request after the other,
in order of arrival. Time is exact where the standard is (MODBUS over Serial Line V1.02, 2.5.1.1: 3.5 characters of silence
between frames, 1.75 ms above 19200 baud): sleep, then spin. Waiting for an answer wakes up when the bytes that are still
missing are due, not for each byte. Every wait ends at a monotonic deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from device_profiles.errors import DeviceTimeout, LinkLost

from .base import LinkConfig, Trace, WireCount
from .serial_port import Port, open_port

T = TypeVar("T")
Finder = Callable[[bytes], "bytes | int"]
"""Looks at all bytes since the request: the frame that answers it, or how many more bytes it takes at least (1 or more)."""

_SPIN_S = 0.0002
_WAKE_S = 0.00007
"""At least this long ago came the byte that woke us."""
_MOST_BYTES = 8192
"""Bytes that are looked at in search of one answer; what a babbling line sends beyond is thrown away unread."""
_FLOOD_PAUSE_S = 0.005
_RTU_SILENCE_CHARS = 3.5
_LISTEN_AT_OPEN_S = 0.25
"""An answer to whoever had the line before us is not taken for one of ours: the line is drained this long after opening."""


class LineClock(Protocol):
    """Monotonic seconds, and waiting."""

    def now(self) -> float: ...

    def wait_until(self, instant: float) -> None: ...


class ExactClock:
    """Sleeps, then spins for the last 0.2 ms: late by microseconds where a sleep is late by 0.1 ms and more."""

    def now(self) -> float:
        return time.perf_counter()

    def wait_until(self, instant: float) -> None:
        remaining = instant - time.perf_counter()
        if remaining > _SPIN_S:
            time.sleep(remaining - _SPIN_S)
        while time.perf_counter() < instant:
            pass


class LineSilent(Exception):
    """No answer until the deadline; what that means is the protocol's to say. `received` is what came instead."""

    def __init__(self, received: bytes) -> None:
        super().__init__(f"{len(received)} bytes, none of them an answer")
        self.received = received


class LineInterrupted(Exception):
    """Whoever waited for the answer has gone away."""


class Line:
    """The line as its owner thread sees it. Raises LinkLost from every method that touches the port."""

    def __init__(
        self,
        port: Port,
        link: LinkConfig,
        clock: LineClock | None = None,
        trace: Trace | None = None,
        *,
        gap_chars: float | None = None,
    ) -> None:
        self.link = link
        self.counts = WireCount()
        self.clock: LineClock = clock or ExactClock()
        self.char_s = link.bits_per_char / link.baud
        self.gap_s = gap_s(link, gap_chars)
        self._port = port
        self._trace = trace
        self._paced = link.kind == "serial"
        self.job: object = None
        """Whose work runs now, so that only that is interrupted."""
        self._interrupted: object = None
        self._sent = b""
        self._silent_from = self.clock.now()
        """When the last byte was on the wire, sent or received."""
        self._free_at = self.clock.now()
        """Not before this may be sent (quiet time)."""

    def tune(self, link: LinkConfig, gap_chars: float | None = None) -> None:
        """From now on the line speaks as `link` says, another protocol's or device's settings of the same port. Waits until the
        line is silent by both; what came meanwhile is thrown away. Raises DeviceTimeout, LinkError.
        """
        gap = gap_s(link, gap_chars)
        if link != self.link:
            if link.line_settings != self.link.line_settings:
                self.gap_s = max(self.gap_s, gap)
                self.settle()
                self._port.tune(link)
                self.char_s = link.bits_per_char / link.baud
                self.stay_quiet(gap)
            self.link = link
        self.gap_s = gap

    def listen_at_open(self) -> None:
        """Keeps quiet for a moment after opening, so that answers to a former owner are over."""
        self.stay_quiet(min(_LISTEN_AT_OPEN_S, self.link.timeout_s))

    def stay_quiet(self, seconds: float) -> None:
        """Nothing is sent for this long from now. Costs no time until something is to be sent."""
        self._free_at = max(self._free_at, self.clock.now() + seconds)

    def settle(self) -> bytes:
        """Waits until the line may be used, and returns what came meanwhile without being asked for.

        Raises DeviceTimeout when the line never falls silent.
        """
        end: float | None = None
        stray = bytearray()
        while True:
            ready = max(self._silent_from + self.gap_s + self.link.turnaround_s, self._free_at)
            self._pause(ready)
            data = self._port.read(0.0)
            if not data:
                self._report(stray, "unasked")
                return bytes(stray)
            self._heard(data)
            stray += data[: max(0, _MOST_BYTES - len(stray))]
            now = self.clock.now()
            end = end if end is not None else max(now, self._free_at) + self.link.timeout_s
            if now > end:
                self._report(stray, "babble")
                raise DeviceTimeout(
                    f"the line never falls silent: {len(stray)}{' or more' * (len(stray) == _MOST_BYTES)} bytes came unasked",
                    next_step="look for another master on the line, missing termination or bias, or a wrong baud rate",
                )

    def send(self, frame: bytes, *, shown: bytes | None = None) -> None:
        """Puts a frame on the wire; call `settle` before. Raises LineInterrupted, nothing sent, where nobody waits any more.
        `shown` is what a trace sees instead of a frame with a secret in it.
        """
        if self._interrupted is not None and self._interrupted is self.job:
            raise LineInterrupted
        if self._trace:
            self._trace(">", frame if shown is None else shown, "")
        self._sent = frame
        self.counts.requests += 1
        self.counts.bytes_out += len(frame)
        self._port.write(frame)
        self._silent_from = self.clock.now() + len(frame) * self.char_s

    def receive(self, find: Finder, reply_chars: int, timeout_s: float) -> bytes:
        """Waits for the answer to the frame just sent: `timeout_s` from its last character, and the reply's own time.

        Raises LineSilent, LineInterrupted. Bytes that are no answer are skipped while the time runs on.
        """
        deadline = self._silent_from + timeout_s + reply_chars * self.char_s
        echo = self._sent if self.link.echo else b""
        buffer = bytearray()
        need: bytes | int = 1
        first: float | None = None  # when the first byte began, as far as we saw
        seen = 0
        while True:
            data = self._port.read(deadline - self.clock.now())
            if self._interrupted is not None and self._interrupted is self.job:
                raise LineInterrupted
            if data:
                self._heard(data)
                seen += len(data)
                if len(buffer) < _MOST_BYTES:
                    buffer += data
                    if echo and len(buffer) >= len(echo):
                        if buffer.startswith(echo):
                            del buffer[: len(echo)]
                        echo = b""
                    need = 1 if echo else find(bytes(buffer))
                    if isinstance(need, bytes):
                        return self._answered(buffer, need)
            now = self.clock.now()
            if now >= deadline:
                self.counts.timeouts += 1
                self.counts.discarded_bytes += len(buffer)
                self._report(buffer, "no answer")
                raise LineSilent(bytes(buffer))
            if data:
                assert isinstance(need, int)
                if first is None:
                    first = now - len(data) * self.char_s
                due = first + (seen + need) * self.char_s - _WAKE_S if self._paced else now
                flood = now + _FLOOD_PAUSE_S if seen > 2 * reply_chars + 64 else now
                self._pause(min(deadline, max(due, flood)))

    def interrupt(self, job: object) -> None:
        """Ends the waiting of `job` for its answer, if it still waits. The one method for other threads."""
        self._interrupted = job
        self._port.wake()

    def close(self) -> None:
        self._port.close()

    def _pause(self, instant: float) -> None:
        if instant > self.clock.now():
            self.clock.wait_until(instant)

    def _heard(self, data: bytes) -> None:
        self.counts.bytes_in += len(data)
        self._silent_from = max(self._silent_from, self.clock.now())

    def _answered(self, buffer: bytearray, frame: bytes) -> bytes:
        self.counts.replies += 1
        if len(buffer) > len(frame):
            self.counts.discarded_bytes += len(buffer) - len(frame)
            before, _, after = bytes(buffer).partition(frame)
            self._report(before, "before the answer")
            self._report(after, "after the answer")
        if self._trace:
            self._trace("<", frame, "")
        return frame

    def _report(self, data: bytes | bytearray, remark: str) -> None:
        if data and self._trace:
            self._trace("!", bytes(data[:64]), remark)


def gap_s(link: LinkConfig, gap_chars: float | None = None) -> float:
    """The silence between two frames: `gap_chars` characters, or what MODBUS over Serial Line V1.02, 2.5.1.1 wants."""
    chars = _RTU_SILENCE_CHARS if gap_chars is None else gap_chars
    return 0.00175 if gap_chars is None and link.baud > 19200 else chars * link.bits_per_char / link.baud


class LineAccess(Protocol):
    """What a session needs of its line: a LineOwner, or a LineShare of one."""

    @property
    def link(self) -> LinkConfig: ...

    @property
    def counts(self) -> WireCount: ...

    async def call(self, work: Callable[[Line], T]) -> T:
        """Runs `work` on the line in its thread. A cancelled caller ends the waiting for an answer at once."""
        ...


class LineShare:
    """A line as one of several protocols or settings on it uses it: the line is tuned to `link` before each piece of work."""

    def __init__(self, owner: LineAccess, link: LinkConfig, gap_chars: float | None = None) -> None:
        self.link = link
        self._owner = owner
        self._gap_chars = gap_chars

    @property
    def counts(self) -> WireCount:
        """Of the whole line."""
        return self._owner.counts

    async def call(self, work: Callable[[Line], T]) -> T:
        """See LineAccess."""

        def run(line: Line) -> T:
            line.tune(self.link, self._gap_chars)
            return work(line)

        return await self._owner.call(run)


class LineOwner:
    """The thread that owns a line: callers hand it work, which runs in order of arrival. `gap_chars`: see `gap_s`."""

    def __init__(self, link: LinkConfig, trace: Trace | None = None, *, gap_chars: float | None = None) -> None:
        self.link = link
        self.counts = WireCount()
        self._gap_chars = gap_chars
        self._trace = trace
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"line-{link.id}", initializer=_go_first)
        self._line: Line | None = None

    async def open(self) -> None:
        """Opens the port in the thread. Raises LinkRefused, LinkTimeout."""
        loop = asyncio.get_running_loop()
        port = loop.run_in_executor(self._thread, open_port, self.link)
        try:
            self._line = Line(await asyncio.shield(port), self.link, trace=self._trace, gap_chars=self._gap_chars)
        except asyncio.CancelledError:
            port.add_done_callback(_close_unwanted)
            raise
        self._line.listen_at_open()
        self.counts = self._line.counts

    async def call(self, work: Callable[[Line], T]) -> T:
        """See LineAccess."""
        job = object()

        def run() -> T:
            line = self._line
            if line is None:
                raise LinkLost("the line was closed", where=self.link.id)
            line.job = job
            return work(line)

        if self._line is None:
            raise LinkLost("the line was closed", where=self.link.id)
        try:
            return await asyncio.wrap_future(self._thread.submit(run))
        except asyncio.CancelledError:
            if self._line is not None:
                self._line.interrupt(job)
            raise

    async def close(self) -> None:
        """Ends what is running and closes the port. Work that has not begun raises LinkLost."""
        line, self._line = self._line, None
        if line is not None:
            line.interrupt(line.job)
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, line.close))
        self._thread.shutdown(wait=False)


def _go_first() -> None:
    """Raises the priority of the calling thread, where the system allows it: it sleeps nearly always, and is wanted in time."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)


def _close_unwanted(port: asyncio.Future[Port]) -> None:
    if not port.cancelled() and port.exception() is None:
        port.result().close()
