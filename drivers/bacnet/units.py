"""BACnet engineering units and the UCUM codes of the house, by the one table of `device_profiles.units`.

Source: ANSI/ASHRAE 135-2020, clause 21, BACnetEngineeringUnits.
"""

from __future__ import annotations

from device_profiles.units import UNITS

_MORE = {203: "V.A.h{reactive}", 204: "kV.A.h{reactive}", 205: "MV.A.h{reactive}"}
"""Numbers that say the same as another one: watt-hours-reactive and volt-ampere-hours-reactive."""

NO_UNITS = 95

_UCUM: dict[int, str] = {number: code for code, unit in UNITS.items() for number in unit.bacnet} | _MORE


def ucum(number: int) -> str | None:
    """The UCUM code of a BACnet unit; None for one that the house has no use for (currencies, makers' own from 256 on)."""
    return _UCUM.get(number)


def bacnet(code: str) -> int | None:
    """The BACnet unit of a UCUM code, the one to write; None where the standard has none."""
    unit = UNITS.get(code)
    return unit.bacnet[0] if unit is not None and unit.bacnet else None
