"""`plantroom scan mbus`: slaves by secondary address, digit by digit where several answer, or by primary address."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from device_profiles.logs import printable
from edge_agent.cli.searching import conclude, line_of, progress

if TYPE_CHECKING:
    from drivers.base import LinkConfig


def mbus(
    link: Annotated[
        str, typer.Option("--link", help="serial:/dev/ttyUSB0?baud=2400&parity=E, or rtu+tcp://host:port?baud=2400")
    ],
    primary: Annotated[bool, typer.Option("--primary", help="Ask the addresses 0 to 250 instead.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each answer.", min=0.02, max=10)] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Find M-Bus slaves with maker, medium and version. Exit code 1 when none is found."""
    line = line_of(link, timeout, "M-Bus")
    try:
        found = asyncio.run(_by_primary(line) if primary else _by_secondary(line))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps({"link": link, "protocol": "mbus", "slaves": found}))
    else:
        for one in found:
            facts = [one[name] for name in ("vendor", "serial", "model", "trouble") if name in one]
            print(printable("  ".join((one["unit"], *facts))))
        conclude(
            found, "slave", line.place,
            read="plantroom read --link '{link}' --unit {unit} --profile generic-mbus-heat (plantroom profile list: the models)",
            nothing="Check power and wires of the level converter; try baud=300 and baud=9600, or --primary",
            link=link,
        )  # fmt: skip
    if not found:
        raise typer.Exit(1)


async def _by_secondary(line: LinkConfig) -> list[dict[str, str]]:
    from drivers.mbus.driver import MbusDriver

    with progress(line) as tell:
        async with MbusDriver().open(line) as session:
            return [{"unit": unit, **facts} async for unit, facts in session.search(tell)]


async def _by_primary(line: LinkConfig) -> list[dict[str, str]]:
    from drivers.mbus.driver import MbusDriver
    from drivers.mbus.session import PRIMARY

    found: list[dict[str, str]] = []
    with progress(line) as tell:
        async with MbusDriver().open(line) as session:
            for address in PRIMARY:
                tell(str(address), len(found))
                async for seen, facts in session.discover([address]):
                    found.append({"unit": str(seen.unit), **facts})
    return found
