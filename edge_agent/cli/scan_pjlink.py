"""`plantroom scan pjlink`: projectors and displays of PJLink class 2 that answer a search."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Annotated

import typer

from edge_agent.cli.searching import asked_at, waiting


def pjlink(
    to: Annotated[
        str, typer.Option(help="HOST, or the broadcast address of a network, with :PORT where it is not 4352.")
    ] = "",
    within: Annotated[float, typer.Option(help="Seconds to wait for answers.", min=0.1, max=60)] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """List displays of PJLink class 2 by address; class 1 knows no search. Exit code 1 when there are none."""
    from drivers.pjlink.search import EVERYBODY, PORT, search

    whom = asked_at(to, EVERYBODY, PORT)
    try:
        with waiting("waiting for displays", within):
            found = asyncio.run(search(within_s=within, to=whom))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps([{"host": each.host, "mac": each.mac, "link": f"tcp://{each.host}:4352"} for each in found]))
    else:
        for each in found:
            print(f"tcp://{each.host}:4352  {each.mac}")
        if found:
            print(f"{len(found)} found; plantroom read --link tcp://{found[0].host}:4352 --profile generic-pjlink-2")
    if not found:
        step = "Check that search is on in the display's network menu, and give --to the network's broadcast address"
        print(f"plantroom scan: no PJLink display of class 2 answered. {step}", file=sys.stderr)
        raise typer.Exit(1)
