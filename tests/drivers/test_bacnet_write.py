"""drivers.bacnet.write: the type and priority of what is written, what a refusal means, and what then stands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from bacnet_script import Answer, ScriptedDevice, scripted

from device_profiles.bacnet import OBJECT_TYPES
from device_profiles.errors import ConfigError, DeviceRefused, DeviceTimeout
from device_profiles.reading import Raw
from device_profiles.schema import Point
from drivers.bacnet import codec, tags, write
from drivers.bacnet.client import BacnetClient, Peer
from drivers.bacnet.codec import Ref, Result
from drivers.bacnet.names import PROPERTIES


def point(kind: str, type_: str = "f32", prop: str = "present-value") -> tuple[Point, Ref]:
    made = Point.model_validate({"id": "p", "object": f"{kind}:3", "address": {"property": prop}, "type": type_})
    return made, Ref(OBJECT_TYPES[kind], 3, PROPERTIES[prop])


@pytest.mark.parametrize(
    ("kind", "type_", "value", "octets"),
    [
        ("analog-value", "f32", 21.5, "4441ac0000"),
        ("analog-output", "f32", 1, "443f800000"),
        ("large-analog-value", "f64", 1.5, "55083ff8000000000000"),
        ("binary-output", "bool", True, "9101"),
        ("binary-value", "bool", False, "9100"),
        ("multi-state-output", "u32", 3, "2103"),
        ("multi-state-value", "u32", 300, "22012c"),
        ("integer-value", "s32", -2, "31fe"),
        ("positive-integer-value", "u32", 0, "2100"),
        ("characterstring-value", "str", "ö", "7300c3b6"),
        ("access-door", "u32", 2, "9102"),
        ("analog-value", "f32", None, "00"),
    ],
)
def test_the_octets_of_a_present_value(kind: str, type_: str, value: Raw | None, octets: str) -> None:
    made, ref = point(kind, type_)
    body = write.encode(made, ref, value, 13).hex()
    head = tags.tag(0, tags.object_octets(OBJECT_TYPES[kind], 3)).hex()
    assert body == f"{head}19553e{octets}3f490d"


@pytest.mark.parametrize(
    ("prop", "type_", "value", "octets"),
    [
        ("out-of-service", "bool", True, "11"),
        ("cov-increment", "f32", 0.5, "443f000000"),
        ("description", "str", "AHU", "7400414855"),
        ("time-delay", "u32", 30, "211e"),
        ("units", "u32", 62, "913e"),
    ],
)
def test_other_properties_have_their_own_types_and_no_priority(prop: str, type_: str, value: Raw, octets: str) -> None:
    made, ref = point("analog-value", type_, prop)
    assert f"3e{octets}3f" in write.encode(made, ref, value, None).hex()
    with pytest.raises(ConfigError, match="no priorities"):
        write.encode(made, ref, value, 13)
    with pytest.raises(ConfigError, match="cannot be released"):
        write.encode(made, ref, None, None)


@pytest.mark.parametrize("priority", [None, 0, 1, 6, 7, 17])
@pytest.mark.parametrize("value", [21.0, None])
def test_priorities_that_are_not_ours(priority: int | None, value: Raw | None) -> None:
    made, ref = point("analog-output")
    with pytest.raises(ConfigError, match="priority"):
        write.encode(made, ref, value, priority)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("analog-value", "21"),
        ("analog-value", float("nan")),
        ("analog-value", float("inf")),
        ("analog-value", 1e39),
        ("binary-output", 2),
        ("binary-output", 0.5),
        ("multi-state-value", 0),
        ("multi-state-value", 2**32),
        ("positive-integer-value", -1),
        ("characterstring-value", 3),
        ("characterstring-value", "x" * 1001),
        ("characterstring-value", "\ud800"),
    ],
)
def test_values_that_the_object_cannot_hold(kind: str, value: Raw) -> None:
    made, ref = point(kind, "str" if kind.startswith("char") else "f32")
    with pytest.raises(ConfigError):
        write.encode(made, ref, value, 13)


def test_the_words_of_a_dry_run() -> None:
    made, ref = point("analog-value")
    assert write.wording(made, ref, 21.5, 13) == "WriteProperty analog-value:3 present-value = REAL 21.5, priority 13"
    assert write.wording(made, ref, None, 13) == "WriteProperty analog-value:3 present-value = NULL, priority 13"


def elements(*filled: tuple[int, float]) -> tuple[codec.Element, ...]:
    given = dict(filled)
    return tuple(
        codec.Element(tags.APPLICATION, tags.REAL, given[at])
        if at in given
        else codec.Element(tags.APPLICATION, tags.NULL, None)
        for at in range(1, 17)
    )


def test_what_a_priority_array_says() -> None:
    ref = Ref(2, 3, write.PRIORITY_ARRAY)
    assert write.slots_of(Result(ref, elements((8, 30.0), (13, 21.5))), 13) == (8, 21.5)
    assert write.slots_of(Result(ref, elements((8, 30.0))), 13) == (8, None)
    assert write.slots_of(Result(ref, elements()), 13) == (None, None)
    assert write.slots_of(Result(ref, error=(2, 32)), 13) is None
    assert write.slots_of(Result(ref, elements()[:3]), 13) is None


# On the wire.


@asynccontextmanager
async def device(answer: Answer, timeout_s: float = 2.0) -> AsyncIterator[tuple[ScriptedDevice, BacnetClient, Peer]]:
    async with scripted(answer, timeout_s) as (heard, client):
        yield heard, client, Peer(505, "{}:{}".format(*heard.address), 1476, "none", 0)


def invoke(apdu: bytes) -> int:
    return apdu[2]


async def test_a_write_that_is_taken() -> None:
    made, ref = point("analog-value")
    async with device(lambda apdu: bytes((0x20, invoke(apdu), 15))) as (heard, client, peer):
        await write.write(client, peer, made, ref, 21.5, priority=13)
        [request] = heard.requests
        assert request[3:] == b"\x0f" + write.encode(made, ref, 21.5, 13)


@pytest.mark.parametrize(
    ("code", "status"),
    [(40, "BadNotWritable"), (37, "BadOutOfRange"), (9, "BadTypeMismatch"), (31, "BadNodeIdUnknown")],
)
async def test_refusals_have_fitting_statuses(code: int, status: str) -> None:
    made, ref = point("analog-value")
    async with device(lambda apdu: bytes((0x50, invoke(apdu), 15, 0x91, 2, 0x91, code))) as (_, client, peer):
        with pytest.raises(DeviceRefused) as error:
            await write.write(client, peer, made, ref, 21.5, priority=13)
        assert (error.value.code, error.value.status) == (code, status)
        assert "device 505" in error.value.where
        assert error.value.next_step


async def test_a_write_without_answer_is_sent_once() -> None:
    made, ref = point("analog-value")
    async with device(lambda _: None, timeout_s=0.2) as (heard, client, peer):
        for writes in (1, 2):  # a second try of the first would come while the second waits
            with pytest.raises(DeviceTimeout, match="not known whether it was written"):
                await write.write(client, peer, made, ref, 21.5, priority=13)
            assert len(heard.requests) == writes


async def test_an_abort_that_leaves_it_open_is_no_refusal() -> None:
    made, ref = point("analog-value")
    async with device(lambda apdu: bytes((0x71, invoke(apdu), 8))) as (_, client, peer):
        with pytest.raises(DeviceTimeout, match="not known"):
            await write.write(client, peer, made, ref, 21.5, priority=13)
