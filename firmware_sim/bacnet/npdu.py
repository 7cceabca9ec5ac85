"""BVLC, NPDU and the head of an APDU as bytes, both ways. Source: ANSI/ASHRAE 135-2020, clauses 6.2, 20.1 and annex J.2."""

from __future__ import annotations

import socket
from dataclasses import dataclass

Udp = tuple[str, int]

RESULT, FORWARDED, REGISTER, READ_FOREIGN, DISTRIBUTE, UNICAST, BROADCAST = 0x00, 0x04, 0x05, 0x06, 0x09, 0x0A, 0x0B
READ_TABLE, READ_TABLE_ACK, READ_FOREIGN_ACK, DELETE_FOREIGN = 0x02, 0x03, 0x07, 0x08
WHO_IS_ROUTER, I_AM_ROUTER, REJECT_TO_NETWORK, WHAT_IS_NETWORK, NETWORK_IS = 0x00, 0x01, 0x03, 0x12, 0x13
GLOBAL = 0xFFFF


class BadFrame(ValueError):
    """A datagram that is not BACnet/IP, or breaks off."""


def bvlc(function: int, payload: bytes) -> bytes:
    return bytes((0x81, function)) + (len(payload) + 4).to_bytes(2, "big") + payload


def udp_bytes(address: Udp) -> bytes:
    return socket.inet_aton(address[0]) + address[1].to_bytes(2, "big")


def udp_from(data: bytes) -> Udp:
    return socket.inet_ntoa(data[:4]), int.from_bytes(data[4:6], "big")


def open_bvlc(data: bytes) -> tuple[int, bytes]:
    """(function, what follows). Raises BadFrame."""
    if len(data) < 4 or data[0] != 0x81 or int.from_bytes(data[2:4], "big") != len(data):
        raise BadFrame("no BVLC of this length")
    return data[1], data[4:]


@dataclass(frozen=True, slots=True)
class Npdu:
    """A network message or an APDU on its way. `dnet` None: for the network it arrived from."""

    payload: bytes
    dnet: int | None = None
    dadr: bytes = b""
    snet: int | None = None
    sadr: bytes = b""
    hops: int = 255
    message: int | None = None
    """Type of a network-layer message; None: `payload` is an APDU."""
    reply_expected: bool = False


def open_npdu(data: bytes) -> Npdu:
    """Raises BadFrame."""
    try:
        if data[0] != 1:
            raise BadFrame(f"NPDU version {data[0]}")
        control, at = data[1], 2
        dnet = snet = None
        dadr = sadr = b""
        hops = 255
        if control & 0x20:
            dnet = int.from_bytes(data[at : at + 2], "big")
            size = data[at + 2]
            dadr = data[at + 3 : at + 3 + size]
            at += 3 + size
        if control & 0x08:
            snet = int.from_bytes(data[at : at + 2], "big")
            size = data[at + 2]
            sadr = data[at + 3 : at + 3 + size]
            at += 3 + size
        if control & 0x20:
            hops = data[at]
            at += 1
        message = None
        if control & 0x80:
            message = data[at]
            at += 1
    except IndexError as error:
        raise BadFrame("the NPDU breaks off") from error
    return Npdu(data[at:], dnet, dadr, snet, sadr, hops, message, bool(control & 4))


def npdu(
    payload: bytes,
    *,
    to: tuple[int, bytes] | None = None,
    source: tuple[int, bytes] | None = None,
    message: int | None = None,
    reply_expected: bool = False,
) -> bytes:
    """`to` and `source` are (network, MAC address) where not the network it is sent on."""
    control = 4 if reply_expected else 0
    head = b""
    if to is not None:
        control |= 0x20
        head += to[0].to_bytes(2, "big") + bytes((len(to[1]),)) + to[1]
    if source is not None:
        control |= 0x08
        head += source[0].to_bytes(2, "big") + bytes((len(source[1]),)) + source[1]
    if to is not None:
        head += b"\xff"
    if message is not None:
        control |= 0x80
        head += bytes((message,))
    return bytes((1, control)) + head + payload


def complex_ack(invoke: int, service: int, payload: bytes) -> bytes:
    return bytes((0x30, invoke, service)) + payload


def segment_of(invoke: int, service: int, number: int, window: int, part: bytes, *, more: bool) -> bytes:
    return bytes((0x38 | (4 if more else 0), invoke, number & 0xFF, window, service)) + part


def simple_ack(invoke: int, service: int) -> bytes:
    return bytes((0x20, invoke, service))


def error(invoke: int, service: int, cause: tuple[int, int]) -> bytes:
    return bytes((0x50, invoke, service, 0x91, cause[0], 0x91, cause[1]))


def reject(invoke: int, reason: int) -> bytes:
    return bytes((0x60, invoke, reason))


def abort(invoke: int, reason: int) -> bytes:
    return bytes((0x71, invoke, reason))


def segment_ack(invoke: int, number: int, window: int, *, negative: bool = False) -> bytes:
    """As the server sends it."""
    return bytes((0x41 | (2 if negative else 0), invoke, number & 0xFF, window))
