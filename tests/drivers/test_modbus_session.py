"""drivers.modbus.session and sunspec: locating, identifying, discovering, and which refusal concerns whom."""

from __future__ import annotations

import struct

import pytest
from modbus_slave import Slave, TcpScript, honest, tcp_reply, tcp_server

from device_profiles.errors import DeviceMismatch, DeviceRefused
from device_profiles.reading import PointFault
from device_profiles.schema import Point
from drivers.base import Address, Batch, CanDiscover, CanIdentify, CanLearn, CanLocate, Limits, LinkConfig
from drivers.modbus import sunspec
from drivers.modbus.driver import ModbusDriver

LINK = LinkConfig("tcp-1", "tcp", host="127.0.0.1", timeout_s=2)


def link_to(port: int, timeout_s: float = 2) -> LinkConfig:
    return LinkConfig("tcp-1", "tcp", host="127.0.0.1", port=port, timeout_s=timeout_s)


def chain(*models: tuple[int, int], base: int = 40000, end: bool = True) -> Slave:
    """A device with SunSpec models (number, length) and nothing else."""
    words = dict(enumerate(struct.unpack(">2H", b"SunS"), base))
    at = base + 2
    for model, length in models:
        words |= {at: model, at + 1: length} | {at + 2 + n: 1000 * model % 60000 + n for n in range(length)}
        at += 2 + length
    if end:
        words |= {at: 0xFFFF, at + 1: 0}
    return Slave(
        words={(3, reg): word for reg, word in words.items()},
        refused={(3, reg): 2 for reg in range(65536) if reg not in words},
    )


def sunspec_point(name: str, model: int | list[int], offset: int, **keys: object) -> Point:
    return Point.model_validate({"id": name, "address": {"model": model, "offset": offset}, **keys})


@pytest.mark.parametrize("base", [40000, 0, 50000])
async def test_models_are_found_by_walking_the_chain(base: int) -> None:
    slave = chain((1, 66), (103, 50), (120, 26), (103, 50), base=base)
    wanted = [sunspec_point("a", [101, 103], 14), sunspec_point("gone", 160, 8)]
    async with tcp_server(honest(slave)) as port, ModbusDriver().open(link_to(port)) as session:
        assert isinstance(session, CanLocate)
        assert session.needs_locating(wanted)
        layout = await session.locate(Address(1), wanted)
        assert layout == {"models": {"1": base + 2, "103": base + 70, "120": base + 122}}
        batches = ModbusDriver().plan(wanted, Limits(), layout, link_to(port))
        [value] = await session.read(Address(1), batches[0])
        assert value == 1000 * 103 % 60000 + 12  # offset 14 counts from the ID, two registers before the data
        [fault] = await session.read(Address(1), batches[1])
        assert isinstance(fault, PointFault)
        assert fault.status == "BadNodeIdUnknown"


async def walk(slave: Slave) -> dict[str, int]:
    async def read(first: int, count: int) -> bytes:
        pdu = slave.answer(1, struct.pack(">BHH", 3, first, count))
        assert pdu is not None
        if pdu[0] & 0x80:
            raise DeviceRefused("refused", code=pdu[1], status="BadNodeIdUnknown")
        return pdu[2:]

    return await sunspec.walk(read)


async def test_a_chain_without_an_end_marker_stands_as_far_as_it_goes() -> None:
    assert await walk(chain((1, 66), (103, 50), end=False)) == {"1": 40002, "103": 40070}


@pytest.mark.parametrize(
    ("slave", "words"),
    [
        (Slave(), "no SunSpec marker"),
        (chain(end=False), "first model cannot be read"),
        (chain(*[(200, 0)] * 300), "does not end after 200 models"),
        (chain((1, 65000), base=0), "past register 65535"),
        (chain((0, 0)), "breaks off"),
    ],
)
async def test_a_chain_that_is_none_is_said_and_never_loops(slave: Slave, words: str) -> None:
    if "past" in words:
        slave.words |= {(3, 65004): 7, (3, 65005): 60000}
        slave.refused = {}
    with pytest.raises(DeviceMismatch, match=words):
        await walk(slave)


async def test_a_device_says_who_it_is() -> None:
    async with tcp_server(honest(Slave())) as port, ModbusDriver().open(link_to(port)) as session:
        assert isinstance(session, CanIdentify)
        assert await session.identify(Address(1)) == {"vendor": "ACME", "product_code": "X1", "revision": "1"}


async def test_an_identification_in_pieces_is_put_together() -> None:
    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        level, first = pdu[2], pdu[3]
        if level == 2:
            return [tcp_reply(tid, unit, b"\x2b\x0e\x02\x02\x00\x00\x01\x04\x05Meter")]
        if first == 0:
            return [tcp_reply(tid, unit, b"\x2b\x0e\x01\x02\xff\x01\x01\x00\x02AB")]
        return [tcp_reply(tid, unit, b"\x2b\x0e\x01\x02\x00\x00\x01\x01\x01C")]

    async with tcp_server(script) as port, ModbusDriver().open(link_to(port)) as session:
        assert await session.identify(Address(1)) == {"vendor": "AB", "product_code": "C", "product_name": "Meter"}


async def test_a_device_without_identification_refuses() -> None:
    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        return [tcp_reply(tid, unit, b"\xab\x01")]

    async with tcp_server(script) as port, ModbusDriver().open(link_to(port)) as session:
        with pytest.raises(DeviceRefused):
            await session.identify(Address(1))


async def test_discovery_believes_those_that_answer_twice() -> None:
    slave = Slave(frozenset({2, 5, 9}), refused={(3, 0): 2})
    asked: dict[int, int] = {}

    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        asked[unit] = asked.get(unit, 0) + 1
        if unit == 7:
            return [tcp_reply(tid, unit, b"\x83\x0b")]  # the gateway speaks of a device that is not there
        if unit == 5 and pdu[0] == 43:
            return []  # silent to what it does not know
        if unit == 9 and asked[unit] > 1:
            return []  # answered once, by whatever accident
        return honest(slave)(tid, unit, pdu)

    async with tcp_server(script) as port, ModbusDriver().open(link_to(port, 0.03)) as session:
        assert isinstance(session, CanDiscover)
        found = {address.unit: facts async for address, facts in session.discover(range(1, 11))}
    assert found == {2: {"vendor": "ACME", "product_code": "X1", "revision": "1"}, 5: {}}


def refusing(code: int) -> TcpScript:
    return lambda tid, unit, pdu: [tcp_reply(tid, unit, bytes((pdu[0] | 0x80, code)))]


def some_points(*regs: int) -> list[Point]:
    return [Point.model_validate({"id": f"r{reg}", "address": {"reg": reg}}) for reg in regs]


@pytest.mark.parametrize(
    ("code", "status", "later"),
    [
        (1, "BadNotSupported", False),
        (2, "BadNodeIdUnknown", False),
        (3, "BadOutOfRange", False),
        (4, "BadDeviceFailure", False),
        (5, "UncertainLastUsableValue", True),
        (6, "UncertainLastUsableValue", True),
        (8, "BadDeviceFailure", False),
    ],
)
async def test_a_refusal_concerns_the_points_that_were_asked(code: int, status: str, later: bool) -> None:
    [batch] = ModbusDriver().plan(some_points(1, 2, 9), Limits(), None, LINK)
    async with tcp_server(refusing(code)) as port, ModbusDriver().open(link_to(port)) as session:
        faults = await session.read(Address(1), batch)
        assert [(fault.status, fault.later) for fault in faults if isinstance(fault, PointFault)] == [
            (status, later)
        ] * 3
        assert isinstance(session, CanLearn)
        assert session.learned(Address(1)) is None, "a device that refuses everything teaches nothing"


async def test_a_block_that_is_refused_as_a_whole_is_not_taken_apart_at_every_read() -> None:
    slave = Slave(refused={(3, reg): 2 for reg in range(200)})
    [batch] = ModbusDriver().plan(some_points(*range(0, 100, 2)), Limits(), None, LINK)
    async with tcp_server(honest(slave)) as port, ModbusDriver().open(link_to(port)) as session:
        await session.read(Address(1), batch)
        first = len(slave.asked)
        for _ in range(10):
            await session.read(Address(1), batch)
        assert len(slave.asked) == first + 10


async def test_what_is_learned_of_one_unit_is_its_own() -> None:
    slave = Slave(refused={(3, 5): 2})
    driver = ModbusDriver()

    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        return honest(slave if unit == 1 else Slave())(tid, unit, pdu)

    async with tcp_server(script) as port, driver.open(link_to(port)) as session:
        [batch] = driver.plan(some_points(4, 6), Limits(), {"models": {}}, LINK)
        assert list(await session.read(Address(1), batch)) == [4, 6]
        assert list(await session.read(Address(2), batch)) == [4, 6]
        assert session.learned(Address(2)) is None
        layout = session.learned(Address(1))
        assert layout == {"models": {}, "refused": {"holding": [[5, 5]]}}
        again: tuple[Batch, ...] = driver.plan(some_points(4, 6), Limits(), layout, LINK)
        assert len(again) == 2
