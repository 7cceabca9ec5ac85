"""`plantroom scan onvif`: cameras and recorders that answer a WS-Discovery probe."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.searching import asked_at, waiting

if TYPE_CHECKING:
    from drivers.onvif.discovery import Found


def onvif(
    interface: Annotated[
        list[str] | None,
        typer.Option(help="Our address on the cameras' network; may be repeated. All, if none is given."),
    ] = None,
    to: Annotated[str, typer.Option(help="HOST or HOST:PORT to ask instead of the multicast group.")] = "",
    within: Annotated[float, typer.Option(help="Seconds to wait for answers.", min=0.1, max=60)] = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """List ONVIF devices with name, hardware and address. Exit code 1 when there are none."""
    from drivers.onvif.discovery import GROUP, PORT, probe

    whom = asked_at(to, GROUP, PORT)
    try:
        with waiting("waiting for ONVIF devices", within):
            found = asyncio.run(probe(within_s=within, to=whom, interfaces=interface or ()))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps([_document(each) for each in found], ensure_ascii=False))
    else:
        _show(found)
    if not found:
        step = "Check that the cameras are on this network (multicast passes no router), or give --interface or --to"
        print(f"plantroom scan: no ONVIF device answered. {step}", file=sys.stderr)
        raise typer.Exit(1)


def _document(found: Found) -> dict[str, object]:
    names = {"id": found.id, "host": found.host, "name": found.name, "hardware": found.hardware}
    return names | {"addresses": list(found.addresses), "link": _link(found)}


def _link(found: Found) -> str:
    """How agent.yaml names it: the address that it has here, whatever it says of itself."""
    own = next((each for each in found.addresses if f"//{found.host}:" in each or f"//{found.host}/" in each), "")
    first = own or next(iter(found.addresses), "")
    return "/".join(first.split("/")[:3]) if first else f"http://{found.host}"


def _show(found: list[Found]) -> None:
    from device_profiles.logs import printable
    from edge_agent.cli.tables import Column, fitted, screen

    if not found:
        return
    console = screen(highlight=True)
    rows = [[printable(cell) for cell in (_link(each), each.name, each.hardware, each.id)] for each in found]
    columns = (Column("link"), Column("name"), Column("hardware"), Column("id", spare=1))
    console.print(fitted(columns, rows, width=console.width, styles=[""] * len(rows)))
    print(f"{len(found)} found; plantroom read --link {_link(found[0])} --profile generic-onvif-camera")
