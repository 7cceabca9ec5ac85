"""F28: a hung server with TCP open, a channel that is not renewed, forgotten sessions, 100k nodes, restarts, size bombs."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opcua_world import by_node, plant, points

from device_profiles.errors import LinkError, LinkLost, LinkRefused
from drivers.base import Address, Change, Limits, LinkConfig, OpcUaLink, Unsubscribed
from drivers.opcua.binary import Published
from drivers.opcua.browse import walk
from drivers.opcua.driver import OpcUaDriver

DEVICE = Address(0, "chiller-1")
DRIVER = OpcUaDriver()
PATH = "ChillerPlant/CoolingPower"


async def read_once(session: Any) -> list[Any]:
    [batch] = DRIVER.plan(by_node(["ChillerPlant.CoolingPower"]), Limits(), None, plant().link())
    return list(await session.read(DEVICE, batch))


async def subscribed(session: Any) -> Any:
    """The changes, after the first one."""
    chosen = points(PATH)
    assert await session.subscribe(DEVICE, chosen, await session.locate(DEVICE, chosen)) == {"coolingpower"}
    changes = session.changes()
    turn = await anext(changes)
    assert any(isinstance(one, Change) for one in turn)
    return changes


async def ending_of(changes: Any) -> tuple[list[Any], LinkError]:
    """What was still said, and the error that ended the changes."""
    said: list[Any] = []
    try:
        async with asyncio.timeout(10):
            async for turn in changes:
                said += turn
    except LinkError as error:
        return said, error
    raise AssertionError("the changes ended without an error")


@pytest.fixture
def hearing() -> Any:
    yield
    asyncio.run(plant().on(plant().server.drop_connections))


async def test_a_hung_server_is_found_within_two_publishing_intervals_and_the_gap_is_said(hearing: None) -> None:
    async with DRIVER.open(plant().link(publish_ms=300)) as session:
        changes = await subscribed(session)
        await plant().on(plant().server.deafen)
        began = time.monotonic()
        said, error = await ending_of(changes)
        took = time.monotonic() - began
        assert isinstance(error, LinkLost)
        assert [(one.points, type(one)) for one in said] == [(("coolingpower",), Unsubscribed)]
        assert took <= 2 * 0.3 + 0.3, "what the machine itself was late comes on top"
        with pytest.raises(LinkLost):
            await read_once(session)


async def test_forgotten_sessions_end_the_link_and_a_new_one_subscribes_again() -> None:
    async with DRIVER.open(plant().link()) as session:
        await subscribed(session)
        await plant().on(plant().server.forget_sessions)
        with pytest.raises(LinkLost, match="BadSessionIdInvalid"):
            await read_once(session)
    async with DRIVER.open(plant().link()) as session:
        await subscribed(session)


async def test_a_server_that_restarts_is_lost_then_open_again() -> None:
    async with DRIVER.open(plant().link()) as session:
        changes = await subscribed(session)
        await plant().on(plant().server.restart())
        said, _ = await ending_of(changes)
        assert [type(one) for one in said if not isinstance(one, Change)] == [Unsubscribed]
    async with DRIVER.open(plant().link()) as session:
        await subscribed(session)


async def test_a_channel_that_cannot_be_renewed_ends_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.opcua.channel.CHANNEL_LIFETIME_MS", 200)
    async with DRIVER.open(plant().link()) as session:
        changes = await subscribed(session)

        async def never(renew: bool = False) -> None:
            raise ConnectionError("no renewal")

        monkeypatch.setattr(session.channel._client, "open_secure_channel", never)
        _, error = await ending_of(changes)
        assert "could not be kept (no renewal)" in error.what


async def test_a_subscription_that_the_server_dropped_is_given_up_and_can_be_taken_again() -> None:
    async with DRIVER.open(plant().link()) as session:
        changes = await subscribed(session)
        session._subscription._take(Published(session._subscription._id, status=0x800A0000))
        turn = await anext(changes)
        assert [(one.points, "BadTimeout" in one.reason) for one in turn] == [(("coolingpower",), True)]
        assert session.channel.lost is None
        await subscribed(session)


async def test_a_missing_notification_gives_the_points_up() -> None:
    async with DRIVER.open(plant().link()) as session:
        changes = await subscribed(session)
        session._subscription._expected -= 3
        await plant().on(plant().server.put(PATH, time.monotonic()))
        turn = await anext(changes)
        assert [(type(one), "missing" in one.reason) for one in turn] == [(Unsubscribed, True)]


async def test_a_browse_of_a_huge_folder_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 nodes in small: the folder holds three times what a walk may look at."""
    monkeypatch.setattr("drivers.opcua.browse._PORTION", 20)
    monkeypatch.setattr("drivers.opcua.browse.MOST_SEEN", 100)
    await plant().on(plant().server.add_many(300, "Huge"))
    async with DRIVER.open(plant().link()) as session:
        began = session.counts.requests
        found = await walk(session, path="Huge", most=50)
        assert len(found.nodes) == 50
        assert found.is_cut
        assert session.counts.requests - began < 20


def chunk(kind: bytes, body: bytes, size: int | None = None) -> bytes:
    return kind + b"F" + struct.pack("<I", len(body) + 8 if size is None else size) + body


BOMBS: dict[str, Callable[[], bytes]] = {
    "a chunk of 2 GB": lambda: chunk(b"ACK", b"", 2**31),
    "a chunk of nothing": lambda: chunk(b"ACK", b"", 0),
    "an unknown type": lambda: chunk(b"XYZ", bytes(20)),
    "another protocol": lambda: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an error": lambda: chunk(b"ERR", struct.pack("<Ii", 0x80830000, 4) + b"nope"),
    "an acknowledgement cut short": lambda: chunk(b"ACK", b"\0\0"),
    "an answer to no question": lambda: chunk(b"MSG", struct.pack("<IIII", 1, 1, 1, 1) + bytes(30)),
}


@asynccontextmanager
async def bomber(first: bytes) -> AsyncIterator[LinkConfig]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(first)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield LinkConfig("bomb", "opcua", host="127.0.0.1", port=port, timeout_s=1.0, opcua=OpcUaLink())
    finally:
        server.close()


@pytest.mark.parametrize("name", BOMBS)
async def test_what_no_server_may_say_is_a_refused_link_with_address_and_reason(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with bomber(BOMBS[name]()) as link:
        began = time.monotonic()
        with pytest.raises(LinkError) as caught:
            async with DRIVER.open(link):
                pass
    assert time.monotonic() - began < 5
    assert isinstance(caught.value, LinkRefused)
    assert "127.0.0.1" in str(caught.value)
    assert caught.value.next_step
    assert "Traceback" not in capfd.readouterr().err
