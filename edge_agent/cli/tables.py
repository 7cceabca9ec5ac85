"""Tables that fit the terminal: what matters less goes first, so that what stays is not broken over lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `spare`: 0 always stays; of the others the highest goes first when the terminal is too narrow."""

    name: str
    spare: int = 0
    right: bool = False
    style: str = ""


def fitted(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    width: int,
    title: str = "",
    styles: Sequence[str] = (),
) -> Table:
    """A rich table of plain text, no wider than `width` cells as far as leaving out spare columns helps; its caption names
    those. `styles` is one a row."""
    from rich.table import Table
    from rich.text import Text

    cells = [[Text(cell) for cell in row] for row in rows]
    widths = [max(len(column.name), *(row[at].cell_len for row in cells), 0) for at, column in enumerate(columns)]
    kept = list(range(len(columns)))
    for at in sorted((at for at in kept if columns[at].spare), key=lambda at: -columns[at].spare):
        if sum(widths[one] for one in kept) + _GAP * (len(kept) - 1) <= width:
            break
        if widths[at]:
            kept.remove(at)
    gone = [columns[at].name for at in range(len(columns)) if at not in kept and any(row[at].plain for row in cells)]
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left", caption_justify="left")
    table.title = Text(title) if title else None
    table.caption = Text(f"(a wider terminal, or --json, also shows: {', '.join(gone)})", style="dim") if gone else None
    for at in kept:
        column = columns[at]
        table.add_column(column.name, justify="right" if column.right else "left", style=column.style, overflow="fold")
    for number, row in enumerate(cells):
        table.add_row(*(row[at] for at in kept), style=styles[number] if styles else "")
    return table
