"""What a device says of itself once: who it is, what it can do, where named objects are, units, labels and trend logs.

Everything is batched by ReadPropertyMultiple, and kept in the layout under the device's Database_Revision: as long as that stays,
nothing is asked again but `facts`, one request.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from device_profiles.address import Bacnet
from device_profiles.bacnet import OBJECT_NAMES, object_number, parse_object
from device_profiles.schema import Point

from . import names, tags, units
from .bulk import BulkReader, text_of, unsigned_of
from .client import BacnetClient, Peer
from .codec import Ref, Result
from .values import text_of as element_text

_DEVICE = 8
_TREND_LOGS = frozenset({20, 27})
_MOST_OBJECTS = 50_000
_TEXTS_AT_ONCE = 8
"""State texts are long: so many objects in one request."""
_FACTS = {
    "vendor": "vendor-name", "model": "model-name", "serial": "serial-number", "firmware": "firmware-revision",
    "software": "application-software-version", "name": "object-name", "vendor_id": "vendor-identifier",
}  # fmt: skip
_SERVICES = {
    5: "cov",
    12: "read",
    14: "read-multiple",
    15: "write",
    35: "read-range",
    38: "cov-property",
}
"""Bits of BACnetServicesSupported that matter here, by what they stand for."""
_WITH_UNITS = frozenset({0, 1, 2, 23, 24, 45, 46, 48})
_BINARY = frozenset({3, 4, 5})
_MULTISTATE = frozenset({13, 14, 19})
_P = names.PROPERTIES
_log = structlog.get_logger("bacnet")


async def facts(client: BacnetClient, peer: Peer) -> dict[str, Any]:
    """`identity`, `revision` (Database_Revision), `restarted` (text of Time_Of_Device_Restart) and `services`, as far as the
    device says them. Raises DeviceError, LinkError.
    """
    reader = BulkReader(client, peer)
    wanted = [*_FACTS.values(), "database-revision", "time-of-device-restart", "protocol-services-supported"]
    refs = [Ref(_DEVICE, peer.instance, _P[name]) for name in wanted]
    results = dict(zip(wanted, await reader.read(refs), strict=True))
    identity = {fact: _fact(results[name]) for fact, name in _FACTS.items()}
    restarted = results["time-of-device-restart"]
    return {
        "identity": {fact: text for fact, text in identity.items() if text},
        "revision": unsigned_of(results["database-revision"]),
        "restarted": ", ".join(element_text(element) for element in restarted.elements),
        "services": _services(results["protocol-services-supported"]),
    }


def _fact(result: Result) -> str:
    number = unsigned_of(result)
    return text_of(result).strip() if number is None else str(number)


def _services(result: Result) -> list[str]:
    value = result.elements[0].value if len(result.elements) == 1 else None
    if not isinstance(value, tags.Bits):
        return []
    return sorted({_SERVICES[at] for at, bit in enumerate(value.bits) if bit and at in _SERVICES})


async def locate(
    client: BacnetClient, peer: Peer, points: Sequence[Point], before: Mapping[str, Any]
) -> dict[str, Any]:
    """The layout of a device. `before` is what was known of it: kept where its revision is the same.

    Raises DeviceError, LinkError. A point that is not found, or whose unit is unknown, is left out and said once.
    """
    found = await facts(client, peer)
    is_same = found["revision"] is not None and found["revision"] == before.get("revision")
    layout: dict[str, Any] = {**before} if is_same else {key: before[key] for key in ("octets", "rpm") if key in before}
    layout |= found
    layout |= {"max_apdu": peer.max_apdu, "segmentation": peer.segmentation}
    if found["services"]:
        layout["rpm"] = "read-multiple" in found["services"]
    reader = BulkReader(client, peer)
    reader.has_multiple = layout.get("rpm", True)
    objects = dict(layout.get("objects", {}))
    bacnet = [(point, point.address) for point in points if isinstance(point.address, Bacnet)]
    patterns = {address.name for _, address in bacnet if address.name is not None}
    if patterns - objects.keys() or "logs" not in layout:
        there = await _object_list(reader)
        layout["count"] = len(there)
        if patterns - objects.keys():
            objects |= _matched(patterns - objects.keys(), await _object_names(reader, there), peer)
        logs = await _logged(reader, [one for one in there if one.kind in _TREND_LOGS])
        layout["logged"] = {f"{ref.kind}:{ref.instance}": log for ref, log in logs.items()}
    layout["objects"] = objects
    refs = {point.id: _object_of(address, objects) for point, address in bacnet}
    layout["logs"] = _logs(bacnet, refs, layout.get("logged", {}))
    known = {point.id: ref for point, _ in bacnet if (ref := refs[point.id]) is not None}
    shown = _shown(points, known, _WITH_UNITS)
    layout["units"] = await _units(reader, shown, layout.get("units", {}), peer)
    reported = {point.id: shown[point.id] for point, address in bacnet if point.id in shown and _is_value(address)}
    layout["increments"] = await _increments(reader, reported, layout.get("increments", {}))
    layout["labels"] = await _labels(reader, points, known, layout.get("labels", {}))
    return layout


def _object_of(address: Bacnet, objects: Mapping[str, str]) -> tags.ObjectId | None:
    text = address.object or objects.get(address.name or "")
    if text is None:
        return None
    kind, instance = parse_object(text)
    return tags.ObjectId(object_number(kind), instance)


def _logs(
    bacnet: Sequence[tuple[Point, Bacnet]], refs: Mapping[str, tags.ObjectId | None], logged: Mapping[str, str]
) -> dict[str, str]:
    """The trend log of each point: the profile's word, or what the device's logs say that they keep."""
    logs: dict[str, str] = {}
    for point, address in bacnet:
        ref = refs[point.id]
        log = address.log or (logged.get(f"{ref.kind}:{ref.instance}") if ref and _is_value(address) else None)
        if log is not None:
            logs[point.id] = log
    return logs


def _is_value(address: Bacnet) -> bool:
    return address.prop == "present-value" and address.index is None


async def _object_list(reader: BulkReader) -> list[tags.ObjectId]:
    result = await reader.array(Ref(_DEVICE, reader.peer.instance, _P["object-list"]))
    there = [element.value for element in result.elements if isinstance(element.value, tags.ObjectId)]
    return there[:_MOST_OBJECTS]


async def _object_names(reader: BulkReader, there: Sequence[tags.ObjectId]) -> dict[str, tags.ObjectId]:
    results = await reader.read([Ref(*one, _P["object-name"]) for one in there])
    return {text: one for one, result in zip(there, results, strict=True) if (text := text_of(result))}


def _matched(patterns: set[str], there: Mapping[str, tags.ObjectId], peer: Peer) -> dict[str, str]:
    """The one object of each name; `*` stands for any text. None, or several, is said, and the point stays without a place."""
    objects: dict[str, str] = {}
    for pattern in sorted(patterns):
        exact = there.get(pattern)
        wild = (
            [one for name, one in there.items() if fnmatch.fnmatchcase(name, _literal(pattern))]
            if "*" in pattern
            else []
        )
        hits = [exact] if exact is not None else wild
        if len(hits) == 1:
            objects[pattern] = f"{OBJECT_NAMES.get(hits[0].kind, str(hits[0].kind))}:{hits[0].instance}"
        else:
            _log.warning("no single object has this name", device=peer.instance, name=pattern, objects=len(hits))
    return objects


def _literal(pattern: str) -> str:
    """A pattern in which only `*` is special."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


async def _logged(reader: BulkReader, logs: Sequence[tags.ObjectId]) -> dict[tags.ObjectId, str]:
    """The trend log of each object whose present value is logged on the device itself."""
    found: dict[tags.ObjectId, str] = {}
    results = await reader.read([Ref(*log, _P["log-device-object-property"]) for log in logs])
    for log, result in zip(logs, results, strict=True):
        given = [element for element in result.elements if element.form == tags.CONTEXT]
        parts = {element.number: element.value for element in given}
        target, prop, device = parts.get(0), parts.get(1), parts.get(3)
        is_own = device is None or (
            isinstance(device, bytes) and tags.read_object(device).instance == reader.peer.instance
        )
        if isinstance(target, bytes) and isinstance(prop, bytes) and is_own and prop == bytes((_P["present-value"],)):
            found.setdefault(tags.read_object(target), f"{OBJECT_NAMES[log.kind]}:{log.instance}")
    return found


def _shown(
    points: Sequence[Point], known: Mapping[str, tags.ObjectId], kinds: frozenset[int]
) -> dict[str, tags.ObjectId]:
    """Points that are the present value, or a slot of the priority array, of objects of these types."""
    shown: dict[str, tags.ObjectId] = {}
    for point in points:
        ref = known.get(point.id)
        address = point.address
        if ref is not None and ref.kind in kinds and isinstance(address, Bacnet) and address.prop in _SAME_UNIT:
            shown[point.id] = ref
    return shown


_SAME_UNIT = frozenset(
    {"present-value", "priority-array", "relinquish-default", "high-limit", "low-limit", "deadband", "cov-increment"}
)


async def _units(
    reader: BulkReader, shown: Mapping[str, tags.ObjectId], before: Mapping[str, str], peer: Peer
) -> dict[str, str]:
    """UCUM codes by point."""
    asked = sorted({ref for point, ref in shown.items() if point not in before})
    results = await reader.read([Ref(*ref, _P["units"]) for ref in asked])
    numbers = {ref: unsigned_of(result) for ref, result in zip(asked, results, strict=True)}
    unknown = sorted({number for number in numbers.values() if number is not None and units.ucum(number) is None})
    if unknown:
        _log.warning("units that no vocabulary has were left out", device=peer.instance, units=unknown)
    found = {point: units.ucum(number) for point, ref in shown.items() if (number := numbers.get(ref)) is not None}
    return {point: code for point, code in {**before, **found}.items() if code is not None and point in shown}


async def _increments(
    reader: BulkReader, reported: Mapping[str, tags.ObjectId], before: Mapping[str, float]
) -> dict[str, float]:
    """By how much a present value changes until its device reports it, by point; 0 where it does not say."""
    asked = sorted({ref for point, ref in reported.items() if point not in before})
    results = await reader.read([Ref(*ref, _P["cov-increment"]) for ref in asked])
    said = {ref: result.elements[0].value for ref, result in zip(asked, results, strict=True) if result.elements}
    steps = {ref: value for ref, value in said.items() if isinstance(value, float) and 0 <= value < math.inf}
    return {point: steps.get(ref, 0.0) if ref in asked else before[point] for point, ref in reported.items()}


async def _labels(
    reader: BulkReader,
    points: Sequence[Point],
    known: Mapping[str, tags.ObjectId],
    before: Mapping[str, Mapping[str, str]],
) -> dict[str, dict[str, str]]:
    """Texts by point and ordinal (as text, as JSON keeps it), where the profile has none: 1 to n of a multistate, 0 and 1 of a
    binary."""
    bare = [point for point in points if point.labels is None]
    found: dict[str, dict[str, str]] = {point: dict(texts) for point, texts in before.items() if point in known}
    binary, multi = _shown(bare, known, _BINARY), _shown(bare, known, _MULTISTATE)
    asked = sorted({ref for point, ref in binary.items() if point not in found})
    pairs = [Ref(*ref, _P[name]) for ref in asked for name in ("inactive-text", "active-text")]
    results = await reader.read(pairs)
    texts = {ref: [text_of(results[2 * at]), text_of(results[2 * at + 1])] for at, ref in enumerate(asked)}
    for point, ref in binary.items():
        if any(texts.get(ref, ())):
            found[point] = {str(at): text for at, text in enumerate(texts[ref]) if text}
    asked = sorted({ref for point, ref in multi.items() if point not in found})
    reader.at_once = min(reader.at_once, _TEXTS_AT_ONCE)
    states = dict(zip(asked, await reader.read([Ref(*ref, _P["state-text"]) for ref in asked]), strict=True))
    for point, ref in multi.items():
        values = states[ref].elements if ref in states else ()
        told = {
            str(at): value.value for at, value in enumerate(values, 1) if isinstance(value.value, str) and value.value
        }
        if told:
            found[point] = told
    return found


def changed(layout: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """True when what a device says of itself is not what the layout was made with."""
    return any(layout.get(key) != found[key] for key in ("identity", "revision", "restarted"))
