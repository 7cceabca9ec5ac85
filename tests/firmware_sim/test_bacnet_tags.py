"""Tags and frames of the BACnet simulators, against the examples of the standard and against noise."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.bacnet import npdu, tags
from firmware_sim.bacnet.tags import Reader, TagError


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [  # ANSI/ASHRAE 135-2020, 20.2.2 to 20.2.14
        (tags.null(), "00"),
        (tags.boolean(False), "10"),
        (tags.unsigned(72), "2148"),
        (tags.signed(72), "3148"),
        (tags.signed(-1), "31ff"),
        (tags.signed(-480), "32fe20"),
        (tags.real(72.0), "4442900000"),
        (tags.text("This is a BACnet string!"), "751900546869732069732061204241436e657420737472696e6721"),
        (tags.bits((True, False, True, False, True)), "8203a8"),
        (tags.enumerated(0), "9100"),
        (tags.date(1991, 1, 24, 4), "a45b011804"),
        (tags.time(17, 35, 45, 17), "b411232d11"),
        (tags.object_identifier(3 << 22 | 15), "c400c0000f"),
        (tags.context(27, b"\x01\x02"), "fa1b0102"),
        (tags.context_unsigned(2, 256), "2a0100"),
    ],
)
def test_values_are_as_in_the_standard(encoded: bytes, expected: str) -> None:
    assert encoded.hex() == expected


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1), st.text(max_size=400))
def test_values_come_back(number: int, whole: int, text: str) -> None:
    reader = Reader(tags.unsigned(number) + tags.signed(whole) + tags.text(text))
    assert [tags.simple_value(reader.take()) for _ in range(3)] == [number, whole, text]
    assert reader.is_done


@given(st.binary(max_size=80))
def test_noise_is_a_tag_error_or_a_tag(data: bytes) -> None:
    reader = Reader(data)
    try:
        while not reader.is_done:
            tags.simple_value(reader.take())
    except TagError:
        pass


@given(st.binary(max_size=60))
def test_noise_is_a_bad_frame_or_a_message(data: bytes) -> None:
    for opened in (npdu.open_bvlc, npdu.open_npdu):
        with contextlib.suppress(npdu.BadFrame):
            opened(data)


def test_tags_nested_a_thousand_deep_are_refused() -> None:
    with pytest.raises(TagError, match="nested too deep"):
        Reader(tags.opening(3) * 1000 + tags.closing(3) * 1000).inside(3)


def test_a_routed_message_comes_back_as_it_was() -> None:
    sent = npdu.npdu(b"\x10\x08", to=(20, b"\x07"), source=(5, b"\x01\x02"), reply_expected=True)
    message = npdu.open_npdu(sent)
    assert (message.dnet, message.dadr, message.snet, message.sadr) == (20, b"\x07", 5, b"\x01\x02")
    assert (message.payload, message.hops, message.reply_expected) == (b"\x10\x08", 255, True)
