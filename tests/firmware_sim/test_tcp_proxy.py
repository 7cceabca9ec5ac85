"""The proxy that behaves like a bad network, between a client and an echo server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from firmware_sim.control import treat
from firmware_sim.tcp_proxy import TcpProxy


class Echo(asyncio.Protocol):
    """Sends back what it gets; remembers the sizes of what arrived and how connections ended."""

    def __init__(self, chunks: list[int], ends: list[Exception | None]) -> None:
        self._chunks, self._ends = chunks, ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._chunks.append(len(data))
        self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends.append(exc)


class Bench:
    def __init__(self, proxy: TcpProxy, chunks: list[int], ends: list[Exception | None]) -> None:
        self.proxy, self.chunks, self.ends = proxy, chunks, ends

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.proxy.port)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    chunks: list[int] = []
    ends: list[Exception | None] = []
    server = await asyncio.get_running_loop().create_server(lambda: Echo(chunks, ends), "127.0.0.1", 0)
    async with asyncio.timeout(10), server, TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield Bench(proxy, chunks, ends)


async def _until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_two_megabytes_survive(bench: Bench):
    reader, writer = await bench.connect()
    data = bytes(range(256)) * 8192
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await _until(lambda: not bench.proxy.pairs)
    assert bench.ends == [None]


async def test_slices_arrive_one_byte_at_a_time_and_in_order(bench: Bench):
    bench.proxy.treatment.slice_bytes = 1
    reader, writer = await bench.connect()
    writer.write(b"abcdefgh" * 4)
    assert await reader.readexactly(32) == b"abcdefgh" * 4
    assert sum(bench.chunks) == 32
    assert len(bench.chunks) >= 8  # neighbours may be joined by the kernel before they are read
    writer.close()


async def test_latency_and_jitter_delay_and_keep_the_order(bench: Bench):
    bench.proxy.treatment.latency_s, bench.proxy.treatment.jitter_s = 0.02, 0.01
    reader, writer = await bench.connect()
    loop = asyncio.get_running_loop()
    began = loop.time()
    sent = b""
    for number in range(20):
        part = b"%04d" % number
        sent += part
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)
    assert await reader.readexactly(len(sent)) == sent
    assert loop.time() - began >= 0.02  # at least 10 ms each way
    writer.close()


async def test_bandwidth_limits_each_direction(bench: Bench):
    bench.proxy.treatment.bytes_per_s = 100_000
    reader, writer = await bench.connect()
    loop = asyncio.get_running_loop()
    began = loop.time()
    writer.write(bytes(10_000))
    await reader.readexactly(10_000)
    assert loop.time() - began >= 0.05  # 10 kB at 100 kB/s, the first 50 ms worth for nothing
    writer.close()


async def test_a_black_hole_swallows_both_ways_with_the_connection_open_and_resets_it_when_it_ends(bench: Bench):
    reader, writer = await bench.connect()
    writer.write(b"before")
    assert await reader.readexactly(6) == b"before"
    bench.proxy.blackhole()
    writer.write(b"lost")
    await _until(lambda: next(iter(bench.proxy.pairs)).up.swallowed == 4)
    assert sum(bench.chunks) == 6
    assert not reader.at_eof()
    assert bench.ends == []
    bench.proxy.blackhole(False)
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    again, writer = await bench.connect()
    writer.write(b"after")
    assert await again.readexactly(5) == b"after"
    writer.close()


async def test_a_client_that_gives_up_inside_a_black_hole_is_not_heard(bench: Bench):
    _, writer = await bench.connect()
    writer.write(b"x")
    await _until(lambda: bench.chunks)
    bench.proxy.blackhole()
    writer.close()
    await _until(lambda: next(iter(bench.proxy.pairs)).up.swallowed)
    assert bench.ends == []
    bench.proxy.blackhole(False)
    await _until(lambda: bench.ends)


@pytest.mark.parametrize(
    ("limit", "error"), [("reset_after", ConnectionResetError), ("close_after", asyncio.IncompleteReadError)]
)
async def test_a_connection_ends_after_so_many_bytes(bench: Bench, limit: str, error: type[Exception]):
    bench.proxy.treatment.slice_bytes = 1
    setattr(bench.proxy.treatment, limit, 10)
    reader, writer = await bench.connect()
    writer.write(bytes(50))
    with pytest.raises(error):
        await reader.readexactly(50)
    await _until(lambda: bench.ends)
    assert sum(bench.chunks) <= 10
    writer.close()


async def test_cut_and_refuse(bench: Bench):
    reader, writer = await bench.connect()
    writer.write(b"x")
    await reader.readexactly(1)
    bench.proxy.cut()
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    bench.proxy.treatment.refuse = True
    reader, writer = await bench.connect()
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()


async def test_a_server_that_is_away_resets_the_client():
    async with asyncio.timeout(5), TcpProxy("127.0.0.1", 1) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()
        assert not proxy.pairs


async def test_orders_of_people(bench: Bench):
    assert '"ok": true' in treat(bench.proxy, '{"latency_s": 2, "slice_bytes": 1}')
    assert (bench.proxy.treatment.latency_s, bench.proxy.treatment.slice_bytes) == (2, 1)
    treat(bench.proxy, "blackhole")
    assert bench.proxy.treatment.blackhole_down
    treat(bench.proxy, "heal")
    assert not bench.proxy.treatment.blackhole_up
    assert "known are" in treat(bench.proxy, '{"latency": 2}')
    assert "neither" in treat(bench.proxy, "nonsense")
