"""The secure channel: the standard's own example, and that nothing changed, repeated or lost passes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import DeviceMismatch
from drivers.osdp import frame as wire
from drivers.osdp import secure

PANEL, READER = bytes(range(0xB0, 0xB8)), bytes(range(0xA0, 0xA8))


def test_the_example_of_the_standard() -> None:
    """SIA OSDP 2.2, annex E: SCBK-D, host random B0..B7, client random A0..A7."""
    keys = secure.session_keys(secure.INSTALL_KEY, PANEL)
    assert keys.mac_1.hex() == "5e86c676603bdee2d8beafe178637332"
    assert keys.mac_2.hex() == "6fda86e857777e81132035758239172e"
    assert keys.encryption.hex() == "bf8dc2a8329acb8c67c6d0cd9a451682"
    cryptogram = secure.panel_cryptogram(keys, PANEL, READER)
    assert cryptogram.hex() == "26d3356e07762d262801fc8e6665a891"
    assert secure.reader_cryptogram(keys, PANEL, READER).hex() == "fde5d2f428ec16312471ea3c02bd7796"
    assert secure.initial_mac(keys, cryptogram).hex() == "b2a30057eb98ba2229ec1f875662b524"


def pair() -> tuple[secure.SecureChannel, secure.SecureChannel]:
    keys = secure.session_keys(secure.INSTALL_KEY, PANEL)
    first = secure.initial_mac(keys, secure.panel_cryptogram(keys, PANEL, READER))
    return secure.SecureChannel(keys, first), secure.SecureChannel(keys, first, "reader")


def over_the_wire(frame: wire.Frame) -> wire.Frame:
    return wire.decode(wire.encode(frame))


@given(st.lists(st.tuples(st.binary(max_size=70), st.binary(max_size=70)), min_size=1, max_size=6))
def test_both_sides_understand_each_other(talk: list[tuple[bytes, bytes]]) -> None:
    panel, reader = pair()
    for sequence, (said, answered) in enumerate(talk):
        command = panel.seal(wire.Frame(1, 0x69, said, sequence % 4))
        if said:
            assert said not in command.data or len(said) < 3
        assert reader.open(over_the_wire(command)).data == said
        reply = reader.seal(wire.Frame(1, 0x50, answered, sequence % 4, is_reply=True))
        assert panel.open(over_the_wire(reply)).data == answered


@pytest.mark.parametrize("at", range(4))
def test_a_changed_signature_is_refused(at: int) -> None:
    panel, reader = pair()
    reader.open(panel.seal(wire.Frame(1, 0x60)))
    reply = reader.seal(wire.Frame(1, 0x50, b"card", is_reply=True))
    mac = bytearray(reply.mac)
    mac[at] ^= 1
    with pytest.raises(DeviceMismatch, match="signature"):
        panel.open(replace(reply, mac=bytes(mac)))


def test_changed_data_a_repetition_and_a_plain_frame_are_refused() -> None:
    panel, reader = pair()
    reader.open(panel.seal(wire.Frame(1, 0x60)))
    reply = reader.seal(wire.Frame(1, 0x50, b"card", is_reply=True))
    with pytest.raises(DeviceMismatch):
        panel.open(replace(reply, data=bytes(16)))
    assert panel.open(reply).data == b"card"
    reader.open(panel.seal(wire.Frame(1, 0x60, sequence=1)))
    with pytest.raises(DeviceMismatch):
        panel.open(reply)
    with pytest.raises(DeviceMismatch, match="without the secure channel"):
        panel.open(wire.Frame(1, 0x50, b"card", is_reply=True))


def test_keys_are_not_shown() -> None:
    keys = secure.session_keys(secure.INSTALL_KEY, PANEL)
    assert keys.mac_1.hex() not in repr(keys)
    assert repr(keys.mac_1) not in repr(keys)
