"""What a server knows of its own variables: data type, engineering unit, texts of states (OPC 10000-8, 5.3), and of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asyncua import ua
from asyncua.client.ua_session import UaSession

from device_profiles.errors import DeviceError

from .channel import Channel
from .nodes import translate
from .units import ucum

_UNIT, _STRINGS, _VALUES, _TRUE, _FALSE = "EngineeringUnits", "EnumStrings", "EnumValues", "TrueState", "FalseState"
_PROPERTIES = (_UNIT, _STRINGS, _VALUES, _TRUE, _FALSE)
_BUILD_INFO = {
    "vendor": ua.ObjectIds.Server_ServerStatus_BuildInfo_ManufacturerName,
    "model": ua.ObjectIds.Server_ServerStatus_BuildInfo_ProductName,
    "firmware": ua.ObjectIds.Server_ServerStatus_BuildInfo_SoftwareVersion,
    "build": ua.ObjectIds.Server_ServerStatus_BuildInfo_BuildNumber,
}
_BUILT_IN = 25
_MOST_LABELS = 256


async def values(
    channel: Channel, nodes: Sequence[ua.NodeId], most: int, attribute: ua.AttributeIds = ua.AttributeIds.Value
) -> list[ua.DataValue]:
    """Attributes with their types, through asyncua's codec. Raises DeviceError, LinkError."""
    found: list[ua.DataValue] = []
    for at in range(0, len(nodes), most):
        part = list(nodes[at : at + most])
        found += await channel.service("reading attributes", UaSession.read_attributes, part, attribute)
    return found


async def identity(channel: Channel, namespaces: Sequence[str]) -> dict[str, str]:
    """Vendor, model, firmware and build of the server's BuildInfo, and its application URI, as far as it says them."""
    read = await values(channel, [ua.NodeId(number) for number in _BUILD_INFO.values()], len(_BUILD_INFO))
    facts = {
        name: str(value.Value.Value).strip()
        for name, value in zip(_BUILD_INFO, read, strict=False)
        if value.Value is not None and value.Value.Value
    }
    return facts | ({"application": namespaces[1]} if len(namespaces) > 1 else {})


async def types(channel: Channel, nodes: Mapping[str, ua.NodeId], most: int) -> dict[str, str]:
    """The built-in type of each variable, as its value has it (`Double`, `Int16[]`); left out where it has none now."""
    read = await values(channel, list(nodes.values()), most)
    found: dict[str, str] = {}
    for name, value in zip(nodes, read, strict=False):
        variant = value.Value
        if variant is not None and variant.VariantType not in (None, ua.VariantType.Null):
            found[name] = variant.VariantType.name + ("[]" if variant.is_array else "")
    missing = {name: node for name, node in nodes.items() if name not in found}
    declared = await values(channel, list(missing.values()), most, ua.AttributeIds.DataType)
    for name, value in zip(missing, declared, strict=False):
        built_in = value.Value.Value if value.Value is not None else None
        if (
            isinstance(built_in, ua.NodeId)
            and built_in.NamespaceIndex == 0
            and built_in.Identifier in range(1, _BUILT_IN)
        ):
            found[name] = ua.VariantType(built_in.Identifier).name
    return found


async def meanings(
    channel: Channel, nodes: Mapping[str, ua.NodeId], most: int
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Units (UCUM) and labels ({point: {ordinal: text}}) as far as the server has them; a server without says nothing."""
    units: dict[str, str] = {}
    labels: dict[str, dict[str, str]] = {}
    try:
        kinds = await _enumerations(channel, nodes, most)
        owners = [*nodes.items(), *kinds.items()]
        steps = [(node, 0, name) for _, node in owners for name in _PROPERTIES]
        properties = await translate(channel, steps, most, ua.ObjectIds.HasProperty)
        owned = [(point, name) for point, _ in owners for name in _PROPERTIES]
        there = [(key, node) for key, node in zip(owned, properties, strict=True) if node is not None]
        read = await values(channel, [node for _, node in there], most)
    except DeviceError:
        return units, labels
    states: dict[str, dict[str, str]] = {}
    for ((point, name), _), value in zip(there, read, strict=False):
        content = value.Value.Value if value.Value is not None else None
        if content is None:
            continue
        if name == _UNIT:
            unit = ucum(getattr(content, "UnitId", 0), _text(getattr(content, "DisplayName", "")))
            if unit is not None:
                units[point] = unit
        elif name in (_TRUE, _FALSE):
            states.setdefault(point, {})["1" if name == _TRUE else "0"] = _text(content)
        elif isinstance(content, list):
            labels.setdefault(point, _labels(name, content))
    return units, labels | {point: texts for point, texts in states.items() if point not in labels}


async def _enumerations(channel: Channel, nodes: Mapping[str, ua.NodeId], most: int) -> dict[str, ua.NodeId]:
    """The data type of each variable that is of no built-in type: an enumeration's labels stand there."""
    declared = await values(channel, list(nodes.values()), most, ua.AttributeIds.DataType)
    found: dict[str, ua.NodeId] = {}
    for point, value in zip(nodes, declared, strict=False):
        kind = value.Value.Value if value.Value is not None else None
        is_built_in = (
            isinstance(kind, ua.NodeId) and kind.NamespaceIndex == 0 and kind.Identifier in range(_BUILT_IN + 5)
        )
        if isinstance(kind, ua.NodeId) and not is_built_in:
            found[point] = kind
    return found


def _labels(name: str, content: list[Any]) -> dict[str, str]:
    if name == _VALUES:
        pairs = ((getattr(one, "Value", None), getattr(one, "DisplayName", "")) for one in content[:_MOST_LABELS])
        return {str(number): _text(text) for number, text in pairs if number is not None}
    return {str(number): _text(text) for number, text in enumerate(content[:_MOST_LABELS])}


def _text(content: Any) -> str:
    text = getattr(content, "Text", content)
    return "" if text is None else str(text)[:200]
