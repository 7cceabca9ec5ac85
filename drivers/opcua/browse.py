"""What a server's address space holds, bounded: the variables below a path whose own path fits a pattern."""

from __future__ import annotations

import fnmatch
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua
from asyncua.client.ua_session import UaSession

from device_profiles.errors import ConfigError, DeviceRefused
from device_profiles.schema import OpcUa

from . import describe, nodes
from .channel import only
from .session import OpcUaSession

MOST_FOUND = 10_000
MOST_SEEN = 200_000
"""Nodes that are looked at before a walk ends, found or not."""
DEEPEST = 12
_PORTION = 1000
_OBJECT_OR_VARIABLE = ua.NodeClass.Object | ua.NodeClass.Variable | ua.NodeClass.Method
_SERVER = ua.NodeId(ua.ObjectIds.Server)


@dataclass(slots=True)
class Seen:
    """A variable or method: where it is, and what it says of itself."""

    path: str
    node: str
    """With its namespace's URI."""
    kind: str
    """`variable` or `method`."""
    namespace: str
    type: str = ""
    unit: str | None = None
    value: Any = None
    status: str = "Good"
    writable: bool = False
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Walked:
    """What a walk found. `is_cut`: there was more than it was allowed to look at."""

    nodes: list[Seen] = field(default_factory=list)
    is_cut: bool = False
    looked_at: int = 0


async def walk(
    session: OpcUaSession,
    *,
    path: str | None = None,
    pattern: str | None = None,
    most: int = MOST_FOUND,
    details: bool = False,
) -> Walked:
    """Breadth first from the Objects folder, or from `path`, without the Server object itself. `pattern` is a glob over whole
    paths (`*/Chiller?/*Temperature`), case ignored. `details` reads values, types and units of what was found.

    Raises ConfigError when there is no `path`, DeviceError, LinkError.
    """
    start = await _start(session, path)
    walked, ids = Walked(), []
    queue: deque[tuple[ua.NodeId, str, int]] = deque([(start, (path or "").strip("/"), 0)])
    known = {start, _SERVER}
    wanted = pattern.lower() if pattern else None
    while queue and not walked.is_cut:
        portion = [queue.popleft() for _ in range(min(len(queue), session.limits["browse"], 20))]
        for (_, above, depth), children in zip(portion, await _children(session, portion, walked), strict=True):
            for child in children:
                node = ua.NodeId(child.NodeId.Identifier, child.NodeId.NamespaceIndex, child.NodeId.NodeIdType)
                if node in known:
                    continue
                known.add(node)
                name = str(child.BrowseName.Name or "").replace("/", "&/")
                below = f"{above}/{name}" if above else name
                if child.NodeClass != ua.NodeClass.Object and (
                    wanted is None or fnmatch.fnmatchcase(below.lower(), wanted)
                ):
                    if len(walked.nodes) >= most:
                        walked.is_cut = True
                        break
                    walked.nodes.append(_seen(session, child, node, below))
                    ids.append(node)
                if child.NodeClass == ua.NodeClass.Object and depth < DEEPEST:
                    queue.append((node, below, depth + 1))
    if details:
        await _detail(session, walked.nodes, ids)
    return walked


async def _start(session: OpcUaSession, path: str | None) -> ua.NodeId:
    if not path or not path.strip("/"):
        return nodes.OBJECTS
    address = OpcUa.model_validate({"path": path})
    found = await nodes.find(session.channel, session.namespaces, {"start": address}, session.limits["translate"])
    if "start" not in found.nodes:
        step = "leave out --path to see what there is"
        raise ConfigError(f"{found.missing['start']} in {path!r}", where=session.channel.where, next_step=step)
    return found.nodes["start"]


async def _children(
    session: OpcUaSession, parents: list[tuple[ua.NodeId, str, int]], walked: Walked
) -> list[list[ua.ReferenceDescription]]:
    wanted = [_description(node) for node, _, _ in parents]
    params = ua.BrowseParameters(RequestedMaxReferencesPerNode=_PORTION, NodesToBrowse=wanted)
    results = await session.channel.service("browsing", UaSession.browse, params)
    found: list[list[ua.ReferenceDescription]] = []
    for result in results[: len(parents)]:
        references = list(result.References or ())
        point = result.ContinuationPoint
        while point:
            is_enough = walked.looked_at + len(references) >= MOST_SEEN or len(references) >= 10 * MOST_FOUND
            more = ua.BrowseNextParameters(is_enough, [point])
            answer = only(
                await session.channel.service("browsing on", UaSession.browse_next, more), session.channel.where
            )
            if is_enough:
                walked.is_cut = True
                break
            references += answer.References or ()
            point = answer.ContinuationPoint
        walked.looked_at += len(references)
        walked.is_cut = walked.is_cut or walked.looked_at >= MOST_SEEN
        found.append(references)
    return found + [[] for _ in range(len(parents) - len(found))]


def _description(node: ua.NodeId) -> ua.BrowseDescription:
    reference = ua.NodeId(ua.ObjectIds.HierarchicalReferences)
    return ua.BrowseDescription(node, ua.BrowseDirection.Forward, reference, True, _OBJECT_OR_VARIABLE, 63)


def _seen(session: OpcUaSession, child: Any, node: ua.NodeId, path: str) -> Seen:
    kind = "method" if child.NodeClass == ua.NodeClass.Method else "variable"
    index = child.BrowseName.NamespaceIndex
    space = session.namespaces[index] if index < len(session.namespaces) else str(index)
    return Seen(path, nodes.text_of(node, session.namespaces), kind, space)


async def _detail(session: OpcUaSession, seen: list[Seen], ids: list[ua.NodeId]) -> None:
    """Values, types, units, labels and access of what was found; what a server does not tell stays open."""
    chosen = {str(n): node for n, (one, node) in enumerate(zip(seen, ids, strict=True)) if one.kind == "variable"}
    most = session.limits["read"]
    read = await describe.values(session.channel, list(chosen.values()), most)
    for key, value in zip(chosen, read, strict=False):
        one, variant = seen[int(key)], value.Value
        one.status = value.StatusCode.name if value.StatusCode is not None else "Good"
        if variant is not None and variant.Value is not None:
            one.type = variant.VariantType.name + ("[]" if variant.is_array else "")
            one.value = variant.Value if isinstance(variant.Value, bool | int | float | str) else None
    access = await describe.values(session.channel, list(chosen.values()), most, ua.AttributeIds.UserAccessLevel)
    for key, value in zip(chosen, access, strict=False):
        level = value.Value.Value if value.Value is not None else 0
        seen[int(key)].writable = isinstance(level, int) and bool(level & 2)
    try:
        units, labels = await describe.meanings(session.channel, chosen, min(most, session.limits["translate"]))
    except DeviceRefused:
        return
    for key in chosen:
        seen[int(key)].unit, seen[int(key)].labels = units.get(key), labels.get(key, {})
