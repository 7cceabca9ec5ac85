"""The canonical form of RFC 8785 and Ed25519 over it, with a vector for those who sign."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.commands.signature import NotCanonical, canonical, is_valid, parse, public_key_of, signed_bytes

VECTOR = (
    b'{"v": 1, "id": "01JDB4", "op": "point.write", "dev": "ahu-01", "args": {"val": 18.0,'
    b' "p": "supply_air_temperature_setpoint"}, "t": 1795355245000, "exp": 1795355260000,'
    b' "by": "u:42", "why": "W\\u00fcnsche \\/ \\ud83c\\udf21", "dry": false,'
    b' "kid": "k1", "to": "hq/gw-01", "sig": "left out"}'
)
SIGNED = (
    '{"args":{"p":"supply_air_temperature_setpoint","val":18},"by":"u:42","dev":"ahu-01","dry":false,"exp":1795355260000,'
    '"id":"01JDB4","kid":"k1","op":"point.write","t":1795355245000,"to":"hq/gw-01","v":1,"why":"Wünsche / 🌡"}'
)
SEED = bytes(range(32))
SIGNATURE = "3RLUreZKgflA5EJ0adnEIUWhjyDOizEGMVFxKjFUBwKX/a6aormOJCcDEOBZlyyxpdsrntvWMJvh8FmC50O/CA=="
PUBLIC = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"


def test_the_vector() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    assert key.public_key().public_bytes_raw().hex() == PUBLIC
    assert signed_bytes(parse(VECTOR)).decode() == SIGNED
    signature = base64.b64encode(key.sign(SIGNED.encode())).decode()
    assert signature == SIGNATURE
    assert is_valid(bytes.fromhex(PUBLIC), signature, SIGNED.encode())
    assert is_valid(bytes.fromhex(PUBLIC), signature.replace("+", "-").replace("/", "_").rstrip("="), SIGNED.encode())


def test_a_flipped_bit_anywhere_is_seen() -> None:
    message = SIGNED.encode()
    for at in range(0, len(message), 7):
        flipped = bytes([*message[:at], message[at] ^ 1, *message[at + 1 :]])
        assert not is_valid(bytes.fromhex(PUBLIC), SIGNATURE, flipped)
    for signature in ("", "####", SIGNATURE[:-8], "A" * 88):
        assert not is_valid(bytes.fromhex(PUBLIC), signature, message)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        # RFC 8785, appendix B, and the edges of ECMA-262's Number::toString.
        (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"), (-0.0, "0"),
        (9007199254740992.0, "9007199254740992"),
        (295147905179352830000.0, "295147905179352830000"), (1e21, "1e+21"), (999999999999999900000.0, "999999999999999900000"),
        (1e-6, "0.000001"), (1e-7, "1e-7"), (333333333.3333332, "333333333.3333332"), (0.1, "0.1"),
        (-1.5e-9, "-1.5e-9"), (20.0, "20"),
        (123456789012345680000.0, "123456789012345680000"), (9.999999999999997e22, "9.999999999999997e+22"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_ecmascript_does(number: float, text: str) -> None:
    assert canonical(number).decode() == text


def test_keys_are_sorted_by_utf16() -> None:
    """RFC 8785, 3.2.3: the surrogate pair sorts before U+FB33."""
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\u00f6"]
    assert list(json.loads(canonical(dict.fromkeys(keys, 0)))) == [
        "\r", "1", "\x80", "\u00f6", "\u20ac", "\U0001f600", "\ufb33",
    ]  # fmt: skip


documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab\u00e9\"\\\n", max_size=4), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(documents)
def test_it_reads_back_as_it_was_and_is_its_own_canonical_form(value: object) -> None:
    once = canonical(value)
    again = json.loads(once, parse_int=float)
    assert again == value
    assert canonical(again) == once


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"a":Infinity}',
        b"",
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(payload: bytes) -> None:
    with pytest.raises(NotCanonical):
        canonical(parse(payload))


@pytest.mark.parametrize("value", ['"\\ud800"', "9007199254740993", "1e999"])
def test_what_has_no_canonical_form_is_refused(value: str) -> None:
    with pytest.raises(NotCanonical):
        canonical(parse(b'{"a":' + value.encode() + b"}"))


def test_a_key_made_by_openssl(tmp_path: Path) -> None:
    private, public = tmp_path / "k.pem", tmp_path / "k.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    message = tmp_path / "m"
    message.write_bytes(SIGNED.encode())
    signed = subprocess.run(
        ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", private, "-in", message], check=True, capture_output=True
    )
    key = public_key_of(public.read_text())
    assert is_valid(key, base64.b64encode(signed.stdout).decode(), SIGNED.encode())
    for wrong in ("", private.read_text(), public.read_text().replace("MCow", "MCoq")):
        with pytest.raises(ValueError):
            public_key_of(wrong)
