"""Devices on a pty: what comes out of the port that a program would open. Times are asserted from below only."""

from __future__ import annotations

import contextlib
import os
import select
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware_sim.devices import build
from firmware_sim.faults import make_fault
from firmware_sim.framing import rtu_frame
from firmware_sim.line import SerialLine
from firmware_sim.wire import Wire

READ = bytes.fromhex("0300640002")
ANSWER = rtu_frame(1, bytes.fromhex("030400640065"))


@contextlib.contextmanager
def _open(path: str) -> Iterator[int]:
    port = os.open(path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(port)
    try:
        yield port
    finally:
        os.close(port)


def _receive(port: int, size: int, limit_s: float = 5.0) -> bytes:
    data = b""
    until = time.monotonic() + limit_s
    while len(data) < size and select.select([port], [], [], until - time.monotonic())[0]:
        data += os.read(port, 512)
    return data


def _until(line: SerialLine, condition: Callable[[], bool], limit_s: float = 5.0) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until
        line.ask(lambda: None)  # its thread goes round once more


def _line(baud: int = 115200, link: Path | None = None) -> SerialLine:
    devices = [build("address", id=f"d{unit}", unit=unit, seed=0, now=lambda: 1.78e9) for unit in (1, 2)]
    return SerialLine(devices, Wire(baud), link=link)


def test_a_reply_takes_its_time_on_the_wire():
    with _line(9600) as line, _open(line.path) as port:
        began = time.perf_counter()
        os.write(port, rtu_frame(1, READ))
        assert _receive(port, len(ANSWER)) == ANSWER
        assert time.perf_counter() - began >= line.wire.exchange_s(8, len(ANSWER))
        assert line.stats.requests == line.stats.replies == 1
        assert line.stats.exchange_s == pytest.approx(line.wire.cycle_s(8, len(ANSWER)))


def test_several_units_a_foreign_one_and_noise():
    with _line() as line, _open(line.path) as port:
        os.write(port, rtu_frame(2, READ))
        assert _receive(port, len(ANSWER)) == rtu_frame(2, ANSWER[1:-2])
        os.write(port, rtu_frame(9, READ))
        _until(line, lambda: line.stats.requests == 2)
        os.write(port, b"\x01\x03\xff")
        _until(line, lambda: line.stats.bad_frames == 1)
        os.write(port, rtu_frame(1, READ))
        assert _receive(port, len(ANSWER)) == ANSWER  # and nothing before it
        assert (line.stats.requests, line.stats.replies) == (3, 2)
        assert line.stats.shortest_gap_s is not None


def test_the_symlink_follows_the_port_when_the_adapter_is_pulled_and_put_back(tmp_path: Path):
    link = tmp_path / "rs485-1"
    with _line(link=link) as line:
        with _open(str(link)) as port:
            line.ask(line.unplug)
            assert not link.exists()
            with contextlib.suppress(OSError):  # a pulled adapter reads EIO, or the end
                assert os.read(port, 1) == b""
        line.ask(line.plug)
        with _open(str(link)) as port:
            os.write(port, rtu_frame(1, READ))
            assert _receive(port, len(ANSWER)) == ANSWER
    assert not link.is_symlink()


def test_the_port_can_be_closed_and_opened_again():
    with _line() as line:
        for _ in range(3):
            with _open(line.path) as port:
                os.write(port, rtu_frame(1, READ))
                assert _receive(port, len(ANSWER)) == ANSWER


def test_a_late_reply_comes_after_another_device_was_asked():
    with _line() as line, _open(line.path) as port:
        line.devices[1].faults.add(make_fault("late", {"delay_s": 0.3}))
        os.write(port, rtu_frame(1, READ))
        _until(line, lambda: line.stats.requests == 1)
        os.write(port, rtu_frame(2, READ))
        assert _receive(port, 2 * len(ANSWER)) == rtu_frame(2, ANSWER[1:-2]) + ANSWER
