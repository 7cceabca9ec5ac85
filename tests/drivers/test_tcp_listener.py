"""Devices dial in over raw TCP, and speak over UDP: one stream a device, and nobody who is not expected."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from device_profiles.errors import ConfigError, DeviceTimeout, LinkLost, LinkRefused
from drivers import tcp_listener
from drivers.base import Address, LinkConfig, ListenLink
from drivers.tcp_listener import Stream, open_tcp_listener
from drivers.udp_port import open_udp, place_of

pytestmark = pytest.mark.asyncio
GATE = Address("1", "gate-1", at="127.0.0.1")


def link(kind: str = "tcp-listen", *allow: str) -> LinkConfig:
    return LinkConfig(id="in", kind=kind, host="127.0.0.1", port=0, listen=ListenLink(allow=allow))


async def test_a_device_has_a_stream_and_a_second_one_takes_its_place() -> None:
    came: asyncio.Queue[Stream] = asyncio.Queue()
    async with open_tcp_listener(link(), came.put_nowait) as listener:
        listener.expect(GATE)
        assert listener.stream(GATE) is None
        reader, writer = await asyncio.open_connection(*listener.own)
        first = await came.get()
        writer.write(b"PASS 1\r")
        assert await first.read() == b"PASS 1\r"
        await first.write(b"OK\r")
        assert await reader.readexactly(3) == b"OK\r"
        _, other = await asyncio.open_connection(*listener.own)
        second = await came.get()
        assert listener.stream(GATE) is second
        assert await first.read() == b""
        with pytest.raises(DeviceTimeout):
            await first.write(b"x")
        other.close()
        writer.close()
        assert await second.read() == b""
        assert listener.stream(GATE) is None


async def test_a_stranger_is_told_and_sent_away() -> None:
    async with open_tcp_listener(link("tcp-listen", "127.0.0.0/8"), lambda stream: None) as listener:
        reader, writer = await asyncio.open_connection(*listener.own)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        assert listener.admission.strangers["127.0.0.1"].count == 1
        writer.close()


async def test_a_flood_stays_with_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_listener, "MOST_BUFFERED", 1000)
    came: asyncio.Queue[Stream] = asyncio.Queue()
    async with open_tcp_listener(link(), came.put_nowait) as listener:
        listener.expect(GATE)
        _, writer = await asyncio.open_connection(*listener.own)
        stream = await came.get()
        sent = bytes(range(256)) * 16_384  # 4 MiB
        writer.write(sent)
        got = bytearray()
        most = 0
        while len(got) < len(sent):
            piece = await stream.read()
            most = max(most, len(piece))
            got += piece
        assert bytes(got) == sent
        assert most < 1 << 20
        writer.close()


async def test_datagrams_are_taken_from_the_list_only() -> None:
    heard: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()
    async with (
        open_udp(link("udp", "127.0.0.1"), lambda data, peer: heard.put_nowait((data, peer))) as port,
        open_udp(link("udp", "10.0.0.0/8"), lambda data, peer: heard.put_nowait((b"wrong", peer))) as other,
    ):
        other.send(b"hello", port.own)
        assert await heard.get() == (b"hello", other.own)
        port.send(b"back", other.own)
        async with asyncio.timeout(5):
            while not other.counts.errors:
                await asyncio.sleep(0)
        assert other.counts.errors == {"address_not_allowed": 1}
        with pytest.raises(LinkRefused, match="cannot listen"):
            async with open_udp(
                LinkConfig(id="in", kind="udp", host="127.0.0.1", port=port.own[1], listen=ListenLink()),
                lambda *_: None,
            ):
                pass
    with pytest.raises(LinkLost):
        port.send(b"x", other.own)
    assert place_of("10.0.0.9", 60000, "x") == ("10.0.0.9", 60000)
    assert place_of("10.0.0.9:5", 60000, "x") == ("10.0.0.9", 5)
    with pytest.raises(ConfigError):
        place_of("10.0.0.9:x", 60000, "x")
