"""A Modbus TCP server for benches: many connections, ready-made replies, as little CPU as Python needs for a system call.

Holding registers 0..123 of every port are 62 float32, high word first: value k of port p is 1000 p + k + a fraction that changes
with every reply, so that nothing a client keeps back as unchanged is left out of its bill. Raw epoll, no asyncio. One process;
it is meant to sit on another core than what is measured.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import struct
from collections.abc import Callable

FLOATS = 62
_REGISTERS = 2 * FLOATS
_TURNS = 16
_EXCEPTION_ADDRESS = b"\x02"


class BenchServer:
    """`ports` listening sockets on loopback. `run` serves until `stop` is called or the process is told to end."""

    def __init__(self, ports: int, *, first_port: int = 0) -> None:
        self._epoll = select.epoll()
        self._wake_r, self._wake_w = os.pipe()
        self._epoll.register(self._wake_r, select.EPOLLIN)
        self._listeners: dict[int, tuple[socket.socket, int]] = {}
        self._connections: dict[int, tuple[socket.socket, int]] = {}
        self._partial: dict[int, bytes] = {}
        self._replies: dict[tuple[int, int, bytes], bytes] = {}
        """(port index, turn, request from the length field on) -> reply from the length field on."""
        self._turns = [0] * ports
        self.requests = 0
        self.ports: list[int] = []
        for index in range(ports):
            listener = socket.create_server(("127.0.0.1", first_port + index if first_port else 0), backlog=64)
            listener.setblocking(False)
            self._listeners[listener.fileno()] = (listener, index)
            self._epoll.register(listener.fileno(), select.EPOLLIN)
            self.ports.append(listener.getsockname()[1])

    def stop(self) -> None:
        os.write(self._wake_w, b"x")

    def stop_with(self, descriptor: int) -> None:
        """Also stops when `descriptor` becomes readable or ends: the pipe of the program that started it."""
        self._epoll.register(descriptor, select.EPOLLIN)

    def run(self) -> None:
        poll, connections = self._epoll.poll, self._connections
        while True:
            events = poll()
            for number, _ in events:
                if number in connections:
                    self._serve(number)
                elif number in self._listeners:
                    self._accept(number)
                else:
                    self._close()
                    return

    def _close(self) -> None:
        for sock, _ in (*self._listeners.values(), *self._connections.values()):
            sock.close()
        self._epoll.close()

    def _accept(self, number: int) -> None:
        listener, index = self._listeners[number]
        connection, _ = listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connection.fileno()] = (connection, index)
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _serve(self, number: int) -> None:
        connection, index = self._connections[number]
        try:
            data = connection.recv(4096)
        except (BlockingIOError, ConnectionResetError):
            data = b""
        if not data:
            self._drop(number)
            return
        if number in self._partial:
            data = self._partial.pop(number) + data
        if len(data) == 12:  # one read request, as a polling client sends it
            out = data[:4] + self._reply(index, data[4:])
            self.requests += 1
        else:
            out = self._several(number, index, data)
        try:
            connection.send(out)
        except (BlockingIOError, ConnectionError):
            self._drop(number)  # a client that does not read is no use to a bench

    def _several(self, number: int, index: int, data: bytes) -> bytes:
        out = b""
        while len(data) >= 6:
            size = 6 + int.from_bytes(data[4:6], "big")
            if len(data) < size:
                break
            out += data[:4] + self._reply(index, data[4:size])
            self.requests += 1
            data = data[size:]
        if data:
            self._partial[number] = data
        return out

    def _drop(self, number: int) -> None:
        connection, _ = self._connections.pop(number)
        self._partial.pop(number, None)
        self._epoll.unregister(number)
        connection.close()

    def _reply(self, index: int, request: bytes) -> bytes:
        turn = self._turns[index] = (self._turns[index] + 1) % _TURNS
        key = (index, turn, request)
        reply = self._replies.get(key)
        if reply is None:
            reply = self._replies[key] = _build(index, request, registers(index, turn))
        return reply


def registers(index: int, turn: int) -> bytes:
    """The 124 registers of one port at one turn."""
    fraction = turn / _TURNS
    return struct.pack(f">{FLOATS}f", *(1000 * index + k + fraction for k in range(FLOATS)))


def _build(index: int, request: bytes, image: bytes) -> bytes:
    """From the length field on. Functions 3 and 4 only; anything else is an exception."""
    unit, function = request[2], request[3]
    if function not in (3, 4) or len(request) != 8:
        body = bytes((unit, function | 0x80, 1))
    else:
        address, count = struct.unpack_from(">HH", request, 4)
        if not 1 <= count <= 125 or address + count > _REGISTERS:
            body = bytes((unit, function | 0x80)) + _EXCEPTION_ADDRESS
        else:
            body = bytes((unit, function, 2 * count)) + image[2 * address : 2 * (address + count)]
    return len(body).to_bytes(2, "big") + body


def serve(ports: int, first_port: int, say: Callable[[list[int]], None]) -> None:
    """Serves until SIGTERM, SIGINT or the end of standard input where that is a pipe."""
    server = BenchServer(ports, first_port=first_port)
    mode = os.fstat(0).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        server.stop_with(0)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    say(server.ports)
    server.run()
