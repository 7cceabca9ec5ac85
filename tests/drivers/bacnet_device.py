"""A BACnet/IP device for tests, with its own idea of the standard: octets by hand, no code shared with the driver.

`values` holds the encoded value of (object type, instance, property, array index or None). Instance n of the analog values holds
n as its present value, unless `values` says otherwise.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Ref = tuple[int, int, int, int | None]

PRESENT, FLAGS, RELIABILITY = 85, 111, 103


def real(value: float) -> bytes:
    return b"\x44" + struct.pack(">f", value)


def enumerated(value: int) -> bytes:
    return bytes((0x91, value))


def unsigned(value: int) -> bytes:
    octets = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    return bytes((0x20 | len(octets),)) + octets


def flags(octet: int) -> bytes:
    return bytes((0x82, 4, octet))


def text(words: str, character_set: int = 0, encoding: str = "utf-8") -> bytes:
    octets = bytes((character_set,)) + words.encode(encoding)
    return bytes((0x75, len(octets))) + octets


def object_id(kind: int, instance: int) -> bytes:
    return (kind << 22 | instance).to_bytes(4, "big")


def bvll(npdu: bytes, function: int = 0x0A) -> bytes:
    return bytes((0x81, function)) + (len(npdu) + 4).to_bytes(2, "big") + npdu


@dataclass
class Device:
    """One device. `network` is (number, station) where it is behind the router at our port."""

    instance: int = 1
    max_apdu: int = 1476
    segmentation: int = 3
    has_multiple: bool = True
    has_flags: bool = True
    most: int | None = None
    """Properties in one request above which it aborts: segmentation not supported."""
    refuses_whole: bool = False
    """One unknown object spoils the whole request."""
    network: tuple[int, bytes] | None = None
    is_silent: bool = False
    values: dict[Ref, bytes] = field(default_factory=dict)
    absent: set[tuple[int, int]] = field(default_factory=set)
    asked: list[tuple[int, list[Ref]]] = field(default_factory=list)
    """(service, properties) of every confirmed request."""

    def value(self, ref: Ref) -> bytes | None:
        """The encoded value; None for what it has not."""
        kind, instance, prop, index = ref
        if (kind, instance) in self.absent:
            return None
        if ref in self.values:
            return self.values[ref]
        if kind == 8:
            return {155: unsigned(1), 77: text(f"device {self.instance}"), 121: text("ACME"), 76: b""}.get(prop)
        if index is not None or kind != 2:
            return None
        return {PRESENT: real(instance), FLAGS: flags(0) if self.has_flags else None}.get(prop)

    def hear(self, data: bytes) -> list[bytes]:
        """The datagrams that answer one."""
        npdu = data[4:]
        control, at = npdu[1], 2
        dnet = None
        if control & 0x20:
            dnet, size = int.from_bytes(npdu[2:4], "big"), npdu[4]
            at += 3 + size + 1
        if control & 0x80 or self.is_silent:
            return []
        if dnet not in (None, 0xFFFF) and (self.network is None or dnet != self.network[0]):
            return []
        apdu = npdu[at:]
        if apdu[:2] == b"\x10\x08":
            return [self.i_am()] if self._is_meant(apdu[2:]) and (self.network is None or dnet == 0xFFFF) else []
        if apdu[0] >> 4 == 0 and (self.network is None or dnet == self.network[0]):
            return [self.reply(one) for one in self.answer(apdu[2], apdu[3], apdu[4:])]
        return []

    def _is_meant(self, body: bytes) -> bool:
        if not body:
            return True
        low = int.from_bytes(body[1 : 1 + (body[0] & 7)], "big")
        rest = body[1 + (body[0] & 7) :]
        return low <= self.instance <= int.from_bytes(rest[1 : 1 + (rest[0] & 7)], "big")

    def reply(self, apdu: bytes) -> bytes:
        if self.network is None:
            return bvll(b"\x01\x00" + apdu)
        net, station = self.network
        return bvll(b"\x01\x08" + net.to_bytes(2, "big") + bytes((len(station),)) + station + apdu)

    def i_am(self) -> bytes:
        return self.reply(
            b"\x10\x00\xc4" + object_id(8, self.instance) + unsigned(self.max_apdu)
            + enumerated(self.segmentation) + unsigned(15)
        )  # fmt: skip

    def answer(self, invoke_id: int, service: int, body: bytes) -> list[bytes]:
        if service == 12:
            ref = self._refs(b"\x0c" + body[1:5] + b"\x1e" + _shifted(body[5:]) + b"\x1f")[0]
            self.asked.append((12, [ref]))
            value = self.value(ref)
            if value is None:
                return [bytes((0x50, invoke_id, 12)) + self._error(ref)]
            index = b"" if ref[3] is None else bytes((0x29, ref[3]))
            head = b"\x0c" + object_id(*ref[:2]) + _context(1, ref[2]) + index
            return [bytes((0x30, invoke_id, 12)) + head + b"\x3e" + value + b"\x3f"]
        if service != 14 or not self.has_multiple:
            return [bytes((0x60, invoke_id, 9))]
        refs = self._refs(body)
        self.asked.append((14, refs))
        if self.most is not None and len(refs) > self.most:
            return [bytes((0x71, invoke_id, 4))]
        if self.refuses_whole and any(self.value(ref) is None for ref in refs):
            return [bytes((0x50, invoke_id, 14)) + self._error(next(ref for ref in refs if self.value(ref) is None))]
        parts = [bytes((0x30, invoke_id, 14))]
        before: tuple[int, int] | None = None
        for ref in refs:
            if ref[:2] != before:
                parts += ([b"\x1f"] if before else []) + [b"\x0c" + object_id(*ref[:2]) + b"\x1e"]
                before = ref[:2]
            value = self.value(ref)
            index = b"" if ref[3] is None else bytes((0x39, ref[3]))
            content = b"\x5e" + self._error(ref) + b"\x5f" if value is None else b"\x4e" + value + b"\x4f"
            parts.append(_context(2, ref[2]) + index + content)
        return [b"".join((*parts, b"\x1f"))]

    def _error(self, ref: Ref) -> bytes:
        known = (ref[0] == 2 or ref[0] == 8) and ref[:2] not in self.absent
        return b"\x91\x02\x91\x20" if known else b"\x91\x01\x91\x1f"

    @staticmethod
    def _refs(body: bytes) -> list[Ref]:
        refs: list[Ref] = []
        at = 0
        kind = instance = 0
        while at < len(body):
            octet = body[at]
            if octet == 0x0C:
                number = int.from_bytes(body[at + 1 : at + 5], "big")
                kind, instance = number >> 22, number & 0x3FFFFF
                at += 5
            elif octet in (0x1E, 0x1F):
                at += 1
            elif octet >> 4 == 0:
                size = octet & 7
                refs.append((kind, instance, int.from_bytes(body[at + 1 : at + 1 + size], "big"), None))
                at += 1 + size
            else:
                size = octet & 7
                refs[-1] = (*refs[-1][:3], int.from_bytes(body[at + 1 : at + 1 + size], "big"))
                at += 1 + size
        return refs


def _context(number: int, value: int) -> bytes:
    octets = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    return bytes((number << 4 | 8 | len(octets),)) + octets


def _shifted(body: bytes) -> bytes:
    """The property reference of a ReadProperty under the tags that ReadPropertyMultiple gives it."""
    size = body[0] & 7
    rest = body[1 + size :]
    return bytes((body[0] - 0x10,)) + body[1 : 1 + size] + (bytes((rest[0] - 0x10,)) + rest[1:] if rest else b"")


class Wire(asyncio.DatagramProtocol):
    """Devices at one UDP port. `mood` turns the answers into what is sent, given the datagram that was asked with."""

    def __init__(self, devices: list[Device]) -> None:
        self.devices = devices
        self.mood: Callable[[bytes, list[bytes]], list[bytes]] = lambda asked, answers: answers
        self.heard: list[bytes] = []
        self.clients: list[tuple[str, int]] = []
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # it is one for datagrams

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)
        if addr not in self.clients:
            self.clients.append(addr)
        answers = [answer for device in self.devices for answer in device.hear(data)]
        for answer in self.mood(data, answers):
            self.transport.sendto(answer, addr)

    @property
    def place(self) -> str:
        return "127.0.0.1:{}".format(self.transport.get_extra_info("sockname")[1])


@asynccontextmanager
async def serving(*devices: Device) -> AsyncIterator[Wire]:
    """Devices on a loopback port of their own."""
    loop = asyncio.get_running_loop()
    transport, wire = await loop.create_datagram_endpoint(lambda: Wire(list(devices)), local_addr=("127.0.0.1", 0))
    try:
        yield wire
    finally:
        transport.close()
