"""`plantroom scan cjt188`: the addresses of water, gas and heat meters on a line, two digits at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.searching import conclude, end, is_finished, line_of, progress

if TYPE_CHECKING:
    from drivers.base import LinkConfig


def cjt188(
    link: Annotated[
        str, typer.Option("--link", help="serial:/dev/ttyUSB0?baud=2400&parity=E, or rtu+tcp://host:port?baud=2400")
    ],
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each answer.", min=0.02, max=10)] = 0.6,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Find CJ/T 188 meters: asks by the last digits of their addresses, and goes deeper where several answer. Exit code 1 when
    none is found."""
    line = line_of(link, timeout, "CJ/T 188")
    found: list[dict[str, str]] = []
    finished = is_finished(_search(line, found))
    if as_json:
        print(json.dumps({"link": link, "protocol": "cjt188", "meters": found}))
    else:
        for one in found:
            print(f"{one['address']}  {one.get('counts', '')}".rstrip())
        conclude(
            found, "meter", line.place,
            read="plantroom read --link '{link}' --unit {address} --profile {profile}",
            nothing="Check wires and power of the meters; most speak at 2400 8E1, as serial:/dev/ttyUSB0?baud=2400&parity=E",
            link=link, profile=_profile(found[0].get("counts", "")) if found else "",
        )  # fmt: skip
    end(found, finished)


def _profile(counts: str) -> str:
    return f"generic-cjt188-{counts}" if counts in ("water", "gas", "heat") else "PROFILE"


async def _search(line: LinkConfig, found: list[dict[str, str]]) -> None:
    """Adds what answers, and then what each of them counts."""
    from drivers.base import Address
    from drivers.cjt188.driver import Cjt188Driver

    with progress(line) as tell:
        async with Cjt188Driver().open(line) as session:
            async for address in session.search(tell):
                found += [{"address": address}]  # one by one, for a search that is stopped
            found.sort(key=lambda one: one["address"])
            for one in found:
                one["counts"] = (await session.identify(Address(one["address"])))["model"]
