"""What must hold in a profile of protocol `strings`; and that a fire panel is never spoken to, whatever its protocol. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product

from .findings import did_you_mean, shown
from .schema import Point, Profile, StringsField
from .strings import FieldSpec, FrameSpec, Shaped, Strings
from .strings_codec import Language, Scalar, StringsError
from .yamlfile import KeyPath

LISTEN_ONLY_CLASSES = frozenset({"fire_panel"})
"""Classes that are only read or heard: fire release and fire alarm stay hard-wired."""
_MOST_SAMPLES = 64
_Rule = tuple[KeyPath, str, str]


def strings_rules(profile: Profile) -> Iterator[_Rule]:
    """Every rule that the profile breaks: (path, what, next step)."""
    yield from _listen_only(profile)
    yield from _derived_events(profile)
    if profile.protocol != "strings":
        if profile.strings is not None:
            yield ("strings",), f"{profile.protocol} has no strings", "set protocol: strings, or remove strings"
        return
    if profile.strings is None:
        yield ("protocol",), "no strings say what its messages look like", "add strings: {frames: ...}"
        return
    for index, point in enumerate(profile.points):
        yield from _point(profile.strings, point, ("points", index))
    for index, operation in enumerate(profile.operations):
        name = operation.call.get("request")
        if name not in profile.strings.requests:
            step = did_you_mean(str(name), profile.strings.requests)
            yield ("operations", index, "call"), f"{shown(name)} is no request", step
    for index, event in enumerate(profile.events):
        if "becomes" not in event.when:
            yield from _event(profile.strings, event.when, ("events", index, "when"))


def _listen_only(profile: Profile) -> Iterator[_Rule]:
    if profile.class_ not in LISTEN_ONLY_CLASSES:
        return
    step = f"remove it: a {profile.class_} is only read, and nothing may write to it"
    for index, point in enumerate(profile.points):
        if point.access != "r" or point.write is not None:
            yield ("points", index, "access"), f"{point.id} of a {profile.class_} can be written", step
        elif isinstance(point.address, StringsField) and (point.address.ask or point.address.set):
            yield ("points", index), f"{point.id} of a {profile.class_} is asked for or set", step
    if profile.operations:
        yield ("operations", 0), f"a {profile.class_} has operations", step
    if profile.strings is not None and profile.strings.requests:
        yield ("strings", "requests"), f"a {profile.class_} has requests", step


def _derived_events(profile: Profile) -> Iterator[_Rule]:
    """Events that are a change of a point (`{point: door_open, becomes: true}`) name one, and nothing else."""
    points = [point.id for point in profile.points]
    for index, event in enumerate(profile.events):
        path: KeyPath = ("events", index, "when")
        if "becomes" not in event.when:
            continue
        name, lasts = event.when.get("point"), event.when.get("for_s", 1)
        if name not in points:
            yield path, f"{shown(name)} is no point", did_you_mean(str(name), points)
        if not isinstance(lasts, int | float) or isinstance(lasts, bool) or lasts <= 0:
            yield path, f"for_s {shown(lasts)} is no time", "give seconds above 0"
        if unknown := sorted(event.when.keys() - {"point", "becomes", "for_s"}):
            yield path, f"{shown(unknown[0])} beside becomes", "known are point, becomes, for_s"


def _point(strings: Strings, point: Point, path: KeyPath) -> Iterator[_Rule]:
    address = point.address
    if not isinstance(address, StringsField):
        yield path, f"{point.id} says no frame", "add frame: and field:, or tally: heard"
        return
    if address.frame is not None:
        frame = strings.frames.get(address.frame)
        if frame is None:
            yield (*path, "frame"), f"{shown(address.frame)} is no frame", did_you_mean(address.frame, strings.frames)
        elif address.field not in (names := _names(frame)):
            yield (
                (*path, "field"),
                f"{address.frame} has no field {shown(address.field)}",
                did_you_mean(address.field, names),
            )
    if address.ask is not None:
        request = strings.requests.get(address.ask)
        if request is None:
            yield (*path, "ask"), f"{shown(address.ask)} is no request", did_you_mean(address.ask, strings.requests)
        elif address.frame not in request.answer:
            yield (*path, "ask"), f"{address.ask} is not answered by {address.frame}", "add it to the request's answer"
    for name in address.settings:
        if name not in strings.requests:
            yield (*path, "set"), f"{shown(name)} is no request", did_you_mean(name, strings.requests)
        elif isinstance(address.set, str) and "value" not in _placed(strings.requests[name]):
            yield (
                (*path, "set"),
                f"{name} has no field value",
                "write {value} into its shape, or give one for each value",
            )
    if point.is_writable != bool(address.set):
        step = "add set: the request that writes it" if point.is_writable else "add access: rw"
        yield (*path, "access"), f"{point.id} is {point.access} and has {'a' if address.set else 'no'} set", step


def _event(strings: Strings, when: dict[str, object], path: KeyPath) -> Iterator[_Rule]:
    named = when.get("frame")
    names = named if isinstance(named, list) else [named]
    for name in names:
        frame = strings.frames.get(name) if isinstance(name, str) else None
        if frame is None:
            yield path, f"{shown(name)} is no frame", did_you_mean(str(name), strings.frames)
            continue
        for key in when:
            if key != "frame" and key not in (fields := _names(frame)):
                yield path, f"{name} has no field {shown(key)}", did_you_mean(key, fields)


def _placed(shaped: Shaped) -> list[str]:
    return [text for kind, text in shaped.parts if kind == "field"]


def _names(frame: FrameSpec) -> list[str]:
    return [*_placed(frame), *(name for name, field in frame.fields.items() if field.of is not None)]


# -- ambiguity --------------------------------------------------------------------------------------------------------


def ambiguous_frames(strings: Strings) -> Iterator[tuple[str, str]]:
    """(frame, the earlier frame that takes its messages): found by sending samples of each frame through the matcher."""
    language = Language(strings)
    for name, frame in strings.frames.items():
        taken = {_taken_by(language, sample) for sample in _samples(language, name, frame)}
        for other in sorted(each for each in taken if each and each != name):
            yield name, other


def _taken_by(language: Language, sample: bytes) -> str | None:
    heard = language.whole(sample)
    return None if heard is None else heard.frame


def _samples(language: Language, name: str, frame: FrameSpec) -> Iterator[bytes]:
    """Frames as the device might send them."""
    fields = [text for text in _placed(frame) if not _is_computed(frame.field(text))]
    choices = [_values(frame.field(field)) for field in fields]
    for values in islice(product(*choices), _MOST_SAMPLES):
        try:
            yield language.sample(name, dict(zip(fields, values, strict=True)))
        except StringsError:
            continue


def _is_computed(field: FieldSpec) -> bool:
    return field.check is not None or field.total is not None


def _values(field: FieldSpec) -> tuple[Scalar, ...]:
    if field.words is not None:
        return tuple(field.words)
    if field.among:
        return field.among
    size = field.size or 3
    if field.as_ == "text":
        return ("x" * size, "7" * size)
    return ("1" * size,) if field.as_ == "bits" else (1, 0)
