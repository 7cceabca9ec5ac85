"""Walks the chain of SunSpec models: where each model of a device begins. No I/O of its own: it is given a way to read.

The chain begins with the ASCII marker 'SunS' at register 40000, 0 or 50000; each model is its number, its length in registers
without these two, and the data; model 0xFFFF ends it. Endless and broken chains end with an error, never with a loop.
Source: SunSpec Device Information Model Specification V1.1, section 6 (device discovery).
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable

from device_profiles.errors import DeviceError, DeviceMismatch, DeviceRefused

MARKER = b"SunS"
BASES = (40000, 0, 50000)
END = 0xFFFF
MOST_MODELS = 200

ReadRegisters = Callable[[int, int], Awaitable[bytes]]
"""(first register, count) -> bytes. Raises DeviceRefused where the device has no such register."""


async def walk(read: ReadRegisters) -> dict[str, int]:
    """Model number (as text) to the register of its ID; of several models of one number the first. Raises DeviceError."""
    at = await _after_marker(read)
    models: dict[str, int] = {}
    for _ in range(MOST_MODELS):
        if at > 0xFFFE:
            raise _broken(f"the chain of models runs past register 65535 after {len(models)} models")
        try:
            model, length = struct.unpack(">HH", await read(at, 2))
        except DeviceRefused as error:
            if models:
                return models  # makers who leave out the end marker: what was found stands
            raise _broken(f"the first model cannot be read at register {at}") from error
        if model == END:
            return models
        if length == 0 and model == 0:
            raise _broken(f"the chain of models breaks off at register {at} (model 0 of length 0)")
        models.setdefault(str(model), at)
        at += 2 + length
    raise _broken(f"the chain of models does not end after {MOST_MODELS} models")


async def _after_marker(read: ReadRegisters) -> int:
    refusal: DeviceError | None = None
    for base in BASES:
        try:
            if await read(base, 2) == MARKER:
                return base + 2
        except DeviceRefused as error:
            refusal = error
    raise _broken("no SunSpec marker at register 40000, 0 or 50000") from refusal


def _broken(what: str) -> DeviceMismatch:
    return DeviceMismatch(what, next_step="check that SunSpec Modbus is switched on in the device, and its unit number")
