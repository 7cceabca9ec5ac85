"""Writes to a simulated relay board that answers wrongly in every way it knows: never twice, never a false success, and what is
read afterwards is the truth (FAULTS.md F22 to F24)."""

from __future__ import annotations

import pytest

from device_profiles.errors import DeviceError, LinkError
from device_profiles.library import Library
from drivers.base import Address, LinkConfig
from drivers.modbus.driver import ModbusDriver
from firmware_sim.devices import build
from firmware_sim.faults import SHAPES, add_fault
from firmware_sim.tcp import Station, TcpServer

TIMEOUT_S = 0.06
ENDLESS = frozenset({"flood", "dribble", "half_open"})
"""They last for seconds; reads are tried against them elsewhere."""
_EITHER = {"twice", "echo", "echo_only", "short_reply", "noise_after"}
CONFIRMED = {
    "tcp": _EITHER,
    "rtu+tcp": _EITHER | {"noise_before", "wrong_transaction"},
}
"""Faults behind which the confirmation is there all the same. An `echo_only` is byte for byte the confirmation."""
RELAY = Library.default([]).get("waveshare-relay-8ch-d").point("output_3")


@pytest.mark.parametrize("kind", sorted(SHAPES.keys() - ENDLESS))
@pytest.mark.parametrize("carrier", ["tcp", "rtu+tcp"])
async def test_a_write_is_done_once_and_said_rightly(carrier: str, kind: str) -> None:
    board = build("waveshare-relay-8ch-d", id="d", unit=1, seed=5, now=lambda: 1_780_045_200.0)
    add_fault(board.faults, kind, {"delay_s": 1.4 * TIMEOUT_S, "count": 1}, 0.0)
    async with TcpServer(Station([board]), rtu=carrier == "rtu+tcp") as server:
        link = LinkConfig("l", carrier, host="127.0.0.1", port=server.port, baud=115200, timeout_s=TIMEOUT_S)
        said = await write(link)
        assert board.writes == 1, "sent once, whatever came back"
        assert (said == "done") is (kind in CONFIRMED[carrier]), said
        board.faults.heal()
        async with ModbusDriver().open(link) as session:
            standing = await session.standing(Address(1), RELAY, None)
        assert standing.value is board.snapshot["relay3"]


async def write(link: LinkConfig) -> str:
    """`done`, or the kind of error."""
    try:
        async with ModbusDriver().open(link) as session:
            try:
                await session.write(Address(1), RELAY, True, None)
            except (DeviceError, LinkError) as error:
                said = type(error).__name__
            else:
                said = "done"
            try:
                standing = await session.standing(Address(1), RELAY, None)
            except (DeviceError, LinkError):
                return said
            assert not isinstance(standing.value, bool) or standing.value is True, (
                "the board takes a write before it errs"
            )
            return said
    except LinkError as error:
        return type(error).__name__
