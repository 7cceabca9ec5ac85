"""Frames as `plantroom decode` shows them: a JSON document each for programs, lines for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from device_profiles.logs import printable
from drivers.frames import Frame, Reject

_COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "red")
_MOST_SHOWN = 32
"""Bytes of a wrong frame that people see."""


def as_document(found: Frame | Reject, *, explain: bool = False) -> dict[str, Any]:
    """A frame, or what is none, as the JSON line says it; `explain` adds what each byte is."""
    if isinstance(found, Reject):
        document = {"ok": False, "error": found.error, "expected": found.expected, "got": found.got}
        return document | {"detail": found.detail, "at": found.at, "raw": found.raw.hex()}
    values = [
        {"id": value.id, "value": value.value, "unit": value.unit} | ({"status": value.status} if value.status else {})
        for value in found.values
    ]
    document = {"ok": True, "address": found.address, "control": found.control, "values": values}
    document |= {**found.facts, "at": found.at, "raw": found.raw.hex()}
    if explain:
        document["parts"] = [
            {"start": part.start, "end": part.end, "name": part.name, "text": part.text} for part in found.parts
        ]
    return document


class Shown:
    """Lines for people: colours on a terminal, none in a pipe or where NO_COLOR is set."""

    def __init__(self, *, explain: bool) -> None:
        self._explain = explain
        self._console = Console(highlight=False, soft_wrap=True)

    def show(self, found: Frame | Reject) -> None:
        """Prints a frame, or what is none."""
        for line in self._rejected(found) if isinstance(found, Reject) else self._lines(found):
            if self._console.is_terminal:
                self._console.print(line)
            else:
                print(line.plain.rstrip())

    def _rejected(self, found: Reject) -> list[Text]:
        said = f", expected {found.expected}, got {found.got}" if found.expected is not None else ""
        shown = found.raw[:_MOST_SHOWN].hex(" ") + (" ..." if len(found.raw) > _MOST_SHOWN else "")
        return [Text(printable(f"{found.at:>6}  {found.error}{said}: {found.detail}  [{shown}]"), style="red")]

    def _lines(self, found: Frame) -> list[Text]:
        head = [f"{found.at:>6}"]
        head += [f"address {found.address}"] if found.address is not None else []
        head += [f"control {found.control}"] if found.control is not None else []
        head += [f"{key}={_fact(value)}" for key, value in found.facts.items() if not isinstance(value, dict)]
        lines = [Text(printable("  ".join(head)), style="bold")]
        for value in found.values:
            said = "no value" if value.value is None else str(value.value) + (f" {value.unit}" if value.unit else "")
            status = f"  {value.status}" if value.status else ""
            lines.append(Text(printable(f"        {value.id} = {said}{status}")))
        return lines + self._parts(found) if self._explain else lines

    def _parts(self, frame: Frame) -> list[Text]:
        """The bytes with a colour a part, and a line for each part."""
        octets = Text("        ")
        shown = 0
        for number, part in enumerate(frame.parts):
            octets.append(frame.raw[shown : part.start].hex(" ") + " " if part.start > shown else "", style="dim")
            octets.append(frame.raw[part.start : part.end].hex(" ") + " ", style=_COLOURS[number % len(_COLOURS)])
            shown = max(shown, part.end)
        octets.append(frame.raw[shown:].hex(" "), style="dim")
        lines = [octets]
        for number, part in enumerate(frame.parts):
            span = f"{part.start}" if part.end == part.start + 1 else f"{part.start}..{part.end - 1}"
            text = Text(f"        {span:>9}  ")
            text.append(f"{part.name:<14} ", style=_COLOURS[number % len(_COLOURS)])
            text.append(printable(part.text))
            lines.append(text)
        return lines


def _fact(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
