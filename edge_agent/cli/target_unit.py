"""--unit: what tells a device apart on a link, as people type it. The rules are those of agent.yaml (`config/units.py`); beyond
them the command line takes numbers of meters without their leading zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from drivers.base import LinkConfig

_DIGITS = {"dlt645-2007": 12, "dlt645-1997": 12, "cjt188": 14}
_MBUS_DIGITS = (8, 16)
_FINDS = {
    "bacnet": "plantroom scan bacnet lists them",
    "dlt645-2007": "plantroom scan dlt645 finds it; AAAAAAAAAAAA asks a meter that is alone on its line",
    "dlt645-1997": "plantroom scan dlt645 --edition 1997 finds it; AAAAAAAAAAAA asks a meter that is alone on its line",
    "cjt188": "plantroom scan cjt188 finds it; AAAAAAAAAAAAAA asks a meter that is alone on its line",
    "mbus": "plantroom scan mbus finds it; 254 asks a slave that is alone on its line",
}


def unit_of(text: str | None, protocol: str, link: LinkConfig, *, prefix: str | None = None) -> int | str:
    """What the text means for devices of this protocol. Raises typer.BadParameter."""
    from edge_agent.config.units import wrong_unit

    if protocol == "opcua":
        return text or prefix or 0
    if text is None and (protocol == "modbus" or wrong_unit(protocol, None, link) is None):
        return 1
    unit = None if text is None else _read(text.strip(), protocol)
    if protocol == "modbus":
        if not isinstance(unit, int) or not 1 <= unit <= 255:
            raise typer.BadParameter(f"--unit {text} is none that answers; use 1 to 247, or 255 on Modbus TCP")
    elif not (protocol == "mbus" and unit in (253, 254)) and (finding := wrong_unit(protocol, unit, link)) is not None:
        what, step = finding
        step = step.replace(" in quotes", "").replace("as unit: ", "as --unit ").replace("add unit: ", "give ")
        finds = f" ({_FINDS[protocol]})" if protocol in _FINDS else ""
        raise typer.BadParameter(f"--{what}; {step}{finds}" if text is None else f"--unit: {what}; {step}{finds}")
    assert unit is not None
    return unit


def _read(text: str, protocol: str) -> int | str:
    is_number = text.isascii() and text.isdecimal()
    if digits := _DIGITS.get(protocol):
        return text.zfill(digits) if is_number else text.upper()
    if protocol == "mbus" and len(text) in _MBUS_DIGITS:
        return text.upper()
    return int(text) if is_number else text
