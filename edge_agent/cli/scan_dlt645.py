"""`plantroom scan dlt645`: the numbers of the meters on a line, by wildcard addresses, two digits at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any

import typer

from device_profiles.errors import ConfigError, LinkRefused
from edge_agent.cli.searching import conclude, end, is_finished

if TYPE_CHECKING:
    from drivers.base import LinkConfig

_GENERIC = {"dlt645-2007": "generic-dlt645-2007-three-phase", "dlt645-1997": "generic-dlt645-1997"}
_Key = tuple[str, int, str]
"""Number, baud rate and parity of a meter."""
_EDITIONS = {"2007": ("2007",), "1997": ("1997",), "both": ("2007", "1997")}


def dlt645(
    link: Annotated[
        str, typer.Option("--link", help="serial:/dev/ttyUSB0?baud=2400&parity=E, or rtu+tcp://host:port?baud=2400")
    ],
    edition: Annotated[str, typer.Option(help="2007, 1997, or both one after the other.")] = "2007",
    bauds: Annotated[
        str, typer.Option(help="Try these, as 1200,2400,4800,9600, instead of the link's own (a serial port only).")
    ] = "",
    parities: Annotated[str, typer.Option(help="With --bauds: E, N, O, or several as E,N.")] = "E",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each answer.", min=0.02, max=10)] = 0.6,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Find DL/T 645 meters: asks by the last digits of their numbers, and goes deeper where several answer. Exit code 1 when
    none is found."""
    from drivers.base import parse_link

    if edition not in _EDITIONS:
        raise ConfigError(f"there is no edition {edition!r}", where="--edition", next_step="give 2007, 1997 or both")
    line = replace(parse_link(link, link_id=link.partition("?")[0]), timeout_s=timeout)
    if not line.is_line:
        step = "give serial:/dev/ttyUSB0?baud=2400&parity=E or rtu+tcp://host:port?baud=2400"
        raise ConfigError(f"a {line.kind} link carries no DL/T 645", where="--link", next_step=step)
    lines = _settings(line, bauds, parities) if bauds else [line]
    speaking: dict[_Key, dict[str, Any]] = {}
    refusing: dict[_Key, dict[str, Any]] = {}
    """Meters that only refused: as they do when they are asked in the other edition."""
    finished = is_finished(_search_all(lines, _EDITIONS[edition], speaking, refusing))
    found = sorted({**refusing, **speaking}.values(), key=lambda one: (one["baud"], one["parity"], one["number"]))
    if as_json:
        print(json.dumps({"link": link, "meters": [one["number"] for one in found], "found": found}))
    else:
        for one in found:
            print(f"{one['number']}  {one['protocol']}  {one['baud']} 8{one['parity']}{line.stop_bits}")
        conclude(
            found, "meter", line.path if bauds else line.place,
            read="plantroom read --link '{link}' --unit {number} --profile {profile}",
            nothing="Check wires (A and B) and power of the meters; try --bauds 1200,2400,4800,9600 --edition both",
            link=_link_of(link, found, bauds), profile=_GENERIC.get(found[0]["protocol"], "") if found else "",
        )  # fmt: skip
    end(found, finished)


def _link_of(link: str, found: Sequence[Mapping[str, Any]], bauds: str) -> str:
    """The link as the first meter wants it, where several settings were tried."""
    return f"{link.partition('?')[0]}?baud={found[0]['baud']}&parity={found[0]['parity']}" if bauds and found else link


def _settings(line: LinkConfig, bauds: str, parities: str) -> list[LinkConfig]:
    """The line at each baud rate and parity. Raises ConfigError."""
    if line.kind != "serial":
        step = "leave --bauds out: a serial server keeps its own baud rate"
        raise ConfigError(f"a {line.kind} link cannot change its baud rate", where="--bauds", next_step=step)
    rates = [text.strip() for text in bauds.split(",")]
    chosen = [text.strip().upper() for text in parities.split(",")]
    if not all(rate.isdecimal() and 110 <= int(rate) <= 115_200 for rate in rates):
        raise ConfigError(f"{bauds!r} are no baud rates", where="--bauds", next_step="write 1200,2400,4800,9600")
    if not set(chosen) <= {"E", "N", "O"}:
        raise ConfigError(f"{parities!r} are no parities", where="--parities", next_step="write E, or E,N")
    return [replace(line, baud=int(rate), parity=parity) for rate, parity in product(rates, chosen)]


async def _search_all(
    lines: Sequence[LinkConfig],
    editions: Sequence[str],
    speaking: dict[_Key, dict[str, Any]],
    refusing: dict[_Key, dict[str, Any]],
) -> None:
    """Adds everything that answers at each setting, in order; a setting that the port does not have is passed over and said."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from drivers.dlt645.driver import Dlt645Driver1997, Dlt645Driver2007

    console = Console(stderr=True)
    with Progress(TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        for line, edition in product(lines, editions):
            driver = Dlt645Driver2007() if edition == "2007" else Dlt645Driver1997()
            what, before = f"{line.place}, {edition}", len(speaking)

            def tell(pattern: str, count: int, what: str = what, before: int = before) -> None:
                progress.update(task, description=f"{what}: asking {pattern}, {before + count} found")

            try:
                async with driver.open(line) as session:
                    heard = [
                        (number, line.baud, line.parity)
                        async for number in session.search(tell)
                        if _added(speaking, (number, line.baud, line.parity), edition)
                    ]
                    for key in heard:
                        if not await session.speaks(key[0]):
                            refusing.setdefault(key, speaking.pop(key))
            except LinkRefused as error:
                if len(lines) == 1:
                    raise
                console.print(str(error), style="yellow")


def _added(found: dict[_Key, dict[str, Any]], key: _Key, edition: str) -> bool:
    """A meter that answers, and is not known to speak another edition."""
    number, baud, parity = key
    row = {"number": number, "protocol": f"dlt645-{edition}", "baud": baud, "parity": parity}
    return found.setdefault(key, row) is row
