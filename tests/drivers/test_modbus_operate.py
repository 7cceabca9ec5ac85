"""Operations on Modbus: one write, or a pulse that ends whatever happens."""

from __future__ import annotations

import asyncio

import pytest

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceTimeout, LinkLost
from drivers.base import CanOperate
from drivers.modbus import codec
from drivers.modbus.operate import carry_out
from drivers.modbus.session import ModbusSession
from tests.shipped import LIBRARY

ON, OFF = codec.write_coil(0, True).pdu, codec.write_coil(0, False).pdu
PULSE = Operation(id="open", op="gate.open", call={"coil": 0, "pulse_s": 0.05})


class Board:
    """What was sent; `fails` of the next requests raise."""

    def __init__(self, *fails: Exception | None) -> None:
        self.sent: list[bytes] = []
        self._fails = list(fails)

    async def ask(self, request: codec.Request) -> bytes:
        self.sent.append(request.pdu)
        failure = self._fails.pop(0) if self._fails else None
        if failure is not None:
            raise failure
        return b""


async def test_a_pulse_is_on_and_off() -> None:
    board = Board()
    await carry_out(board.ask, PULSE)
    assert board.sent == [ON, OFF]


async def test_a_pulse_ends_when_nobody_waits_for_it_any_more() -> None:
    board = Board()
    task = asyncio.create_task(carry_out(board.ask, Operation(id="x", call={"coil": 0, "pulse_s": 5})))
    while not board.sent:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert board.sent == [ON, OFF]


async def test_an_unconfirmed_beginning_is_ended_too_and_told() -> None:
    board = Board(DeviceTimeout("late"))
    with pytest.raises(DeviceTimeout):
        await carry_out(board.ask, PULSE)
    assert board.sent == [ON, OFF]


async def test_the_end_is_tried_again_and_its_failure_is_the_error() -> None:
    board = Board(None, DeviceTimeout("a"), None)
    await carry_out(board.ask, PULSE)
    assert board.sent == [ON, OFF, OFF]
    board = Board(None, *[DeviceTimeout("a")] * 3)
    with pytest.raises(DeviceTimeout):
        await carry_out(board.ask, PULSE)
    assert board.sent == [ON, OFF, OFF, OFF]
    with pytest.raises(LinkLost):
        await carry_out(Board(None, LinkLost("gone")).ask, PULSE)


async def test_a_board_that_times_the_pulse_itself_gets_one_request() -> None:
    """Waveshare's own example: relay 0 on for 700 ms is 01 05 02 00 00 07."""
    board = Board()
    await carry_out(board.ask, Operation(id="x", call={"coil": 0x0200, "data": 7}))
    assert board.sent == [bytes.fromhex("05 02 00 00 07")]
    await carry_out(board.ask, Operation(id="x", call={"reg": 4, "value": 2}))
    assert board.sent[1] == bytes.fromhex("06 00 04 00 02")


@pytest.mark.parametrize(
    "call", [{}, {"coil": 0}, {"coil": 0, "value": 2}, {"coil": 0, "pulse_s": 99}, {"reg": 1, "pulse_s": 1}]
)
async def test_a_call_that_is_none_sends_nothing(call: dict[str, float]) -> None:
    board = Board()
    with pytest.raises(ConfigError):
        await carry_out(board.ask, Operation(id="x", call=call))
    assert board.sent == []


def test_a_session_can_and_the_shipped_barrier_has_operations() -> None:
    assert issubclass(ModbusSession, CanOperate)
    assert [one.op for one in LIBRARY.get("waveshare-relay-8ch-d-barrier").operations][:3] == [
        "gate.open", "gate.close", "gate.hold",
    ]  # fmt: skip
