"""Shows a write to people: what would happen, and what came of it. Everything comes from the facts of `commands.act`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from device_profiles.logs import printable
from edge_agent.cli.tables import screen, unit_text


def show_plan(facts: Mapping[str, Any], target: str, *, hold_s: float | None, dry: bool, is_release: bool) -> None:
    """What stands there, what will be sent, which limits hold, and how it ends."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, text, style in _release_rows(facts) if is_release else _rows(facts, hold_s):
        table.add_row(name, escape(text), style=style)
    console = screen()
    heading = escape(target + (" (dry run: nothing is written)" if dry else ""))
    console.print(f"[bold]{heading}[/]", soft_wrap=True)
    console.print(table)


def _rows(facts: Mapping[str, Any], hold_s: float | None) -> Iterator[tuple[str, str, str]]:
    unit = facts.get("unit")
    quality = facts.get("old_sc") or "Good"
    now = f"{amount(facts.get('old'), unit)}{_raw(facts.get('old_raw'))}"
    yield "now", now if quality == "Good" else f"{now}, {quality}", "" if quality == "Good" else "yellow"
    yield "new", f"{amount(facts.get('val'), unit, facts.get('label'))}{_raw(facts.get('raw'))}", "bold"
    yield "sends", facts.get("does") or facts.get("ref") or "-", ""
    if facts.get("prio") is not None:
        yield "priority", _priority(facts), ""
    yield "limits", _limits(facts), ""
    for lock in facts.get("interlocks", ()):
        text = (
            f"{lock['p']} is {amount(lock.get('val'))}, {lock['age_s']:g} s old: {'holds' if lock['ok'] else 'BLOCKS'}"
        )
        yield "interlock", text, "" if lock["ok"] else "red"
    yield "ends", _end(facts, hold_s), ""
    if facts.get("readback"):
        yield "seen by", f"{facts['readback']}", ""


def _release_rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    if facts.get("old") is not None:
        yield "now", amount(facts["old"], facts.get("unit")), ""
    if facts.get("val") is not None:
        yield "new", amount(facts["val"], facts.get("unit"), facts.get("label")), "bold"
    yield "sends", facts.get("does") or "the end of its hold", ""


def _priority(facts: Mapping[str, Any]) -> str:
    held = facts.get("held_by")
    if facts.get("slots") is False:
        return f"{facts['prio']} (the device keeps none for this point)"
    return f"{facts['prio']} (now held by {held})" if held is not None else f"{facts['prio']} (no slot holds it now)"


def _limits(facts: Mapping[str, Any]) -> str:
    unit = f" {unit_text(facts.get('unit'))}".rstrip()
    low, high = facts.get("min"), facts.get("max")
    parts = []
    if low is not None or high is not None:
        parts.append(f"{'-' if low is None else f'{low:g}'} to {'-' if high is None else f'{high:g}'}{unit}")
    if facts.get("step") is not None:
        parts.append(f"at most {facts['step']:g}{unit} at once")
    if facts.get("per_hour") is not None:
        parts.append(f"{facts['per_hour']:g} writes an hour")
    if facts.get("min_interval") is not None:
        parts.append(f"{facts['min_interval']:g} s between two")
    return ", ".join(parts) or "none but what the device itself takes"


def _end(facts: Mapping[str, Any], hold_s: float | None) -> str:
    if hold_s is None:
        return "never by itself: it stays until something else is written"
    if facts.get("prio") is not None and facts.get("slots") is not False:
        how = f"our slot {facts['prio']} is given back (NULL)"
    elif facts.get("release") is not None:
        how = f"{amount(facts['release'], facts.get('unit'))} is written"
    else:
        how = f"what stands there now is written back: {amount(facts.get('old'), facts.get('unit'))}"
    return f"after {duration(hold_s)}: {how}"


def show_outcome(answer: Mapping[str, Any], *, target: str) -> None:
    """One line: what it shows now and until when it is held, or why it was not done."""
    console = screen()
    error, facts = answer.get("err"), answer.get("res") or {}
    if error:
        text = f"[red]{answer['st']}[/] ({escape(str(error['code']))}): {escape(printable(str(error['msg'])))}"
        console.print(text, soft_wrap=True)
        return
    said = [f"{target} is done"]
    if facts.get("readback") is not None:
        said = [f"{target} reads back {amount(facts['readback'], facts.get('unit'), facts.get('label'))}"]
    if facts.get("hold_until") is not None:
        until = datetime.fromtimestamp(facts["hold_until"] / 1000, UTC).astimezone()
        said.append(f"held until {until.strftime('%F %T')}")
    console.print(f"[green]{answer['st']}[/]: {escape(', '.join(said))}", soft_wrap=True)


def amount(value: Any, unit: str | None = None, label: str | None = None) -> str:
    """A value as people read it."""
    if value is None:
        return "no value"
    if isinstance(value, bool):
        text = "on" if value else "off"
    elif isinstance(value, float):
        text = f"{value:.8g}"
    else:
        text = printable(str(value))
    return f"{text} ({label})" if label else f"{text} {unit_text(unit)}".rstrip()


def duration(seconds: float) -> str:
    """`90 s`, `10 min`, `2 h`."""
    for size, name in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {name}"
    return f"{seconds:g} s"


def _raw(raw: Any) -> str:
    return (
        ""
        if raw is None or isinstance(raw, bool | str)
        else f" (raw {raw:.10g})"
        if isinstance(raw, float)
        else f" (raw {raw})"
    )
