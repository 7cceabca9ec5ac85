"""The bench server answers right, however fast it is."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from firmware_sim.bench_server import FLOATS, BenchServer


@pytest.fixture
def server() -> Iterator[BenchServer]:
    server = BenchServer(3)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.stop()
    thread.join(5)
    assert not thread.is_alive()


def _receive(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        assert part
        data += part
    return data


def test_each_port_has_its_floats_and_keeps_the_transaction(server: BenchServer):
    for index, port in enumerate(server.ports):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            for transaction in (1, 0xBEEF):
                client.sendall(struct.pack(">HHHBBHH", transaction, 0, 6, 17, 3, 0, 2 * FLOATS))
                head = _receive(client, 9)
                assert head == struct.pack(">HHHBBB", transaction, 0, 3 + 4 * FLOATS, 17, 3, 4 * FLOATS)
                values = struct.unpack(f">{FLOATS}f", _receive(client, 4 * FLOATS))
                assert [int(value) for value in values] == [1000 * index + k for k in range(FLOATS)]


def test_requests_in_crumbs_and_several_at_once(server: BenchServer):
    request = struct.pack(">HHHBBHH", 3, 0, 6, 1, 4, 2, 1)
    with socket.create_connection(("127.0.0.1", server.ports[0]), timeout=5) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(request[:5])
        client.sendall(request[5:] + request * 2)
        assert [_receive(client, 11)[:9] for _ in range(3)] == [bytes.fromhex("000300000005010402")] * 3
    assert server.requests >= 3


@pytest.mark.parametrize(("pdu", "reply"), [("03007C0001", "8302"), ("030000007E", "8302"), ("0600000001", "8601")])
def test_what_it_does_not_have_it_refuses(server: BenchServer, pdu: str, reply: str):
    body = bytes.fromhex(pdu)
    with socket.create_connection(("127.0.0.1", server.ports[0]), timeout=5) as client:
        client.sendall(struct.pack(">HHHB", 1, 0, len(body) + 1, 1) + body)
        assert _receive(client, 9).hex().upper() == "00010000000301" + reply
