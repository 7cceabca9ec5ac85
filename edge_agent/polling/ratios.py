"""The ratios (CT, PT) that a device's values depend on, and where each comes from. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from edge_agent.model import Device


def read_params(device: Device) -> set[str]:
    """Ratios that live in a register of the device and are not given in the configuration."""
    params = device.profile.params.items()
    return {name for name, param in params if param.register_ is not None and name not in device.params}


def known_params(device: Device, kept: Mapping[str, str]) -> dict[str, Decimal]:
    """The ratios that are known before anything is read: configured, else kept from the register, else the profile's default."""
    in_register = read_params(device)
    known = {name: Decimal(kept[name]) for name in in_register & kept.keys()}
    for name, param in device.profile.params.items():
        if name in device.params:
            known[name] = Decimal(repr(device.params[name]))
        elif name not in in_register and param.default is not None:
            known[name] = Decimal(repr(param.default))
    return known
