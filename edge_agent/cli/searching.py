"""A search on a line as people see it: what is asked now and how many are found, on standard error, gone when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

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
