"""What tells a device apart on its link, protocol by protocol: is a `unit` of agent.yaml one that can answer? Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from device_profiles.bacnet import MAX_INSTANCE
from device_profiles.findings import shown
from drivers.base import LinkConfig

Unit = int | str | None
Finding = tuple[str, str]
"""(what is wrong, what to do)."""

_METER = re.compile(r"(AA){0,6}[0-9]*")
_CJT_METER = re.compile(r"(AA){0,7}[0-9A-F]{0,4}[0-9]*")
_MBUS_SECONDARY = re.compile(r"[0-9F]{8}([0-9A-F]{8})?")
_SERIAL = re.compile(r"[A-Za-z0-9_-]{4,32}")


def wrong_unit(protocol: str, unit: Unit, link: LinkConfig) -> Finding | None:
    """What is wrong with the unit of a device of this protocol; None when nothing is."""
    check = _CHECKS.get(protocol)
    return None if check is None else check(unit, link)


def _modbus(unit: Unit, link: LinkConfig) -> Finding | None:
    if unit is None:
        return "unit is missing", "add unit"
    is_direct = link.kind in ("tcp", "fake")
    if is_direct and unit in (0, 255):  # Modbus Messaging on TCP/IP Implementation Guide V1.0b, 4.4.2.2
        return None
    if isinstance(unit, int) and 1 <= unit <= 247:
        return None
    if unit == 0:
        return "0 is the broadcast unit, which nobody answers", "give the meter's own unit, 1 to 247"
    step = "give a unit of 1 to 247" + (" (or 255 for a device with its own address)" if is_direct else "")
    return f"{shown(unit)} is no Modbus unit", step


def _bacnet(unit: Unit, link: LinkConfig) -> Finding | None:
    if unit is None:
        return "unit is missing", "add unit: the device's BACnet instance"
    if isinstance(unit, int) and 0 <= unit <= MAX_INSTANCE:
        return None
    return f"{shown(unit)} is no BACnet device instance", f"give a number of 0 to {MAX_INSTANCE}"


def _dlt645(unit: Unit, link: LinkConfig) -> Finding | None:
    """12 digits; leading AA stand for digits that need not be told."""
    step = 'give the 12 digits of the meter\'s plate in quotes, as unit: "000012345678"'
    if unit is None:
        return "unit is missing", step
    if isinstance(unit, int) or len(unit) != 12 or _METER.fullmatch(unit) is None:
        return f"{shown(unit)} is no meter number", step
    if unit == "9" * 12:
        return "999999999999 is the broadcast address, which nobody answers", step
    return None


def _osdp(unit: Unit, link: LinkConfig) -> Finding | None:
    if unit is None:
        return "unit is missing", "add unit: the reader's address, 0 to 126"
    if unit == 127:
        return "127 is the address for all readers, of whom only one may be on the line then", "give the reader's own"
    if isinstance(unit, int) and 0 <= unit <= 126:
        return None
    return f"{shown(unit)} is no OSDP address", "give the reader's address, 0 to 126"


def _uhppote(unit: Unit, link: LinkConfig) -> Finding | None:
    if isinstance(unit, int) and 0 < unit <= 0xFFFFFFFF:
        return None
    return f"{shown(unit)} is no serial number of a board" if unit is not None else "unit is missing", (
        "give the number on the board, 9 digits (plantroom scan uhppote lists them)"
    )


def _zkteco(unit: Unit, link: LinkConfig) -> Finding | None:
    if unit is not None and _SERIAL.fullmatch(str(unit)):
        return None
    return f"{shown(unit)} is no serial number" if unit is not None else "unit is missing", (
        "give the terminal's serial number in quotes, as its menu shows it under System Info"
    )


def _cjt188(unit: Unit, link: LinkConfig) -> Finding | None:
    """14 digits, the maker's code first; leading AA stand for digits that need not be told."""
    step = 'give the 14 digits of the meter, the maker\'s code first, in quotes, as unit: "00111100012345"'
    if unit is None:
        return "unit is missing", step
    if isinstance(unit, int) or len(unit) != 14 or _CJT_METER.fullmatch(unit.upper()) is None:
        return f"{shown(unit)} is no CJ/T 188 address", step
    return None


def _mbus(unit: Unit, link: LinkConfig) -> Finding | None:
    """A primary address, or a secondary one: identification (8 digits), maker (4), version (2), medium (2), F for any."""
    step = 'give the primary address, 0 to 250, or the 8 digits of the identification in quotes, as unit: "12345678"'
    if unit is None:
        return "unit is missing", step
    if isinstance(unit, int):
        return None if 0 <= unit <= 250 else (f"{unit} is no primary address of M-Bus", step)
    if _MBUS_SECONDARY.fullmatch(unit.upper()) is None:
        return f"{shown(unit)} is no secondary address of M-Bus", step
    return None


_CHECKS: dict[str, Callable[[Unit, LinkConfig], Finding | None]] = {
    "modbus": _modbus,
    "bacnet": _bacnet,
    "dlt645-2007": _dlt645,
    "dlt645-1997": _dlt645,
    "cjt188": _cjt188,
    "mbus": _mbus,
    "osdp": _osdp,
    "uhppote": _uhppote,
    "zkteco-push": _zkteco,
}
