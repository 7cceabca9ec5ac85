"""`plantroom read`: one device, once, with a profile or as raw registers, objects or nodes. Needs no configuration, no agent."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import typer

from device_profiles.errors import LinkRefused
from edge_agent.cli.local import AsJson, socket_of
from edge_agent.cli.options import grouped
from edge_agent.cli.points import show_points
from edge_agent.cli.target import Asked, Target, opened, target_of
from edge_agent.cli.watch_agent import agent_has

if TYPE_CHECKING:
    from edge_agent.cli.one_device import Row, Shot


@grouped
def command(asked: Asked, as_json: AsJson = False) -> None:
    """Read a device once: with a profile, as a configuration describes it, or without either: Modbus registers (--fc 3 --reg 0
    --count 10), BACnet objects (--unit 1001 --object AI:1), OPC UA nodes (--path Plant/Supply).

    Where a running agent has the line, a device of its configuration (--config) is shown as the agent has it.

    Exit code 1 when the device does not answer, or refuses a point.
    """
    target = target_of(asked)
    try:
        shot, serial = asyncio.run(_read(target, asked.trace))
    except LinkRefused as error:
        has_one_owner = target.link.is_line or target.link.listen is not None or target.link.bacnet is not None
        if asked.device is None or asked.config is None or not has_one_owner:
            raise
        socket = socket_of(None, asked.config)
        if not agent_has(socket, asked.device):
            raise
        print(f"plantroom read: {error.what}: this is what the agent has", file=sys.stderr)
        raise typer.Exit(show_points(socket, asked.device, as_json=as_json)) from None
    if as_json:
        print(json.dumps(document(target, shot, serial), ensure_ascii=False))
    else:
        show(target, shot, serial)
    if shot.failed:
        raise typer.Exit(1)


async def _read(target: Target, trace: bool) -> tuple[Shot, str | None]:
    async with opened(target, trace) as one:
        await one.prepare()
        return await one.read(), one.serial


def document(target: Target, shot: Shot, serial: str | None) -> dict[str, Any]:
    """One reading for programs."""
    return {
        "link": target.link.place,
        "unit": target.device.unit,
        "profile": None if target.raw else target.device.profile.name,
        "serial": serial,
        "t": shot.t_ms,
        "ms": round(shot.ms, 2),
        "requests": shot.requests,
        "points": [row.as_json() for row in shot.rows],
    }


def show(target: Target, shot: Shot, serial: str | None) -> None:
    """One reading for people."""
    from edge_agent.cli.tables import many, screen

    console = screen(highlight=True)
    console.print(table_of(target, shot, serial, width=console.width))
    console.print(f"{many(len(shot.rows), 'point')} in {many(shot.requests, 'request')}, {shot.ms:.0f} ms", style="dim")


def table_of(
    target: Target, shot: Shot, serial: str | None, changed: frozenset[str] = frozenset(), *, width: int = 120
) -> Any:
    """A rich table; rows in `changed` stand out."""
    from edge_agent.cli.tables import Column, fitted, unit_text

    rows, styles = [], []
    for row in shot.rows:
        bad = row.value is None
        quality = "" if row.status == "Good" else row.status + (f": {row.detail}" if row.detail else "")
        rows.append((row.point, value_text(row), unit_text(row.unit), quality, f"{row.ms:.0f}", row.ref))
        styles.append(
            "red" if bad else "yellow" if row.status != "Good" else "bold green" if row.point in changed else ""
        )
    columns = (
        Column("point"), Column("value", right=True), Column("unit"), Column("quality"),
        Column("ms", spare=2, right=True, style="dim"), Column("where", spare=1, style="dim"),
    )  # fmt: skip
    heading = target.title + (f", serial {serial}" if serial else "")
    return fitted(columns, rows, width=width, title=heading, styles=styles)


def value_text(row: Row) -> str:
    """The value as people read it: at most 10 digits, whole numbers whole, an enum with its label."""
    from device_profiles.logs import printable

    if row.value is None:
        return "-"
    if isinstance(row.value, bool):
        return "on" if row.value else "off"
    if isinstance(row.value, str):
        return printable(row.value)
    text = f"{row.value + 0.0:.10g}" if isinstance(row.value, float) else str(row.value)
    return f"{text} ({row.text})" if row.text else text
