"""The protocols there are: one explicit table. A driver is imported only when a link needs it."""

from __future__ import annotations

import difflib
from importlib import import_module

from device_profiles.errors import ConfigError

from .base import Driver

DRIVERS: dict[str, str] = {
    "modbus": "drivers.modbus.driver:ModbusDriver",
    "fake": "drivers.fake:FakeDriver",
}
"""Protocol to import string of its driver class. Protocol `virtual` is no driver: the agent computes it."""


def load_driver(protocol: str) -> Driver:
    """A new driver of this protocol. Raises ConfigError for a protocol that there is none for."""
    if protocol not in DRIVERS:
        close = difflib.get_close_matches(protocol, DRIVERS, n=1)
        raise ConfigError(
            f"there is no driver for protocol {protocol!r}",
            next_step=f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(DRIVERS)}",
        )
    module, _, name = DRIVERS[protocol].partition(":")
    driver: Driver = getattr(import_module(module), name)()
    return driver
