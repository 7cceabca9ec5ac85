"""One card, one canonical form (and so one pseudonym) at every reader, whatever its protocol and its way to say a number."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.credential import Clear, Credential
from device_profiles.strings_codec import Language
from drivers.base import Address
from drivers.listening import Listened
from drivers.osdp import frame as wire
from drivers.osdp.reader import Reader
from drivers.strings.station import Station
from drivers.strings.stream import Decoder
from drivers.uhppote.frame import Record
from drivers.uhppote.records import occurrence_of
from firmware_sim.osdp import OsdpReader
from firmware_sim.reader_strings import bits_line, decimal_line, em4100, facility_line, rdm6300, wiegand
from tests.shipped import LIBRARY

Said = Callable[[int], Clear]
"""What a reader makes of a card, given as the number of its own 24 bits (facility code of 8, number of 16)."""


def _listened(profile_id: str) -> Listened:
    profile = LIBRARY.get(profile_id)
    return Listened(Address(1, "d", strings=profile.strings), profile.events, profile.credential)


def _strings(profile_id: str, says: Callable[[int], bytes]) -> Said:
    listened = _listened(profile_id)
    assert listened.address.strings is not None
    language = Language(listened.address.strings)

    def said(card: int) -> Clear:
        station = Station(listened.address, language, 0.0, listened)
        [heard] = [one for one in Decoder(language).feed(says(card)) if hasattr(one, "values")]
        [event] = station.take(heard, 0, 0.0)
        return event.clear["card"]

    return said


def _osdp(profile_id: str, tell: Callable[[OsdpReader, int], None]) -> Said:
    credential = LIBRARY.get(profile_id).credential
    assert credential is not None

    def said(card: int) -> Clear:
        simulated, reader = OsdpReader(1), Reader(1, None)
        tell(simulated, card)
        for _ in range(20):
            reply = simulated.hear(reader.next()[1:])
            assert reply is not None
            for told in reader.heard(wire.decode(reply), 0.0):
                if told.card is not None:
                    return credential.of_bits(told.card.bits)
                if told.text is not None:
                    return credential.of_text(told.text)
        raise AssertionError("it told no card")

    return said


def _board(card: int) -> Clear:
    """UHPPOTE: 118 and 1254 are the number 11801254."""
    number = (card >> 16) * 100_000 + (card & 0xFFFF)
    record = Record(1, 1, True, 1, 1, number, datetime(2026, 11, 22, 8, 0), 1)
    told = occurrence_of(record, _listened("uhppote-l04"), from_memory=False)
    assert told is not None
    return told.clear["card"]


def _text(profile_id: str) -> Said:
    """Terminals that say the card's number in decimal."""
    credential = LIBRARY.get(profile_id).credential
    assert credential is not None
    return lambda card: credential.of_text(str(card))


READERS: dict[str, Said] = {
    **{
        f"{name} raw": _osdp(name, lambda reader, card: reader.present(wiegand(card)))
        for name in ("generic-osdp-reader", "hid-signo", "wavelynx-ethos", "ict-tsl", "nedap-upass-access")
    },
    "osdp formatted": _osdp("generic-osdp-reader", lambda reader, card: reader.present_text(str(card))),
    "wiegand 26": _strings("generic-wiegand-bits", bits_line),
    "wiegand 34": _strings("generic-wiegand-bits", lambda card: bits_line(card, 34)),
    "wiegand 26, whole": _strings("generic-wiegand-long", bits_line),
    "decimal": _strings("generic-reader-decimal", decimal_line),
    "facility, number": _strings("generic-reader-facility", facility_line),
    "id-12": _strings("id-innovations-id-12", lambda card: em4100(0x3C << 32 | card)),
    "rdm6300": _strings("rdm6300", lambda card: rdm6300(0x3C << 32 | card)),
    "uhppote": _board,
    **{
        name: _text(name)
        for name in ("hikvision-ds-k1t", "hikvision-push", "zkteco-security-push", "zkteco-attendance-push")
    },
}


@given(facility=st.integers(0, 255), number=st.integers(1, 65535))
def test_one_card_is_one_card_at_every_reader(facility: int, number: int) -> None:
    card = facility << 16 | number
    assert {name: said(card).text for name, said in READERS.items()} == dict.fromkeys(READERS, str(card))


def test_every_reader_of_the_catalogue_is_here_or_says_a_form_that_is() -> None:
    forms = {LIBRARY.get(name).credential for name in ("generic-osdp-reader", "generic-wiegand-bits", "generic-reader-decimal",
             "generic-reader-facility", "id-innovations-id-12", "uhppote-l04", "hikvision-push")}  # fmt: skip
    assert {one.credential for one in LIBRARY.all() if one.credential is not None} <= forms


@given(st.integers(1, 2**32 - 1))
def test_a_34_bit_card_at_a_board_and_at_a_reader(card: int) -> None:
    """A board says such a number as it is; what looks like facility code and number is taken for a 26-bit card's."""
    facility, number = divmod(card, 100_000)
    at_board = Credential(form="facility_digits").of_text(str(card))
    if facility > 255 or number > 65535:
        assert at_board == Credential().of_bits(wiegand(card, 34))


def test_a_corporate_1000_card_of_35_bits() -> None:
    """Its three parity bits are made here bit by bit, from the maker's picture of them."""
    own = f"{1953:012b}{12345:020b}"
    row = [0, 0, *map(int, own), 0]
    row[1] = sum(row[at] for at in range(2, 34) if at % 3 != 1) % 2
    row[34] = 1 - sum(row[at] for at in range(1, 33) if at % 3 != 0) % 2
    row[0] = 1 - sum(row[1:]) % 2
    bits = "".join(map(str, row))
    assert Credential().of_bits(bits) == Clear(str(1953 << 20 | 12345))
    for at in range(35):
        with pytest.raises(ValueError, match="parity"):
            Credential().of_bits(bits[:at] + str(1 - row[at]) + bits[at + 1 :])
