"""`plantroom status`: what the running agent does, for people and programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.cli.local import AsJson, ConfigFile, Socket, socket_of

if TYPE_CHECKING:
    from rich.console import Console

_COLOURS = {"ok": "green", "degraded": "yellow", "down": "red", "disabled": "dim", "unknown": "dim"}

_COLUMNS = ("device", "name", "link", "state", "reads", "failed", "rtt ms", "age")
_NAME, _LINK, _STATE = _COLUMNS.index("name"), _COLUMNS.index("link"), _COLUMNS.index("state")
_NUMBERS = ("reads", "failed", "rtt ms", "age")
_GAP = 2


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
    rows = [_row(device, status["t"]) for device in status["devices"]]
    widths = [max([len(name), *(len(row[at]) for row in rows)]) for at, name in enumerate(_COLUMNS)]
    # Names are cut, and states beyond 24 characters folded, so that a healthy device stays on one line of a narrow terminal.
    widths[_STATE] = min(widths[_STATE], 24)
    widths[_LINK] = min(widths[_LINK], 22)
    widths[_NAME] = max(8, min(widths[_NAME], console.width - sum(widths) + widths[_NAME] - _GAP * len(_COLUMNS)))
    table = Table(box=None, pad_edge=False)
    for at, name in enumerate(_COLUMNS):
        table.add_column(
            name,
            justify="right" if name in _NUMBERS else "left",
            width=widths[at],
            no_wrap=at != _STATE,
            overflow="fold" if at == _STATE else "ellipsis",
        )
    for device, row in zip(status["devices"], rows, strict=True):
        cells = [escape(cell) for cell in row]
        cells[_STATE] = f"[{_COLOURS.get(device['state'], 'default')}]{cells[_STATE]}[/]"
        table.add_row(*cells)
    console.print(table)
    _show_events(console, status)


def _show_events(console: Console, status: Mapping[str, Any]) -> None:
    """The devices that have events: how many since the start, of them from their memory, the last, and what is active."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("events of", "count", "recalled", "last", "record", "alarms"):
        table.add_column(name, justify="right" if name in ("count", "recalled", "last", "record") else "left")
    for device in status["devices"]:
        events = device.get("events")
        if events is not None:
            table.add_row(
                device["id"],
                str(events["count"]),
                str(events["recalled"]),
                "-" if events["last"] is None else f"{_age(status['t'] - events['last'])} ago",
                "-" if events["index"] is None else str(events["index"]),
                escape(", ".join(events["alarms"])),
            )
    if table.row_count:
        console.print()
        console.print(table)


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
