"""EDE files: the lists of BACnet objects that planners and integrators exchange, read and written as plain data.

Opens files, no sockets. Source: BIG-EU, Engineering Data Exchange, layout 2.3: a header, then one line an object, beside it
`.._StateTexts.csv` and `.._Units.csv`. What programs really write is taken too: any of `;`, tab and `,` between the columns, a
decimal comma, UTF-8, UTF-16 or the code page of Western Europe, columns in another order, names a little different.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from device_profiles.bacnet import MAX_INSTANCE, OBJECT_NAMES, object_number, parse_object
from device_profiles.errors import ConfigError

LAYOUT = "2.3"
_COLUMNS = (
    "keyname", "device obj.-instance", "object-name", "object-type", "object-instance", "description",
    "present-value-default", "min-present-value", "max-present-value", "settable", "supports COV", "hi-limit", "low-limit",
    "state-text-reference", "unit-code", "vendor-specific-address",
)  # fmt: skip
_MANDATORY = 5
_MOST_BYTES = 64 << 20
_NAMES: dict[str, int] = {
    **{re.sub(r"[^a-z]", "", name.lower()): at for at, name in enumerate(_COLUMNS)},
    "deviceinstance": 1, "deviceobjectinstance": 1, "vendorspecificaddres": 15, "defaultvalue": 6, "minvalue": 7,
    "maxvalue": 8, "commandable": 9, "lolimit": 12, "highlimit": 11,
}  # fmt: skip
_TRUE, _FALSE = frozenset({"y", "yes", "true", "1", "j", "ja", "x"}), frozenset({"n", "no", "false", "0", "nein"})


@dataclass(frozen=True, slots=True)
class EdeObject:
    """One object. `kind` as `device_profiles.bacnet` names types, `unit` a BACnet unit number; None: the file does not say."""

    device: int
    kind: str
    instance: int
    name: str
    description: str = ""
    unit: int | None = None
    unit_text: str = ""
    """The words of the units file for `unit`: makers' own numbers mean nothing without them."""
    texts: Mapping[int, str] = field(default_factory=dict)
    """State texts by present value: 0 and 1 for binary objects, from 1 for multi-state ones."""
    minimum: float | None = None
    maximum: float | None = None
    default: str = ""
    settable: bool | None = None
    cov: bool | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class EdeFile:
    """A whole file."""

    objects: tuple[EdeObject, ...]
    project: str = ""
    version: str = ""
    author: str = ""
    changed: str = ""
    layout: str = LAYOUT

    def of_device(self, instance: int) -> tuple[EdeObject, ...]:
        """The objects of one device."""
        return tuple(one for one in self.objects if one.device == instance)


def read_ede(path: Path) -> EdeFile:
    """The file, with the state texts and units that lie beside it. Raises ConfigError naming file and line."""
    texts = _state_texts(companion(path, "StateTexts"))
    units = _unit_texts(companion(path, "Units"))
    rows = _rows(path)
    header: dict[str, str] = {}
    columns: dict[int, int] | None = None
    objects: list[EdeObject] = []
    for line, row in rows:
        first = row[0].strip().lstrip("#").strip().lower()
        if columns is None:
            if first == "keyname":
                columns = _columns(row, f"{path}:{line}")
            elif len(row) > 1:
                header[first] = row[1].strip()
        elif not row[0].lstrip().startswith("#"):
            objects.append(_object(row, columns, texts, units, f"{path}:{line}"))
    if columns is None:
        raise ConfigError(
            "no line of column names (`keyname; device obj.-instance; ...`)",
            where=str(path),
            next_step="export the list of objects as EDE, layout 2.3",
        )
    return EdeFile(
        tuple(objects),
        header.get("project_name", ""),
        header.get("version_of_referencefile", ""),
        header.get("author_of_last_change", ""),
        header.get("timestamp_of_last_change", ""),
        header.get("version_of_layout", ""),
    )


def companion(path: Path, what: str) -> Path:
    """Where the state texts (`StateTexts`) or units (`Units`) of a file lie."""
    stem = re.sub(r"[_-]?EDE$", "", path.stem, flags=re.IGNORECASE)
    return path.with_name(f"{stem}_{what}{path.suffix}")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})", where=str(path), next_step="check the path and its permissions"
        ) from error
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"more than {_MOST_BYTES >> 20} MiB", where=str(path), next_step="split the file by device")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not empty."""
    text = _text(path)
    marked = [line for line in text.splitlines() if "keyname" in line.lower() or "reference" in line.lower()] or [text]
    separator = max(";\t,", key=marked[-1].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise ConfigError(
            f"no table ({error})", where=f"{path}:{reader.line_num}", next_step="export the file again"
        ) from error


def _columns(row: Sequence[str], where: str) -> dict[int, int]:
    """Where each known column stands."""
    found: dict[int, int] = {}
    for at, cell in enumerate(row):
        known = _NAMES.get(re.sub(r"[^a-z]", "", cell.lower()))
        if known is not None:
            found.setdefault(known, at)
    missing = [_COLUMNS[known] for known in range(1, _MANDATORY) if known not in found]
    if missing:
        raise ConfigError(
            f"no column {', '.join(missing)}",
            where=where,
            next_step=f"name the columns as EDE 2.3 does: {'; '.join(_COLUMNS[:_MANDATORY])}",
        )
    return found


def _object(
    row: Sequence[str],
    columns: Mapping[int, int],
    texts: Mapping[str, Sequence[str]],
    units: Mapping[int, str],
    where: str,
) -> EdeObject:
    def cell(column: int) -> str:
        at = columns.get(column)
        return row[at].strip() if at is not None and at < len(row) else ""

    device, instance = (
        _whole(cell(1), MAX_INSTANCE, "device instance", where),
        _whole(cell(4), MAX_INSTANCE, "object instance", where),
    )
    kind = _kind(cell(3), where)
    unit = _whole(cell(14), 65535, "unit code", where) if cell(14) else None
    base = 0 if kind.startswith("binary") else 1
    states = texts.get(cell(13), ()) if cell(13) else ()
    return EdeObject(
        device=device,
        kind=kind,
        instance=instance,
        name=cell(2),
        description=cell(5),
        unit=unit,
        unit_text=units.get(unit, "") if unit is not None else "",
        texts={number: text for number, text in enumerate(states, base) if text},
        minimum=_number(cell(7), where),
        maximum=_number(cell(8), where),
        default=cell(6),
        settable=_flag(cell(9)),
        cov=_flag(cell(10)),
        key=cell(0),
    )


def _whole(text: str, most: int, what: str, where: str) -> int:
    plain = text.removesuffix(".0")
    if not (plain.isascii() and plain.isdecimal()) or len(plain) > 10 or int(plain) > most:
        raise ConfigError(
            f"{what} {text[:40]!r} is no number of 0 to {most}", where=where, next_step="correct the line"
        )
    return int(plain)


def _kind(text: str, where: str) -> str:
    """The type by its number, or by a name as `analog-input`, `Analog Input` or `AI`."""
    if text.isascii() and text.isdecimal() and len(text) <= 4 and int(text) <= 1023:
        return OBJECT_NAMES.get(int(text), str(int(text)))
    try:
        return parse_object(re.sub(r"[ _]", "-", text) + ":0")[0]
    except ValueError:
        raise ConfigError(
            f"object type {text[:40]!r} is unknown",
            where=where,
            next_step="write the type's number, as 0 for analog-input",
        ) from None


def _number(text: str, where: str) -> float | None:
    """A number with a decimal point or comma; None for an empty cell. A thousands separator is an error, not a guess."""
    if not text:
        return None
    try:
        value = float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    except ValueError:
        raise ConfigError(
            f"{text[:40]!r} is no number", where=where, next_step="write it as 21.5, without a thousands separator"
        ) from None
    return value if math.isfinite(value) else None


def _flag(text: str) -> bool | None:
    lowered = text.lower()
    return True if lowered in _TRUE else False if lowered in _FALSE else None


def _state_texts(path: Path) -> dict[str, tuple[str, ...]]:
    """Reference number -> texts."""
    if not path.is_file():
        return {}
    rows = (row for _, row in _rows(path) if not row[0].lstrip().startswith("#"))
    return {row[0].strip(): tuple(cell.strip() for cell in row[1:]) for row in rows}


def _unit_texts(path: Path) -> dict[int, str]:
    """Unit number -> text. Lines are `encoding; code; text`, or `code; text`."""
    found: dict[int, str] = {}
    for _, row in _rows(path) if path.is_file() else ():
        cells = [cell.strip() for cell in row if cell.strip()]
        if len(cells) >= 2 and cells[-2].isdecimal() and not cells[0].startswith("#"):
            found[int(cells[-2])] = cells[-1]
    return found


# Writing.


def write_ede(
    path: Path,
    objects: Iterable[EdeObject],
    *,
    project: str = "",
    author: str = "plantroom",
    changed: datetime | None = None,
) -> tuple[Path, ...]:
    """Writes the file and, where there is something to say, its state texts and units. Returns what was written.

    UTF-8, `;` between the columns, a decimal point. Raises ConfigError when a file cannot be written.
    """
    listed = tuple(objects)
    numbers: dict[tuple[tuple[int, str], ...], int] = {}
    for one in listed:
        if one.texts:
            numbers.setdefault(tuple(sorted(one.texts.items())), len(numbers) + 1)
    stamp = (changed or datetime.now(UTC)).strftime("%d.%m.%Y")
    head = [
        ["# Engineering-Data-Exchange - B.I.G.-EU"],
        ["PROJECT_NAME", project],
        ["VERSION_OF_REFERENCEFILE", "1"],
        ["TIMESTAMP_OF_LAST_CHANGE", stamp],
        ["AUTHOR_OF_LAST_CHANGE", author],
        ["VERSION_OF_LAYOUT", LAYOUT],
        ["# mandatory", *["mandatory"] * (_MANDATORY - 1), *["optional"] * (len(_COLUMNS) - _MANDATORY)],
        [f"# {_COLUMNS[0]}", *_COLUMNS[1:]],
    ]
    _save(path, [*head, *(_row(one, numbers) for one in listed)])
    written = [path]
    if numbers:
        longest = max(max(number for number, _ in texts) for texts in numbers)
        rows = [["#State Text Reference"], ["#Reference Number", *(f"Text {n}" for n in range(1, longest + 1))]]
        for texts, number in numbers.items():
            known = dict(texts)
            base = min(1, min(known))
            rows.append([str(number), *(known.get(at, "") for at in range(base, max(known) + 1))])
        _save(companion(path, "StateTexts"), rows)
        written.append(companion(path, "StateTexts"))
    units = {one.unit: one.unit_text for one in listed if one.unit is not None and one.unit_text}
    if units:
        rows = [
            ["#Encoding", "Code", "Unit Text"],
            *(["UTF-8", str(code), text] for code, text in sorted(units.items())),
        ]
        _save(companion(path, "Units"), rows)
        written.append(companion(path, "Units"))
    return tuple(written)


def _row(one: EdeObject, numbers: Mapping[tuple[tuple[int, str], ...], int]) -> list[str]:
    def shown(value: float | int | bool | None) -> str:
        return "" if value is None else ("Y" if value else "N") if isinstance(value, bool) else f"{value:.10g}"

    reference = str(numbers[tuple(sorted(one.texts.items()))]) if one.texts else ""
    return [
        one.key or f"{one.device}_{object_number(one.kind)}_{one.instance}",
        str(one.device), one.name, str(object_number(one.kind)), str(one.instance), one.description, one.default,
        shown(one.minimum), shown(one.maximum), shown(one.settable), shown(one.cov), "", "", reference,
        "" if one.unit is None else str(one.unit), "",
    ]  # fmt: skip


def _save(path: Path, rows: Iterable[Sequence[str]]) -> None:
    try:
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            csv.writer(file, delimiter=";", lineterminator="\r\n").writerows(rows)
    except OSError as error:
        raise ConfigError(
            f"cannot be written ({error.strerror})", where=str(path), next_step="choose a folder that you may write to"
        ) from error
