"""drivers.bacnet.abilities: a session's doors to subscribing, writing and recalling, on the wire."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from bacnet_script import INSTANCE, Answer, ScriptedDevice, error, scripted, simple_ack

from device_profiles.errors import ConfigError, DeviceRefused, DeviceTimeout
from device_profiles.reading import PointFault, Sample
from device_profiles.schema import Point
from drivers.bacnet.session import BacnetSession
from drivers.base import Address, CanRecall, CanRehearse, CanSubscribe, CanWrite, Standing

AHU = Address(INSTANCE, "ahu-1")
SETPOINT = Point.model_validate({"id": "setpoint", "object": "AV:3", "type": "f32", "access": "rw"})
WRITE, READ, READ_MULTIPLE, READ_RANGE = 15, 12, 14, 26
LAYOUT = {"logs": {"setpoint": "trend-log:4"}, "services": ["read", "read-range"]}


@asynccontextmanager
async def session_with(answer: Answer, timeout_s: float = 2.0) -> AsyncIterator[tuple[ScriptedDevice, BacnetSession]]:
    async with scripted(answer, timeout_s) as (device, client):
        session = BacnetSession(client.link, client)
        try:
            yield device, session
        finally:
            await session.close()


def real(value: float) -> bytes:
    return b"\x44" + struct.pack(">f", value)


def slots(**filled: float) -> bytes:
    return b"".join(real(filled[f"p{at}"]) if f"p{at}" in filled else b"\x00" for at in range(1, 17))


def multiple_ack(request: bytes, *results: tuple[int, bytes]) -> bytes:
    """ReadPropertyMultiple-ACK about analog-value 3."""
    body = b"".join(b"\x29" + bytes((prop,)) + b"\x4e" + value + b"\x4f" for prop, value in results)
    return bytes((0x30, request[2], READ_MULTIPLE)) + b"\x0c\x00\x80\x00\x03\x1e" + body + b"\x1f"


async def test_a_session_can_what_the_house_asks_for() -> None:
    async with session_with(simple_ack) as (_, session):
        assert isinstance(session, CanSubscribe)
        assert isinstance(session, CanWrite)
        assert isinstance(session, CanRehearse)
        assert isinstance(session, CanRecall)
        words = session.rehearse(AHU, SETPOINT, 21.5, None, priority=13)
        assert words == "WriteProperty analog-value:3 present-value = REAL 21.5, priority 13"


async def test_what_stands_after_a_write() -> None:
    def answer(request: bytes) -> bytes:
        if request[3] == WRITE:
            return simple_ack(request)
        return multiple_ack(request, (85, real(19)), (111, b"\x82\x04\x20"), (87, slots(p8=19.0, p13=21.5)))

    async with session_with(answer) as (device, session):
        await session.write(AHU, SETPOINT, 21.5, None, priority=13)
        assert device.of(WRITE)[0].endswith(b"\x3e" + real(21.5) + b"\x3f\x49\x0d")
        assert await session.standing(AHU, SETPOINT, None, priority=13) == Standing(
            Sample(19.0, "GoodLocalOverride"), held_by=8, ours=21.5, has_slots=True
        )
        await session.write(AHU, SETPOINT, None, None, priority=13)
        assert device.of(WRITE)[1].endswith(b"\x3e\x00\x3f\x49\x0d")


async def test_an_object_without_priorities() -> None:
    def answer(request: bytes) -> bytes:
        body = b"\x29\x55\x4e" + real(19) + b"\x4f\x29\x6f\x4e\x82\x04\x00\x4f\x29\x57\x5e\x91\x02\x91\x20\x5f"
        return bytes((0x30, request[2], READ_MULTIPLE)) + b"\x0c\x00\x80\x00\x03\x1e" + body + b"\x1f"

    async with session_with(answer) as (_, session):
        assert await session.standing(AHU, SETPOINT, None, priority=13) == Standing(19.0, has_slots=False)


async def test_refusals_and_silence_name_the_device() -> None:
    async with session_with(lambda request: error(request, 2, 40)) as (_, session):
        with pytest.raises(DeviceRefused, match="write-access-denied") as refused:
            await session.write(AHU, SETPOINT, 21.5, None, priority=13)
        assert "505" in str(refused.value)
    async with session_with(lambda _: None, timeout_s=0.2) as (device, session):
        with pytest.raises(DeviceTimeout, match="not known"):
            await session.write(AHU, SETPOINT, 21.5, None, priority=13)
        assert len(device.of(WRITE)) == 1


async def test_what_cannot_be_written_asks_nobody() -> None:
    async with session_with(simple_ack) as (device, session):
        with pytest.raises(ConfigError, match="priority"):
            await session.write(AHU, SETPOINT, 21.5, None, priority=7)
        named = Point.model_validate({"id": "p", "address": {"name": "gone"}, "type": "f32", "access": "rw"})
        with pytest.raises(ConfigError, match="no object of this name"):
            await session.write(AHU, named, 21.5, {"objects": {}}, priority=13)
        assert device.requests == []


def record(minute: int, datum: bytes, flags: int = 0) -> bytes:
    stamp = bytes((0xA4, 126, 11, 22, 7, 0xB4, 12, minute, 0, 0))
    return b"\x0e" + stamp + b"\x0f\x1e" + datum + b"\x1f\x2a\x04" + bytes((flags,))


async def test_the_past_of_a_point_comes_from_its_log() -> None:
    records = [
        record(1, b"\x2c" + real(20)[1:]),
        record(2, b"\x2c" + real(21)[1:], flags=0x10),
        record(3, b"\x8e\x91\x02\x91\x20\x8f"),
        record(9, b"\x2c" + real(25)[1:]),
    ]

    def answer(request: bytes) -> bytes | None:
        if request[3] == READ_RANGE:
            head = b"\x0c\x05\x00\x00\x04\x19\x83\x3a\x05\x40\x49\x04\x5e"
            return bytes((0x30, request[2], READ_RANGE)) + head + b"".join(records) + b"\x5f\x69\x01"
        return error(request, 2, 32)  # no clock that one could read: it is taken as UTC

    noon = 1_795_348_800_000
    async with session_with(answer) as (_, session):
        found = [
            one async for portion in session.recall(AHU, [SETPOINT], LAYOUT, noon, noon + 300_000) for one in portion
        ]
        assert [(one.t_ms - noon) // 60_000 for one in found] == [1, 2, 3]
        assert [one.point for one in found] == ["setpoint"] * 3
        assert found[0].value == 20.0
        assert found[1].value == Sample(21.0, "UncertainSubstituteValue")
        assert isinstance(found[2].value, PointFault)


async def test_points_without_a_log_and_logs_that_are_refused_are_passed_over() -> None:
    async with session_with(lambda request: error(request, 1, 31)) as (device, session):
        assert [part async for part in session.recall(AHU, [SETPOINT], {}, 0, 10)] == []
        assert device.requests == []
        assert [part async for part in session.recall(AHU, [SETPOINT], LAYOUT, 0, 10)] == []
        assert len(device.of(READ_RANGE)) == 1
