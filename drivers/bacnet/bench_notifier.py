"""A device that tells changes of value as fast as it is asked to: `python -m drivers.bacnet.bench_notifier`. For the bench only.

Prints its UDP port. Answers Who-Is and every SubscribeCOV; each line of standard input is `RATE SECONDS`: it then sends so many
unconfirmed notifications to whoever subscribed since the last line, in turn over the objects, and prints how many it sent. It
writes its octets itself, so that no code under test encodes what is decoded.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time

INSTANCE = 77
_STEP_S = 0.001


def main() -> None:
    """Serves until standard input ends."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    print(bound.getsockname()[1], flush=True)
    subscribed: dict[bytes, tuple[str, int]] = {}
    while True:
        ready, _, _ = select.select([bound, sys.stdin], [], [])
        if bound in ready:
            _answer(bound, subscribed)
        if sys.stdin in ready:
            line = os.read(sys.stdin.fileno(), 100).decode()
            if not line:
                return
            rate, seconds = map(float, line.split())
            print(_storm(bound, subscribed, rate, seconds), flush=True)
            subscribed.clear()


def _answer(bound: socket.socket, subscribed: dict[bytes, tuple[str, int]]) -> None:
    data, sender = bound.recvfrom(2048)
    at = 10 + data[8] if data[5] & 0x20 else 6
    apdu = data[at:]
    if data[5] & 0x80 or len(apdu) < 2:
        return
    reply = b""
    if apdu[:2] == b"\x10\x08":
        reply = b"\x10\x00\xc4" + (8 << 22 | INSTANCE).to_bytes(4) + b"\x22\x05\xc4\x91\x03\x21\x0f"
    elif apdu[0] >> 4 == 0 and apdu[3] == 5:
        process = apdu[4 : 5 + (apdu[4] & 7)]
        identifier = apdu[4 + len(process) : 9 + len(process)]
        subscribed[process + b"\x1c" + (8 << 22 | INSTANCE).to_bytes(4) + b"\x2c" + identifier[1:]] = sender
        reply = bytes((0x20, apdu[2], 5))
    elif apdu[0] >> 4 == 0:
        reply = bytes((0x50, apdu[2], apdu[3], 0x91, 2, 0x91, 32))
    if reply:
        bound.sendto(_frame(reply), sender)


def _frame(apdu: bytes) -> bytes:
    return b"\x81\x0a" + (len(apdu) + 6).to_bytes(2) + b"\x01\x00" + apdu


def _storm(bound: socket.socket, subscribed: dict[bytes, tuple[str, int]], rate: float, seconds: float) -> int:
    """Sends the notifications at their times; gives how many."""
    known = list(subscribed.items())
    total, sent = int(rate * seconds), 0
    value = struct.Struct(">f")
    began = time.perf_counter()
    while sent < total:
        due = min(total, int((time.perf_counter() - began) * rate) + 1)
        while sent < due:
            head, receiver = known[sent % len(known)]
            values = b"\x4e\x09\x55\x2e\x44" + value.pack(sent / 8) + b"\x2f\x09\x6f\x2e\x82\x04\x00\x2f\x4f"
            bound.sendto(_frame(b"\x10\x02" + head + b"\x3a\x07\x08" + values), receiver)
            sent += 1
        time.sleep(_STEP_S)
    return sent


if __name__ == "__main__":
    main()
