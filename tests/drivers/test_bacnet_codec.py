"""BACnet tags, values, services and headers: both ways, against captures as tshark reads them, against octets that are none."""

from __future__ import annotations

import contextlib
import math
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.bacnet import codec, frame, tags, template
from drivers.bacnet.codec import Ref, Result
from drivers.bacnet.explain import explain
from drivers.bacnet.tags import BacnetError, Bits, Date, Element, ObjectId, Time, Undecodable

CAPTURES = Path(__file__).parents[2] / ".." / "shared" / "vectors" / "pcap"
RPM_ACK = bytes.fromhex(
    "0c00000000" "1e" "29554e44429f5c3f4f" "296f4e8204404f" "1f"  # analog-input:0: a value, in fault
    "0c00000001" "1e" "29555e91019120 5f" "1f".replace(" ", "")  # analog-input:1: an error
)  # fmt: skip

COV = bytes.fromhex("09121c020000042c0000000a39004e09552e44428200002f096f2e8204002f4f")


def application(number: int, value: tags.Primitive) -> Element:
    return Element(tags.APPLICATION, number, value)


VALUES = [
    (tags.NULL, None, "00"), (tags.BOOLEAN, True, "11"), (tags.BOOLEAN, False, "10"),
    (tags.UNSIGNED, 0, "2100"), (tags.UNSIGNED, 255, "21ff"), (tags.UNSIGNED, 256, "220100"),
    (tags.UNSIGNED, 2**32 - 1, "24ffffffff"), (tags.UNSIGNED, 2**64 - 1, "2508ffffffffffffffff"),
    (tags.SIGNED, -1, "31ff"), (tags.SIGNED, 127, "317f"), (tags.SIGNED, 128, "320080"), (tags.SIGNED, -128, "3180"),
    (tags.REAL, 72.5, "4442910000"), (tags.REAL, -0.0, "4480000000"), (tags.DOUBLE, 72.0, "55084052000000000000"),
    (tags.OCTETS, b"\x12\x34\xff", "631234ff"), (tags.TEXT, "", "7100"),
    (tags.TEXT, "This is a BACnet string!", "751900546869732069732061204241436e657420737472696e6721"),
    (tags.TEXT, "Français", "750a004672616ec3a7616973"),
    (tags.BITS, Bits((True, False, True, False, True)), "8203a8"), (tags.BITS, Bits(()), "8100"),
    (tags.ENUMERATED, 0, "9100"), (tags.ENUMERATED, 300, "92012c"),
    (tags.DATE, Date(1991, 1, 24, 4), "a45b011804"), (tags.DATE, Date(255, 255, 255, 255), "a4ffffffff"),
    (tags.TIME, Time(17, 35, 45, 17), "b411232d11"), (tags.OBJECT, ObjectId(3, 15), "c400c0000f"),
    (tags.OBJECT, ObjectId(1023, 4194303), "c4ffffffff"),
]  # fmt: skip
"""Among them the examples of clause 20.2.2 to 20.2.14."""


@pytest.mark.parametrize(("number", "value", "octets"), VALUES)
def test_values_both_ways(number: int, value: tags.Primitive, octets: str) -> None:
    data = bytes.fromhex(octets)
    assert codec.encode_value(number, value) == data
    elements, end = tags.read_elements(data, 0, len(data))
    assert elements == (application(number, value),)
    assert end == len(data)


def test_a_nan_and_an_infinity_stay_what_they_are() -> None:
    [[nan], _] = tags.read_elements(bytes.fromhex("447fc00000"), 0, 5)
    assert math.isnan(nan.value)  # type: ignore[arg-type]
    [[infinity], _] = tags.read_elements(bytes.fromhex("447f800000"), 0, 5)
    assert infinity.value == math.inf


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        ("05e9", "é"), ("0400410042", "AB"), ("0300000041", "A"),
        ("00ff", None), ("0241", None), ("0941", None), ("0400", None), ("03001100ff", None),
    ],
)  # fmt: skip
def test_character_sets(octets: str, text: str | None) -> None:
    read = tags.read_text(bytes.fromhex(octets))
    if text is None:
        assert isinstance(read, Undecodable)
        assert read.reason
    else:
        assert read == text


def test_a_code_page_of_dbcs() -> None:
    assert tags.read_text(b"\x01\x03\x52\x80") == "Ç"  # code page 850


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (tags.UNSIGNED, -1), (tags.UNSIGNED, 1.5), (tags.REAL, "1"), (tags.REAL, 1e300), (tags.NULL, 0),
        (tags.TEXT, 5), (tags.OBJECT, ObjectId(1024, 0)), (tags.DATE, Date(1800, 1, 1, 1)), (tags.BITS, 5),
    ],
)  # fmt: skip
def test_a_value_that_the_type_cannot_hold_is_refused(number: int, value: tags.Primitive) -> None:
    with pytest.raises(BacnetError, match="value"):
        codec.encode_value(number, value)


def test_a_read_property_multiple_answer() -> None:
    value, flags, error = codec.decode_read_multiple_ack(RPM_ACK)
    assert value.ref == Ref(0, 0, 85)
    assert value.elements[0].value == pytest.approx(79.6801)
    assert flags == Result(Ref(0, 0, 111), (application(tags.BITS, Bits((False, True, False, False))),))
    assert error == Result(Ref(0, 1, 85), error=(1, 32))


def test_requests_share_an_object_and_carry_array_indexes() -> None:
    refs = [Ref(0, 1, 85), Ref(0, 1, 111), Ref(2, 70000, 87, 300)]
    assert codec.encode_read_multiple(refs).hex() == "0c000000011e0955096f1f0c008111701e09571a012c1f"
    assert codec.encode_read(refs[2]).hex() == "0c008111701957" + "2a012c"
    assert codec.encode_read(Ref(0, 1, 512)).hex() == "0c000000011a0200"


def test_a_notification_with_times_and_priority() -> None:
    told = codec.decode_cov(COV)
    assert (told.process, told.device, told.kind, told.instance, told.seconds) == (18, 4, 0, 10, 0)
    assert [result.ref.prop for result in told.values] == [85, 111]
    assert told.values[0].elements[0].value == 65.0


def test_who_is_and_i_am_both_ways() -> None:
    assert codec.decode_who_is(codec.encode_who_is(3, 70000)) == (3, 70000)
    assert codec.decode_who_is(codec.encode_who_is()) == (0, 0x3FFFFF)
    told = codec.IAm(4194302, 1476, "both", 15)
    assert codec.decode_i_am(codec.encode_i_am(told)) == told


@pytest.mark.parametrize(
    "octets",
    [
        "c4023fffff2205c49100210f",
        "c4003fffff2205c49100210f",
        "c40200000121319100210f",
        "c4020000012205c49100",
        "c4020000012905c49100210f2105",
        "a52204fb3ade00c4020000012205c49100210f",
        "",
        "00",
    ],
)
def test_an_i_am_of_nobody_is_refused(octets: str) -> None:
    with pytest.raises(BacnetError):
        codec.decode_i_am(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        ("2e", "never closed"), ("2f", "nothing opened"), ("2e3f", "was open"), ("4442", "octets where"),
        ("75ff", "cut off|octets"), ("75ffffffffff00", "octets where"), ("4642910000", "reserved"), ("9500", "no value"),
        ("25", "cut off"), ("f", "cut off"), ("81", "octets where"), ("8209ff", "bit string"), ("d100", "no value"),
        ("22", "octets where"), ("45054291000000", "no value"),
    ],
)  # fmt: skip
def test_tags_that_are_none(octets: str, why: str) -> None:
    data = bytes.fromhex(octets if len(octets) % 2 == 0 else octets + "0")
    with pytest.raises(BacnetError, match=why):
        tags.read_elements(data, 0, len(data))


def test_tags_a_thousand_deep_are_refused_and_cost_little() -> None:
    limit = sys.getrecursionlimit()
    deep = b"\x0e" * 60_000 + b"\x0f" * 60_000
    with pytest.raises(BacnetError, match="deeper than 32"):
        tags.read_elements(deep, 0, len(deep))
    fine = b"\x0e" * 32 + b"\x0f" * 32
    assert tags.read_elements(fine, 0, len(fine))[1] == 64
    assert sys.getrecursionlimit() == limit


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        ("", "no BVLC"), ("810a00", "no BVLC"), ("820a0004", "0x82"), ("810a0005", "says 5"), ("810a0003" "00", "says 3"),
        ("81ff0004", "unknown"), ("810a0004", "do not fit"), ("810a00060200", "version 2"), ("810a00060100", "do not fit"),
        ("810a000801200000", "do not fit|nobody"), ("810a000a012000000000", "nobody"), ("810a000a01200005ff00", "address"),
        ("810a000c0108ffff01051008", "source network"), ("810a00080100f000", "type 15"), ("810a000801008005", "type 8"),
        ("81040008c0a80001", "do not fit"),
    ],
)  # fmt: skip
def test_headers_that_are_none(octets: str, why: str) -> None:
    with pytest.raises(BacnetError, match=why):
        codec.parse(bytes.fromhex(octets))


def test_a_datagram_as_long_as_udp_allows() -> None:
    with pytest.raises(BacnetError, match="more than BACnet/IP allows"):
        codec.parse(b"\x81\x0a" + (65507).to_bytes(2) + bytes(65503))


def test_a_routed_segmented_answer() -> None:
    head = codec.parse(bytes.fromhex("810a001201080005010c3c0703040e010203").ljust(18))
    assert (head.snet, head.sadr, head.pdu_type) == (5, b"\x0c", frame.COMPLEX_ACK)
    assert (head.invoke_id, head.sequence, head.window, head.service) == (7, 3, 4, 14)
    assert head.is_segmented
    assert head.more_follows


@given(st.binary(max_size=200))
def test_any_octets_give_values_or_our_own_error(data: bytes) -> None:
    for decode in (
        codec.parse, codec.decode_read_ack, codec.decode_read_multiple_ack, codec.decode_cov, codec.decode_error,
        codec.decode_i_am, codec.decode_who_is, lambda octets: tags.read_elements(octets, 0, len(octets)),
        lambda octets: template.learn(octets, [Ref(0, 0, 85)]),
    ):  # fmt: skip
        with contextlib.suppress(BacnetError):
            decode(data)


def test_mutated_answers_give_values_or_our_own_error() -> None:
    chance = random.Random(3)
    for _ in range(4000):
        base = bytearray(chance.choice((RPM_ACK, COV)))
        for _ in range(chance.randint(1, 4)):
            action = chance.randrange(3)
            at = chance.randrange(len(base)) if base else 0
            if action == 0 and base:
                base[at] ^= 1 << chance.randrange(8)
            elif action == 1 and base:
                del base[at : at + chance.randint(1, 4)]
            else:
                base[at:at] = chance.randbytes(chance.randint(1, 4))
        for decode in (codec.decode_read_multiple_ack, codec.decode_cov):
            with contextlib.suppress(BacnetError):
                decode(bytes(base))


def test_a_template_takes_what_has_its_shape_and_nothing_else() -> None:
    refs = [Ref(2, at, prop) for at in range(5) for prop in (85, 111)]

    def answer(values: list[float], flags: int = 0) -> bytes:
        parts = []
        for at, value in enumerate(values):
            real = codec.encode_value(tags.REAL, value)
            parts.append(b"\x0c" + tags.object_octets(2, at) + b"\x1e\x29\x55\x4e" + real + b"\x4f")
            parts.append(b"\x29\x6f\x4e\x82\x04" + bytes((flags,)) + b"\x4f\x1f")
        return b"".join(parts)

    known = template.learn(answer([0.0] * 5), refs)
    assert known is not None
    assert known.unpack(answer([1.5, -2.0, 3.0, 4.0, 5.0], 0x40)) == (1.5, 64, -2.0, 64, 3.0, 64, 4.0, 64, 5.0, 64)
    right = answer([1.0] * 5)
    unpacked = known.unpack(right)
    for at in range(len(right)):
        wrong = right[:at] + bytes((right[at] ^ 1,)) + right[at + 1 :]
        taken = known.unpack(wrong)
        assert taken is None or taken != unpacked, at
        if taken is not None:  # a value changed, and the slow way says the same
            slow = [result.elements[0].value for result in codec.decode_read_multiple_ack(wrong)]
            reals = [value for value in slow if isinstance(value, float)]
            assert list(taken[::2]) == reals
    assert known.unpack(right + b"\0") is None
    assert template.learn(RPM_ACK, [Ref(0, 0, 85), Ref(0, 0, 111), Ref(0, 1, 85)]) is None


def test_no_template_where_one_property_has_no_value_and_another_two() -> None:
    real = codec.encode_value(tags.REAL, 1.0)
    answer = b"\x0c" + tags.object_octets(2, 0) + b"\x1e\x29\x17\x4e\x4f\x29\x57\x4e" + real + real + b"\x4f\x1f"
    assert [len(result.elements) for result in codec.decode_read_multiple_ack(answer)] == [0, 2]
    assert template.learn(answer, [Ref(2, 0, 23), Ref(2, 0, 87)]) is None


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        ("810b001201 20ffff00ff 1008 0a03e9 1a03e9", "to network all: Who-Is 1001 to 1001"),
        ("810a0017010030300c0c0000000619553e4442429f5c3f", "#48 ReadProperty answer: analog-input:6 present-value = 48.65"),
        ("810a000901007130 04", "#48 aborted: segmentation-not-supported"),
        ("810a000d01005030 0c91019 11f", "#48 ReadProperty error: unknown-object"),
        ("810a0007018000", "Who-Is-Router-To-Network"), ("820a0004", "no BACnet: BVLC type"),
    ],
)  # fmt: skip
def test_datagrams_in_words(octets: str, words: str) -> None:
    assert explain(bytes.fromhex(octets.replace(" ", ""))).startswith(words)


@given(st.binary(max_size=60))
def test_words_for_any_octets(rest: bytes) -> None:
    npdu = b"\x01\x00" + rest
    assert explain(b"\x81\x0a" + (len(npdu) + 4).to_bytes(2) + npdu)


FIELDS = (
    "udp.payload", "bvlc.function", "bacnet.dnet", "bacnet.snet", "bacapp.type", "bacapp.invoke_id",
    "bacapp.confirmed_service", "bacapp.unconfirmed_service", "bacapp.present_value.real",
    "bacapp.present_value.enum_index", "bacapp.instance_number",
)  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize("name", ["iti-bacnet_test", "icsnpp-bacnet-bacnet_example"])
def test_captures_decode_to_what_tshark_says(name: str) -> None:
    path = CAPTURES / f"{name}.pcap"
    if shutil.which("tshark") is None or not path.exists():
        pytest.skip("tshark or the capture is absent")
    command = ["tshark", "-r", str(path), "-T", "fields", *(part for one in FIELDS for part in ("-e", one))]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout.splitlines()
    seen = 0
    for line in lines:
        payload, function, dnet, snet, kind, invoke_id, confirmed, unconfirmed, real, enum, instance = (
            line.split("\t") + [""] * len(FIELDS)
        )[: len(FIELDS)]
        if not payload.startswith("81") or not function:
            continue
        if (
            int(payload[4:8], 16) != len(payload) // 2
        ):  # such senders exist; we take no datagram that says another length
            with pytest.raises(BacnetError, match="octets where"):
                codec.parse(bytes.fromhex(payload))
            continue
        head = codec.parse(bytes.fromhex(payload))
        assert head.function == int(function, 16), line
        assert _number(dnet) == head.dnet, line
        assert _number(snet) == head.snet, line
        if not kind:
            continue
        seen += 1
        assert head.pdu_type == int(kind), line
        if invoke_id:
            assert head.invoke_id == int(invoke_id), line
        if confirmed or unconfirmed:
            assert head.service == int((confirmed or unconfirmed).split(",")[0]), line
        if head.pdu_type == frame.COMPLEX_ACK and not head.is_segmented and head.service == codec.READ_PROPERTY:
            value = codec.decode_read_ack(head.body)
            assert value.ref.instance == int(instance.split(",")[0]), line
            if real:
                assert value.elements[0].value == pytest.approx(float(real)), line
            if enum:
                assert value.elements[0].value == int(enum), line
        elif head.pdu_type == frame.COMPLEX_ACK and not head.is_segmented and head.service == codec.READ_MULTIPLE:
            assert codec.decode_read_multiple_ack(head.body), line
        elif (head.pdu_type, head.service) == (frame.UNCONFIRMED, codec.I_AM):
            assert codec.decode_i_am(head.body).instance == int(instance), line
    assert seen, "no APDU in the capture"


def _number(text: str) -> int | None:
    return int(text.split(",")[0]) if text else None
