"""The examples of MODBUS Application Protocol V1.1b3 section 6, request and response as printed there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from firmware_sim.pdu import answer


class Example:
    """A server that holds the data of the standard's examples."""

    functions = frozenset({1, 2, 3, 4, 5, 6, 15, 16, 22, 43})
    max_registers = 125
    max_bits = 2000

    def __init__(self) -> None:
        self.written: list[tuple[int, list[int]]] = []

    def read_registers(self, table: str, address: int, count: int) -> bytes | None:
        known = {("holding", 107): "022B00000064", ("input", 8): "000A", ("holding", 4): "0012"}
        data = known.get((table, address))
        return bytes.fromhex(data)[: 2 * count] if data else None

    def read_bits(self, table: str, address: int, count: int) -> Sequence[bool] | None:
        packed = {("coil", 19): "CD6B05", ("discrete", 196): "ACDB35"}.get((table, address))
        if packed is None:
            return None
        return [bool(bytes.fromhex(packed)[bit >> 3] >> (bit & 7) & 1) for bit in range(count)]

    def write_registers(self, address: int, values: Sequence[int]) -> int:
        self.written.append((address, list(values)))
        return 2 if address == 9999 else 0

    def write_coils(self, address: int, values: Sequence[bool]) -> int:
        self.written.append((address, [int(value) for value in values]))
        return 0

    def identification(self) -> dict[int, bytes]:
        return {0: b"Company identification", 1: b"Product code XX", 2: b"V2.11"}


@pytest.mark.parametrize(
    ("request_pdu", "reply_pdu"),
    [
        pytest.param("0100130013", "0103CD6B05", id="6.1 read coils 20-38"),
        pytest.param("0200C40016", "0203ACDB35", id="6.2 read discrete inputs 197-218"),
        pytest.param("03006B0003", "0306022B00000064", id="6.3 read registers 108-110"),
        pytest.param("0400080001", "0402000A", id="6.4 read input register 9"),
        pytest.param("0500ACFF00", "0500ACFF00", id="6.5 write coil 173 on"),
        pytest.param("0600010003", "0600010003", id="6.6 write register 2"),
        pytest.param("0F0013000A02CD01", "0F0013000A", id="6.11 write coils 20-29"),
        pytest.param("100001000204000A0102", "1000010002", id="6.12 write registers 2-3"),
        pytest.param(
            "2B0E0100",
            "2B0E018100000300"
            + "16"
            + b"Company identification".hex()
            + "010F"
            + b"Product code XX".hex()
            + "0205"
            + b"V2.11".hex(),
            id="6.21 read device identification",
        ),
        pytest.param("2B0E0402", "2B0E0481000001" + "0205" + b"V2.11".hex(), id="6.21 one object"),
    ],
)
def test_the_standards_examples(request_pdu: str, reply_pdu: str):
    assert answer(Example(), bytes.fromhex(request_pdu)).hex().upper() == reply_pdu.upper()


@pytest.mark.parametrize(
    ("request_pdu", "exception"),
    [
        ("0700", "8701"),  # function the server does not have
        ("0300000000", "8303"),  # no register
        ("030000007E", "8303"),  # 126 registers
        ("03006C0001", "8302"),  # address it does not have
        ("03FFFF0002", "8302"),  # past the end of the table
        ("0300", "8303"),  # cut short
        ("05000012 34", "8503"),  # a coil is FF00 or 0000
        ("10000100020300010002", "9003"),  # byte count disagrees
        ("10270F0001020001", "9002"),  # the device refuses
        ("16000500F20025", "9602"),  # a mask over a register that it does not have
        ("16000400F200", "9603"),  # half a mask
        ("2B0E0500", "AB03"),  # read code out of range
        ("2B0D0100", "AB01"),  # another encapsulated interface
        ("2B0E0403", "AB02"),  # object it does not have
    ],
)
def test_what_is_refused_and_how(request_pdu: str, exception: str):
    assert answer(Example(), bytes.fromhex(request_pdu)).hex().upper() == exception


def test_a_mask_leaves_the_other_bits():
    server = Example()
    request = bytes.fromhex("16000400F20025")  # the standard's own: 12h becomes 17h
    assert answer(server, request) == request
    assert server.written == [(4, [0x17])]


def test_writes_arrive_as_sent():
    server = Example()
    answer(server, bytes.fromhex("0F0013000A02CD01"))
    answer(server, bytes.fromhex("100001000204000A0102"))
    assert server.written == [(19, [1, 0, 1, 1, 0, 0, 1, 1, 1, 0]), (1, [10, 258])]
