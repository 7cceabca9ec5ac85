"""Carries out an operation of a Modbus profile: one write, or a pulse that is always ended. Knows no limits and no interlocks."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from device_profiles.call_modbus import ModbusCall
from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceError

from . import codec

Ask = Callable[[codec.Request], Awaitable[bytes]]
_TRIES = 3
"""Times that the end of a pulse is sent: switching off again does no harm, a relay that stays on does."""


async def carry_out(ask: Ask, operation: Operation) -> None:
    """Does it once. Raises ConfigError for a `call` that is none; DeviceError, LinkError as a write does.

    A pulse that was begun is ended also when the caller goes away; when its end is not confirmed, that is the error.
    """
    try:
        call = ModbusCall.model_validate(operation.call)
    except ValidationError as error:
        what = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise ConfigError(what, where=f"operation {operation.id}", next_step="correct call in the profile") from error
    if call.reg is not None:
        assert call.value is not None
        await ask(codec.write_register(call.reg, call.value))
        return
    assert call.coil is not None
    if call.data is not None:
        await ask(codec.Request(struct.pack(">BHH", 5, call.coil, call.data), 5))
    elif call.pulse_s is None:
        await ask(codec.write_coil(call.coil, call.value == 1))
    else:
        await _pulse(ask, call.coil, call.pulse_s)


async def _pulse(ask: Ask, coil: int, seconds: float) -> None:
    try:
        await ask(codec.write_coil(coil, True))
        await asyncio.sleep(seconds)
    finally:
        await asyncio.shield(asyncio.ensure_future(_off(ask, coil)))


async def _off(ask: Ask, coil: int) -> None:
    for left in reversed(range(_TRIES)):
        try:
            await ask(codec.write_coil(coil, False))
        except DeviceError:
            if not left:
                raise
        else:
            return
