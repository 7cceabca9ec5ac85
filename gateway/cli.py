"""`plantroom gateway` and `plantroom deadletter`."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from gateway.deadletter import DeadLetter, DeadLetters

deadletter = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

_Config = Annotated[Path, typer.Argument(help="The gateway's configuration (gateway.yaml).")]
_DEFAULT = Path("/etc/plantroom/gateway.yaml")
_File = Annotated[Path, typer.Option("--config", "-c", help="The gateway's configuration (gateway.yaml).")]
_Json = Annotated[bool, typer.Option("--json", help="JSON lines on standard output.")]


def gateway(
    config: _Config = _DEFAULT,
    ready: Annotated[bool, typer.Option("--ready", help="Print one JSON line once everything answers.")] = False,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error; overrides the configuration.")
    ] = None,
) -> None:
    """Run the central service until it is told to stop: ingest, store, HTTP API and page."""
    import asyncio

    from device_profiles.logs import configure
    from gateway.config import load_config
    from gateway.service import Service

    loaded = load_config(config)
    configure(log_level or loaded.log_level)

    def tell(page: str) -> None:
        if ready:
            print(json.dumps({"page": page}), flush=True)

    if sys.platform == "win32":
        raise typer.BadParameter("the gateway runs on Linux")
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Service(loaded).run(tell))


@deadletter.callback()
def _about() -> None:
    """Look at messages that could not be stored, and give them another try."""


@deadletter.command("list")
def list_letters(
    config: _File = _DEFAULT,
    reason: Annotated[str | None, typer.Option(help="Only those with this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 100,
    as_json: _Json = False,
) -> None:
    """List dead letters, oldest first."""
    letters = [letter for letter in _folder(config) if reason is None or letter.reason == reason]
    shown = letters[-limit:]
    if as_json:
        for letter in shown:
            print(json.dumps(_document(letter, with_payload=False)))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from device_profiles.logs import printable

    console = Console(highlight=False)
    if not shown:
        console.print("there are no dead letters")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("id", "when", "reason", "topic", "bytes", "detail"):
        table.add_column(name, justify="right" if name in ("id", "bytes") else "left", overflow="fold")
    for letter in shown:
        table.add_row(
            str(letter.id),
            _when(letter),
            f"[yellow]{escape(printable(letter.reason))}[/]",
            escape(printable(letter.topic)),
            str(letter.size),
            escape(printable(letter.detail)),
        )
    console.print(table)
    if len(shown) < len(letters):
        console.print(f"the newest {len(shown)} of {len(letters)}; --limit shows more")


@deadletter.command()
def show(
    number: Annotated[int, typer.Argument(metavar="ID", help="Its id, as `list` shows it.")],
    config: _File = _DEFAULT,
    as_json: _Json = False,
) -> None:
    """Show one dead letter with its payload and the store's words."""
    letter = _folder(config).find(number)
    if as_json:
        print(json.dumps(_document(letter, with_payload=True)))
        return
    from device_profiles.logs import printable

    payload = letter.payload
    for name, value in (
        ("id", letter.id),
        ("when", _when(letter)),
        ("reason", letter.reason),
        ("detail", letter.detail),
        ("topic", letter.topic),
        ("bytes", letter.size),
    ):
        print(f"{name:8} {printable(str(value))}")
    for line in letter.lines:
        print(f"{'row':8} {printable(line)}")
    text = "(too large to keep)" if payload is None else payload.decode("utf-8", "backslashreplace")
    print(f"{'payload':8} {printable(text)}")


@deadletter.command()
def replay(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="ID", help="Which ones.")] = None,
    config: _File = _DEFAULT,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    reason: Annotated[str | None, typer.Option(help="All with this reason.")] = None,
    as_json: _Json = False,
) -> None:
    """Put dead letters before the running gateway again, once their cause is mended.

    Each takes the whole way of ingest once more, within a second. What is stored then leaves the list; what is refused again
    stays. Doing it twice does no harm.
    """
    folder = _folder(config)
    if bool(numbers) + every + (reason is not None) != 1:
        raise typer.BadParameter("give ids, or --reason, or --all")
    chosen = (
        [folder.find(number) for number in numbers]
        if numbers
        else [letter for letter in folder if every or letter.reason == reason]
    )
    kept = [letter for letter in chosen if letter.payload is not None]
    for letter in kept if not numbers else chosen:
        folder.ask_replay(letter)
    if as_json:
        print(json.dumps({"asked": [letter.id for letter in kept], "not_kept": len(chosen) - len(kept)}))
    else:
        lost = len(chosen) - len(kept)
        print(f"{len(kept)} put before the gateway" + (f", {lost} were too large to keep" if lost else ""))


def _folder(config: Path) -> DeadLetters:
    from gateway.config import load_config
    from gateway.service import dead_letters

    return dead_letters(load_config(config))


def _when(letter: DeadLetter) -> str:
    return f"{datetime.fromtimestamp(letter.t / 1000).astimezone():%Y-%m-%d %H:%M:%S}"


def _document(letter: DeadLetter, *, with_payload: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": letter.id,
        "t": letter.t,
        "reason": letter.reason,
        "detail": letter.detail,
        "topic": letter.topic,
        "size": letter.size,
    }
    if with_payload:
        payload = letter.payload
        found["payload"] = None if payload is None else payload.decode("utf-8", "backslashreplace")
        found["lines"] = letter.lines
    return found
