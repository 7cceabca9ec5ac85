"""Reads lists of objects that people have: tables with a header line, and JSON. EDE files are the BACnet driver's.

The columns of a table are found by their names, whatever program wrote it; only names, descriptions, units and object types are
looked at.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from .bacnet import ABBREVIATIONS, OBJECT_NAMES, OBJECT_TYPES
from .errors import ConfigError
from .findings import shown
from .propose_found import FoundObject
from .units import UNITS

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "kind": ("bacnettypestr", "objecttype", "bacnetobjecttype", "type", "kind"),
    "instance": ("bacnetobjectid", "objectinstance", "instance", "objectid"),
    "name": ("bacnetname", "objectname", "name", "pointname"),
    "description": ("bacnetdescription", "description", "desc"),
    "unit": ("bacnetunit", "unitcode", "units", "unit", "engineeringunits"),
    "label": ("johnsoncontrolsname", "keyname", "label", "displayname"),
    "states": ("statetexts", "states"),
}
"""What a column may be called, the surest name first; case, spaces and punctuation do not matter."""

_FIELDS = frozenset(FoundObject.__dataclass_fields__)
_MOST = 200_000


def read_table(text: str, *, where: str = "the table") -> list[FoundObject]:
    """The objects of a table with commas, semicolons or tabs. Raises ConfigError with the line."""
    first = text.partition("\n")[0]
    delimiter = max((first.count(char), char) for char in ",;\t")[1]
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        header = [re.sub(r"[^a-z]", "", cell.lower()) for cell in next(rows, [])]
        at = {key: header.index(name) for key, names in _COLUMNS.items() for name in names[::-1] if name in header}
        if not {"kind", "name"} <= at.keys():
            step = "name the columns object-type, object-instance, object-name, description and unit-code"
            raise ConfigError(f"no column of object types or names among {shown(first)}", where=where, next_step=step)
        found: list[FoundObject] = []
        for line, row in enumerate(rows, 2):
            if any(row):
                found.append(_of_row(row, at, f"{where}:{line}"))
            if len(found) > _MOST:
                raise ConfigError(f"more than {_MOST} objects", where=where, next_step="split the file")
    except csv.Error as error:
        raise ConfigError(f"no table: {error}", where=where, next_step="save it as CSV") from error
    return found


def _of_row(row: Sequence[str], at: Mapping[str, int], where: str) -> FoundObject:
    cells = {key: row[index].strip() if index < len(row) else "" for key, index in at.items()}
    kind = object_kind(cells["kind"])
    if kind is None:
        step = "write it as analog-input, AI or its number"
        raise ConfigError(f"{shown(cells['kind'])} is no BACnet object type", where=where, next_step=step)
    code, words = unit_of(cells.get("unit", ""))
    return FoundObject(
        kind=kind,
        reference=f"{kind}:{cells.get('instance') or 0}",
        name=cells["name"],
        description=cells.get("description", ""),
        unit=code,
        unit_name=words,
        states=tuple(part.strip() for part in cells.get("states", "").split("|") if part.strip()),
        label=cells.get("label", ""),
    )


def object_kind(text: str) -> str | None:
    """`Analog Input`, `AI`, `multi-state-value` or a number as the standard's name of the type; None for what is none."""
    folded = re.sub(r"[\s_]+", "-", text.strip().lower())
    if folded.isdecimal():
        return OBJECT_NAMES.get(int(folded))
    folded = folded.replace("multistate", "multi-state")
    return folded if folded in OBJECT_TYPES else ABBREVIATIONS.get(folded)


@cache
def _by_number() -> Mapping[int, str]:
    return {number: unit.code for unit in UNITS.values() for number in unit.bacnet}


@cache
def _by_name() -> Mapping[str, str]:
    """Two units that are written alike (degrees and differences of degrees): the first of the table."""
    pairs = [(name.casefold(), unit.code) for unit in UNITS.values() for name in (unit.shown, unit.code) if name]
    return dict(reversed(pairs))


def unit_of(text: str) -> tuple[str | None, str]:
    """(UCUM code or None, the unit's own words) of a BACnet unit number, a UCUM code or what people write."""
    text = text.strip()
    if text.isdecimal():
        number = int(text)
        return _by_number().get(number), "percent-relative-humidity" if number == 29 else ""
    return _by_name().get(text.casefold()), text


def read_json(text: str, *, where: str = "the JSON document") -> list[FoundObject]:
    """The objects of a JSON list with the fields of FoundObject. Raises ConfigError."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"no JSON: {error}", where=where, next_step="give a list of objects") from error
    if isinstance(data, dict):
        data = data.get("objects")
    if not isinstance(data, list):
        raise ConfigError("no list of objects", where=where, next_step='write [{"kind": "analog-input", ...}]')
    return [_of_json(row, f"{where}, object {number}") for number, row in enumerate(data, 1)]


def _of_json(row: Any, where: str) -> FoundObject:
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("kind", "reference", "name")):
        raise ConfigError(f"{shown(row)} is no object", where=where, next_step="give it kind, reference and name")
    known = {key: value for key, value in row.items() if key in _FIELDS}
    states = known.get("states") or ()
    if not isinstance(states, list | tuple) or not all(isinstance(text, str) for text in states):
        raise ConfigError(f"states are {shown(states)}", where=where, next_step="give a list of texts")
    for key in ("description", "unit_name", "label"):
        if not isinstance(known.get(key, ""), str):
            raise ConfigError(f"{key} is {shown(known[key])}", where=where, next_step="put it in quotes")
    if known.get("unit") is not None and known["unit"] not in UNITS:
        known["unit"], known["unit_name"] = unit_of(str(known["unit"]))
    if known["kind"] != "opcua":
        known["kind"] = object_kind(known["kind"]) or known["kind"]
    return FoundObject(**{**known, "states": tuple(states)})
