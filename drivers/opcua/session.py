"""An open OPC UA endpoint: batched reads, subscriptions, locating, identity, writes and methods (see drivers.base).

Several devices may be behind one endpoint, told apart by their nodes. A node that is not there is a point's fault; what the
server refuses as a whole is the device's; session, channel and connection are the link's.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua
from asyncua.ua.ua_binary import nodeid_to_binary

from device_profiles.address import PREFIX
from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceMismatch, DeviceRefused
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import OpcUa, Point
from drivers.base import Address, Batch, Change, Layout, Standing, Unsubscribed, WireCount

from . import actions, binary, describe, nodes
from .channel import Channel, only
from .status import TOO_MUCH
from .subscription import Subscription

MOST_NODES = 1000
"""In one service call, where the server does not say less."""
_ANY_SLACK_MS = 2000
_NO_NODE = "BadNodeIdUnknown"
_SEEK_AGAIN_S = 60.0
_MOST_PLANS = 4096
_LIMITS = {
    "read": ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    "translate": ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
    "items": ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    "browse": ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
}


@dataclass(frozen=True, eq=False, slots=True)
class ReadPlan:
    """The nodes of a batch, in its order: what was located, or what the profile says; None where no node was found."""

    nodes: tuple[str | None, ...]
    paths: Mapping[str, OpcUa]
    """Points whose node was found by browse path: looked for again when it vanishes."""
    layout: Layout | None


@dataclass(slots=True)
class _Prepared:
    """A plan on this server: encoded node ids, and why some points have none."""

    nodes: list[bytes]
    places: list[int]
    answers: list[Raw | Sample | PointFault]
    """Of all points; those without a node are filled in."""
    requests: list[tuple[int, int, bytes]]
    """(first, end, parameters) of each Read."""


class OpcUaSession:
    """See drivers.base: a Session that can locate, learn, identify, subscribe, write and operate."""

    def __init__(self, channel: Channel, namespaces: Sequence[str], limits: Mapping[str, int]) -> None:
        assert channel.link.opcua is not None
        self.channel, self.namespaces, self.limits = channel, namespaces, dict(limits)
        self._subscription = Subscription(channel, channel.link.opcua.publish_ms, self.limits["items"])
        self._subscribes = channel.link.opcua.subscribe
        self._plans: dict[ReadPlan, _Prepared] = {}
        self._news: dict[str, Layout] = {}
        self._sought_at: dict[ReadPlan, float] = {}

    @classmethod
    async def begin(cls, channel: Channel) -> OpcUaSession:
        """Reads what a session needs of its server. Raises DeviceError, LinkError."""
        spaces = only(await describe.values(channel, [ua.NodeId(ua.ObjectIds.Server_NamespaceArray)], 1), channel.where)
        content = spaces.Value.Value if spaces.Value is not None else None
        if not isinstance(content, list) or not content:
            step = "show it to the server's maker"
            raise DeviceMismatch("the server has no NamespaceArray", where=channel.where, next_step=step)
        limits = dict.fromkeys(_LIMITS, MOST_NODES)
        read = await describe.values(channel, [ua.NodeId(number) for number in _LIMITS.values()], len(_LIMITS))
        for name, value in zip(_LIMITS, read, strict=False):
            most = value.Value.Value if value.Value is not None else None
            if isinstance(most, int) and 0 < most < MOST_NODES:
                limits[name] = most
        return cls(channel, [str(uri) for uri in content], limits)

    @property
    def counts(self) -> WireCount:
        """What went over the connection since it was opened."""
        return self.channel.counts

    @property
    def dropped(self) -> int:
        """Changes that nobody took in time."""
        return self._subscription.dropped

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """The batch's values, in as few Reads as the server takes. Raises DeviceError, LinkError."""
        plan: ReadPlan = batch.plan
        prepared = self._plans.get(plan) or self._prepare(plan)
        answers = list(prepared.answers)
        has_lost = len(prepared.nodes) < len(answers)
        told = binary.EVERY_TIME
        for first, end, parameters in list(prepared.requests):
            try:
                body, at = await self.channel.ask(binary.READ_REQUEST, parameters, "reading")
            except DeviceRefused as error:
                if error.code in TOO_MUCH and end - first > 1:
                    self.limits["read"] = max(1, min(self.limits["read"], end - first) // 2)
                    self._plans.clear()
                    return await self.read(device, batch)
                raise
            values = binary.read_results(body, at, end - first, told)
            for place, value in zip(prepared.places[first:end], values, strict=True):
                answers[place] = value
                has_lost = has_lost or (isinstance(value, PointFault) and value.status == _NO_NODE)
        if has_lost and plan.paths:
            await self._seek(device, batch)
        return answers

    def _prepare(self, plan: ReadPlan) -> _Prepared:
        prepared = _Prepared([], [], [], [])
        for place, text in enumerate(plan.nodes):
            prepared.answers.append(PointFault(_NO_NODE, "the server has no such node"))
            if text is None:
                continue
            try:
                prepared.nodes.append(nodeid_to_binary(nodes.node_id(text, self.namespaces)))
                prepared.places.append(place)
            except nodes.NoNamespace as error:
                prepared.answers[place] = PointFault(_NO_NODE, f"the server has no namespace {error}")
        most = self.limits["read"]
        for first in range(0, len(prepared.nodes), most):
            part = prepared.nodes[first : first + most]
            prepared.requests.append((first, first + len(part), binary.read_parameters(part)))
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        self._plans[plan] = prepared
        return prepared

    async def _seek(self, device: Address, batch: Batch) -> None:
        """Follows the browse paths of a batch again, once a minute at most; `learned` tells what moved."""
        plan: ReadPlan = batch.plan
        now = time.monotonic()
        if now - self._sought_at.get(plan, -_SEEK_AGAIN_S) < _SEEK_AGAIN_S:
            return
        if len(self._sought_at) >= _MOST_PLANS:
            self._sought_at.clear()
        self._sought_at[plan] = now
        found = await nodes.find(self.channel, self.namespaces, plan.paths, self.limits["translate"])
        texts = {name: nodes.text_of(node, self.namespaces) for name, node in found.nodes.items()}
        known = dict((plan.layout or {}).get("nodes", {}))
        moved = {name: text for name, text in texts.items() if known.get(name) != text}
        if moved:
            before = self._news.get(device.device or str(device.unit), plan.layout) or {}
            news = {**before, "nodes": {**dict(before.get("nodes", {})), **known, **moved}}
            self._news[device.device or str(device.unit)] = news

    def learned(self, device: Address) -> Layout | None:
        """The layout with nodes that were found again elsewhere; None when nothing is new."""
        return self._news.pop(device.device or str(device.unit), None)

    def needs_locating(self, points: Sequence[Point]) -> bool:
        """True: paths have to be followed, and every node has a type, most a unit."""
        return any(isinstance(point.address, OpcUa) for point in points)

    async def locate(self, device: Address, points: Sequence[Point]) -> Layout:
        """`nodes`, `types`, `units`, `labels` by point, and the server's `identity`.

        Raises ConfigError for an address that is wrong everywhere, DeviceError, LinkError.
        """
        found = await nodes.find(self.channel, self.namespaces, nodes.addresses_of(points), self.limits["translate"])
        types = await describe.types(self.channel, found.nodes, self.limits["read"])
        units, labels = await describe.meanings(
            self.channel, found.nodes, min(self.limits["read"], self.limits["translate"])
        )
        return {
            "nodes": {name: nodes.text_of(node, self.namespaces) for name, node in found.nodes.items()},
            "missing": found.missing,
            "types": types,
            "units": units,
            "labels": labels,
            "identity": await self.identify(device),
        }

    async def identify(self, device: Address) -> Mapping[str, str]:
        """Vendor, model, firmware and application URI of the server."""
        return await describe.identity(self.channel, self.namespaces)

    async def subscribe(self, device: Address, points: Sequence[Point], layout: Layout | None) -> frozenset[str]:
        """Monitors the points that have a node; a number in `cov` is asked for as absolute deadband."""
        if not self._subscribes:
            return frozenset()
        found: dict[str, ua.NodeId] = {}
        for point in points:
            text = located(point, layout)
            try:
                if text is not None:
                    found[point.id] = nodes.node_id(text, self.namespaces)
            except nodes.NoNamespace:
                continue
        return await self._subscription.replace(device.device or str(device.unit), points, found)

    async def unsubscribe(self, device: Address) -> None:
        """Ends what is monitored for the device."""
        await self._subscription.remove(device.device or str(device.unit))

    def changes(self) -> AsyncIterator[Sequence[Change | Unsubscribed]]:
        """See CanSubscribe. Raises LinkError when the link is lost, after every point was given up."""
        return self._subscription.changes()

    async def write(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> None:
        """Writes once, in the node's own type. OPC UA has no slots: None and a priority are refused."""
        where = f"{device.device or self.channel.link.id}/{point.id}"
        if value is None or priority is not None:
            step = "give the profile's point write: {release: VALUE}, and no priority"
            raise ConfigError("OPC UA knows no priorities: nothing can be released", where=where, next_step=step)
        node = self._node(point, layout, where)
        kind = (layout or {}).get("types", {}).get(point.id)
        if kind is None:
            kind = (await describe.types(self.channel, {point.id: node}, 1)).get(point.id, "type that it does not tell")
        await actions.write(self.channel, node, actions.variant(value, kind, where))

    async def standing(
        self, device: Address, point: Point, layout: Layout | None, *, priority: int | None = None
    ) -> Standing:
        """Reads the point back."""
        node = nodeid_to_binary(self._node(point, layout, f"{device.device or self.channel.link.id}/{point.id}"))
        body, at = await self.channel.ask(binary.READ_REQUEST, binary.read_parameters([node]), "reading back")
        [value] = binary.read_results(body, at, 1, binary.EVERY_TIME)
        return Standing(value)

    def _node(self, point: Point, layout: Layout | None, where: str) -> ua.NodeId:
        text = located(point, layout)
        try:
            if text is not None:
                return nodes.node_id(text, self.namespaces)
            why = "its browse path was not found"
        except nodes.NoNamespace as error:
            why = f"the server has no namespace {error}"
        step = "see plantroom scan opcua for what there is"
        raise DeviceRefused(why, code=0x8034_0000, status=_NO_NODE, where=where, next_step=step)

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """Calls the operation's method once; gives its outputs by name. A device's unit is its prefix, where it has one."""
        if isinstance(device.unit, str):
            said = {key: _prefixed(text, device.unit) for key, text in operation.call.items()}
            operation = operation.model_copy(update={"call": said})
        return await actions.call(self.channel, self.namespaces, operation, inputs, self.limits["translate"])

    async def close(self) -> None:
        await self._subscription.close()


def _prefixed(text: Any, prefix: str) -> Any:
    return text.replace(PREFIX, prefix) if isinstance(text, str) else text


def located(point: Point, layout: Layout | None) -> str | None:
    """The node id of a point: as located, else as the profile says it. None for a path that was not found."""
    known: Mapping[str, Any] = (layout or {}).get("nodes", {})
    if point.id in known:
        return str(known[point.id])
    address = point.address
    if not isinstance(address, OpcUa) or address.node is None:
        return None
    return nodes.portable(address.node, address.namespace)
