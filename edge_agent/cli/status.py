"""`plantroom status`: what the running agent does, for people and programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.cli.local import AsJson, ConfigFile, Socket, socket_of

if TYPE_CHECKING:
    from rich.console import Console

_COLOURS = {"degraded": "yellow", "down": "red", "disabled": "dim", "unknown": "dim"}


def command(
    socket: Socket = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
    device: Annotated[str | None, typer.Option("--device", "-d", help="Show the points of this device.")] = None,
) -> None:
    """Show the agent's devices, links, spool and connection; with --device what each point of one device shows.

    Exit code 1 when a device is down, or broker or ingest do not take what is sent; with --device when a point is stale.
    """
    from edge_agent.cli.points import show_points
    from edge_agent.local_api import ask

    if device is not None:
        raise typer.Exit(show_points(socket_of(socket, config), device, as_json=as_json))
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
    from rich.markup import escape

    from device_profiles.logs import printable
    from edge_agent.cli.tables import Column, fitted, many, screen

    console = screen(highlight=True)
    process, spool, uplink = status["process"], status["spool"], status["uplink"]
    broker = "[green]connected[/]" if uplink["connected"] else "[red]broker away[/]"
    console.print(f"[bold]{status['agent']}[/] of site [bold]{status['site']}[/], epoch {status['epoch']}, {broker}")
    console.print(
        f"up {process['uptime_s']:.0f} s, {process['rss_mb']} MB, {process['cpu_s']} s of processor, "
        f"{status['acquisitions']} acquisitions, {status['values']} values"
    )
    oldest = f", the oldest from {_time(spool['oldest'])}" if spool["oldest"] else ""
    console.print(f"spool: {many(spool['msgs'], 'message')}, {spool['bytes'] / 1e6:.1f} MB{oldest}")
    troubles = [*uplink["alarms"].values(), *([f"probes only: {uplink['probing']}"] if uplink["probing"] else [])]
    for name, link in status["links"].items():
        if why := link["trouble"]:
            troubles.append(why if why.startswith(name) else f"{name}: {why}")
    console.print(", ".join(_counts(status["devices"])), highlight=False)
    for text in troubles:
        console.print(f"[yellow]![/] {escape(printable(text))}", highlight=False, soft_wrap=True)
    rows = [_row(device, status["t"]) for device in status["devices"]]
    columns = (
        Column("device"),
        Column("name", spare=2),
        Column("link", spare=3, most=22),
        Column("state", most=28),
        Column("reads", spare=4, right=True),
        Column("failed", right=True),
        Column("rtt ms", spare=5, right=True),
        Column("age", right=True),
    )
    styles = [_COLOURS.get(device["state"], "") for device in status["devices"]]
    console.print(fitted(columns, rows, width=console.width, styles=styles))
    _show_events(console, status)
    _show_strangers(console, status)


def _show_strangers(console: Console, status: Mapping[str, Any]) -> None:
    """Who dials in and stands in no configuration: what an engineer has to write into agent.yaml, or to look for."""
    from device_profiles.logs import printable
    from edge_agent.cli.tables import Column, fitted

    rows = [
        (printable(name), printable(each["who"]) or "not on allow:", printable(each["peer"]), str(each["count"]))
        for name, link in status["links"].items()
        for each in reversed(link["wire"].get("strangers", ()))
    ]
    if rows:
        columns = (
            Column("dials in unknown on", spare=1),
            Column("unit", most=34),
            Column("address"),
            Column("times", right=True),
        )
        console.print()
        console.print(fitted(columns, rows, width=console.width))


def _show_events(console: Console, status: Mapping[str, Any]) -> None:
    """The devices that have events: how many since the start, of them from their memory, the last, and what is active."""
    from edge_agent.cli.tables import Column, fitted

    rows = [
        (
            device["id"],
            str(events["count"]),
            str(events["recalled"]),
            "-" if events["last"] is None else f"{_age(status['t'] - events['last'])} ago",
            "-" if events["index"] is None else str(events["index"]),
            ", ".join(events["alarms"]),
        )
        for device in status["devices"]
        if (events := device.get("events")) is not None
    ]
    if rows:
        columns = (
            Column("events of"),
            Column("count", right=True),
            Column("recalled", spare=2, right=True),
            Column("last", right=True),
            Column("record", spare=1, right=True),
            Column("alarms", most=30),
        )
        console.print()
        console.print(fitted(columns, rows, width=console.width))


def _counts(devices: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many devices are in each state; those that are not well by name, as far as a line holds them."""
    from edge_agent.cli.tables import many

    states = Counter(device["state"] for device in devices)
    counts = [many(len(devices), "device")]
    for state in sorted(states, key=lambda state: (state != "ok", state)):
        names = [device["id"] for device in devices if device["state"] == state]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        counts.append(f"{states[state]} {state}" + ("" if state == "ok" else f" ({' '.join(names[:5])}{more})"))
    return counts


def _row(device: Mapping[str, Any], now_ms: int) -> list[str]:
    from device_profiles.logs import printable

    sc = f" {device['sc']}" if device["sc"] else ""
    note = f": {device['note']}" if device["note"] else ""
    return [
        device["id"],
        printable(device["name"]),
        f"{device['link']}:{device['unit']}" if device["link"] else "-",
        printable(f"{device['state']}{sc}{note}"),
        str(device["ok"]),
        str(device["err"]),
        "-" if device["rtt_ms"] is None else f"{device['rtt_ms']:.0f}",
        "-" if device["t"] is None else _age(now_ms - device["t"]),
    ]


def _age(age_ms: int) -> str:
    """In the unit in which it is a small number."""
    seconds = max(0, age_ms) / 1000
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _time(t_ms: int) -> str:
    return datetime.fromtimestamp(t_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
