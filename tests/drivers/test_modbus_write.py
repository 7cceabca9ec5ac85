"""drivers.modbus.write: the inverse of decode, the function that is chosen, what a refusal means, and never a second write."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modbus_slave import Slave, honest, honest_rtu, pty_server, rtu_tcp_server, tcp_reply, tcp_server

from device_profiles.errors import ConfigError, DeviceError, DeviceMismatch, DeviceRefused, DeviceTimeout
from device_profiles.reading import PointFault, Raw
from device_profiles.schema import Point
from drivers.base import Address, CanRehearse, CanWrite, LinkConfig, NotLocated
from drivers.modbus import codec, write
from drivers.modbus.block import Place, build_block
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.session import ModbusSession

ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")


def point(reg: int = 10, table: str = "holding", **keys: Any) -> Point:
    function = keys.pop("function", None)
    given = {"access": "rw", **({"write": {"function": function}} if function else {}), **keys}
    return Point.model_validate({"id": "x_point", "address": {"table": table, "reg": reg}, **given})


def coil(reg: int = 10, **keys: Any) -> Point:
    return point(reg, "coil", type="bool", **keys)


def request_of(one: Point, value: Raw) -> codec.Request:
    change = write.plan_write(one, value, None, None)
    assert isinstance(change, codec.Request)
    return change


def words_of(one: Point, value: Raw) -> str:
    pdu = request_of(one, value).pdu
    return pdu[6:].hex() if pdu[0] == 16 else pdu[3:].hex()


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ("u16", "fffe", 65534), ("s16", "fffe", -2), ("s16", "8000", -32768), ("u32", "00010002", 65538),
        ("s32", "ffffffff", -1), ("s32", "80000000", -(2**31)), ("u32", "ffffffff", 2**32 - 1), ("u16", "0003", 3.0),
        ("u64", "0000000100000002", 2**32 + 2), ("s64", "8000000000000000", -(2**63)), ("u64", "f" * 16, 2**64 - 1),
        ("f32", "42f6e979", 123.456), ("f32", "80000000", -0.0), ("f32", "00000001", 1.401298464324817e-45),
        ("f64", "405edd2f1a9fbe77", 123.456), ("bcd16", "1234", 1234), ("bcd32", "00123456", 123456),
        ("bcd64", "0000000012345678", 12345678), ("sm16", "8005", -5), ("sm16", "0005", 5), ("sm32", "80000001", -1),
        ("sm16", "0000", 0), ("u16", "0001", True),
    ],
)  # fmt: skip
def test_each_type_high_word_first(kind: str, data: str, value: float) -> None:
    assert words_of(point(type=kind), value) == data


@pytest.mark.parametrize(
    ("order", "data"), [("ABCD", "0a0b0c0d"), ("CDAB", "0c0d0a0b"), ("BADC", "0b0a0d0c"), ("DCBA", "0d0c0b0a")]
)
def test_the_four_word_orders(order: str, data: str) -> None:
    assert words_of(point(type="u32", word_order=order), 0x0A0B0C0D) == data


def test_text_is_padded_with_nul() -> None:
    assert words_of(point(type="str", length=3), "AB1") == "414231000000"
    assert words_of(point(type="str", length=2, word_order="BADC"), "ABCD") == "42414443"
    assert words_of(point(type="str", length=2, encoding="utf-8"), "ü") == "c3bc0000"


RANGES = {
    "u16": (0, 2**16 - 1), "s16": (-(2**15), 2**15 - 1), "u32": (0, 2**32 - 1), "s32": (-(2**31), 2**31 - 1),
    "u64": (0, 2**64 - 1), "s64": (-(2**63), 2**63 - 1), "bcd16": (0, 9999), "bcd32": (0, 99_999_999),
    "bcd64": (0, 10**16 - 1), "sm16": (-(2**15) + 1, 2**15 - 1), "sm32": (-(2**31) + 1, 2**31 - 1),
}  # fmt: skip


def read_back(one: Point, value: Raw) -> Any:
    """What the driver's decoder makes of the words that it would write."""
    data = b"".join(word.to_bytes(2, "big") for word in write._wire(one, write.encode(one, value)))
    block = build_block("holding", 10, 9 + one.registers, [Place(one, "holding", (10,))], {})
    [back] = block.decode(data)
    return back


@given(st.sampled_from(sorted(RANGES)), st.sampled_from(ORDERS), st.data())
def test_whole_numbers_come_back_and_one_past_each_end_is_refused(kind: str, order: str, data: st.DataObject) -> None:
    low, high = RANGES[kind]
    one = point(type=kind, word_order=order)
    value = data.draw(st.sampled_from((low, high)) | st.integers(low, high))
    assert read_back(one, value) == value
    for beyond in (low - 1, high + 1):
        with pytest.raises(ConfigError, match="does not fit"):
            write.plan_write(one, beyond, None, None)


@given(
    st.sampled_from(("f32", "f64")), st.sampled_from(ORDERS), st.floats(allow_nan=False, allow_infinity=False, width=32)
)
def test_floats_come_back(kind: str, order: str, value: float) -> None:
    assert struct.pack(">d", read_back(point(type=kind, word_order=order), value)) == struct.pack(">d", value)


@given(st.text(max_size=8).map(str.strip), st.sampled_from(ORDERS))
def test_text_comes_back_or_is_refused(text: str, order: str) -> None:
    one = point(type="str", length=4, encoding="utf-8", word_order=order)
    try:
        assert read_back(one, text) == text
    except ConfigError:
        assert len(text.encode("utf-8", "replace")) > 8 or "\0" in text or any("\ud800" <= c <= "\udfff" for c in text)


@pytest.mark.parametrize(
    ("one", "value", "words"),
    [
        (point(), 1.5, "no whole number"),
        (point(), "7", "no whole number"),
        (point(), float("nan"), "no whole number"),
        (point(type="f32"), float("inf"), "no number"),
        (point(type="f32"), 1e39, "too large"),
        (point(type="f32"), "1", "no number"),
        (point(type="f64"), 10**400, "too large"),
        (point(), 10**400, "does not fit"),
        (point(type="str", length=1), "ABC", "at most 2 bytes"),
        (point(type="str", length=2), "ü", "is not ascii"),
        (point(type="str", length=2), "A ", "not be read back"),
        (point(type="str", length=2), 5, "no text"),
        (coil(), 2, "does not fit"),
        (point(bits="4..5"), 4, "takes 0 to 3"),
        (point(type="bool", bits="4..5"), True, "make it a u16"),
        (point(type="u32", function="single"), 1, "cannot be written by FC 6"),
        (point(type="str", length=124), "A", "cannot be written at once"),
        (point(reg=65535, type="u32"), 1, "cannot be written at once"),
        (point(table="input", access="r"), 1, "input registers cannot be written"),
        (point(table="discrete", type="bool", access="r"), True, "discrete registers cannot be written"),
        (
            Point.model_validate({"id": "x_p", "table": "holding", "parts": [{"reg": 1, "scale": 1}], "access": "rw"}),
            1,
            "several parts",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_is_sent(one: Point, value: Raw, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        write.plan_write(one, value, None, None)


def test_there_are_no_priorities() -> None:
    for value, priority in ((None, None), (1, 8)):
        with pytest.raises(ConfigError, match="no priorities"):
            write.plan_write(point(), value, None, priority)


@pytest.mark.parametrize(
    ("one", "value", "pdu"),
    [
        (coil(), True, "05000aff00"),
        (coil(), 0, "05000a0000"),
        (coil(function="single"), True, "05000aff00"),
        (coil(function="multiple"), True, "0f000a00010101"),
        (point(), 0x1234, "06000a1234"),
        (point(function="multiple"), 0x1234, "10000a0001021234"),
        (point(type="u32"), 0x12345678, "10000a00020412345678"),
    ],
)
def test_the_function_is_the_profiles_or_the_smallest(one: Point, value: Raw, pdu: str) -> None:
    assert request_of(one, value).pdu.hex() == pdu


def test_a_sunspec_point_is_written_where_the_device_keeps_its_model() -> None:
    address = {"address": {"model": [123, 704], "at": 5}}
    one = Point.model_validate({"id": "x_limit", **address, "access": "rw"})
    change = write.plan_write(one, 80, {"models": {"123": 40100}}, None)
    assert isinstance(change, codec.Request)
    assert change.pdu.hex() == "069ca90050"
    with pytest.raises(NotLocated):
        write.plan_write(one, 80, None, None)
    with pytest.raises(ConfigError, match="no such SunSpec model"):
        write.plan_write(one, 80, {"models": {"1": 40002}}, None)


# -- over the three carriers ------------------------------------------------------------------------------------------


@asynccontextmanager
async def over_tcp(slave: Slave) -> AsyncIterator[LinkConfig]:
    async with tcp_server(honest(slave)) as port:
        yield LinkConfig("tcp-1", "tcp", host="127.0.0.1", port=port, timeout_s=2)


@asynccontextmanager
async def over_rtu_tcp(slave: Slave) -> AsyncIterator[LinkConfig]:
    async with rtu_tcp_server(honest_rtu(slave)) as port:
        yield LinkConfig("server-1", "rtu+tcp", host="127.0.0.1", port=port, baud=115200, timeout_s=2)


@asynccontextmanager
async def over_a_line(slave: Slave) -> AsyncIterator[LinkConfig]:
    with pty_server(honest_rtu(slave)) as (path, _):
        yield LinkConfig("rs485-1", "serial", path=path, baud=115200, timeout_s=2)


EVERY_CARRIER = pytest.mark.parametrize("carrier", [over_tcp, over_rtu_tcp, over_a_line])
Carrier = Callable[[Slave], Any]


@EVERY_CARRIER
async def test_every_kind_is_written_once_and_read_back(carrier: Carrier) -> None:
    slave = Slave(frozenset({1}))
    wanted: list[tuple[Point, Raw]] = [
        (coil(3), True), (coil(4, function="multiple"), True), (point(20), 777), (point(21, function="multiple"), 778),
        (point(30, type="f32", word_order="CDAB"), 21.5), (point(40, type="s64"), -5), (point(50, bits="4..6"), 5),
        (point(60, type="str", length=4), "Room 12"), (point(70, type="u32", bits=20), 1),
    ]  # fmt: skip
    async with carrier(slave) as link, ModbusDriver().open(link) as session:
        assert isinstance(session, CanWrite)
        for one, value in wanted:
            await session.write(Address(1), one, value, None)
            assert (await session.standing(Address(1), one, None)).value == value
    assert [pdu[0] for pdu in slave.written] == [5, 15, 6, 16, 16, 16, 22, 16, 22]
    assert slave.words[3, 50] == 50 & ~0x70 | 0x50, "the other bits stand as they were"


@EVERY_CARRIER
async def test_bits_are_merged_where_the_device_has_no_mask_write(carrier: Carrier) -> None:
    slave = Slave(frozenset({1}), words={(3, 10): 0xF00F}, unknown=frozenset({22}))
    async with carrier(slave) as link, ModbusDriver().open(link) as session:
        one = point(bits="4..7")
        assert "FC 22" in session.rehearse(Address(1), one, 9, None)
        await session.write(Address(1), one, 9, None)
        assert slave.words[3, 10] == 0xF09F
        assert session.rehearse(Address(1), one, 6, None) == (
            "FC 3 and 6: holding register 10 (0x000a), bits 0x00f0 become 0x0060"
        )
        slave.asked.clear()
        await session.write(Address(1), one, 6, None)
    assert [pdu.hex() for pdu in slave.written] == ["06000af09f", "06000af06f"]
    assert slave.asked == [(1, 3, 10, 1)], "what the device lacks is not tried again"


async def test_bits_over_two_registers_and_a_named_function_are_merged() -> None:
    slave = Slave(frozenset({1}), words={(3, 10): 0xFFFF, (3, 11): 0xFFFF, (3, 20): 1})
    async with over_tcp(slave) as link, ModbusDriver().open(link) as session:
        await session.write(Address(1), point(type="u32", bits="12..19"), 0, None)
        await session.write(Address(1), point(20, bits=15, function="multiple"), True, None)
        await session.write(Address(1), point(20, bits=14, function="single"), True, None)
    assert [pdu.hex() for pdu in slave.written] == ["10000a000204fff00fff", "1000140001028001", "060014c001"]


@EVERY_CARRIER
@pytest.mark.parametrize(
    ("code", "error", "status"),
    [
        (1, DeviceRefused, "BadNotSupported"), (2, DeviceRefused, "BadNodeIdUnknown"), (3, DeviceRefused, "BadOutOfRange"),
        (4, DeviceRefused, "BadDeviceFailure"), (5, DeviceTimeout, "BadTimeout"), (6, DeviceRefused, "BadServerTooBusy"),
        (10, DeviceRefused, "BadNoCommunication"), (11, DeviceTimeout, "BadTimeout"),
    ],
)  # fmt: skip
async def test_refusals_of_a_write(carrier: Carrier, code: int, error: type[DeviceError], status: str) -> None:
    slave = Slave(frozenset({1}), refused={(6, 10): code})
    async with carrier(slave) as link, ModbusDriver().open(link) as session:
        with pytest.raises(error) as caught:
            await session.write(Address(1, "relay-1"), point(), 1, None)
    assert caught.value.status == status
    assert caught.value.where == f"relay-1 ({link.id}, unit 1)"
    assert slave.written == []


async def test_nobody_is_written_to_by_broadcast() -> None:
    async with over_tcp(Slave()) as link, ModbusDriver().open(link) as session:
        assert isinstance(session, CanRehearse)
        for attempt in (session.write(Address(0), point(), 1, None), session.standing(Address(0), point(), None)):
            with pytest.raises(ConfigError, match="broadcast"):
                await attempt
        with pytest.raises(ConfigError, match="broadcast"):
            session.rehearse(Address(0), point(), 1, None)


@pytest.mark.parametrize(
    ("one", "value", "words"),
    [
        (coil(), True, "FC 5: coil 10 (0x000a) = on"),
        (coil(function="multiple"), False, "FC 15: coil 10 (0x000a) = off"),
        (point(), 10000, "FC 6: holding register 10 (0x000a) = 10000 (0x2710)"),
        (point(type="f32"), 21.5, "FC 16: holding registers 10 to 11 (0x000a) = 41ac 0000"),
        (point(bits=3), 1, "FC 22: holding register 10 (0x000a), bits 0x0008 become 0x0008"),
    ],
)
async def test_a_rehearsal_says_it_and_sends_nothing(one: Point, value: Raw, words: str) -> None:
    slave = Slave()
    async with over_tcp(slave) as link, ModbusDriver().open(link) as session:
        assert session.rehearse(Address(1), one, value, None) == words
    assert not slave.asked
    assert not slave.written


async def test_a_register_that_cannot_be_read_stands_as_a_fault() -> None:
    slave = Slave(refused={(3, 10): 2, (3, 11): 10})
    async with over_tcp(slave) as link, ModbusDriver().open(link) as session:
        standing = await session.standing(Address(1), point(), None)
        assert isinstance(standing.value, PointFault)
        assert standing.value.status == "BadNodeIdUnknown"
        with pytest.raises(DeviceRefused):
            await session.standing(Address(1), point(11), None)


@pytest.mark.parametrize("change", ["06000b0001", "06000a0002", "10000a0001", "06000a000100", "86", "03020001"])
async def test_a_confirmation_of_something_else_is_none(change: str) -> None:
    sent: list[bytes] = []

    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        sent.append(pdu)
        return [tcp_reply(tid, unit, bytes.fromhex(change))]

    async with tcp_server(script) as port:
        link = LinkConfig("tcp-1", "tcp", host="127.0.0.1", port=port, timeout_s=2)
        async with ModbusDriver().open(link) as session:
            with pytest.raises(DeviceMismatch):
                await session.write(Address(1), point(), 1, None)
    assert len(sent) == 1


async def test_a_silent_device_is_written_once_and_its_late_answer_confirms_nothing() -> None:
    """Over TCP: each answer comes with the next request."""
    held: list[bytes] = []
    sent: list[bytes] = []

    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        sent.append(pdu)
        held.append(tcp_reply(tid, unit, pdu))
        return [held.pop(0)] if len(held) > 1 else []

    async with tcp_server(script) as port:
        link = LinkConfig("tcp-1", "tcp", host="127.0.0.1", port=port, timeout_s=0.1)
        async with ModbusDriver().open(link) as session:
            assert isinstance(session, ModbusSession)
            for _ in range(3):
                with pytest.raises(DeviceTimeout):
                    await session.write(Address(1), point(), 1, None)
    assert len(sent) == 3
