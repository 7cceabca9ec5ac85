"""drivers.modbus.tcp: what a Modbus TCP peer can do wrong (PROTOCOLS.md section 3), and that no wrong number comes of it."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import deque

import pytest
from modbus_slave import Slave, TcpScript, honest, tcp_reply, tcp_server

from device_profiles.errors import DeviceError, DeviceMismatch, DeviceRefused, DeviceTimeout, LinkLost, LinkTimeout
from drivers.base import Address, LinkConfig
from drivers.modbus import codec
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.session import ModbusSession

DATA = struct.pack(">3H", 4, 5, 6)
LATE_S = 0.04


def link_to(port: int, timeout_s: float = LATE_S) -> LinkConfig:
    return LinkConfig("tcp-1", "tcp", host="127.0.0.1", port=port, timeout_s=timeout_s, connect_timeout_s=2)


async def three(session: ModbusSession, unit: int = 9) -> bytes:
    return await session.registers(Address(unit), "holding", 4, 3)


def mbap(tid: int, unit: int, pdu: bytes, *, protocol: int = 0, length: int | None = None) -> bytes:
    return struct.pack(">HHHB", tid, protocol, len(pdu) + 1 if length is None else length, unit) + pdu


GOOD = b"\x03\x06" + DATA
NO_ANSWER = {
    "another transaction": lambda tid, unit: mbap(tid + 1, unit, GOOD),
    "transaction 0": lambda tid, unit: mbap(0, unit, GOOD),
    "another unit": lambda tid, unit: mbap(tid, unit + 1, GOOD),
    "unit 0": lambda tid, unit: mbap(tid, 0, GOOD),
    "another protocol": lambda tid, unit: mbap(tid, unit, GOOD, protocol=1),
    "another function": lambda tid, unit: mbap(tid, unit, b"\x04" + GOOD[1:]),
    "an unknown function": lambda tid, unit: mbap(tid, unit, b"\x55" + GOOD[1:]),
    "fewer registers": lambda tid, unit: mbap(tid, unit, b"\x03\x04" + DATA[:4]),
    "more registers": lambda tid, unit: mbap(tid, unit, b"\x03\x08" + DATA + b"ab"),
    "a wrong byte count": lambda tid, unit: mbap(tid, unit, b"\x03\x08" + DATA),
    "an odd byte count": lambda tid, unit: mbap(tid, unit, b"\x03\x05" + DATA[:5]),
    "byte count 0": lambda tid, unit: mbap(tid, unit, b"\x03\x00"),
    "no byte count": lambda tid, unit: mbap(tid, unit, b"\x03"),
    "length 0": lambda tid, unit: mbap(tid, unit, GOOD, length=0),
    "length 1": lambda tid, unit: mbap(tid, unit, GOOD, length=1),
    "length 255": lambda tid, unit: mbap(tid, unit, GOOD, length=255),
    "length 65535": lambda tid, unit: mbap(tid, unit, GOOD, length=65535),
    "length one short": lambda tid, unit: mbap(tid, unit, GOOD, length=8),
    "an exception to another function": lambda tid, unit: mbap(tid, unit, b"\x84\x02"),
    "an exception without a code": lambda tid, unit: mbap(tid, unit, b"\x83"),
    "a long exception": lambda tid, unit: mbap(tid, unit, b"\x83\x02\x02"),
    "function 128": lambda tid, unit: mbap(tid, unit, b"\x80\x02"),
    "half a header": lambda tid, unit: mbap(tid, unit, GOOD)[:5],
    "half a reply": lambda tid, unit: mbap(tid, unit, GOOD)[:-2],
    "the request": lambda tid, unit: mbap(tid, unit, codec.read_request("holding", 4, 3).pdu),
    "zeros": lambda tid, unit: bytes(300),
    "ones": lambda tid, unit: b"\xff" * 5000,
    "text": lambda tid, unit: b"HTTP/1.1 400 Bad Request\r\n\r\n",
}  # fmt: skip


def once(wrong: bytes, then: TcpScript) -> TcpScript:
    asked: list[int] = []

    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        asked.append(tid)
        return [wrong] if len(asked) == 1 else then(tid, unit, pdu)

    return script


@pytest.mark.parametrize("what", NO_ANSWER)
async def test_what_is_not_the_answer_is_no_value_and_the_next_request_works(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = NO_ANSWER[what](1, 9)
    async with tcp_server(once(wrong, honest(Slave()))) as port, ModbusDriver().open(link_to(port)) as session:
        with pytest.raises((DeviceTimeout, DeviceMismatch)):
            await three(session)
        assert await three(session) == DATA
    assert not caplog.records, "the library is silent, our error says it"


async def test_late_and_glued_replies_are_told_apart_by_their_transaction() -> None:
    """The first reply comes in one segment with the second, of the same shape and other values."""
    held: deque[bytes] = deque()

    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        if not held:
            held.append(mbap(tid, unit, b"\x03\x06" + b"\xee" * 6))
            return []
        return [held[0] + mbap(tid, unit, GOOD)]

    async with tcp_server(script) as port, ModbusDriver().open(link_to(port)) as session:
        with pytest.raises(DeviceTimeout):
            await three(session)
        assert await three(session) == DATA


async def test_a_reply_byte_by_byte_is_put_together() -> None:
    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        return [bytes((byte,)) for byte in mbap(tid, unit, GOOD)]

    async with tcp_server(script) as port, ModbusDriver().open(link_to(port, 2)) as session:
        assert await three(session) == DATA


async def test_a_close_instead_of_a_reply_is_a_lost_link_at_once() -> None:
    async with tcp_server(lambda tid, unit, pdu: [None]) as port, ModbusDriver().open(link_to(port, 30)) as session:
        async with asyncio.timeout(5):
            with pytest.raises(LinkLost):
                await three(session)
            with pytest.raises(LinkLost):
                await three(session)


async def test_a_read_that_is_cancelled_in_the_turn_its_reply_comes_is_cancelled() -> None:
    """wait_for of Python 3.11 gives the reply back instead: a link would not end."""

    def trace(direction: str, data: bytes, note: str) -> None:
        if direction == "<":
            reading.cancel()

    async with tcp_server(honest(Slave())) as port, ModbusDriver().open(link_to(port, 2), trace) as session:
        reading = asyncio.create_task(three(session))
        with pytest.raises(asyncio.CancelledError):
            await reading


async def test_requests_that_wait_when_the_link_goes_are_told_too() -> None:
    asked: list[int] = []

    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        asked.append(tid)
        return [None]

    async with tcp_server(script) as port, ModbusDriver().open(link_to(port, 30)) as session:
        async with asyncio.timeout(5):
            outcomes = await asyncio.gather(*(three(session) for _ in range(5)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [LinkLost] * 5
        assert len(asked) == 1


async def test_a_dead_unit_behind_a_gateway_leaves_the_connection_to_the_others() -> None:
    async with (
        tcp_server(honest(Slave(frozenset({9})))) as port,
        ModbusDriver().open(link_to(port, 0.005)) as session,
    ):
        for _ in range(8):
            with pytest.raises(DeviceTimeout):
                await three(session, unit=17)
        assert session.counts.timeouts == 8
    async with tcp_server(honest(Slave(frozenset({9})))) as port, ModbusDriver().open(link_to(port, 2)) as session:
        assert await three(session) == DATA


@pytest.mark.parametrize(
    ("code", "status"), [(0x0A, "BadNoCommunication"), (0x0B, "BadNoCommunication"), (0x63, "BadCommunicationError")]
)
async def test_what_a_gateway_says_of_a_device_is_the_devices_error(code: int, status: str) -> None:
    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        return [mbap(tid, unit, bytes((pdu[0] | 0x80, code)))]

    async with tcp_server(script) as port, ModbusDriver().open(link_to(port, 2)) as session:
        with pytest.raises(DeviceRefused) as caught:
            await three(session)
    assert caught.value.status == status
    assert caught.value.where == "tcp-1, unit 9"


async def test_mutated_replies_never_become_other_values() -> None:
    """Every answer is right, cut, or has a byte changed; a changed byte inside the registers cannot be seen on TCP."""
    chance = random.Random(7)

    def script(tid: int, unit: int, pdu: bytes) -> list[bytes | None]:
        good = tcp_reply(tid, unit, GOOD)
        dice = chance.random()
        if dice < 0.4:
            return [good]
        if dice < 0.6:
            return [good[: chance.randrange(len(good))]]
        at = chance.randrange(9)
        return [good[:at] + bytes((good[at] ^ chance.randrange(1, 256),)) + good[at + 1 :]]

    good = 0
    async with tcp_server(script) as port, ModbusDriver().open(link_to(port, 0.01)) as session:
        for _ in range(150):
            try:
                assert await three(session) == DATA
                good += 1
            except DeviceError:
                continue
    assert good > 30


async def test_nobody_listening_in_time_is_a_timeout_with_the_address() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]  # a full backlog drops what comes: no answer to the handshake
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            link = LinkConfig("tcp-1", "tcp", host="127.0.0.1", port=port, connect_timeout_s=0.05)
            with pytest.raises(LinkTimeout, match=r"no connection within 0\.05 s"):
                async with ModbusDriver().open(link):
                    pass
        finally:
            for filler in fillers:
                filler.close()


async def test_a_host_that_has_no_address_is_said() -> None:
    link = LinkConfig("tcp-1", "tcp", host="no-such-host.invalid", connect_timeout_s=5)
    with pytest.raises(Exception, match="check the host name") as caught:
        async with ModbusDriver().open(link):
            pass
    assert "tcp-1" in str(caught.value)


async def test_what_went_over_the_wire_is_counted_and_traced() -> None:
    seen: list[tuple[str, bytes]] = []
    async with (
        tcp_server(honest(Slave())) as port,
        ModbusDriver().open(link_to(port, 2), lambda way, frame, remark: seen.append((way, frame))) as session,
    ):
        await three(session)
        counts = session.counts
    assert (counts.requests, counts.replies, counts.bytes_out, counts.bytes_in) == (1, 1, 12, 15)
    assert [way for way, _ in seen] == [">", "<"]
    assert seen[0][1] == bytes.fromhex("000100000006090300040003")
    assert seen[1][1].endswith(DATA)
