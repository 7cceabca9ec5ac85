"""Writes a proposal as device profiles in YAML, for a person to accept line by line.

One profile a kind of equipment: where several pieces of equipment on one controller have the same objects, the addresses are
names with `{prefix}` and the devices are listed. What was written loads without an error; what is unsure is a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .propose_found import Equipment, FoundDevice, Proposal, ProposedPoint
from .vocabulary import vocabulary

SURE = 0.8
"""Below this confidence a line is commented out: of two real buildings' lines from 0.5 to 0.8 under half were right."""
ALIKE = 0.6
"""Share of objects that two pieces of equipment must have in common to be of one kind."""


@dataclass(frozen=True, slots=True)
class ProposedProfile:
    """One file."""

    id: str
    text: str
    devices: tuple[tuple[str, str], ...]
    """(device id, prefix) of each piece of equipment."""


def proposed_profiles(proposal: Proposal) -> list[ProposedProfile]:
    """The profiles of a proposal, the one with the most devices first."""
    kinds = _kinds(proposal.equipment)
    taken: set[str] = set()
    return [_profile(proposal.device, kind, taken) for kind in sorted(kinds, key=lambda kind: -len(kind))]


def _kinds(equipment: Sequence[Equipment]) -> list[list[Equipment]]:
    """Equipment of one class with much the same objects, together."""
    kinds: list[tuple[frozenset[str], list[Equipment]]] = []
    for one in equipment:
        leaves = frozenset(point.leaf.casefold() for point in one.points)
        for known, members in kinds:
            if members[0].cls == one.cls and one.prefix and len(known & leaves) >= ALIKE * len(known | leaves):
                members.append(one)
                break
        else:
            kinds.append((leaves, [one]))
    return [members for _, members in kinds]


def _profile(device: FoundDevice, kind: Sequence[Equipment], taken: set[str]) -> ProposedProfile:
    profile_id = _free_id(device, kind, taken)
    first = kind[0]
    named = len(kind) > 1
    where = _plain(device.name or device.id or "the device")
    head = [
        f"# Proposed from {sum(len(one.points) for one in kind)} objects of {where}.",
        f"# Class {first.cls}: {_plain(first.reason)} (confidence {first.confidence:.2f}).",
        f"# Before each line: confidence and reason. Commented out = below {SURE}, or incomplete.",
        f"# Save as {profile_id}.yaml, compare with the device, delete the comments; plantroom profile lint {profile_id}.yaml,",
        f"# plantroom read --dir . --profile {profile_id} --link ... Nothing here is writable yet.",
    ]
    devices = tuple((_device_id(one, at), one.prefix) for at, one in enumerate(kind, 1))
    if named:
        head.append("# Devices for agent.yaml, each with link and unit of the controller:")
        head += [
            f"#   - {{id: {device_id}, profile: {profile_id}, prefix: {_quoted(prefix)}}}"
            for device_id, prefix in devices
        ]
    lines = [
        *head,
        f"profile: {profile_id}",
        "version: 1",
        f"class: {first.cls}",
        f"system: {vocabulary().classes[first.cls][0]}",
        f"products: [{_quoted(' '.join(part for part in (device.vendor, device.model) if part) or 'unknown')}]",
        f"protocol: {device.protocol}",
        "poll: 30",
        *_points(device, kind, named=named),
        "source:",
        f"  title: {_quoted(f'Objects discovered on {where} (source: unverified)')}",
    ]
    return ProposedProfile(profile_id, "\n".join(lines) + "\n", devices)


def _points(device: FoundDevice, kind: Sequence[Equipment], *, named: bool) -> Iterator[str]:
    """The lines of every point that any of the kind has, surest wording first."""
    best: dict[str, ProposedPoint] = {}
    counts: dict[str, int] = {}
    for point in (point for one in kind for point in one.points):
        leaf = point.leaf.casefold()
        counts[leaf] = counts.get(leaf, 0) + 1
        if leaf not in best or best[leaf].confidence < point.confidence:
            best[leaf] = point
    taken: set[str] = set()
    body: list[str] = []
    any_live = False
    for leaf, point in best.items():
        lacks = _lacks(point, named=named)
        live = point.confidence >= SURE and not lacks and point.id not in taken
        any_live |= live
        if live:
            taken.add(point.id)
        some = f", on {counts[leaf]} of {len(kind)} devices" if counts[leaf] < len(kind) else ""
        near = f"; else {point.other}" if point.other and point.confidence < SURE else ""
        body.append(f"  # {point.confidence:.2f} {_plain(point.reason)}{near}{some}{lacks}")
        body.append(f"  {'' if live else '# '}- {{{', '.join(_keys(device, point, named=named))}}}")
    yield "points:" if any_live else "points: []  # nothing was sure enough"
    yield from body


def _lacks(point: ProposedPoint, *, named: bool) -> str:
    """Why the line cannot stand as it is; empty where it can."""
    if point.found.kind == "unknown":
        return "; its object type is not known"
    if point.type == "enum" and not point.found.states:
        return "; its state texts are not known, add labels"
    where = point.leaf if named else point.found.reference
    return "" if where.isprintable() else "; its name cannot be written, address it by object"


def _keys(device: FoundDevice, point: ProposedPoint, *, named: bool) -> Iterator[str]:
    yield f"id: {point.id}"
    if point.found.kind == "opcua":
        key = "node" if re.match(r"(ns=|nsu=|[igsb]=)", point.found.reference) else "path"
        reference = point.found.reference
        if named and point.prefix in reference:
            reference = reference.replace(point.prefix, "{prefix}", 1)
        yield f"address: {{{key}: {_quoted(reference)}}}"
        kind = {"num": "f64", "bool": "bool", "enum": "u32", "text": "str"}[point.type]
        if kind != "f64":
            yield f"type: {kind}"
    elif named:
        yield f"address: {{name: {_quoted('{prefix}' + point.leaf)}}}"
        kind = {"num": "f32", "bool": "bool", "enum": "u32", "text": "str"}[point.type]
        if kind != "f32":
            yield f"type: {kind}"
    else:
        yield f"address: {{object: {_quoted(point.found.reference)}}}"
    if point.id.startswith("x_") and point.quantity:
        yield f"quantity: {point.quantity}"
    if point.unit:
        yield f"unit: {_quoted(point.unit)}"
    if point.type == "enum" and point.found.states:
        first = 0 if point.found.kind == "opcua" else 1  # OPC UA counts the texts of EnumStrings from 0
        yield f"labels: {{{', '.join(f'{n}: {_quoted(text)}' for n, text in enumerate(point.found.states, first))}}}"
    yield f"label: {_quoted(point.found.description or point.leaf)}"


def _free_id(device: FoundDevice, kind: Sequence[Equipment], taken: set[str]) -> str:
    maker = "-".join(part for part in (device.vendor, device.model) if part) or device.name or "proposed"
    stem = _id(f"{maker}-{kind[0].cls}", 60)
    fresh = next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, len(taken) + 3))) if name not in taken)
    taken.add(fresh)
    return fresh


def _device_id(one: Equipment, at: int) -> str:
    return _id(one.id.replace("_", "-"), 48) or f"{one.cls}-{at}"


def _id(text: str, length: int) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:length].strip("-")


def _quoted(text: str) -> str:
    """The text as a double-quoted YAML scalar; what cannot be printed becomes a space."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return '"{}"'.format(printable.replace("\\", "\\\\").replace('"', '\\"'))


def _plain(text: str) -> str:
    """Text for a comment: one line, nothing that ends it."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:240]
