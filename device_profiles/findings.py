"""Findings in what people write: pydantic's errors told with file, line, observed value and one next step.

Shared by profiles, agent.yaml and gateway.yaml, so that every file is refused in the same words. Pure.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from device_profiles.errors import ConfigError
from device_profiles.yamlfile import Document, KeyPath

MAX_SHOWN = 60


def shown(value: Any) -> str:
    """The value as a person may see it on a terminal: quoted, escaped, at most 60 characters."""
    if isinstance(value, Mapping):
        return f"a mapping with {len(value)} keys"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def did_you_mean(text: Any, known: Iterable[str], *, otherwise: str = "known are") -> str:
    """One next step for a name that is not known: those that hold it whole, the nearest one, or the list of those there are."""
    names = sorted(str(name) for name in known)
    part = str(text).lower()
    whole = [name for name in names if part in name.lower()] if len(part) > 2 else []
    if 0 < len(whole) <= 3:
        return f"did you mean {' or '.join(repr(name) for name in whole)}?"
    close = difflib.get_close_matches(str(text)[:64], names, n=1, cutoff=0.6) if len(names) <= 5000 else []
    if not close:
        lower = {name.lower(): name for name in names}
        close = [lower[str(text).lower()]] if str(text).lower() in lower else []
    if close:
        return f"did you mean {close[0]!r}?"
    listed = ", ".join(names[:24]) + (f" and {len(names) - 24} more" if len(names) > 24 else "")
    return f"{otherwise} {listed}" if names else "remove it"


def validation_findings(
    cause: ValidationError,
    document: Document,
    model: type[BaseModel],
    *,
    at: KeyPath = (),
    error: type[ConfigError] = ConfigError,
) -> list[ConfigError]:
    """Every error of `cause` as a finding. `at` is where in the document the model's data begins."""
    found: dict[tuple[str | int, ...], ConfigError] = {}
    for item in cause.errors(include_url=False):
        relative = _inside(_value_at(document.data, at), item["loc"])
        path = (*at, *relative)
        what, next_step = _words(item, model)
        if path not in found:  # a union tells every alternative; the first is enough
            found[path] = error(what, where=document.where(path), next_step=next_step)
    # ... and so is the one that went deepest.
    around = {path[:length] for path in found for length in range(len(path))}
    return [finding for path, finding in found.items() if path not in around]


def _words(item: Mapping[str, Any], model: type[BaseModel]) -> tuple[str, str]:
    """(what is wrong with the observed value, next step) of one pydantic error."""
    kind, loc, value, context = item["type"], item["loc"], item["input"], item.get("ctx", {})
    key = loc[-1] if loc else ""
    if kind == "extra_forbidden":
        known = _known_keys(model, loc[:-1])
        sections = [name for name in sorted(known) if key in _known_keys(model, (*loc[:-1], name))]
        step = (
            f"write it below {sections[0]}, as {sections[0]}: {{{key}: ...}}" if sections else did_you_mean(key, known)
        )
        return f"unknown key {shown(key)}", step
    if kind == "missing":
        return f"{key} is missing", f"add {key}"
    if kind in ("value_error", "assertion_error"):
        what, _, next_step = str(context.get("error", item["msg"])).partition("; ")
        return what, next_step or "correct it"
    if kind == "string_pattern_mismatch":
        return f"{shown(value)} is not valid", _pattern_step(str(context.get("pattern", "")))
    if kind in ("literal_error", "enum"):
        expected = str(context.get("expected", ""))
        return f"{shown(value)} is unknown", did_you_mean(value, [part.strip("' ") for part in _alternatives(expected)])
    if kind in _BOUNDS:
        bound = next(iter(context.values()), "")
        return f"{shown(value)} is out of range", f"give a value {_BOUNDS[kind]} {bound}"
    if kind.endswith("_type") or kind.endswith("_parsing") or kind in ("int_from_float", "finite_number"):
        return f"{shown(value)} is no {_KINDS.get(kind.split('_')[0], 'valid value')}", _type_step(kind)
    return f"{shown(value)}: {item['msg']}", "correct it"


_BOUNDS = {
    "greater_than": "above",
    "greater_than_equal": "of at least",
    "less_than": "below",
    "less_than_equal": "of at most",
    "too_long": "with a length of at most",
    "too_short": "with a length of at least",
    "string_too_long": "with a length of at most",
    "string_too_short": "with a length of at least",
}
_KINDS = {
    "int": "whole number",
    "float": "number",
    "decimal": "number",
    "finite": "finite number",
    "bool": "true or false",
    "string": "text",
    "list": "list",
    "tuple": "list",
    "dict": "mapping",
    "model": "mapping",
    "mapping": "mapping",
    "is": "valid value",
}


def _type_step(kind: str) -> str:
    if kind == "string_type":
        return "put it in quotes"
    if kind.startswith(("dict", "model", "mapping")):
        return "write `key: value` lines below it"
    if kind.startswith(("list", "tuple")):
        return "write a list, each entry with a leading dash"
    return "correct the value"


def _pattern_step(pattern: str) -> str:
    if pattern.startswith("^[a-z0-9][a-z0-9_-]"):
        return "use 1 to 48 of a-z, 0-9, _ and -, beginning with a letter or digit"
    if pattern.startswith("^[a-z][a-z0-9_]"):
        return "use a-z, 0-9 and _, beginning with a letter"
    return f"it must match {pattern}"


def _alternatives(expected: str) -> Sequence[str]:
    return expected.replace(" or ", ", ").split(", ")


def _value_at(data: Any, path: KeyPath) -> Any:
    for step in path:
        data = data[step]
    return data


def _inside(data: Any, loc: Sequence[str | int]) -> tuple[str | int, ...]:
    """`loc` without the steps that are not in the file, as far as the data goes, plus one: names of union members, and steps
    that a short form leaves out (`reg` of a point for `address.reg`)."""
    path: list[str | int] = []
    for index, step in enumerate(loc):
        if isinstance(data, Mapping):
            if step not in data and (_is_union_label(str(step)) or any(later in data for later in loc[index + 1 :])):
                continue
            path.append(step)
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            path.append(step)
            data = data[step]
    return tuple(path)


def _is_union_label(step: str) -> bool:
    return step[:1].isupper() or "[" in step or step in ("str", "int", "float", "bool", "constrained-str")


def _known_keys(model: type[BaseModel], loc: Sequence[str | int]) -> set[str]:
    """Keys that the model at `loc` has; of a union, those of every member."""
    models: list[type[BaseModel]] = [model]
    for step in loc:
        inner: list[type[BaseModel]] = []
        for candidate in models:
            for name, field in candidate.model_fields.items():
                if step in (name, field.alias):
                    inner += models_in(field.annotation)
        models = inner or models
    known = {field.alias or name for candidate in models for name, field in candidate.model_fields.items()}
    return known.union(*(getattr(candidate, "SHORT_KEYS", ()) for candidate in models))


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation names, inside unions and containers too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, list, tuple, dict) or get_args(annotation):
        return [found for argument in get_args(annotation) for found in models_in(argument)]
    return []
