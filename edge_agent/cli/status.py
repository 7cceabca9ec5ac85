"""`plantroom status`: what the running agent does, for people and programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import typer

from edge_agent.cli.local import AsJson, ConfigFile, Socket, socket_of

_COLOURS = {"ok": "green", "degraded": "yellow", "down": "red", "disabled": "dim", "unknown": "dim"}


def command(socket: Socket = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show the agent's devices, links, spool and connection.

    Exit code 1 when a device is down, or broker or ingest do not take what is sent.
    """
    from edge_agent.local_api import ask

    status = ask(socket_of(socket, config), "status")
    if as_json:
        print(json.dumps(status))
    else:
        _show(status)
    uplink = status["uplink"]
    is_away = not uplink["connected"] or uplink["probing"] or uplink["alarms"]
    has_trouble = bool(is_away) or any(device["state"] == "down" for device in status["devices"])
    raise typer.Exit(1 if has_trouble else 0)


def _show(status: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from device_profiles.logs import printable

    console = Console()
    process, spool, uplink = status["process"], status["spool"], status["uplink"]
    broker = "[green]connected[/]" if uplink["connected"] else "[red]broker away[/]"
    console.print(f"[bold]{status['agent']}[/] of site [bold]{status['site']}[/], epoch {status['epoch']}, {broker}")
    console.print(
        f"up {process['uptime_s']:.0f} s, {process['rss_mb']} MB, {process['cpu_s']} s of processor, "
        f"{status['acquisitions']} acquisitions, {status['values']} values"
    )
    oldest = f", the oldest from {_time(spool['oldest'])}" if spool["oldest"] else ""
    console.print(f"spool: {spool['msgs']} messages, {spool['bytes'] / 1e6:.1f} MB{oldest}")
    troubles = [*uplink["alarms"].values(), *([f"probes only: {uplink['probing']}"] if uplink["probing"] else [])]
    for name, link in status["links"].items():
        if why := link["trouble"]:
            troubles.append(why if why.startswith(name) else f"{name}: {why}")
    for text in troubles:
        console.print(f"[yellow]![/] {escape(printable(text))}", highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for name in ("device", "name", "link", "unit", "state", "reads", "failed", "rtt ms", "last reading"):
        table.add_column(
            name,
            justify="right" if name in ("reads", "failed", "rtt ms") else "left",
            no_wrap=name == "device",
            overflow="fold",
        )
    for device in status["devices"]:
        state = (
            device["state"]
            + (f" {device['sc']}" if device["sc"] else "")
            + (f": {device['note']}" if device["note"] else "")
        )
        table.add_row(
            device["id"],
            escape(printable(device["name"])),
            device["link"] or "-",
            str(device["unit"]),
            f"[{_COLOURS.get(device['state'], 'default')}]{escape(printable(state))}[/]",
            str(device["ok"]),
            str(device["err"]),
            "-" if device["rtt_ms"] is None else f"{device['rtt_ms']:.0f}",
            "-" if device["t"] is None else _time(device["t"]),
        )
    console.print(table)


def _time(t_ms: int) -> str:
    return datetime.fromtimestamp(t_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
