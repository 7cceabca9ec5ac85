"""Reads Modbus TCP requests and their replies out of a pcap file (Ethernet, IPv4, TCP without lost segments)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path


def conversations(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """(request PDU, reply PDU) by connection and transaction, in order of the replies."""
    asked: dict[tuple[int, int], bytes] = {}
    for source, target, payload in _segments(path.read_bytes()):
        at = 0
        while len(payload) - at >= 8:
            tid, _, length, _ = struct.unpack_from(">HHHB", payload, at)
            pdu = payload[at + 7 : at + 6 + length]
            if target == 502:
                asked[source, tid] = pdu
            elif (target, tid) in asked:
                yield asked.pop((target, tid)), pdu
            at += 6 + length


def _segments(capture: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 24
    while at < len(capture):
        size = struct.unpack_from("<I", capture, at + 8)[0]
        packet = capture[at + 16 : at + 16 + size]
        at += 16 + size
        if packet[12:14] != b"\x08\x00" or packet[23] != 6:
            continue
        begin = 14 + 4 * (packet[14] & 0x0F)
        source, target = struct.unpack_from(">HH", packet, begin)
        end = 14 + struct.unpack_from(">H", packet, 16)[0]
        payload = packet[begin + 4 * (packet[begin + 12] >> 4) : end]
        if payload and 502 in (source, target):
            yield source, target, payload
