"""A broker's side of MQTT 5 for the ingest bench: one subscriber, messages ready made, as fast as its Receive Maximum lets it.

Run as a program: prints its port, then a line once somebody has subscribed; sends after a line on standard input; prints a
line when every message has been acknowledged on `down/ack`. It is no broker: it answers what one ingest session says.
Source: MQTT 5.0, sections 3.1 to 3.9.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time
from collections import deque

import msgspec

from gateway.contract.messages import Telemetry, encode
from gateway.contract.topics import Topics

DEVICES = 50
POINTS = 62
TOPICS = Topics("bench", "gw-01")
_RECEIVE_MAXIMUM = 1000
_CHUNK = 100
_CONNACK, _PUBACK, _SUBACK, _PINGRESP = b"\x20\x03\x00\x00\x00", b"\x40\x02%b", b"\x90", b"\xd0\x00"


def values(seq: int) -> dict[str, float]:
    """What a meter of 62 points says."""
    return {f"current_l{n}": round(10 + (seq * 0.37 + n) % 100, 2) for n in range(POINTS)}


def _packet(seq: int, t: int) -> bytes:
    """One PUBLISH, QoS 1."""
    message = Telemetry(
        cls="electricity_meter", epoch="BENCHBENCH", seq=seq, meta="7c1e", clk="ntp", t=t, s={**values(seq)}
    )
    topic = TOPICS.data(f"m-{seq % DEVICES}").encode()
    body = struct.pack(">H", len(topic)) + topic + struct.pack(">HB", seq % 65535 + 1, 0) + encode(message)
    return b"\x32" + _length(len(body)) + body


def _length(number: int) -> bytes:
    """A Variable Byte Integer (section 1.5.5)."""
    found = bytearray()
    while True:
        number, digit = divmod(number, 128)
        found.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(found)


class Feeder(asyncio.Protocol):
    """The connection of the one subscriber."""

    def __init__(self, packets: list[bytes]) -> None:
        self._packets = deque(packets)
        self._count = len(packets)
        self._in = bytearray()
        self._unacked = 0
        self._stored = 0
        self._may_send = False
        self._transport: asyncio.Transport | None = None
        self.subscribed = asyncio.Event()
        self.stored = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def go(self) -> None:
        self._may_send = True
        self._send()

    def _send(self) -> None:
        room = min(_RECEIVE_MAXIMUM - self._unacked, len(self._packets))
        if not self._may_send or room < min(_CHUNK, len(self._packets)) or self._transport is None:
            return
        self._transport.write(b"".join([self._packets.popleft() for _ in range(room)]))
        self._unacked += room

    def data_received(self, data: bytes) -> None:
        self._in += data
        at, end = 0, len(self._in)
        while at + 2 <= end:
            length, shift, body = 0, 0, at + 1
            while body < end:
                digit = self._in[body]
                length |= (digit & 0x7F) << shift
                body, shift = body + 1, shift + 7
                if not digit & 0x80:
                    break
            else:
                break
            if body + length > end:
                break
            self._take(self._in[at] >> 4, bytes(self._in[body : body + length]))
            at = body + length
        del self._in[:at]
        self._send()

    def _take(self, kind: int, body: bytes) -> None:
        assert self._transport is not None
        if kind == 4:  # PUBACK
            self._unacked -= 1
        elif kind == 1:  # CONNECT
            self._transport.write(_CONNACK)
        elif kind == 8:  # SUBSCRIBE: packet id, properties, then (filter, options) each
            at, filters = 3 + body[2], 0
            while at < len(body):
                at += 2 + int.from_bytes(body[at : at + 2]) + 1
                filters += 1
            answer = body[:2] + b"\x00" + b"\x01" * filters
            self._transport.write(_SUBACK + _length(len(answer)) + answer)
            self.subscribed.set()
        elif kind == 3:  # PUBLISH: a receipt
            topic = 2 + int.from_bytes(body[:2])
            self._transport.write(_PUBACK % body[topic : topic + 2])
            document = msgspec.json.decode(body[topic + 3 + body[topic + 2] :])
            self._stored += sum(b - a + 1 for a, b in document["ok"])
            if self._stored >= self._count:
                self.stored.set()
        elif kind == 12:  # PINGREQ
            self._transport.write(_PINGRESP)


async def _main(count: int) -> None:
    begin = time.time_ns() // 1_000_000 - count
    feeder = Feeder([_packet(seq, begin + seq) for seq in range(count)])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: feeder, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await feeder.subscribed.wait()
    print("subscribed", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    feeder.go()
    await feeder.stored.wait()
    print("stored", flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
