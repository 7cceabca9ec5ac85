"""One card gives one canonical form, however a reader says it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.credential import Clear, Credential, CredentialError


def wiegand(value: int, width: int) -> str:
    """The card's own bits between an even and an odd parity bit."""
    own = f"{value:0{width}b}"
    half = -(-width // 2)
    even = str(own[:half].count("1") % 2)
    odd = str(1 - own[-half:].count("1") % 2)
    return even + own + odd


CARD = 118 << 16 | 1254


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Credential(form="facility_number"), "118,01254"),
        (Credential(form="facility_number"), "118-1254"),
        (Credential(form="decimal"), f"{CARD:010d}"),
        (Credential(form="hex"), f"{CARD:06x}"),
        (Credential(form="hex", reversed=True), CARD.to_bytes(3, "little").hex()),
        (Credential(form="hex", keep=24), f"a5{CARD:06X}"),
        (Credential(form="decimal", reversed=True, keep=24), str(int.from_bytes(CARD.to_bytes(4, "little")))),
    ],
)  # fmt: skip
def test_one_card_at_every_reader(given: Credential, text: str) -> None:
    assert given.of_text(text) == Credential().of_bits(wiegand(CARD, 24)) == Clear(str(CARD))


def test_a_known_26_bit_card() -> None:
    # facility 1, number 1: the example of every 26-bit description
    assert Credential().of_bits("1" + "00000001" + "0000000000000001" + "0") == Clear(str(1 << 16 | 1))


@given(st.integers(1, 2**56 - 1))
def test_every_length_with_parity(value: int) -> None:
    for width in (24, 32, 35, 48, 56, 64):
        own = value % 2**width or 1
        bits = wiegand(own, width)
        assert Credential().of_bits(bits) == Clear(str(own))
        for at in (0, width // 2, width + 1):
            spoilt = bits[:at] + ("1" if bits[at] == "0" else "0") + bits[at + 1 :]
            if width != 35 or at != width // 2:
                with pytest.raises(CredentialError):
                    Credential().of_bits(spoilt)


@pytest.mark.parametrize("text", ["", "x", "12 34", "-1", "٣", "1" * 60, "0", "118,99999", "118,"])
def test_what_is_no_card(text: str) -> None:
    for form in ("decimal", "facility_number"):
        with pytest.raises(CredentialError) as caught:
            Credential(form=form).of_text(text)
        assert len(text) < 2 or text not in str(caught.value)


def test_a_format_of_its_own() -> None:
    assert Credential(data=(3, 10)).of_bits("00" + "00010111" + "000") == Clear("23")
    with pytest.raises(CredentialError, match="5 bits, where the format has 10"):
        Credential(data=(3, 10)).of_bits("00000")


def test_nobody_sees_it() -> None:
    assert "4711" not in f"{Clear('4711')!r} {Clear('4711')}"
