"""Finds device profiles and loads them; errors carry file, line and the observed value.

A profile is found by its id, which is its file's name: `eastron-sdm630` is `<class>/eastron-sdm630.yaml`. Directories given
by the caller come first, then the site's, then the shipped ones; the first that has the id holds. A file is read when it
is asked for. What the vocabulary knows (quantity, unit, counter, deadband, limits) is filled in here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .errors import ConfigError, ProfileError
from .findings import did_you_mean, shown, validation_findings
from .rules import broken_rules
from .schema import Point, Profile
from .vocabulary import Quantity, vocabulary
from .yamlfile import Document, KeyPath, read_yaml

SHIPPED = Path(__file__).with_name("profiles")
SITE = Path("/etc/plantroom/profiles")

HEARTBEAT_S = 300.0
"""An unchanged value is sent again after this time where nobody says otherwise."""
COUNTER_ALIGN_S = 900
"""Counters are read at quarter hours where the profile says neither `poll` nor `align`."""

Where = Callable[[KeyPath], str]
"""File, line and path of a key of a profile, for people."""

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
MAX_FILES = 10_000


class Library:
    """The profiles of some directories, first one first."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self.directories = tuple(directories)
        self._files: dict[str, Path] | None = None
        self._loaded: dict[str, Profile] = {}

    @classmethod
    def default(cls, extra_dirs: Sequence[Path] = ()) -> Library:
        """The caller's directories, the site's, the shipped ones."""
        return cls((*extra_dirs, SITE, SHIPPED))

    @property
    def files(self) -> dict[str, Path]:
        """Every profile file by id, the one that holds."""
        if self._files is None:
            self._files = {}
            for directory in self.directories:
                for path in _yaml_files(directory):
                    self._files.setdefault(path.stem, path)
        return self._files

    def get(self, profile_id: str) -> Profile:
        """The profile with `extends` resolved and defaults filled in. Raises ProfileError, with all findings of the file."""
        if profile_id not in self._loaded:
            self._loaded[profile_id] = filled(self.as_written(profile_id))
        return self._loaded[profile_id]

    def as_written(self, profile_id: str) -> Profile:
        """The checked profile without the vocabulary's defaults. Raises ProfileError."""
        return self.load(self.path(profile_id))

    def path(self, profile_id: str) -> Path:
        """The file of an id. Raises ProfileError with the nearest id that exists."""
        if not _ID.fullmatch(profile_id):
            raise ProfileError(
                f"{shown(profile_id)} is no profile id",
                next_step="write it like eastron-sdm630; see plantroom profile list",
            )
        path = self.files.get(profile_id)
        if path is None:
            raise ProfileError(
                f"no profile {shown(profile_id)}",
                next_step=did_you_mean(profile_id, self.files, otherwise="see plantroom profile list: there are"),
            )
        return path

    def load(self, path: Path) -> Profile:
        """The profile in a file, checked, not filled in. Raises ProfileError."""
        return self.read(path)[0]

    def read(self, path: Path) -> tuple[Profile, Where]:
        """The checked profile in a file, and where each of its keys is written. Raises ProfileError."""
        document = read_yaml(path, shown=shown_path(path), error=ProfileError)
        base = self._base(document)
        data = merged(base.data, document.data) if base else document.data
        sources = _Sources(document, base, data)
        try:
            profile = Profile.model_validate(data)
        except ValidationError as error:
            raise _all_of(sources.validation_findings(error)) from error
        problems = [sources.problem(rule.path, rule.what, rule.next_step) for rule in broken_rules(profile)]
        if profile.profile != path.stem:
            step = f"name the file {profile.profile}.yaml, or the profile {path.stem}"
            problems.insert(0, sources.problem(("profile",), f"{profile.profile} is in a file named {path.name}", step))
        if problems:
            raise _all_of(problems)
        return profile, sources.where

    def _base(self, document: Document) -> Document | None:
        name = document.data.get("extends")
        if name is None:
            return None
        where = document.where(("extends",))
        own = document.data.get("profile")
        if not isinstance(name, str) or name == own:
            raise ProfileError(f"{shown(name)} cannot be extended", where=where, next_step="name another profile")
        try:
            path = self.path(name)
        except ProfileError as error:
            raise ProfileError(error.what, where=where, next_step=error.next_step) from error
        base = read_yaml(path, shown=shown_path(path), error=ProfileError)
        if "extends" in base.data:
            raise ProfileError(
                f"{name} itself extends {shown(base.data['extends'])}",
                where=where,
                next_step="extend that one: one level is allowed",
            )
        return base

    def all(self) -> tuple[Profile, ...]:
        """Every profile, filled in, by id. Raises ProfileError with the findings of all files."""
        found: list[Profile] = []
        problems: list[ConfigError] = []
        for profile_id, result in self.each():
            if isinstance(result, ProfileError):
                problems += result.problems or (result,)
            else:
                found.append(self._loaded.setdefault(profile_id, result))
        if problems:
            raise _all_of(problems)
        return tuple(found)

    def each(self) -> Iterator[tuple[str, Profile | ProfileError]]:
        """Every id in order with its profile, or what is wrong with it."""
        for profile_id in sorted(self.files):
            try:
                yield profile_id, self.get(profile_id)
            except ProfileError as error:
                yield profile_id, error


class _Sources:
    """Says where a key of a merged profile was written."""

    def __init__(self, document: Document, base: Document | None, data: dict[str, Any]) -> None:
        self._document, self._base, self._data = document, base, data

    def problem(self, path: KeyPath, what: str, next_step: str) -> ProfileError:
        return ProfileError(what, where=self.where(path), next_step=next_step)

    def where(self, path: Iterable[str | int] = ()) -> str:
        """`profiles/vfd/abb-acs355.yaml:12 points[3].unit`, in the file that has the key."""
        document, way = self._written(tuple(path))
        return document.where(way)

    def validation_findings(self, error: ValidationError) -> list[ConfigError]:
        if self._base is None:
            return validation_findings(error, self._document, Profile, error=ProfileError)
        whole = _Merged(self._data, self)
        return validation_findings(error, whole, Profile, error=ProfileError)

    def _written(self, path: KeyPath) -> tuple[Document, KeyPath]:
        """The document that has this key, and its path in there; a point's keys may come from both."""
        ways = [
            (document, way)
            for document in (self._document, self._base)
            if document is not None and (way := self._way_in(document, path)) is not None
        ]
        whole = [(document, way) for document, way in ways if _has(document.data, way)]
        return (whole or ways or [(self._document, path)])[0]

    def _way_in(self, document: Document, path: KeyPath) -> KeyPath | None:
        if not path or path[0] not in document.data:
            return None
        if self._base is None or path[0] != "points" or len(path) < 2:
            return path
        points, wanted = document.data["points"], self._data["points"][path[1]]
        for index, point in enumerate(points if isinstance(points, list) else ()):
            if (
                isinstance(point, dict)
                and point.get("id") == wanted.get("id")
                and point.get("only") == wanted.get("only")
            ):
                return ("points", index, *path[2:])
        return None


def _has(data: Any, path: KeyPath) -> bool:
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True


class _Merged(Document):
    """A profile and the one it extends, as one document."""

    __slots__ = ("_sources",)

    def __init__(self, data: dict[str, Any], sources: _Sources) -> None:
        super().__init__(data, sources._document.file, "")
        self._sources = sources

    def where(self, path: Iterable[str | int] = ()) -> str:
        return self._sources.where(path)


def merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The base profile's data with this one's over it; points merge by id, `without` leaves some of the base's out."""
    result = {**base, **{key: value for key, value in own.items() if key != "points"}}
    own_points = own.get("points", [])
    if not isinstance(base.get("points"), list) or not isinstance(own_points, list):
        return {**result, **({"points": own_points} if "points" in own else {})}
    without = own.get("without") or ()
    points = [point for point in base["points"] if not (isinstance(point, dict) and _is_in(point.get("id"), without))]
    for point in own_points:
        key = (point.get("id"), point.get("only")) if isinstance(point, dict) else None
        index = next(
            (n for n, old in enumerate(points) if isinstance(old, dict) and (old.get("id"), old.get("only")) == key),
            None,
        )
        if index is None:
            points.append(point)
        else:
            points[index] = {**points[index], **point}
    return {**result, "points": points}


def _is_in(value: Any, names: Any) -> bool:
    return isinstance(names, list | tuple) and value in names


def filled(profile: Profile) -> Profile:
    """The profile with what vocabulary and house know put where it says nothing."""
    points = tuple(_filled_point(point, profile) for point in profile.points)
    return profile.model_copy(update={"points": points})


def _filled_point(point: Point, profile: Profile) -> Point:
    order = point.word_order or profile.word_order
    if point.internal:
        return point.model_copy(update={"word_order": order})
    known = vocabulary().point(point.id)
    quantity = vocabulary().quantity_of(point.id) or vocabulary().quantities.get(point.quantity or "")
    counter = point.counter if point.counter is not None else bool(known and known.counter)
    align = point.align
    if counter and align is None and point.poll is None:
        align = COUNTER_ALIGN_S
    update: dict[str, Any] = {
        "word_order": order,
        "counter": counter,
        "align": align,
        "poll": point.poll if point.poll is not None or align is not None else profile.poll,
        "heartbeat": point.heartbeat if point.heartbeat is not None else HEARTBEAT_S,
    }
    if quantity is not None:
        update |= _of_quantity(point, quantity)
    return point.model_copy(update=update)


def _of_quantity(point: Point, quantity: Quantity) -> dict[str, Any]:
    return {
        "quantity": quantity.id,
        "unit": point.unit or quantity.unit,
        "deadband": quantity.deadband if point.deadband is None else point.deadband,
        "min": quantity.low if point.min is None else point.min,
        "max": quantity.high if point.max is None else point.max,
    }


def shown_path(path: Path) -> str:
    """A shipped profile's name as in the source tree, any other's as it is."""
    try:
        return (Path(SHIPPED.name) / path.relative_to(SHIPPED)).as_posix()
    except ValueError:
        return str(path)


def _yaml_files(directory: Path) -> list[Path]:
    """The profile files at and below a directory, in order; nothing outside of it and nothing hidden."""
    if not directory.is_dir():
        return []
    found: list[Path] = []
    for folder, folders, names in os.walk(directory, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(names) if name.endswith(".yaml") and _ID.fullmatch(name[:-5])]
        if len(found) > MAX_FILES:
            raise ProfileError(
                f"more than {MAX_FILES} profiles", where=str(directory), next_step="name a directory of profiles"
            )
    return found


def _all_of(problems: Sequence[ConfigError]) -> ProfileError:
    if len(problems) == 1 and isinstance(problems[0], ProfileError):
        return problems[0]
    return ProfileError(f"{len(problems)} findings", problems=problems)
