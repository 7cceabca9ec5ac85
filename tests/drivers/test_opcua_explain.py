"""OPC UA messages in words, against octets laid out by hand and any octets."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from drivers.link import parse_link
from drivers.opcua.explain import explain
from drivers.trace import explain as explain_any

URL = b"opc.tcp://h:4840"
HELLO = b"HELF" + struct.pack("<I", 32 + len(URL)) + bytes(20) + struct.pack("<I", len(URL)) + URL


def message(type_id: int, rest: bytes = b"", number: int = 7) -> bytes:
    body = struct.pack("<IIII", 1, 1, number, number) + b"\x01\x00" + struct.pack("<H", type_id) + rest
    return b"MSGF" + struct.pack("<I", 8 + len(body)) + body


def test_hello_and_services() -> None:
    assert explain(HELLO, encrypted=False) == "Hello to opc.tcp://h:4840"
    assert explain(message(631), encrypted=False) == "#7 ReadRequest"
    assert explain(message(631) + message(634, number=8), encrypted=False) == "#7 ReadRequest; #8 ReadResponse"


def test_a_bad_answer_and_an_error_say_why() -> None:
    refused = struct.pack("<qII", 0, 1, 0x801F0000)
    assert explain(message(397, refused), encrypted=False) == "#7 ServiceFault BadUserAccessDenied"
    error = b"ERRF" + struct.pack("<IIi", 18, 0x80550000, 2) + b"no"
    assert explain(error, encrypted=False) == "Error BadSecurityPolicyRejected: no"


def test_what_is_encrypted_is_not_guessed_at() -> None:
    assert explain(message(631), encrypted=True) == "encrypted message of 28 bytes"
    assert explain(message(428), encrypted=True) == "#7 GetEndpointsRequest"  # asked before there is a secure channel
    link = parse_link("opc.tcp://h")
    assert explain_any(link, ">", message(631)) == "#7 ReadRequest"


@given(st.binary(max_size=80), st.sampled_from([b"", b"MSGF", b"OPNF", b"ERRF", b"HELF", b"ACKF"]), st.integers(0, 120))
def test_any_octets(rest: bytes, kind: bytes, size: int) -> None:
    explain(kind + struct.pack("<I", size) + rest, encrypted=False)
