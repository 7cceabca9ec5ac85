"""The points of one device as the running agent has them: value, quality, how each is kept up to date, and its age."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_agent.cli.tables import unit_text

_STYLES = {"stale": "yellow", "cov": "", "polled": ""}


def points_from(socket: Path, device: str) -> Mapping[str, Any]:
    """What the agent says of a device. Raises ConfigError for one that it does not have."""
    from device_profiles.errors import ConfigError
    from edge_agent.local_api import ask

    found: Mapping[str, Any] = ask(socket, "latest", device=device)
    if device not in found:
        raise ConfigError(f"the agent has no device {device!r}", where=str(socket), next_step="see plantroom status")
    shown: Mapping[str, Any] = found[device]
    return shown


def show_points(socket: Path, device: str, *, as_json: bool) -> int:
    """Prints them; 1 when a point is stale."""
    answer = points_from(socket, device)
    points: Sequence[Mapping[str, Any]] = answer["points"]
    if as_json:
        print(json.dumps({"device": device, "t": answer["t"], "points": points}, ensure_ascii=False))
    else:
        from edge_agent.cli.tables import screen

        screen(highlight=True).print(table_of(device, points))
    return 1 if any(point["mode"] == "stale" for point in points) else 0


def table_of(device: str, points: Sequence[Mapping[str, Any]], changed: frozenset[str] = frozenset()) -> Any:
    """A rich table; rows in `changed` stand out."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(device), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in ("point", "value", "unit", "quality", "mode"):
        table.add_column(name, justify="right" if name == "value" else "left", overflow="fold")
    table.add_column("age", justify="right", style="dim")
    for point in points:
        status = point["status"] or ""
        style = "red" if status.startswith("Bad") else "bold green" if point["id"] in changed else ""
        table.add_row(
            escape(point["id"]),
            escape(value_text(point)),
            unit_text(point["unit"]),
            escape("" if status == "Good" else status),
            point["mode"] or "",
            "-" if point["age_s"] is None else f"{point['age_s']:.0f} s",
            style=style or _STYLES.get(point["mode"] or "", ""),
        )
    return table


def value_text(point: Mapping[str, Any]) -> str:
    """The value as people read it, an enum with its label."""
    from device_profiles.logs import printable

    value, label = point["value"], point["text"]
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    text = printable(value) if isinstance(value, str) else f"{value:.10g}"
    return f"{text} ({printable(label)})" if label else text
