"""YAML that people write, read with the line of each value.

Plain data only: no anchors, no aliases, no tags, no duplicate keys, no multiple documents. Scalars follow the YAML 1.2 core
schema, so that `off`, `12:30` and `010` stay what was written. Any text gives a Document or a ConfigError, in bounded time
and memory.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError

Path_ = tuple[str | int, ...]
"""The way to a value: `("points", 4, "unit")`."""

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 40

_STR, _SEQ, _MAP = (f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))
_INT = re.compile(r"[-+]?[0-9]{1,40}|0x[0-9a-fA-F]{1,16}|0o[0-7]{1,22}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "Null": None, "~": None, "": None}


class _Loader(yaml.CSafeLoader):
    """Composes nodes with their marks; what a plain scalar means is decided here and not by YAML 1.1."""

    yaml_implicit_resolvers: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Mark:
    """Where something is written; lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and where it says it. `data` is a mapping."""

    data: dict[str, Any]
    file: str
    marks: dict[Path_, Mark] = field(default_factory=dict)

    def mark(self, path: Iterable[str | int]) -> Mark:
        """Where the value of this path is written, or the nearest that encloses it."""
        way = tuple(path)
        while way and way not in self.marks:
            way = way[:-1]
        return self.marks.get(way, Mark(self.file, 1))


def path_text(path: Iterable[str | int]) -> str:
    """`points[4].unit`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def read_yaml(path: Path, *, shown: str | None = None) -> Document:
    """The document in a file. `shown` is the file's name in messages. Raises ConfigError."""
    name = shown or str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot be read: {reason}", where=name, next_step="check the path and its permissions"
        ) from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES} bytes", where=name, next_step="give a file that a person wrote")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"byte 0x{content[error.start]:02x} is not UTF-8",
            where=f"{name}:{line}",
            next_step="save the file as UTF-8",
        ) from error
    return parse_yaml(text, name)


def parse_yaml(text: str, name: str) -> Document:
    """The document in a text. Raises ConfigError with file and line."""
    if len(text) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES} bytes", where=name, next_step="give a file that a person wrote")
    try:
        _check_depth(text)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.problem, error.context) if part) or "is not YAML"
        raise ConfigError(
            what, where=f"{name}:{mark.line + 1 if mark else 1}", next_step="correct the YAML at this line"
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(
            " ".join(str(error).split()), where=name, next_step="remove what is no printable text"
        ) from error
    builder = _Builder(name)
    data = {} if root is None else builder.build(root, ())
    if not isinstance(data, dict):
        raise ConfigError(
            f"is a {type(data).__name__}, not a mapping", where=f"{name}:1", next_step="begin with `key: value`"
        )
    return Document(data, name, builder.marks)


def _check_depth(text: str) -> None:
    """Refuses deep nesting from the flat stream of events, before anything recurses."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise yaml.MarkedYAMLError(problem=f"is nested deeper than {MAX_DEPTH}", problem_mark=event.start_mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem=f"alias *{event.anchor}: anchors and aliases are not used here", problem_mark=event.start_mark
            )


class _Builder:
    """Makes plain data of a node tree and notes where each value stands."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.marks: dict[Path_, Mark] = {}

    def build(self, node: yaml.Node, path: Path_) -> Any:
        self.marks.setdefault(path, Mark(self.name, node.start_mark.line + 1))
        if isinstance(node, yaml.ScalarNode) and node.tag == _STR:
            return _scalar(node.value) if not node.style else node.value
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, path)
        raise self._problem(node, path, f"tag {node.tag!r} is not allowed", "write plain values without tags")

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.build(key_node, (*path, "?"))
            del self.marks[*path, "?"]
            if not isinstance(key, Hashable) or key is None:
                raise self._problem(key_node, path, "a key must be one word or number", "write `key: value`")
            if key in result:
                first = self.marks[*path, key].line
                raise self._problem(
                    key_node, path, f"key {key!r} is here twice, first at line {first}", "remove one of the two"
                )
            self.marks[*path, key] = Mark(self.name, key_node.start_mark.line + 1)
            result[key] = self.build(value_node, (*path, key))
        return result

    def _problem(self, node: yaml.Node, path: Path_, what: str, next_step: str) -> ConfigError:
        where = f"{self.name}:{node.start_mark.line + 1}"
        return ConfigError(what, where=f"{where} {path_text(path)}" if path else where, next_step=next_step)


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        digits = text.lstrip("+-")
        if len(digits) > 1 and digits[0] == "0" and digits.isdigit():
            return text  # 010 is neither 8 nor 10 to everybody: it stays text
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
