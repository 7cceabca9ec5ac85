"""A Modbus device on a pseudo terminal that takes the time a real line takes: `python -m drivers.modbus.bench_slave 9600`.

A pty passes bytes at once, so the time is kept here: a request is on the line for its characters, 3.5 of silence end it, and
the reply goes out character by character. Register n holds n. Prints the path, and at the end of its input one JSON line of
what it heard. It spins, because it measures silences to some microseconds; it is for the bench only.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
import tty

from .codec import rtu_frame, rtu_holds

_SPIN_S = 0.002
_DISTURBED_S = 0.0002
"""Where writing the last character took longer, somebody else had the processor, and when it went out is not known."""


def main(baud: int) -> None:
    """Serves until standard input ends."""
    import pty

    with contextlib.suppress(PermissionError):
        os.nice(-10)  # a wire is not late because the machine is busy
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    print(os.ttyname(slave), flush=True)
    char_s = 10 / baud
    gap_s = 3.5 * char_s if baud <= 19200 else 0.00175
    shortest, broken = float("inf"), 0
    silent_from: float | None = None
    frame, arrived = b"", 0.0
    poller = select.poll()
    poller.register(sys.stdin.fileno(), select.POLLIN | select.POLLHUP)
    checked = 0.0
    while True:
        now = time.perf_counter()
        if now - checked > 0.05:
            checked = now
            if poller.poll(0):
                break
        try:
            data = os.read(master, 256)
        except BlockingIOError:
            continue
        except OSError:  # nobody has the port open
            continue
        if not frame:
            arrived = time.perf_counter()
            if silent_from is not None:
                shortest = min(shortest, arrived - silent_from)
                broken += arrived - silent_from < gap_s
        frame += data
        if len(frame) < 8:
            continue
        assert rtu_holds(frame[:8]), frame.hex()
        reply = rtu_frame(frame[0], _reply(frame[1:6]))
        begin = arrived + 8 * char_s + gap_s
        before = 0.0
        for at in range(len(reply)):
            _wait_until(begin + (at + 1) * char_s)
            before = time.perf_counter()
            os.write(master, reply[at : at + 1])
        after = time.perf_counter()
        silent_from = before if after - before < _DISTURBED_S else None
        frame = b""
    print(json.dumps({"shortest_gap_s": shortest, "gaps_broken": broken}), flush=True)
    os.close(slave)
    os.close(master)


def _reply(pdu: bytes) -> bytes:
    reg, count = int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
    return bytes((pdu[0], 2 * count)) + b"".join((at & 0xFFFF).to_bytes(2) for at in range(reg, reg + count))


def _wait_until(instant: float) -> None:
    remaining = instant - time.perf_counter()
    if remaining > _SPIN_S:
        time.sleep(remaining - _SPIN_S)
    while time.perf_counter() < instant:
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]))
