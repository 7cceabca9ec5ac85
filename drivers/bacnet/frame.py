"""A BACnet/IP datagram taken apart: BVLC, NPDU and APDU header. Pure; for the socket, for traces and for tests.

Source: ANSI/ASHRAE 135-2020, annex J (BVLC), clause 6.2 (NPDU), clause 20.1 (APDU). Faults are BacnetError.
"""

from __future__ import annotations

from typing import NamedTuple

from .tags import BacnetError

MAX_DATAGRAM = 1507
"""A Forwarded-NPDU's head (10 octets) with the longest NPDU of BACnet/IP (1497)."""

ORIGINAL_UNICAST, ORIGINAL_BROADCAST, FORWARDED, DISTRIBUTE, RESULT = 0x0A, 0x0B, 0x04, 0x09, 0x00
CONFIRMED, UNCONFIRMED, SIMPLE_ACK, COMPLEX_ACK, SEGMENT_ACK, ERROR, REJECT, ABORT = range(8)
"""PDU types (clause 20.1)."""

_FUNCTIONS = 0x0C
_CARRIERS = frozenset({ORIGINAL_UNICAST, ORIGINAL_BROADCAST, FORWARDED, DISTRIBUTE})


class Frame(NamedTuple):
    """One datagram. `pdu_type` is None for what carries no APDU: BVLC control, and messages of the network layer.

    Addresses are octets; a station of a network behind a router is `snet` (1 to 65534) and `sadr`.
    """

    function: int
    forwarded: tuple[str, int] | None = None
    """Who sent it first, where a BBMD forwarded it."""
    dnet: int | None = None
    dadr: bytes = b""
    snet: int | None = None
    sadr: bytes = b""
    hops: int | None = None
    expects_reply: bool = False
    network_message: int | None = None
    pdu_type: int | None = None
    invoke_id: int | None = None
    service: int | None = None
    """The service choice; the reason of a Reject or Abort."""
    is_segmented: bool = False
    more_follows: bool = False
    sequence: int | None = None
    window: int | None = None
    is_server: bool = False
    """An Abort or SegmentACK that the answering side sent."""
    max_apdu: int | None = None
    """How long an APDU the asking side takes, of a confirmed request."""
    body: bytes = b""
    """What follows the last header."""


_MAX_APDU = (50, 128, 206, 480, 1024, 1476)


def parse(frame: bytes) -> Frame:
    """The headers of a datagram. Raises BacnetError."""
    if len(frame) < 4:
        raise BacnetError(f"{len(frame)} octets are no BVLC header")
    if frame[0] != 0x81:
        raise BacnetError(f"BVLC type 0x{frame[0]:02x} is not 0x81")
    function, length = frame[1], frame[2] << 8 | frame[3]
    if length != len(frame):
        raise BacnetError(f"BVLC says {length} octets where {len(frame)} came")
    if length > MAX_DATAGRAM:
        raise BacnetError(f"{length} octets are more than BACnet/IP allows")
    if function > _FUNCTIONS:
        raise BacnetError(f"BVLC function 0x{function:02x} is unknown")
    if function not in _CARRIERS:
        return Frame(function, body=frame[4:])
    try:
        return _npdu(frame, function)
    except IndexError:
        raise BacnetError(f"the headers do not fit into {length} octets") from None


def _npdu(frame: bytes, function: int) -> Frame:
    at = 4
    forwarded = None
    if function == FORWARDED:
        forwarded = ".".join(map(str, frame[4:8])), frame[8] << 8 | frame[9]
        at = 10
    if frame[at] != 1:
        raise BacnetError(f"NPDU version {frame[at]} is not 1")
    control = frame[at + 1]
    at += 2
    dnet = snet = hops = None
    dadr = sadr = b""
    if control & 0x20:
        dnet, dadr, at = _station(frame, at)
    if control & 0x08:
        snet, sadr, at = _station(frame, at)
        if snet == 0xFFFF or not sadr:
            raise BacnetError(f"source network {snet} with an address of {len(sadr)} octets")
    if dnet is not None:
        hops = frame[at]
        at += 1
    expects = bool(control & 0x04)
    if control & 0x80:
        message = frame[at]
        return Frame(function, forwarded, dnet, dadr, snet, sadr, hops, expects, message, body=frame[at + 1 :])
    head = Frame(function, forwarded, dnet, dadr, snet, sadr, hops, expects)
    return _apdu(frame, at, head)


def _station(frame: bytes, at: int) -> tuple[int, bytes, int]:
    net, size = frame[at] << 8 | frame[at + 1], frame[at + 2]
    at += 3
    if net == 0:
        raise BacnetError("network 0 is nobody's")
    if at + size > len(frame) or size > 18:
        raise BacnetError(f"an address of {size} octets at octet {at}")
    return net, frame[at : at + size], at + size


def _apdu(frame: bytes, at: int, head: Frame) -> Frame:
    octet = frame[at]
    pdu_type = octet >> 4
    segmented, more = bool(octet & 8), bool(octet & 4)
    sequence = window = None
    if pdu_type == UNCONFIRMED:
        return head._replace(pdu_type=pdu_type, service=frame[at + 1], body=frame[at + 2 :])
    if pdu_type in (CONFIRMED, COMPLEX_ACK):
        max_apdu = None
        if pdu_type == CONFIRMED:
            code = frame[at + 1] & 15
            max_apdu = _MAX_APDU[code] if code < len(_MAX_APDU) else _MAX_APDU[-1]
            at += 1
        invoke_id = frame[at + 1]
        at += 2
        if segmented:
            sequence, window = frame[at], frame[at + 1]
            at += 2
        return head._replace(
            pdu_type=pdu_type, invoke_id=invoke_id, service=frame[at], is_segmented=segmented, more_follows=more,
            sequence=sequence, window=window, max_apdu=max_apdu, body=frame[at + 1 :],
        )  # fmt: skip
    if pdu_type in (SIMPLE_ACK, ERROR):
        return head._replace(pdu_type=pdu_type, invoke_id=frame[at + 1], service=frame[at + 2], body=frame[at + 3 :])
    if pdu_type == SEGMENT_ACK:
        return head._replace(
            pdu_type=pdu_type, invoke_id=frame[at + 1], sequence=frame[at + 2], window=frame[at + 3],
            is_server=bool(octet & 1),
        )  # fmt: skip
    if pdu_type in (REJECT, ABORT):
        return head._replace(
            pdu_type=pdu_type, invoke_id=frame[at + 1], service=frame[at + 2], is_server=bool(octet & 1)
        )
    raise BacnetError(f"APDU type {pdu_type} is unknown")
