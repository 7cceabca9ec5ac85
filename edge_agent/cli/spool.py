"""`plantroom spool`: a look into what waits for ingest, with or without a running agent. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.spool.entry import Entry, Kind

DEFAULT_DIR = Path("/var/lib/plantroom")
FILE_NAME = "spool.db"

Dir = Annotated[Path | None, typer.Option("--dir", help="The agent's data directory (default: /var/lib/plantroom).")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Take the data directory from this agent.yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Look into the spool. Exit codes: 0 ok, 1 found a problem, 2 wrong usage.",
)


@app.callback(invoke_without_command=True)
def default(context: typer.Context, folder: Dir = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Look into what waits for ingest. Without a subcommand: show."""
    context.obj = (folder, config, as_json)
    if context.invoked_subcommand is None:
        show(context, folder, config, as_json)


@app.command()
def show(context: typer.Context, folder: Dir = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show how much waits, since when, of which devices."""
    from edge_agent.spool.look import looking

    path, as_json = _chosen(context, folder, config, as_json)
    with looking(path) as look:
        summary = look.summary()
    if as_json:
        print(json.dumps(summary))
    else:
        _show(summary)


@app.command("list")
def list_(
    context: typer.Context,
    folder: Dir = None,
    config: ConfigFile = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many messages.")] = 20,
    device: Annotated[str | None, typer.Option(help="Of this device only.")] = None,
    kind: Annotated[str | None, typer.Option(help="telemetry, mark or event only.")] = None,
    newest: Annotated[bool, typer.Option("--newest", help="Newest first.")] = False,
    as_json: AsJson = False,
) -> None:
    """List messages, oldest first. With --json one object a line, the message as it will be sent in it."""
    from edge_agent.spool.look import looking

    path, as_json = _chosen(context, folder, config, as_json)
    with looking(path) as look:
        entries = look.entries(limit=limit, device=device, kind=_kind(kind), newest_first=newest)
        if as_json:
            for entry in entries:
                print(json.dumps(_fields(entry)))
        else:
            _list(entries)


@app.command()
def verify(context: typer.Context, folder: Dir = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Check the structure and every checksum. Exit code 1 when something is wrong."""
    from edge_agent.cli.tables import many
    from edge_agent.spool.look import looking

    path, as_json = _chosen(context, folder, config, as_json)
    with looking(path) as look:
        findings = list(look.findings())
        msgs = look.summary()["msgs"]
    if as_json:
        print(json.dumps({"msgs": msgs, "findings": [{"what": found.what, "key": found.key} for found in findings]}))
    else:
        for found in findings:
            print(found.what)
        print(f"{many(msgs, 'message')}, {many(len(findings), 'finding')}")
    raise typer.Exit(1 if findings else 0)


def _chosen(context: typer.Context, folder: Path | None, config: Path | None, as_json: bool) -> tuple[Path, bool]:
    """The spool's file, and whether JSON is wanted; options may stand before or behind the subcommand."""
    outer_folder, outer_config, outer_json = context.obj or (None, None, False)
    folder, config = folder or outer_folder, config or outer_config
    if folder is not None and config is not None:
        raise typer.BadParameter("give --dir or --config, not both")
    if config is not None:
        from edge_agent.config.load import load_config

        return load_config(config).spool.path, as_json or outer_json
    folder = folder or DEFAULT_DIR
    return (folder if folder.is_file() else folder / FILE_NAME), as_json or outer_json


def _kind(text: str | None) -> Kind | None:
    if text is None:
        return None
    try:
        return Kind[text.upper()]
    except KeyError:
        raise typer.BadParameter(f"{text!r} is not one of telemetry, mark, event", param_hint="--kind") from None


def _fields(entry: Entry) -> dict[str, Any]:
    try:
        message = json.loads(entry.payload)
    except ValueError:
        message = entry.payload.hex()
    return {
        "key": entry.key,
        "epoch": entry.epoch,
        "seq": entry.seq,
        "kind": entry.kind.name.lower(),
        "device": entry.device,
        "cls": entry.cls,
        "t": entry.t_ms,
        "message": message,
    }


def _show(summary: Mapping[str, Any]) -> None:
    from rich.table import Table

    from edge_agent.cli.tables import many, screen

    console = screen(highlight=True)
    disk = summary["disk"]
    console.print(f"[bold]{summary['site']}/{summary['agent']}[/]  {summary['path']}", highlight=False)
    console.print(f"{many(summary['msgs'], 'message')} waiting, {_size(summary['bytes'])}", highlight=False)
    if summary["msgs"]:
        console.print(f"oldest {_time(summary['oldest'])}, newest {_time(summary['newest'])}", highlight=False)
    console.print(
        f"disk: {_size(disk['used'])} used of a file of {_size(disk['file'])}, log {_size(disk['log'])}, "
        f"ballast {_size(disk['ballast'])}",
        highlight=False,
    )
    if summary["groups"]:
        table = Table(box=None, pad_edge=False)
        table.add_column("device")
        table.add_column("kind")
        table.add_column("messages", justify="right")
        table.add_column("size", justify="right")
        table.add_column("oldest", no_wrap=True)
        table.add_column("newest", no_wrap=True)
        for group in sorted(summary["groups"], key=lambda group: (-group["msgs"], group["device"])):
            times = (_time(group["oldest"]), _time(group["newest"]))
            table.add_row(group["device"], group["kind"], str(group["msgs"]), _size(group["bytes"]), *times)
        console.print(table)
    for epoch in summary["epochs"]:
        console.print(f"epoch {epoch['epoch']}: {epoch['last']} messages", highlight=False)
    for name in summary["set_aside"]:
        console.print(f"[yellow]set aside[/] {name}", highlight=False)


def _list(entries: Iterable[Entry]) -> None:
    from rich.table import Table

    from edge_agent.cli.tables import screen

    table = Table(box=None, pad_edge=False)
    table.add_column("epoch")
    table.add_column("seq", justify="right")
    table.add_column("time", no_wrap=True)
    table.add_column("device")
    table.add_column("kind")
    table.add_column("size", justify="right")
    for entry in entries:
        kind = entry.kind.name.lower() + (f" {entry.cls}" if entry.cls else "")
        table.add_row(entry.epoch, str(entry.seq), _time(entry.t_ms), entry.device, kind, _size(len(entry.payload)))
    screen(highlight=True).print(table)


def _time(t_ms: int) -> str:
    return datetime.fromtimestamp(t_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _size(size: int) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000  # type: ignore[assignment]
    return f"{size:.1f} GB"
