"""A search on a line as people see it: what is asked now and how many are found, on standard error, gone when it is over."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from device_profiles.errors import ConfigError

if TYPE_CHECKING:
    from drivers.base import LinkConfig


def line_of(text: str, timeout_s: float, protocol: str) -> LinkConfig:
    """The line that `--link` names. Raises ConfigError for a link that is none."""
    from drivers.base import parse_link

    line = replace(parse_link(text, link_id=text.partition("?")[0]), timeout_s=timeout_s)
    if not line.is_line:
        step = "give serial:/dev/ttyUSB0?baud=2400&parity=E or rtu+tcp://host:port?baud=2400"
        raise ConfigError(f"a {line.kind} link carries no {protocol}", where="--link", next_step=step)
    return line


def is_finished(search: Coroutine[Any, Any, object]) -> bool:
    """Runs a search; False, and said on standard error, where Ctrl-C ended it: what it has found by then stays."""
    try:
        asyncio.run(search)
    except KeyboardInterrupt:
        print("plantroom scan: stopped before all were asked; shown is what had answered by then", file=sys.stderr)
        return False
    return True


def end(found: Sequence[object], finished: bool) -> None:
    """Raises typer.Exit with 130 for a search that was stopped, 1 for one that found nothing."""
    if not finished:
        raise typer.Exit(130)
    if not found:
        raise typer.Exit(1)


def conclude(
    found: Sequence[Mapping[str, Any]], noun: str, place: str, *, read: str, nothing: str, **more: str
) -> None:
    """The last line of a search for people: how many, and how to read one (`read`, with {names} of the first that was found and
    of `more`); where there are none, what to look at, on standard error."""
    from edge_agent.cli.tables import many

    if found:
        print(f"{many(len(found), noun)} on {place}; {read.format(**{**found[0], **more})}")
    else:
        print(f"plantroom scan: no {noun} answered on {place}. {nothing}", file=sys.stderr)


def asked_at(to: str, host: str, port: int) -> tuple[str, int]:
    """Whom `--to` names, as HOST or HOST:PORT; `host` and `port` stand for what it leaves out. Raises typer.BadParameter."""
    own, _, number = to.partition(":")
    if to and (not own or (number and not (number.isdecimal() and 0 < int(number) < 65536))):
        raise typer.BadParameter(f"--to {to!r} is no HOST or HOST:PORT")
    return own or host, int(number or port)


@contextmanager
def waiting(what: str, seconds: float) -> Iterator[None]:
    """Says on a terminal's standard error what is waited for, until it is over."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(f"{what} for {seconds:g} s; Ctrl-C ends")):
        yield


@contextmanager
def progress(line: LinkConfig) -> Iterator[Callable[[str, int], None]]:
    """`tell(pattern, found)` for a driver's search."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("", total=None)

        def tell(pattern: str, found: int) -> None:
            bar.update(task, description=f"{line.place}: asking {pattern}, {found} found")

        yield tell
