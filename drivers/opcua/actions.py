"""Writes and method calls: values in the types that the node or the method has, each done once.

A number that its type cannot hold is refused here, before anything leaves: a server would cut it or wrap it round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from asyncua import ua
from asyncua.client.ua_session import UaSession

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceRefused
from device_profiles.reading import Raw
from device_profiles.schema import OpcUa

from . import nodes
from .channel import Channel, only
from .describe import values
from .nodes import NoNamespace
from .status import name_of, not_done
from .variant import TYPE_NAMES

_WHOLE = {
    "SByte": (-(2**7), 2**7 - 1), "Byte": (0, 2**8 - 1), "Int16": (-(2**15), 2**15 - 1), "UInt16": (0, 2**16 - 1),
    "Int32": (-(2**31), 2**31 - 1), "UInt32": (0, 2**32 - 1), "Int64": (-(2**63), 2**63 - 1), "UInt64": (0, 2**64 - 1),
}  # fmt: skip
_LARGEST_FLOAT = 3.4028234663852886e38
_CALL_KEYS = frozenset({"object", "method", "namespace"})


def variant(value: Raw, kind: str, where: str) -> ua.Variant:
    """The value in a built-in type. Raises ConfigError for one that the type cannot hold."""
    if kind in _WHOLE and not isinstance(value, str):
        low, high = _WHOLE[kind]
        if value != value or value in (math.inf, -math.inf) or value != int(value) or not low <= value <= high:
            raise ConfigError(
                f"{value} is no {kind}", where=where, next_step=f"write a whole number of {low} to {high}"
            )
        return ua.Variant(int(value), ua.VariantType[kind])
    if kind == "Boolean" and value in (0, 1):
        return ua.Variant(bool(value), ua.VariantType.Boolean)
    if kind in ("Float", "Double") and not isinstance(value, str):
        if not math.isfinite(value) or (kind == "Float" and abs(value) > _LARGEST_FLOAT):
            raise ConfigError(f"{value} is no {kind}", where=where, next_step="write a number that it can hold")
        return ua.Variant(float(value), ua.VariantType[kind])
    if kind == "String" and isinstance(value, str):
        return ua.Variant(value, ua.VariantType.String)
    if kind == "LocalizedText" and isinstance(value, str):
        return ua.Variant(ua.LocalizedText(value), ua.VariantType.LocalizedText)
    step = (
        "write a value of its type" if kind in (*_WHOLE, "Boolean", "Float", "Double", "String") else "leave it alone"
    )
    raise ConfigError(f"{value!r} cannot be written to a {kind}", where=where, next_step=step)


async def write(channel: Channel, node: ua.NodeId, value: ua.Variant) -> None:
    """Writes once. Raises DeviceRefused, LinkError; DeviceTimeout when it is not known whether it was taken."""
    attribute = ua.WriteValue(node, ua.AttributeIds.Value, None, _only_value(value))
    params = ua.WriteParameters([attribute])
    status = only(await channel.service("writing", UaSession.write, params), channel.where)
    if status.is_bad():
        raise not_done(status.value, channel.where, "writing")


def _only_value(value: ua.Variant) -> ua.DataValue:
    """Neither status nor times: many servers refuse to have those written."""
    data = ua.DataValue(value)
    data.StatusCode = None
    return data


async def call(
    channel: Channel, namespaces: Sequence[str], operation: Operation, inputs: Mapping[str, Raw], most: int
) -> dict[str, Raw]:
    """Calls the operation's method once; gives its outputs by name. Raises as CanOperate.operate."""
    where = f"operations.{operation.id}"
    owner, method = await _method(channel, namespaces, operation.call, where, most)
    wanted, given = await _arguments(channel, method, "InputArguments", most), dict(inputs)
    arguments: list[ua.Variant] = []
    for argument in wanted:
        name, kind = str(argument.Name), _kind_of(argument)
        if name not in given:
            known = ", ".join(str(one.Name) for one in wanted)
            raise ConfigError(f"input {name!r} is missing", where=where, next_step=f"the method takes {known}")
        arguments.append(variant(given.pop(name), kind, f"{where}.inputs.{name}"))
    if given:
        known = ", ".join(str(one.Name) for one in wanted) or "none"
        raise ConfigError(f"the method has no input {next(iter(given))!r}", where=where, next_step=f"it takes {known}")
    request = ua.CallMethodRequest(owner, method, arguments)
    result = only(await channel.service("calling a method", UaSession.call, [request]), channel.where)
    if result.StatusCode.is_bad():
        wrong = [
            f"{argument.Name}: {name_of(status.value)}"
            for argument, status in zip(wanted, result.InputArgumentResults or (), strict=False)
            if not status.is_good()
        ]
        error = not_done(result.StatusCode.value, channel.where, f"calling {operation.call.get('method')}")
        if wrong and isinstance(error, DeviceRefused):
            error.what += f" ({', '.join(wrong)})"
        raise error
    outputs = await _arguments(channel, method, "OutputArguments", most) if result.OutputArguments else []
    names = [str(argument.Name) for argument in outputs] or [f"output_{n}" for n in range(len(result.OutputArguments))]
    return {name: _raw(value.Value) for name, value in zip(names, result.OutputArguments, strict=False)}


async def _method(
    channel: Channel, namespaces: Sequence[str], said: Mapping[str, Any], where: str, most: int
) -> tuple[ua.NodeId, ua.NodeId]:
    """The object and its method: each a node id, or a browse path and a name."""
    owner, method, space = said.get("object"), said.get("method"), said.get("namespace")
    texts = isinstance(owner, str) and isinstance(method, str) and isinstance(space, str | None)
    if not texts or said.keys() - _CALL_KEYS:
        step = "write call: {object: Plant/Chiller1, method: Reset}, with namespace: URI where names need one"
        raise ConfigError("call does not name an object and its method", where=where, next_step=step)
    assert isinstance(owner, str)
    assert isinstance(method, str)
    is_node = [
        ("=" in text.partition(";")[0] and text[:2] in ("ns", "i=", "s=", "g=", "b=")) for text in (owner, method)
    ]
    key = "node" if is_node[0] else "path"
    addresses = {"object": OpcUa.model_validate({key: owner, "namespace": space})}
    if not is_node[1] and not is_node[0]:
        addresses["method"] = OpcUa.model_validate({"path": f"{owner}/{method}", "namespace": space})
    elif is_node[1]:
        addresses["method"] = OpcUa.model_validate({"node": method, "namespace": space})
    found = await nodes.find(channel, namespaces, addresses, most)
    if "method" not in addresses and "object" in found.nodes:
        [(index, name)] = nodes.elements(method)
        try:
            spaces = [index] if index is not None else nodes.spaces_of(space, namespaces)
        except NoNamespace:
            spaces = []
        hits = await nodes.translate(channel, [(found.nodes["object"], one, name) for one in spaces], most)
        for hit in hits[::-1]:
            if hit is not None:
                found.nodes["method"] = hit
    if not {"object", "method"} <= found.nodes.keys():
        missing = next(iter(found.missing.values()), f"no {method!r} there")
        step = "see plantroom scan opcua for what there is"
        raise DeviceRefused(
            f"{owner}, {method}: {missing}", code=0x8075_0000, status="BadMethodInvalid", where=where, next_step=step
        )
    return found.nodes["object"], found.nodes["method"]


async def _arguments(channel: Channel, method: ua.NodeId, name: str, most: int) -> list[Any]:
    [node] = await nodes.translate(channel, [(method, 0, name)], most, ua.ObjectIds.HasProperty)
    if node is None:
        return []
    value = only(await values(channel, [node], most), channel.where)
    content = value.Value.Value if value.Value is not None else None
    return content if isinstance(content, list) else []


def _kind_of(argument: Any) -> str:
    kind = argument.DataType
    if argument.ValueRank < 0 and kind.NamespaceIndex == 0 and kind.Identifier in range(1, 26):
        return TYPE_NAMES[kind.Identifier]
    return "structure or array" if argument.ValueRank >= 0 else "Int32"


def _raw(value: Any) -> Raw:
    return value if isinstance(value, bool | int | float | str) else str(getattr(value, "Text", value))
