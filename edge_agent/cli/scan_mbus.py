"""`plantroom scan mbus`: slaves by secondary address, digit by digit where several answer, or by primary address."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from device_profiles.logs import printable
from edge_agent.cli.searching import conclude, end, is_finished, line_of, progress

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
    found: list[dict[str, str]] = []
    finished = is_finished((_by_primary if primary else _by_secondary)(line, found))
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
    end(found, finished)


async def _by_secondary(line: LinkConfig, found: list[dict[str, str]]) -> None:
    from drivers.mbus.driver import MbusDriver

    with progress(line) as tell:
        async with MbusDriver().open(line) as session:
            async for unit, facts in session.search(tell):
                found.append({"unit": unit, **facts})


async def _by_primary(line: LinkConfig, found: list[dict[str, str]]) -> None:
    from drivers.mbus.driver import MbusDriver
    from drivers.mbus.session import PRIMARY

    with progress(line) as tell:
        async with MbusDriver().open(line) as session:
            for address in PRIMARY:
                tell(str(address), len(found))
                async for seen, facts in session.discover([address]):
                    found.append({"unit": str(seen.unit), **facts})
