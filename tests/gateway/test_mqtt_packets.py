"""The hot packets against paho's own coder, which nobody here wrote."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet  # type: ignore[attr-defined]
from paho.mqtt.client import MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.mqtt_packets import (
    MAX_REMAINING,
    Malformed,
    decode_puback,
    decode_publish,
    encode_puback,
    encode_publish,
    frame_length,
    request_properties,
    varint,
)

topics = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0+#"), min_size=1, max_size=60)
mids = st.integers(1, 0xFFFF)


@given(
    topics, st.binary(max_size=300), st.sampled_from([0, 1]), st.booleans(), mids, st.none() | st.integers(0, 2**32 - 1),
    st.none() | topics, st.none() | st.binary(min_size=1, max_size=200),
)  # fmt: skip
def test_publish_is_what_paho_reads(
    topic: str,
    payload: bytes,
    qos: int,
    retain: bool,
    mid: int,
    expiry_s: int | None,
    response: str | None,
    correlation: bytes | None,
) -> None:
    more = request_properties(response, correlation)
    packet = encode_publish(topic, payload, qos, retain, mid, expiry_s, more)
    framed = frame_length(packet, 0)
    assert framed is not None
    head, length = framed
    assert length == len(packet)
    found = _packet.decode_publish(packet[0], packet[head:], MQTTv5)
    assert (found.topic.decode(), bytes(found.payload), found.qos, found.retain) == (topic, payload, qos, retain)
    assert found.mid == (mid if qos else 0)
    assert getattr(found.properties, "MessageExpiryInterval", None) == expiry_s
    assert getattr(found.properties, "ResponseTopic", None) == response
    assert getattr(found.properties, "CorrelationData", None) == correlation
    ours = decode_publish(packet[0] & 0x0F, packet[head:])
    assert ours == (topic, payload, qos, retain, mid if qos else 0, expiry_s, response, correlation)


@given(
    st.binary(max_size=40), st.text(max_size=20).filter(lambda text: "\0" not in text), st.integers(0, 1000),
    st.lists(st.tuples(st.text("ab"), st.text("cd")), max_size=3),
)  # fmt: skip
def test_properties_as_paho_writes_them(
    correlation: bytes, response: str, expiry_s: int, users: list[tuple[str, str]]
) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.PayloadFormatIndicator = 1
    properties.ContentType = "application/json"
    properties.CorrelationData = correlation
    properties.ResponseTopic = response
    properties.SubscriptionIdentifier = 300
    properties.TopicAlias = 7
    properties.MessageExpiryInterval = expiry_s
    for user in users:
        properties.UserProperty = user
    body = b"\x00\x01t" + b"\x00\x05" + properties.pack() + b"payload"
    found = decode_publish(0b0010, body)
    assert (found.topic, found.payload, found.mid) == ("t", b"payload", 5)
    assert (found.expiry_s, found.response_topic, found.correlation) == (expiry_s, response, correlation)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_garbage_is_malformed_or_read_but_never_another_error(body: bytes, flags: int) -> None:
    with suppress(Malformed):
        decode_publish(flags, body)
    with suppress(Malformed):
        decode_puback(body)


def test_puback() -> None:
    assert encode_puback(0x1234) == b"\x40\x02\x12\x34"
    assert decode_puback(b"\x12\x34") == (0x1234, 0)
    assert decode_puback(b"\x12\x34\x10") == (0x1234, 0x10)
    assert decode_puback(b"\x12\x34\x87\x00") == (0x1234, 0x87)


@pytest.mark.parametrize(
    ("value", "coded"),
    [
        (0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (16383, b"\xff\x7f"), (16384, b"\x80\x80\x01"),
        (2_097_151, b"\xff\xff\x7f"), (2_097_152, b"\x80\x80\x80\x01"), (MAX_REMAINING, b"\xff\xff\xff\x7f"),
    ],
)  # fmt: skip
def test_lengths_of_section_1_5_5(value: int, coded: bytes) -> None:
    assert varint(value) == coded
    assert frame_length(b"\x30" + coded, 0) == (1 + len(coded), 1 + len(coded) + value)
    assert frame_length(b"\x30" + coded[:-1], 0) is None


def test_length_of_five_bytes_is_malformed() -> None:
    with pytest.raises(Malformed):
        frame_length(b"\x30\xff\xff\xff\xff\x01", 0)
