"""BACnet/IP devices that answer as fast as they can: `python -m drivers.bacnet.bench_server 500 1`, for the bench only.

Each of the 500 devices, with instances from 1 on, is at a UDP port of its own; its analog value m holds m + 0.5. A question that
was asked before is answered from a table. Prints the ports as one JSON line and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys

_I_AM = b"\x10\x00\xc4%s\x22\x05\xc4\x91\x03\x21\x0f"
"""1476 octets an APDU, no segmentation, vendor 15."""
_FLAGS = b"\x29\x6f\x4e\x82\x04\x00\x4f"


class _Device(asyncio.DatagramProtocol):
    def __init__(self, instance: int, answers: dict[bytes, bytes]) -> None:
        self.i_am = _I_AM % (8 << 22 | instance).to_bytes(4)
        self.answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if b"\x10\x08" in data[6:14]:
            self._send(self.i_am, addr)
            return
        at = 6 if data[5] & 0x20 == 0 else 6 + 4 + data[8]
        if data[at] >> 4 != 0 or data[5] & 0x80:
            return
        invoke_id, service, body = data[at + 2], data[at + 3], data[at + 4 :]
        if service != 14:
            self._send(bytes((0x60, invoke_id, 9)), addr)
            return
        answer = self.answers.get(body)
        if answer is None:
            answer = self.answers[body] = _answer(body)
        self._send(bytes((0x30, invoke_id, 14)) + answer, addr)

    def _send(self, apdu: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(b"\x81\x0a" + (len(apdu) + 6).to_bytes(2) + b"\x01\x00" + apdu, addr)  # type: ignore[attr-defined]


def _answer(body: bytes) -> bytes:
    """The acknowledgement of a request for present values (85), status flags (111) and what analog values have not."""
    parts: list[bytes] = []
    instance = at = 0
    while at < len(body):
        if body[at] == 0x0C:
            instance = int.from_bytes(body[at + 1 : at + 5]) & 0x3FFFFF
            parts.append(body[at : at + 6])
            at += 6
        elif body[at] == 0x1F:
            parts.append(b"\x1f")
            at += 1
        else:
            size = body[at] & 7
            prop = body[at + 1 : at + 1 + size]
            if prop == b"\x55":
                parts.append(b"\x29\x55\x4e\x44" + struct.pack(">f", instance + 0.5) + b"\x4f")
            elif prop == b"\x6f":
                parts.append(_FLAGS)
            else:
                parts.append(bytes((0x28 | size,)) + prop + b"\x5e\x91\x02\x91\x20\x5f")
            at += 1 + size
    return b"".join(parts)


async def main(count: int, first: int) -> None:
    """Serves until standard input ends."""
    loop = asyncio.get_running_loop()
    ports = []
    answers: dict[bytes, bytes] = {}
    for at in range(count):
        device = _Device(first + at, answers)
        transport, _ = await loop.create_datagram_endpoint(lambda device=device: device, local_addr=("127.0.0.1", 0))  # type: ignore[misc]
        ports.append(transport.get_extra_info("sockname")[1])
    print(json.dumps(ports), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
