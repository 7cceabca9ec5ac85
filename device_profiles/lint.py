"""Rules over the whole catalogue: what a profile needs so that people who never met its author can trust it.

What makes a profile unusable is refused when it is loaded (`rules`); this is what an engineer's review would ask for. Each
finding has file, line, the observed value and a next step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ProfileError
from .library import SHIPPED, Library, Where, shown_path
from .rules_strings import ambiguous_frames
from .schema import Invalid, Modbus, Point, Profile
from .vocabulary import vocabulary
from .yamlfile import KeyPath

_RAW_RANGE: dict[str, tuple[int, int]] = {
    **{f"u{bits}": (0, 2**bits - 1) for bits in (16, 32, 64)},
    **{f"s{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (16, 32, 64)},
    **{f"sm{bits}": (-(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 1) for bits in (16, 32)},
    **{f"bcd{bits}": (0, 10 ** (bits // 4) - 1) for bits in (16, 32, 64)},
}
"""What the raw value of each type can be."""

_UNVERIFIED = "source: unverified"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to put right: where, what with the observed value, and one next step."""

    where: str
    what: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.next_step}"


def lint_all(library: Library | None = None) -> list[Finding]:
    """Findings over every profile of a library; the shipped catalogue by default."""
    library = library or Library([SHIPPED])
    return [
        finding for profile_id in sorted(library.files) for finding in lint_file(library, library.files[profile_id])
    ]


def lint_file(library: Library, path: Path) -> list[Finding]:
    """Findings in one file; `library` finds what it extends. A profile that cannot be loaded gives what is wrong with it."""
    try:
        profile, where = library.read(path)
    except ProfileError as error:
        return [Finding(part.where, part.what, part.next_step) for part in error.problems or (error,)]
    found = [Finding(where(way), what, step) for way, what, step in _rules(profile)]
    if path.is_relative_to(SHIPPED):
        found += _shipped(profile, path, where)
    return found


def _shipped(profile: Profile, path: Path, where: Where) -> Iterator[Finding]:
    """What only the shipped catalogue must keep."""
    if path.parent.name != profile.class_:
        what = f"a {profile.class_} is in the folder {path.parent.name}"
        yield Finding(where(("class",)), what, f"move {shown_path(path)}")
    if _UNVERIFIED in profile.source.title and not profile.caveats:
        what = "an unverified map without a caveat"
        yield Finding(where(("source", "title")), what, "say in caveats what to compare on commissioning")


_Rule = tuple[KeyPath, str, str]


def _rules(profile: Profile) -> Iterator[_Rule]:
    yield from _evidence(profile)
    for index, point in enumerate(profile.points):
        path: KeyPath = ("points", index)
        if not point.label:
            yield path, f"{point.id} has no label", "add the datasheet's own words as label"
        yield from _limits(point, path)
        yield from _raw_values(point, path)
        yield from _schedule(point, path)
        yield from _write_limits(point, path)
    yield from _registers(profile)
    yield from _params(profile)
    if profile.strings is not None:
        for name, other in ambiguous_frames(profile.strings):
            step = "tell them apart by more of the frame, or put the one that says more first"
            yield ("strings", "frames", name), f"messages of {name} are taken for {other}", step


def _evidence(profile: Profile) -> Iterator[_Rule]:
    """A source that can be looked up, or the words "source: unverified"."""
    source = profile.source
    if source.url is None and _UNVERIFIED not in source.title:
        yield ("source",), f"{source.title!r} has no url", "add url, or write (source: unverified) into the title"
    if source.url is not None and not source.url.startswith(("https://", "http://")):
        yield ("source", "url"), f"{source.url!r} is no web address", "begin with https://"
    for index, caveat in enumerate(profile.caveats):
        if caveat.link is None or not caveat.link.startswith(("https://", "http://")):
            yield ("caveats", index), f"caveat {index + 1} has no evidence", "add link"
    if not profile.products:
        yield ("products",), "no product is named", "add maker and model as on the type plate"


def _limits(point: Point, path: KeyPath) -> Iterator[_Rule]:
    quantity = vocabulary().quantity_of(point.id) or vocabulary().quantities.get(point.quantity or "")
    for name in ("min", "max"):
        value = getattr(point, name)
        if value is None:
            continue
        if quantity is None:
            yield (*path, name), f"{point.id} is no number and has {name} {value:g}", f"remove {name}"
        elif not quantity.low <= value <= quantity.high:
            bounds = f"{quantity.low:g} to {quantity.high:g} {quantity.unit}"
            yield (*path, name), f"{name} {value:g} is out of what {quantity.id} can be", f"stay in {bounds}"


def _write_limits(point: Point, path: KeyPath) -> Iterator[_Rule]:
    """A number that can be written has limits of its own: those of its type or quantity are no protection."""
    known = vocabulary().point(point.id)
    is_number = point.labels is None and point.type not in ("bool", "str") and (known is None or known.type == "num")
    is_bit = point.bit_range is not None and point.bit_range[0] == point.bit_range[1]
    if not point.is_writable or not is_number or is_bit:
        return
    for name in ("min", "max"):
        if getattr(point, name) is None and (point.write is None or getattr(point.write, name) is None):
            yield (*path, "write"), f"{point.id} can be written without a {name}", f"give write: {{{name}: ...}}"


def _raw_values(point: Point, path: KeyPath) -> Iterator[_Rule]:
    """Sentinels and labels must be values that the type can have: 0xFFFF never comes out of an s16."""
    bounds = _RAW_RANGE.get(point.type)
    if bounds is None:
        return
    if point.bit_range:
        bounds = (0, 2 ** (point.bit_range[1] - point.bit_range[0] + 1) - 1)
    for index, invalid in enumerate(point.invalid):
        values = (invalid.value, invalid.low, invalid.high) if isinstance(invalid, Invalid) else (invalid,)
        for value in values:
            if isinstance(value, str) or (value is not None and not bounds[0] <= value <= bounds[1]):
                step = f"give the raw value as a {point.type} has it, {bounds[0]} to {bounds[1]}"
                yield (*path, "invalid", index), f"{value} cannot come out of a {point.type}", step
    for ordinal in point.labels or ():
        if not bounds[0] <= ordinal <= bounds[1]:
            yield (*path, "labels", ordinal), f"{ordinal} cannot come out of a {point.type}", "correct the ordinal"


def _schedule(point: Point, path: KeyPath) -> Iterator[_Rule]:
    known = vocabulary().point(point.id)
    if known is None or known.quantity not in ("energy", "volume", "reactive_energy", "apparent_energy"):
        return
    if point.align is None and point.poll is not None and not point.internal:
        yield (*path, "poll"), f"{point.id} is read every {point.poll:g} s and not at marks", "use align: 900"
    if point.align is not None and 86400 % point.align:
        yield (*path, "align"), f"marks every {point.align} s drift through the day", "use a divisor of 86400, as 900"


def _registers(profile: Profile) -> Iterator[_Rule]:
    """No two points take the same register in different ways, none is wider than a read, none lies where nobody may read."""
    spans = [(index, *span) for index, point in enumerate(profile.points) for span in _spans(point)]
    for at, (index, table, first, last) in enumerate(spans):
        point = profile.points[index]
        if last - first >= profile.limits.max_registers and table in ("holding", "input"):
            yield ("points", index), f"{point.id} takes {last - first + 1} registers", "raise limits.max_registers"
        for forbidden_table, low, high in profile.limits.forbidden:
            if forbidden_table == table and first <= high and low <= last:
                yield (
                    ("points", index),
                    f"{point.id} lies in the forbidden range {low}..{high}",
                    "remove one of the two",
                )
        for other_index, other_table, other_first, other_last in spans[:at]:
            other = profile.points[other_index]
            if other_table == table and first <= other_last and other_first <= last and not _shares(point, other):
                yield (
                    ("points", index),
                    f"{point.id} overlaps {other.id} at register {max(first, other_first)}",
                    "correct reg or type",
                )


def _spans(point: Point) -> Iterator[tuple[str, int, int]]:
    """(table or model, first, last) of the registers of a point."""
    if not isinstance(point.address, Modbus):
        return
    if point.parts:
        for part in point.parts:
            yield point.address.table, part.reg, part.reg + point.registers - 1
    elif point.address.model is not None:
        start = point.address.offset or 0
        yield f"model {point.address.model}", start, start + point.registers - 1
    elif point.address.reg is not None:
        yield point.address.table, point.address.reg, point.address.reg + point.registers - 1


def _shares(one: Point, other: Point) -> bool:
    """True where two points may read one register: apart by option, or different bits and the whole of one word."""
    if one.only is not None and other.only is not None and one.only != other.only:
        return True
    if one.address != other.address or one.registers != other.registers:
        return False
    if one.bit_range and other.bit_range:
        return one.bit_range[1] < other.bit_range[0] or other.bit_range[1] < one.bit_range[0]
    return bool(one.bit_range) != bool(other.bit_range)


def _params(profile: Profile) -> Iterator[_Rule]:
    used = {name for point in profile.points for name in point.ratio}
    for name, param in profile.params.items():
        if name not in used:
            yield ("params", name), f"no point uses {name}", "name it in ratio, or remove it"
        if param.register_ is None and param.default is None:
            yield ("params", name), f"{name} has neither register nor default", "add default: 1"


def lint_paths(paths: Sequence[Path]) -> list[Finding]:
    """Findings in files, and in every profile below directories. Raises ProfileError where nothing is there."""
    found: list[Finding] = []
    for path in paths:
        if path.is_dir():
            library = Library([path, SHIPPED])
            files = [file for file in library.files.values() if file.is_relative_to(path)]
            if not files:
                raise ProfileError(
                    "no profile below it", where=str(path), next_step="name a file, or a directory of *.yaml"
                )
            found += [finding for file in sorted(files) for finding in lint_file(library, file)]
        else:
            found += lint_file(Library([path.parent, SHIPPED]), path)
    return found
