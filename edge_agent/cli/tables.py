"""Tables that fit the terminal: what matters less goes first, so that what stays is not broken over lines. Where the output is
no terminal (a pipe, a file) nothing is cut, for grep's sake."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device_profiles.units import UNITS

if TYPE_CHECKING:
    from rich.console import Console, Group

_GAP = 2
_UNCUT = 1000


def screen(*, highlight: bool = False, soft_wrap: bool = False) -> Console:
    """Standard output for people: as wide as the terminal or COLUMNS say, and wide enough for everything where neither does."""
    from rich.console import Console

    made = Console(highlight=highlight, soft_wrap=soft_wrap)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _UNCUT
    return made


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `spare`: 0 always stays; of the others the highest goes first when the terminal is too narrow. Text beyond
    `most` cells (0: no bound) is folded over lines of its own on a terminal."""

    name: str
    spare: int = 0
    most: int = 0
    right: bool = False
    style: str = ""


def fitted(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    width: int,
    title: str = "",
    styles: Sequence[str] = (),
) -> Group:
    """A rich table of plain text, no wider than `width` cells as far as leaving out spare columns helps; a line below names
    those. `styles` is one a row."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    cells = [[Text(cell) for cell in row] for row in rows]
    widths = [
        max(len(column.name), min(column.most or width, max((row[at].cell_len for row in cells), default=0)))
        for at, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    for at in sorted((at for at in kept if columns[at].spare), key=lambda at: -columns[at].spare):
        if sum(widths[one] for one in kept) + _GAP * (len(kept) - 1) <= width:
            break
        if widths[at]:
            kept.remove(at)
    gone = [columns[at].name for at in range(len(columns)) if at not in kept and any(row[at].plain for row in cells)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at in kept:
        column = columns[at]
        table.add_column(
            column.name,
            justify="right" if column.right else "left",
            style=column.style,
            overflow="fold",
            max_width=column.most if column.most and width < _UNCUT else None,
        )
    for number, row in enumerate(cells):
        table.add_row(*(row[at] for at in kept), style=styles[number] if styles else "")
    above = [Text(title, style="italic")] if title else []
    below = [Text(f"(a wider terminal, or --json, also shows: {', '.join(gone)})", style="dim")] if gone else []
    return Group(*above, table, *below)


def unit_text(unit: str | None) -> str:
    """The unit of a UCUM code as people write it (`Cel` is °C); none for a number of nothing (`1`)."""
    return "" if unit in (None, "1") else UNITS[unit].shown if unit in UNITS else unit


def many(count: int, noun: str) -> str:
    """`1 meter`, `2 meters`, `0 slaves`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
