"""Where a point is on a server: node ids that outlive a restart, and browse paths (OPC 10000-4, 5.8.4, and 10000-6, 5.1.12).

A namespace's index may change with every start of a server, its URI does not: what is kept carries the URI. Index 0 is fixed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua
from asyncua.client.ua_session import UaSession

from device_profiles.errors import ConfigError
from device_profiles.schema import OpcUa, Point

from .channel import Channel

OBJECTS = ua.NodeId(ua.ObjectIds.ObjectsFolder)
_INDEX = re.compile(r"(?:ns=(?P<index>\d{1,5});|nsu=(?P<uri>(?:[^;%]|%3B|%25)*);)?(?P<rest>[isgb]=.+)", re.S)
_ELEMENT = re.compile(r"(?:(\d{1,5}):)?(.+)", re.S)
_SLASH = re.compile(r"(?<!&)/")


class NoNamespace(LookupError):
    """The server has no namespace of this URI."""


def portable(text: str, namespace: str | None) -> str:
    """A node id as written, with the address's namespace where it has none of its own. Raises ConfigError."""
    match = _INDEX.fullmatch(text)
    if match is None:
        step = "write nsu=urn:maker:plant;s=Name, or ns=2;i=1001"
        raise ConfigError(f"{text!r} is no OPC UA node id", next_step=step)
    if namespace is not None and match["index"] is None and match["uri"] is None:
        return f"nsu={_escaped(namespace)};{text}"
    return text


def node_id(text: str, namespaces: Sequence[str]) -> ua.NodeId:
    """The node id on a server with these namespaces. Raises ConfigError for what is none, NoNamespace."""
    match = _INDEX.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text!r} is no OPC UA node id", next_step="write nsu=urn:maker:plant;s=Name")
    index = int(match["index"] or 0)
    if match["uri"] is not None:
        uri = match["uri"].replace("%3B", ";").replace("%25", "%")
        if uri not in namespaces:
            raise NoNamespace(uri)
        index = namespaces.index(uri)
    try:
        return ua.NodeId.from_string(f"ns={index};{match['rest']}")
    except (ua.UaError, ValueError) as error:
        raise ConfigError(f"{text!r} is no OPC UA node id", next_step="write nsu=urn:maker:plant;s=Name") from error


def text_of(node: ua.NodeId, namespaces: Sequence[str]) -> str:
    """A node id with its namespace's URI, to be kept."""
    rest: str = ua.NodeId(node.Identifier, 0, node.NodeIdType).to_string()
    if node.NamespaceIndex == 0:
        return rest
    if node.NamespaceIndex >= len(namespaces):
        return f"ns={node.NamespaceIndex};{rest}"
    return f"nsu={_escaped(namespaces[node.NamespaceIndex])};{rest}"


def _escaped(uri: str) -> str:
    return uri.replace("%", "%25").replace(";", "%3B")


def elements(path: str) -> list[tuple[int | None, str]]:
    """The names of a browse path, each with its namespace index where it says one; `&/` is a slash inside of a name."""
    parts = [part.replace("&/", "/") for part in _SLASH.split(path.strip("/"))]
    found: list[tuple[int | None, str]] = []
    for part in parts:
        match = _ELEMENT.fullmatch(part)
        if match is None:
            raise ConfigError(f"path {path!r} has an empty element", next_step="write it like Plant/Chiller1/Supply")
        found.append((None if match[1] is None else int(match[1]), match[2]))
    return found


@dataclass(frozen=True, slots=True)
class Found:
    """Nodes of points; `missing` says for each other point why there is none."""

    nodes: dict[str, ua.NodeId]
    missing: dict[str, str]


async def find(channel: Channel, namespaces: Sequence[str], addresses: Mapping[str, OpcUa], most: int = 1000) -> Found:
    """The node of each address. Paths are followed level by level, so that equal beginnings are asked once.

    Raises ConfigError for an address that is wrong on every server, DeviceError, LinkError.
    """
    found = Found({}, {})
    open_: dict[str, tuple[ua.NodeId, list[tuple[int | None, str]], Sequence[int]]] = {}
    for name, address in addresses.items():
        try:
            if address.node is not None:
                found.nodes[name] = node_id(portable(address.node, address.namespace), namespaces)
                continue
            spaces = spaces_of(address.namespace, namespaces)
            open_[name] = (OBJECTS, elements(address.path or ""), spaces)
        except NoNamespace as error:
            found.missing[name] = f"the server has no namespace {error}"
    while open_:
        wanted: dict[tuple[str, tuple[int, ...], str], None] = {}
        keys: dict[str, tuple[str, tuple[int, ...], str]] = {}
        parents: dict[str, ua.NodeId] = {}
        for name, (parent, [(index, element), *_], spaces) in open_.items():
            key = (parent.to_string(), tuple(spaces) if index is None else (index,), element)
            wanted[key] = None
            keys[name], parents[key[0]] = key, parent
        steps = [(parents[key[0]], space, key[2]) for key in wanted for space in key[1]]
        targets = iter(await translate(channel, steps, most))
        results = {key: [target for _ in key[1] if (target := next(targets)) is not None] for key in wanted}
        for name, (_, [(_, element), *rest], spaces) in list(open_.items()):
            hits = results[keys[name]]
            if not hits:
                found.missing[name] = f"no {element!r} on its browse path"
            elif not rest:
                found.nodes[name] = hits[0]
            if hits and rest:
                open_[name] = (hits[0], rest, spaces)
            else:
                del open_[name]
    return found


def spaces_of(uri: str | None, namespaces: Sequence[str]) -> Sequence[int]:
    """The indexes that a name without one of its own may be in. Raises NoNamespace."""
    if uri is None:
        return range(len(namespaces))
    if uri not in namespaces:
        raise NoNamespace(uri)
    return [namespaces.index(uri)]


async def translate(
    channel: Channel,
    steps: Sequence[tuple[ua.NodeId, int, str]],
    most: int,
    reference: int = ua.ObjectIds.HierarchicalReferences,
) -> list[ua.NodeId | None]:
    """The node below each (parent, namespace index, name); None where there is none. Raises DeviceError, LinkError."""
    found: list[ua.NodeId | None] = []
    for at in range(0, len(steps), most):
        paths = [_one_step(parent, space, name, reference) for parent, space, name in steps[at : at + most]]
        results = await channel.service("following browse paths", UaSession.translate_browsepaths_to_nodeids, paths)
        for result in results:
            is_there = result.StatusCode.is_good() and result.Targets
            found.append(_local(result.Targets[0].TargetId) if is_there else None)
        found += [None] * (min(at + most, len(steps)) - len(found))
    return found


def _one_step(parent: ua.NodeId, space: int, name: str, reference: int) -> ua.BrowsePath:
    element = ua.RelativePathElement(ua.NodeId(reference), False, True, ua.QualifiedName(name, space))
    return ua.BrowsePath(parent, ua.RelativePath([element]))


def _local(node: Any) -> ua.NodeId:
    """Of an ExpandedNodeId."""
    return ua.NodeId(node.Identifier, node.NamespaceIndex, node.NodeIdType)


def addresses_of(points: Sequence[Point]) -> dict[str, OpcUa]:
    """The addresses by point. Raises ConfigError for a point that has none on OPC UA."""
    found: dict[str, OpcUa] = {}
    for point in points:
        if not isinstance(point.address, OpcUa):
            step = "give it node: or path:"
            raise ConfigError(f"point {point.id} has no OPC UA address", where=f"points.{point.id}", next_step=step)
        found[point.id] = point.address
    return found
