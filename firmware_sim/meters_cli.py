"""`plantroom sim cjt188` and `plantroom sim mbus`: meters on a pseudo terminal with the timing of a real line.

Order on standard input, one JSON line: {"op": "mute"}, {"op": "speak"}, {"op": "unplug"}, {"op": "plug"}, {"op": "stats"}.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firmware_sim.cli_errors import refused

if TYPE_CHECKING:
    from firmware_sim.slaves import SlaveLine

Link = Annotated[Path | None, typer.Option(help="Make this a symlink to the pseudo terminal.")]
Baud = Annotated[int, typer.Option(help="Bits a second of the line.", min=300, max=115_200)]
Parity = Annotated[str, typer.Option(help="N, E or O.")]
Turnaround = Annotated[float, typer.Option(help="Seconds from a request to its reply.", min=0, max=5)]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
_TYPES = {"water": 0x10, "heat": 0x20, "gas": 0x30}
_L_PER_S = 0.2


def cjt188(
    number: Annotated[
        list[str] | None, typer.Option("--number", help="14 digits, the maker's code first; may be repeated.")
    ] = None,
    counts: Annotated[str, typer.Option(help="water, heat or gas.")] = "water",
    low_first: Annotated[bool, typer.Option("--low-first", help="The identifier as 1F 90 (the 2018 edition).")] = False,
    unit_first: Annotated[bool, typer.Option("--unit-first", help="The unit's code before its value.")] = False,
    link: Link = None,
    baud: Baud = 2400,
    parity: Parity = "E",
    turnaround: Turnaround = 0.04,
    as_json: AsJson = False,
) -> None:
    """Run CJ/T 188 meters that count."""
    from firmware_sim.cjt188 import CjtMeter
    from firmware_sim.slaves import SlaveLine

    if counts not in _TYPES:
        raise typer.BadParameter(f"{counts!r} is none of {', '.join(_TYPES)}")
    numbers = number or ["00111100012345"]
    for one in numbers:
        if len(one) != 14 or not one.isdecimal():
            raise typer.BadParameter(f"{one!r} is no CJ/T 188 address: give 14 digits")
    began = time.time()
    meters = [
        CjtMeter(
            one, _TYPES[counts], low_first=low_first, unit_first=unit_first, turnaround_s=turnaround,
            volume=lambda: 1234.0 + (time.time() - began) * _L_PER_S / 1000,
            energy=lambda: 56_789.0 + (time.time() - began) * 12.34 / 3600,
        )
        for one in numbers
    ]  # fmt: skip
    line = SlaveLine(meters, _wire(baud, parity), link=link)
    asyncio.run(_run(line, str(link or ""), "cjt188", numbers, as_json))


def mbus(
    number: Annotated[
        list[str] | None, typer.Option("--number", help="8 digits of an identification; may be repeated.")
    ] = None,
    counts: Annotated[str, typer.Option(help="water or heat.")] = "heat",
    per_telegram: Annotated[int, typer.Option(help="Records in one telegram.", min=1, max=99)] = 99,
    link: Link = None,
    baud: Baud = 2400,
    parity: Parity = "E",
    turnaround: Turnaround = 0.03,
    as_json: AsJson = False,
) -> None:
    """Run M-Bus slaves that count; their primary addresses are 1, 2, 3 ..."""
    from firmware_sim.mbus import MbusSlave, heat_meter, water_meter
    from firmware_sim.slaves import SlaveLine

    if counts not in ("water", "heat"):
        raise typer.BadParameter(f"{counts!r} is none of water, heat")
    numbers = number or ["12345678"]
    for one in numbers:
        if len(one) != 8 or not one.isdecimal():
            raise typer.BadParameter(f"{one!r} is no identification: give 8 digits")
    began = time.time()
    heat = heat_meter(lambda: 12_345.0 + (time.time() - began) * 12.34 / 3600)
    water = water_meter(lambda: 98_765.0 + (time.time() - began) * _L_PER_S)
    slaves = [
        MbusSlave(
            one, heat if counts == "heat" else water, primary=at, per_telegram=per_telegram, turnaround_s=turnaround,
            medium=0x04 if counts == "heat" else 0x07,
        )
        for at, one in enumerate(numbers, 1)
    ]  # fmt: skip
    line = SlaveLine(slaves, _wire(baud, parity), link=link)
    asyncio.run(_run(line, str(link or ""), "mbus", numbers, as_json))


def _wire(baud: int, parity: str) -> Any:
    from firmware_sim.wire import Wire

    if parity.upper() not in ("N", "E", "O"):
        raise typer.BadParameter(f"parity {parity!r} is none of N, E, O")
    return Wire(baud, parity.upper())


async def _run(line: SlaveLine[Any], link: str, protocol: str, numbers: Sequence[str], as_json: bool) -> None:
    from firmware_sim.control import until_told_to_stop

    try:
        with line:
            url = f"serial:{link or line.path}?baud={line.wire.baud}&parity={line.wire.parity}"
            if as_json:
                typer.echo(json.dumps({"link": url, "protocol": protocol, "meters": list(numbers)}))
            else:
                for number in numbers:
                    typer.echo(f"{number}  {protocol}  {url}")
            await until_told_to_stop(lambda text: typer.echo(json.dumps(_obey(line, text))))
    except OSError as error:
        raise refused(error, "path") from error


def _obey(line: SlaveLine[Any], text: str) -> dict[str, Any]:
    try:
        op = json.loads(text).get("op")
    except (ValueError, AttributeError) as error:
        return {"ok": False, "error": str(error)}
    if op in ("mute", "speak"):
        for slave in line.slaves:
            slave.mute = op == "mute"
    elif op in ("unplug", "plug"):
        line.ask(line.unplug if op == "unplug" else line.plug)
    elif op == "stats":
        return {"ok": True, "requests": line.stats.requests, "replies": line.stats.replies}
    else:
        return {"ok": False, "error": f"unknown order {op!r}; known are mute, speak, unplug, plug, stats"}
    return {"ok": True}
