"""YAML as people write it, read so that every finding can name its line: profiles, agent.yaml, gateway.yaml.

Owns reading: text to plain dicts, lists and scalars, with the line of every value within reach. Knows nothing of what a file
means. What only serves to trick or to hide is refused: tags, anchors and aliases, a key written twice, control characters, a
second document. Size and depth are bounded and time is linear in the size. Scalars follow the YAML 1.2 core schema, because
1.1 reads `off` as false, `12:30` as 750 and `0012` as 10: those stay text here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError

KeyPath = tuple[str | int, ...]
"""The way to a value: `("devices", 3, "unit")`."""
Path_ = KeyPath

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 32
MAX_FINDINGS = 100

_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    word: value for value, words in ((True, "true True TRUE"), (False, "false False FALSE")) for word in words.split()
}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,30})|0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]{1,2})?|[-+]?[0-9]+[eE][-+]?[0-9]{1,2}")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
"""Characters that move a terminal's cursor, colour it, or turn its text around (C0, C1, bidirectional overrides)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where something is written; lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Document:
    """What a file says, and where it says it. `data` is a mapping; `file` is what findings call the file."""

    __slots__ = ("_lines", "_text", "data", "file")

    def __init__(self, data: dict[Any, Any], file: str, text: str) -> None:
        self.data = data
        self.file = file
        self._text = text
        self._lines: _Lines | None = None

    def mark(self, path: Iterable[str | int] = ()) -> Mark:
        """Where the value of this path is written, or the nearest that encloses it.

        The lines are found by reading the text again, the first time somebody asks: a good file never pays for them.
        """
        if self._lines is None:
            self._lines = _Builder(self.file, ConfigError, keep_lines=True).build(self._text)[1]
        lines = self._lines
        for step in path:
            inner = lines.inner.get(step)
            if inner is None:
                break
            lines = inner
        return Mark(self.file, lines.line)

    def where(self, path: Iterable[str | int] = ()) -> str:
        """`agent.yaml:12 devices[3].unit`."""
        way = tuple(path)
        return f"{self.mark(way)} {path_text(way)}" if way else str(self.mark())


def path_text(path: Iterable[str | int]) -> str:
    """`devices[3].unit` for `("devices", 3, "unit")`; keys that would not read well are quoted and cut."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if step.isprintable() and len(step) < 60 else ascii(step[:60]))
    return text


def read_yaml(path: Path, *, shown: str | None = None, error: type[ConfigError] = ConfigError) -> Document:
    """The document in a file. `shown` is the file's name in findings. Raises `error`, see `parse_yaml`."""
    name = shown or str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as cause:
        raise error("there is no such file", where=str(path), next_step="check the path") from cause
    except OSError as cause:
        raise error(
            f"it cannot be read ({cause.strerror})", where=name, next_step="give a file that this user may read"
        ) from cause
    if len(content) > MAX_BYTES:
        raise error(f"it is larger than {MAX_BYTES >> 20} MiB", where=name, next_step="split it into several files")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = content.count(b"\n", 0, cause.start) + 1
        raise error(
            f"byte {content[cause.start]:#04x} is not UTF-8", where=f"{name}:{line}", next_step="save the file as UTF-8"
        ) from cause
    return parse_yaml(text, name, error=error)


def parse_yaml(text: str, name: str, *, error: type[ConfigError] = ConfigError) -> Document:
    """The document in a text; an empty one is an empty mapping.

    Raises `error` whose `problems` are all findings (at most 100), each with file, line and next step.
    """
    builder = _Builder(name, error)
    try:
        data, lines = builder.build(text)
    except yaml.YAMLError as cause:
        found = [*builder.findings, _syntax_error(cause, text, name, error)]
        raise error(f"{name} is no YAML", problems=found) from cause
    if not builder.findings and not isinstance(data, dict | None):
        builder.find(lines.line, f"this is a {type(data).__name__}, not a mapping", "begin with `key: value`")
    if builder.findings:
        raise error(f"{len(builder.findings)} problems in {name}", problems=builder.findings)
    return Document(data or {}, name, text)


def _syntax_error(cause: yaml.YAMLError, text: str, name: str, error: type[ConfigError]) -> ConfigError:
    mark = getattr(cause, "problem_mark", None)
    what = getattr(cause, "problem", None) or getattr(cause, "reason", None) or "this is no YAML"
    position = getattr(cause, "position", None)
    if mark is None and isinstance(position, int):
        line_no = text.count("\n", 0, position) + 1
        return error(str(what), where=f"{name}:{line_no}", next_step="remove what is no printable text")
    line_no = (mark.line if mark is not None else 0) + 1
    lines = text.splitlines()
    line = lines[line_no - 1] if line_no <= len(lines) else ""
    if line.lstrip(" ").startswith("\t") or "tab" in what:
        return error("a tab indents this line", where=f"{name}:{line_no}", next_step="indent with spaces")
    # Where libyaml gives up may lie far behind what is wrong: the context mark is where the open thing began.
    context = getattr(cause, "context_mark", None)
    if context is not None and context.line + 1 != line_no:
        what += f", in what begins on line {context.line + 1}"
    return error(what, where=f"{name}:{line_no}", next_step="check indentation, colons and quotes of this line")


class _Lines:
    """The line of a value and of what is in it."""

    __slots__ = ("inner", "line")

    def __init__(self, line: int) -> None:
        self.line = line
        self.inner: dict[str | int, _Lines] = {}


_NO_KEY = object()
_SKIP = object()
"""The key slot of a value whose key was refused: the value is read and thrown away."""


class _Frame:
    """A mapping or sequence that is still open."""

    __slots__ = ("container", "key", "lines")

    def __init__(self, container: dict[Any, Any] | list[Any], lines: _Lines) -> None:
        self.container = container
        self.lines = lines
        self.key: Any = _NO_KEY


class _Builder:
    """Builds the data from libyaml's events: no recursion, no construction of classes, one pass."""

    def __init__(self, name: str, error: type[ConfigError], *, keep_lines: bool = False) -> None:
        self.findings: list[ConfigError] = []
        self._name = name
        self._error = error
        self._keep_lines = keep_lines
        self._stack: list[_Frame] = []
        self._root: Any = None
        self._root_lines = _Lines(1)

    def build(self, text: str) -> tuple[Any, _Lines]:
        """(data, lines); what is wrong goes to `findings`. Raises yaml.YAMLError."""
        documents = 0
        for event in _events(text):
            kind, line = type(event), event.start_mark.line + 1
            if kind is yaml.ScalarEvent:
                self._check(event, line)
                self._scalar(event, line)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._check(event, line)
                if len(self._stack) >= MAX_DEPTH:
                    self.find(line, f"nested deeper than {MAX_DEPTH} levels", "write it flatter")
                    break
                container: dict[Any, Any] | list[Any] = {} if kind is yaml.MappingStartEvent else []
                self._stack.append(_Frame(container, self._add(container, line)))
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._stack.pop()
            elif kind is yaml.AliasEvent:
                self.find(line, "an alias (*) is not allowed", "write the value out where it is used")
                self._add(None, line)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    self.find(line, "a second document begins here", "keep one document a file; remove the ---")
                    break
            if len(self.findings) >= MAX_FINDINGS:
                break
        return self._root, self._root_lines

    def find(self, line: int, what: str, next_step: str) -> None:
        self.findings.append(self._error(what, where=f"{self._name}:{line}", next_step=next_step))

    def _check(self, event: Any, line: int) -> None:
        if event.anchor is not None:
            self.find(line, "an anchor (&) is not allowed", "write the value out where it is used")
        if event.tag is not None and event.tag != "!":
            self.find(line, f"the tag {event.tag[:80]!a} is not allowed", "write plain values without tags")

    def _scalar(self, event: Any, line: int) -> None:
        text: str = event.value
        if not text.isprintable() and (found := _CONTROL.search(text)):
            self.find(line, f"the control character {found.group()!a} is in {text[:60]!a}", "remove it")
        value = _resolve(text) if event.implicit[0] and not event.style else text
        frame = self._stack[-1] if self._stack else None
        if frame is None or frame.key is not _NO_KEY or type(frame.container) is list:
            self._add(value, line)
            return
        key = value if type(value) is int else text
        if key in frame.container:
            self.find(line, f"the key {key!a} is written twice", "keep one of the two")
            frame.key = _SKIP
            return
        frame.key = key
        if self._keep_lines:
            frame.lines.inner[key] = _Lines(line)

    def _add(self, value: Any, line: int) -> _Lines:
        """Puts a finished or just opened value where it belongs; returns the line record it goes by."""
        if not self._stack:
            self._root = value
            self._root_lines.line = line
            return self._root_lines
        frame = self._stack[-1]
        if isinstance(frame.container, list):
            frame.container.append(value)
            if not self._keep_lines:
                return self._root_lines
            lines = frame.lines.inner[len(frame.container) - 1] = _Lines(line)
            return lines
        key, frame.key = frame.key, _NO_KEY
        if key is _NO_KEY:  # a mapping or a list stands where a key belongs
            self.find(line, "a key is no plain text", "use one word as the key")
            frame.key = _SKIP
        if key is _NO_KEY or key is _SKIP:
            return _Lines(line)
        frame.container[key] = value
        return frame.lines.inner[key] if self._keep_lines else self._root_lines


def _events(text: str) -> Iterator[Any]:
    loader = yaml.CSafeLoader(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


def _resolve(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema; what is no null, boolean or finite number of sensible length is text."""
    first = text[:1]
    if not first or first in "~nNtTfF":
        return _WORDS.get(text, text)
    if first not in "-+.0123456789":
        return text
    if _INT.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text
