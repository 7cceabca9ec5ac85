"""`plantroom audit`: shows and checks the log of everything that was commanded, with or without an agent. Changes nothing."""

from __future__ import annotations

import json
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from device_profiles.errors import ConfigError
from device_profiles.logs import printable

DEFAULT_DIR = Path("/var/lib/plantroom")

Dir = Annotated[Path | None, typer.Option("--dir", help="The agent's data directory (default: /var/lib/plantroom).")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Take the data directory from this agent.yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Look into the audit log of commands. Exit codes: 0 ok, 1 found a problem, 2 wrong usage.",
)


@app.command()
def verify(
    folder: Dir = None,
    config: ConfigFile = None,
    head: Annotated[
        str | None, typer.Option(help="A last hash that the agent published: tells whether the end was cut off.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Follow the hash chain. Exit code 1 when an entry was changed, taken out or put in; the first such one is named."""
    from edge_agent.commands import audit

    found = audit.verify(_folder(folder, config), head)
    if as_json:
        facts = {"entries": found.entries, "first": found.first, "last": found.last, "head": found.head}
        print(json.dumps({**facts, "broken": found.broken}))
    elif found.broken is not None:
        print(found.broken)
    else:
        print(f"{found.entries} entries, {found.first} to {found.last}, in {found.files} files: unbroken")
        print(f"last hash {found.head}")
    raise typer.Exit(1 if found.broken is not None else 0)


@app.command("list")
def list_(
    folder: Dir = None,
    config: ConfigFile = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many entries, the newest ones.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the newest entries, oldest first."""
    from edge_agent.commands import audit

    for entry in deque(audit.entries(_folder(folder, config)), maxlen=limit):
        print(json.dumps(entry) if as_json else _line(entry))


def _folder(folder: Path | None, config: Path | None) -> Path:
    if folder is not None and config is not None:
        raise typer.BadParameter("give --dir or --config, not both")
    if config is not None:
        from edge_agent.config.load import load_config

        folder = load_config(config).data_dir
    path = (folder or DEFAULT_DIR) / "audit"
    if not path.is_dir():
        raise ConfigError(
            "there is no audit log", where=str(path), next_step="name the agent's data directory with --dir"
        )
    return path


def _line(entry: dict[str, Any]) -> str:
    time = datetime.fromtimestamp(entry.get("t", 0) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    rest = {name: value for name, value in entry.items() if name not in ("n", "t", "prev", "what")}
    return printable(f"{entry.get('n')} {time} {entry.get('what')} {json.dumps(rest, ensure_ascii=False)}")
