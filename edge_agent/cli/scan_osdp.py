"""`plantroom scan osdp`: the card readers on a line, by address."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from device_profiles.logs import printable
from edge_agent.cli.scan_modbus import bauds_of, units_of
from edge_agent.cli.searching import conclude, line_of, progress

if TYPE_CHECKING:
    from drivers.base import LinkConfig

_CHANNEL = {
    "needed": "wants its secure channel",
    "offered": "has a secure channel",
    "none": "has no secure channel",
}


def osdp(
    link: Annotated[str, typer.Option("--link", help="serial:/dev/ttyUSB0?baud=9600, or rtu+tcp://host:port")],
    units: Annotated[str, typer.Option(help="Addresses, as 0-126 or 0,1,10-20.")] = "0-126",
    bauds: Annotated[str | None, typer.Option(help="Baud rates to try on a serial port, as 9600,38400,115200.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each answer.", min=0.02, max=0.2)] = 0.06,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Find OSDP readers with vendor, model and serial number, on a line without a panel. Exit code 1 when none is found."""
    line = line_of(link, timeout, "OSDP")
    chosen = units_of(units, 0, 126)
    lines = [replace(line, baud=baud) for baud in bauds_of(bauds, line)]
    try:
        found = asyncio.run(_search(lines, chosen))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps({"link": link, "protocol": "osdp", "readers": found}))
    else:
        for one in found:
            print(printable(_shown(one)))
        rate = f"?baud={found[0]['baud']}" if found and line.kind == "serial" else ""
        conclude(
            found, "reader", line.path or line.place,
            read="plantroom read --link '{link}' --unit {unit} --profile generic-osdp-reader",
            nothing="Check power, A and B; readers leave the factory with address 0 and 9600: try --bauds 9600,38400,115200",
            link=link.partition("?")[0] + rate if rate else link,
        )  # fmt: skip
    if not found:
        raise typer.Exit(1)


def _shown(one: dict[str, str | int]) -> str:
    facts = [f"{name} {one[name]}" for name in ("vendor", "model", "serial", "firmware") if name in one]
    more = [
        str(one[name]) if name == "trouble" else _CHANNEL[str(one[name])]
        for name in ("channel", "trouble")
        if name in one
    ]
    return "  ".join((f"{one['unit']:>3} at {one['baud']} Bd", *facts, *more))


async def _search(lines: Sequence[LinkConfig], units: Sequence[int]) -> list[dict[str, str | int]]:
    from drivers.osdp.driver import OsdpDriver

    found: list[dict[str, str | int]] = []
    for line in lines:
        with progress(line) as tell:
            async with OsdpDriver().open(line) as session:
                for unit in units:
                    tell(f"address {unit} at {line.baud} Bd", len(found))
                    found += [{"unit": unit, "baud": line.baud, **facts} async for _, facts in session.discover([unit])]
    return found
