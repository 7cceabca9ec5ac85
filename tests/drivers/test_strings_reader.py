"""Card readers that write strings: on every kind of wire, one card is one card, and nothing of it is shown."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strings_world import LIBRARY, opened

from device_profiles.strings_codec import Language
from drivers.base import Address
from drivers.listening import CanListen, Listened
from drivers.strings.station import Station
from drivers.strings.stream import Decoder
from firmware_sim.reader_strings import DIALECTS, Reader

CARD = 0xCE754C
READERS = {
    "id-innovations-id-12": "id-12", "rdm6300": "rdm6300", "generic-wiegand-bits": "bits26",
    "generic-reader-decimal": "decimal", "generic-reader-facility": "facility",
}  # fmt: skip
"""Profiles that keep 24 bits of a card, and what the simulated reader speaks."""


def card_of(profile_id: str, wire: bytes) -> str:
    """The canonical form that a profile makes of what its reader writes."""
    of = LIBRARY.get(profile_id)
    assert of.strings is not None
    language = Language(of.strings)
    device = Address(1, "reader", strings=of.strings)
    station = Station(device, language, 0.0, Listened(device, of.events, of.credential))
    [heard] = Decoder(language).feed(wire)
    [event] = station.take(heard, 0, 0.0)  # type: ignore[arg-type]
    return event.clear["card"].text


@given(st.integers(min_value=1, max_value=0xFFFFFF))
def test_one_card_is_one_card_at_every_reader(card: int) -> None:
    forms = {card_of(profile, DIALECTS[dialect](card)) for profile, dialect in READERS.items()}
    forms |= {card_of("generic-wiegand-bits", DIALECTS["bits34"](card))}
    assert forms == {str(card)}


@pytest.mark.parametrize("kind", ["serial", "tcp", "tcp-listen", "udp"])
async def test_a_card_is_told_over_every_kind_of_wire(kind: str) -> None:
    reader = Reader("id-12")
    async with opened(reader, "id-innovations-id-12", kind) as world:
        assert isinstance(world.session, CanListen)
        await world.listen("in")
        if kind in ("tcp", "tcp-listen"):
            await world.until(lambda: world.wire.connections and (kind == "tcp" or world.session.counts is not None))
        async with asyncio.timeout(5):
            event = None
            while event is None:
                reader.swipe(CARD)
                try:
                    event = await asyncio.wait_for(world.next(), 0.3)
                except TimeoutError:
                    continue
        assert (event.name, event.data, event.clear["card"].text) == ("card.read", {"dir": "in"}, str(CARD))
        assert str(CARD) not in event.key
        assert world.wire.bytes_heard == 0
