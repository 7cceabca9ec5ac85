"""An RS-485 line over a pty pair, with the timing a pty does not have: bytes paced at the baud rate, frames told by silence.

One thread a line: it lets a request take its time on the wire, answers after the device's turnaround and writes the reply
byte by byte as a UART would. Only a reply's last byte is waited for by spinning; the ones before are written when their time
has passed, so that a busy line costs little. Where both sides speak at once (a late reply) both are delivered whole and the
collision is counted: that is the harder case for the other side, a garbled frame would give itself away by its CRC.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import select
import threading
import time
import tty
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from firmware_sim.device import Device
from firmware_sim.framing import Request, rtu_parts
from firmware_sim.wire import LineStats, Receiver, Wire

SPIN_S = 0.00012
"""How early a sleep ends before a moment that must be met."""
_LATE_S = 0.001
"""How late the thread may begin a reply and still end it on time: its first bytes then go out together, as from a UART's FIFO."""
_NOBODY_S = 0.02
"""Between looks whether somebody opened the port again."""


class SerialLine:
    """Devices on one RS-485 line. `with SerialLine(devices, Wire(9600)) as line: line.path` is the port to open.

    `link` is a symlink kept on the port's path. The devices belong to the line's thread; `ask` runs a call there.
    """

    def __init__(self, devices: Iterable[Device], wire: Wire, *, link: Path | None = None) -> None:
        self.devices = {device.unit: device for device in devices}
        self.wire = wire
        self.stats = LineStats()
        self.path = ""
        self._link = link
        self._receiver = Receiver(wire, self.stats)
        self._pending: list[tuple[float, int, bytes]] = []
        """(moment of the first bit, order, bytes) still to be sent."""
        self._order = 0
        self._master = -1
        self._wake_r, self._wake_w = -1, -1
        self._calls: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Raises OSError where the symlink cannot be made."""
        self.plug()
        self._wake_r, self._wake_w = os.pipe()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"sim-line-{self.path}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake()
        if self._thread is not None:
            self._thread.join(5)
        self.unplug()
        os.close(self._wake_r)
        os.close(self._wake_w)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, call: Callable[[], None]) -> None:
        """Runs `call` on the line's thread between two frames; returns when it has run."""
        done = threading.Event()
        self._calls.append(call)
        self._calls.append(done.set)
        self._wake()
        done.wait(5)

    def plug(self) -> None:
        """Makes the pty pair, as a USB adapter appears. On the line's thread once it runs."""
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self._master, False)
        try:
            if self._link is not None:
                self._link.unlink(missing_ok=True)
                self._link.symlink_to(self.path)
        except OSError:
            os.close(self._master)
            self._master = -1
            raise

    def unplug(self) -> None:
        """Takes the pty away, as when somebody pulls the adapter: the other side reads EIO."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
        self._pending.clear()
        if self._link is not None:
            self._link.unlink(missing_ok=True)

    def _wake(self) -> None:
        os.write(self._wake_w, b"x")

    def _run(self) -> None:
        with contextlib.suppress(PermissionError):
            # a UART is not late because a neighbour computes; it sleeps nearly all the time and never spins longer than SPIN_S
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        while not self._stopping:
            moments = [
                at for at in (self._receiver.due, self._pending[0][0] if self._pending else None) if at is not None
            ]
            self._wait(max(min(moments) - time.perf_counter(), 0.0) if moments else None)
            while self._calls:
                self._calls.popleft()()
            now = time.perf_counter()
            if self._pending and self._pending[0][0] <= now:
                at, _, data = heapq.heappop(self._pending)
                self._pace(data, max(at, now - _LATE_S))
            frame = self._receiver.take(time.perf_counter())
            if frame is not None:
                self._serve(frame)

    def _wait(self, timeout: float | None) -> None:
        """Until bytes came (they are taken in), the time is over or somebody calls."""
        watched = [self._wake_r] if self._master < 0 else [self._master, self._wake_r]
        ready, _, _ = select.select(watched, [], [], timeout)
        now = time.perf_counter()
        if self._wake_r in ready:
            os.read(self._wake_r, 64)
        if self._master in ready:
            data = self._receive()
            if data:
                self._receiver.push(now, data)

    def _receive(self) -> bytes:
        try:
            return os.read(self._master, 4096)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            # nobody has the port open: a pty says so by EIO, at once and each time
            select.select([self._wake_r], [], [], _NOBODY_S)
            return b""

    def _serve(self, frame: bytes) -> None:
        parts = rtu_parts(frame)
        if parts is None:
            self.stats.bad_frames += 1
            return
        unit, pdu = parts
        self.stats.requests += 1
        if unit == 0:  # broadcast: everybody obeys, nobody answers
            for listener in self.devices.values():
                listener.answer(pdu)
            return
        device = self.devices.get(unit)
        if device is None:
            return
        reply = device.answer(pdu)
        turnaround = device.model.turnaround_s
        self.stats.exchange_s += self.wire.cycle_s(len(frame), len(reply) + 3, turnaround)
        begins = (self._receiver.quiet_since or 0.0) + self.wire.gap_s + turnaround
        for after, data in device.faults.emit(Request(unit, pdu), reply).parts:
            self._order += 1
            heapq.heappush(self._pending, (begins + after, self._order, data))

    def _pace(self, data: bytes, start: float) -> None:
        if self._master < 0:
            return  # unplugged while the reply was on its way
        if self._receiver.due is not None:
            self.stats.collisions += 1
        self._receiver.sent(pace(data, start, self.wire.char_s, self._write, before_last=self._note_collision))
        self.stats.replies += 1
        self.stats.bytes_out += len(data)

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody reads: the bytes are gone, as on a wire
            os.write(self._master, data)

    def _note_collision(self) -> None:
        """Bytes that came while this side was sending: the master did not wait."""
        ready, _, _ = select.select([self._master], [], [], 0)
        data = self._receive() if ready else b""
        if data:
            self.stats.collisions += 1
            self._receiver.push(time.perf_counter(), data)


def pace(
    data: bytes,
    start: float,
    char_s: float,
    write: Callable[[bytes], None],
    *,
    before_last: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Writes `data` so that byte k is there k + 1 character times after `start`, never earlier; says when the last one was.

    The moment is taken before the last byte is handed over: what the thread loses after it can only make the silence that follows
    look longer than it was, never break it.
    """
    done, last = 0, len(data) - 1
    end = start + len(data) * char_s
    while done < last:
        passed = min(int((clock() - start) / char_s), last)
        if passed > done:
            write(data[done:passed])
            done = passed
        if done < last:
            sleep(max(start + (done + 1) * char_s - clock(), 0.0))
    before_last()
    left = end - clock()
    if left > SPIN_S:
        sleep(left - SPIN_S)
    while clock() < end:
        pass
    ended = clock()
    write(data[done:])
    return ended
