"""The two packets that carry the load, PUBLISH and PUBACK of MQTT 5: pure, bytes in and bytes out.

paho keeps the session (CONNECT, SUBSCRIBE, PINGREQ, DISCONNECT); per message it spends 65 us, most of it on objects for
properties and reason codes that are empty. These functions spend a few. Source: OASIS MQTT 5.0, sections 2.2, 3.3, 3.4.
All numbers are big-endian. Malformed input raises `Malformed`.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

PUBLISH = 3
PUBACK = 4
MAX_REMAINING = 268_435_455

_EXPIRY = 0x02
_RESPONSE_TOPIC = 0x08
_CORRELATION = 0x09
_FIXED_PROPERTIES = {0x01: 1, _EXPIRY: 4, 0x23: 2}
"""Properties of a PUBLISH with a fixed length: payload format, message expiry, topic alias."""
_TEXT_PROPERTIES = {0x03: 1, _RESPONSE_TOPIC: 1, _CORRELATION: 1, 0x26: 2}
"""... and those of one or two length-prefixed fields: content type, response topic, correlation data, user property."""
_SUBSCRIPTION_ID = 0x0B


class Malformed(ValueError):
    """The bytes are no MQTT 5 packet."""


class Publish(NamedTuple):
    """A PUBLISH taken apart. `mid` is 0 for QoS 0."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int
    expiry_s: int | None
    response_topic: str | None
    correlation: bytes | None


def varint(value: int) -> bytes:
    """A variable byte integer, 1 to 4 bytes (section 1.5.5)."""
    out = bytearray()
    while True:
        value, digit = divmod(value, 128)
        out.append(digit | 0x80 if value else digit)
        if not value:
            return bytes(out)


def frame_length(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """(header bytes, whole length) of the packet at `at`; None while the fixed header is not complete."""
    size = len(data)
    length = 0
    for index in range(1, 5):
        if at + index >= size:
            return None
        byte = data[at + index]
        length |= (byte & 0x7F) << (7 * (index - 1))
        if byte < 0x80:
            return index + 1, index + 1 + length
    raise Malformed("remaining length of more than 4 bytes")


def request_properties(response_topic: str | None, correlation: bytes | None) -> bytes:
    """What a request and its answer carry beside the expiry (section 4.10), encoded for `encode_publish`."""
    fields = ((_RESPONSE_TOPIC, response_topic and response_topic.encode()), (_CORRELATION, correlation))
    return b"".join(struct.pack(">BH", kind, len(data)) + data for kind, data in fields if data)


def encode_publish(
    topic: str, payload: bytes, qos: int, retain: bool, mid: int, expiry_s: int | None, more: bytes = b""
) -> bytes:
    """A PUBLISH, not a duplicate; QoS 0 ignores `mid`. `more`: further properties, encoded."""
    name = topic.encode()
    if more:
        more += b"" if expiry_s is None else struct.pack(">BI", _EXPIRY, expiry_s)
        properties = varint(len(more)) + more
    else:
        properties = b"\0" if expiry_s is None else struct.pack(">BBI", 5, _EXPIRY, expiry_s)
    head = struct.pack(">H", len(name)) + name + (struct.pack(">H", mid) if qos else b"") + properties
    remaining = len(head) + len(payload)
    if remaining > MAX_REMAINING:
        raise Malformed(f"a packet of {remaining} bytes exceeds MQTT's {MAX_REMAINING}")
    return b"".join((bytes((PUBLISH << 4 | qos << 1 | retain,)), varint(remaining), head, payload))


def encode_puback(mid: int) -> bytes:
    """A PUBACK with reason 0, in its short form."""
    return struct.pack(">BBH", PUBACK << 4, 2, mid)


def decode_puback(body: bytes) -> tuple[int, int]:
    """(mid, reason code) of what follows the fixed header."""
    if len(body) < 2:
        raise Malformed("PUBACK without a packet id")
    return body[0] << 8 | body[1], body[2] if len(body) > 2 else 0


def decode_publish(flags: int, body: bytes) -> Publish:
    """The low nibble of the first byte, and what follows the fixed header."""
    try:
        at = 2 + (body[0] << 8 | body[1])
        topic = str(body[2:at], "utf-8")
        qos = flags >> 1 & 3
        mid = 0
        if qos:
            mid = body[at] << 8 | body[at + 1]
            at += 2
        expiry_s, response_topic, correlation = None, None, None
        if body[at]:
            at, end = _varint_at(body, at)
            end += at
            if end > len(body):
                raise Malformed("PUBLISH shorter than its properties")
            expiry_s, response_topic, correlation = _properties(body, at, end)
            at = end
        else:
            at += 1
    except (IndexError, UnicodeDecodeError) as exc:
        raise Malformed(f"PUBLISH cannot be read: {exc}") from exc
    return Publish(topic, body[at:], qos, bool(flags & 1), mid, expiry_s, response_topic, correlation)


def _varint_at(body: bytes, at: int) -> tuple[int, int]:
    """(offset behind it, value) of the variable byte integer at `at`."""
    value = 0
    for shift in (0, 7, 14, 21):
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return at, value
    raise Malformed("variable byte integer of more than 4 bytes")


def _properties(body: bytes, at: int, end: int) -> tuple[int | None, str | None, bytes | None]:
    """Message expiry, response topic and correlation data; the others are stepped over."""
    expiry_s, response_topic, correlation = None, None, None
    while at < end:
        kind = body[at]
        at += 1
        if (size := _FIXED_PROPERTIES.get(kind)) is not None:
            if kind == _EXPIRY:
                expiry_s = int.from_bytes(body[at : at + 4], "big")
            at += size
        elif (fields := _TEXT_PROPERTIES.get(kind)) is not None:
            for _ in range(fields):
                begin = at + 2
                at = begin + (body[at] << 8 | body[at + 1])
                if kind == _RESPONSE_TOPIC:
                    response_topic = str(body[begin:at], "utf-8")
                elif kind == _CORRELATION:
                    correlation = body[begin:at]
        elif kind == _SUBSCRIPTION_ID:
            at, _ = _varint_at(body, at)
        else:
            raise Malformed(f"PUBLISH with property 0x{kind:02X}")
    if at != end:
        raise Malformed("PUBLISH with a property beyond its properties")
    return expiry_s, response_topic, correlation
