"""`plantroom scan dlt645`: the numbers of the meters on a line, by wildcard addresses, two digits at a time."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from device_profiles.errors import ConfigError

if TYPE_CHECKING:
    from drivers.base import LinkConfig

_EDITIONS = ("2007", "1997")


def dlt645(
    link: Annotated[
        str, typer.Option("--link", help="serial:/dev/ttyUSB0?baud=2400&parity=E, or rtu+tcp://host:port?baud=2400")
    ],
    edition: Annotated[str, typer.Option(help="2007 or 1997.")] = "2007",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each answer.", min=0.02, max=10)] = 0.6,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Find DL/T 645 meters: asks by the last digits of their numbers, and goes deeper where several answer. Exit code 1 when
    none is found."""
    from drivers.base import parse_link

    if edition not in _EDITIONS:
        raise ConfigError(f"there is no edition {edition!r}", where="--edition", next_step="give 2007 or 1997")
    line = replace(parse_link(link, link_id=link.partition("?")[0]), timeout_s=timeout)
    try:
        found = asyncio.run(_search(line, edition))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps({"link": link, "protocol": f"dlt645-{edition}", "meters": found}))
    else:
        for number in found:
            print(number)
        print(f"{len(found)} meters on {line.place}")
    if not found:
        raise typer.Exit(1)


async def _search(line: LinkConfig, edition: str) -> list[str]:
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from drivers.dlt645.driver import Dlt645Driver1997, Dlt645Driver2007

    driver = Dlt645Driver2007() if edition == "2007" else Dlt645Driver1997()
    with Progress(
        TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as progress:
        task = progress.add_task("", total=None)

        def tell(pattern: str, count: int) -> None:
            progress.update(task, description=f"{line.place}: asking {pattern}, {count} found")

        async with driver.open(line) as session:
            return sorted([number async for number in session.search(tell)])
