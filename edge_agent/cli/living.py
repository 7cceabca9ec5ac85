"""What is looked at again and again: redrawn in place on a terminal; elsewhere (a pipe, a file) once whole, then what changed, a
line each, as it comes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from edge_agent.cli.tables import screen


class Living:
    """One table on standard output and what is said above it, from `with` to its end."""

    def __init__(self) -> None:
        from rich.live import Live

        self._console = screen(highlight=True)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._is_first = True

    def __enter__(self) -> Living:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def width(self) -> int:
        """Cells of a line."""
        return self._console.width

    def draw(self, table: Any, note: str, changed: Iterable[str]) -> None:
        """The table as it is now, `note` below it; `changed` are its changed rows in short."""
        from rich.console import Group
        from rich.text import Text

        if self._live is not None:
            note = f"{time.strftime('%H:%M:%S')}  {note}, Ctrl-C ends"
            self._live.update(Group(table, Text(note, style="dim")), refresh=True)
        elif self._is_first:
            self._console.print(table)
        else:
            for text in changed:
                self.say(f"{time.strftime('%H:%M:%S')}  {text}")
        self._is_first = False
        self._flush()

    def say(self, text: str, *, style: str = "") -> None:
        """A line of its own, above the table."""
        from rich.text import Text

        self._console.print(Text(text, style=style), soft_wrap=True)
        self._flush()

    def _flush(self) -> None:
        self._console.file.flush()
