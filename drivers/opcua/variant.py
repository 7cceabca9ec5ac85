"""Variants from their bytes (OPC 10000-6, 5.2.2.16): a scalar becomes a raw value, everything else is passed over whole. Pure.

An array, a structure or a node id is no value of a point: it becomes a PointFault that says what is there. What is no right
encoding raises DeviceMismatch; counts are believed only up to the bytes that are there, nesting only to `_DEEPEST`.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Final

from device_profiles.errors import DeviceMismatch
from device_profiles.reading import PointFault, Raw

SCALARS: Final = {1: "?", 2: "b", 3: "B", 4: "h", 5: "H", 6: "i", 7: "I", 8: "q", 9: "Q", 10: "f", 11: "d"}
"""Built-in types that are numbers of fixed size, with struct's letter: Boolean, SByte to Double."""
TYPE_NAMES: Final = (
    "Null", "Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double", "String",
    "DateTime", "Guid", "ByteString", "XmlElement", "NodeId", "ExpandedNodeId", "StatusCode", "QualifiedName", "LocalizedText",
    "ExtensionObject", "DataValue", "Variant", "DiagnosticInfo",
)  # fmt: skip
_DEEPEST = 100
_FIXED = {kind: struct.calcsize("<" + code) for kind, code in SCALARS.items()} | {13: 8, 14: 16, 19: 4}
_UNPACK = {kind: struct.Struct("<" + code).unpack_from for kind, code in SCALARS.items()}
_I32 = struct.Struct("<i")
_LONGEST_TEXT = 4096

Skip = Callable[[bytes, int, int], int]


def bad_encoding(what: str) -> DeviceMismatch:
    """The error of this codec."""
    return DeviceMismatch(
        f"no right OPC UA encoding: {what}",
        next_step="record the traffic with tshark and show it to the server's maker",
    )


def variant(body: bytes, at: int, depth: int = 0) -> tuple[Raw | PointFault | None, int]:
    """The value and where it ends. None for a null. Raises DeviceMismatch, struct.error and IndexError at the end of `body`."""
    form = body[at]
    at += 1
    kind = form & 0x3F
    if kind > 25:
        raise bad_encoding(f"a Variant of built-in type {kind}")
    if form & 0x80:
        return _array(body, at, kind, bool(form & 0x40), depth)
    if kind in _UNPACK:
        (value,) = _UNPACK[kind](body, at)
        return (float(f"{value:.7g}") if kind == 10 else value), at + _FIXED[kind]
    if kind == 0:
        return None, at
    if kind in (12, 16):
        return _text(body, at)
    if kind == 21:
        return _localized(body, at)
    end = _SKIP[kind](body, at, depth)
    if end > len(body):
        raise bad_encoding("a value ends too early")
    if kind == 14:
        return str(uuid.UUID(bytes_le=body[at:end])), end
    if kind in (13, 19):
        return int.from_bytes(body[at:end], "little", signed=kind == 13), end
    return PointFault("BadTypeMismatch", f"a {TYPE_NAMES[kind]} is no value of a point"), end


def _array(body: bytes, at: int, kind: int, has_dimensions: bool, depth: int) -> tuple[PointFault, int]:
    (count,) = _I32.unpack_from(body, at)
    at += 4
    least = _FIXED.get(kind, 1)
    if count < -1 or max(count, 0) * least > len(body) - at:
        raise bad_encoding(f"an array of {count} in {len(body) - at} bytes")
    if kind in _FIXED:
        at += max(count, 0) * least
    elif kind:
        for _ in range(count):
            at = _SKIP[kind](body, at, depth)
    if has_dimensions:
        (dimensions,) = _I32.unpack_from(body, at)
        if not -1 <= dimensions <= (len(body) - at) // 4:
            raise bad_encoding(f"an array of {dimensions} dimensions")
        at += 4 + 4 * max(dimensions, 0)
    if at > len(body):
        raise bad_encoding("an array ends too early")
    return PointFault("BadTypeMismatch", f"an array of {max(count, 0)} {TYPE_NAMES[kind]} is no value of a point"), at


def _text(body: bytes, at: int) -> tuple[str | None, int]:
    end = skip_string(body, at)
    text = body[at + 4 : min(end, at + 4 + _LONGEST_TEXT)].decode("utf-8", "replace")
    return (None if body[at : at + 4] == b"\xff\xff\xff\xff" else text), end


def _localized(body: bytes, at: int) -> tuple[str | None, int]:
    form = body[at]
    at += 1
    if form & 1:
        at = skip_string(body, at)
    return _text(body, at) if form & 2 else ("", at)


def skip_string(body: bytes, at: int, depth: int = 0) -> int:
    """Past a String, ByteString or XmlElement."""
    length: int = _I32.unpack_from(body, at)[0]
    if length < -1 or length > len(body) - at - 4:
        raise bad_encoding(f"a text of {length} bytes in {len(body) - at - 4}")
    return at + 4 + max(length, 0)


def skip_diagnostic(body: bytes, at: int, depth: int = 0) -> int:
    """Past a DiagnosticInfo, which may hold another."""
    while True:
        mask = body[at]
        if mask & ~0x7F:
            raise bad_encoding(f"a DiagnosticInfo with mask 0x{mask:02x}")
        at += 1 + 4 * (mask & 0x0F).bit_count()
        if mask & 0x10:
            at = skip_string(body, at)
        at += 4 * bool(mask & 0x20)
        if not mask & 0x40:
            return at
        depth = _deeper(depth)


def _skip_node_id(body: bytes, at: int, depth: int) -> int:
    form = body[at]
    kind = form & 0x3F
    if kind > 5:
        raise bad_encoding(f"a node id of form {kind}")
    end = skip_string(body, at + 3) if kind in (3, 5) else at + (2, 4, 7, 0, 19)[kind]
    if form & 0x80:
        end = skip_string(body, end)
    return end + 4 * bool(form & 0x40)


def _skip_qualified(body: bytes, at: int, depth: int) -> int:
    return skip_string(body, at + 2)


def _skip_localized(body: bytes, at: int, depth: int) -> int:
    return _localized(body, at)[1]


def _skip_extension(body: bytes, at: int, depth: int) -> int:
    at = _skip_node_id(body, at, depth)
    if body[at] > 2:
        raise bad_encoding(f"an ExtensionObject of encoding {body[at]}")
    return skip_string(body, at + 1) if body[at] else at + 1


def _skip_data_value(body: bytes, at: int, depth: int) -> int:
    mask = body[at]
    at += 1
    if mask & 1:
        _, at = variant(body, at, _deeper(depth))
    return at + sum(size for bit, size in ((2, 4), (4, 8), (8, 8), (16, 2), (32, 2)) if mask & bit)


def _skip_variant(body: bytes, at: int, depth: int) -> int:
    return variant(body, at, _deeper(depth))[1]


def _deeper(depth: int) -> int:
    if depth >= _DEEPEST:
        raise bad_encoding(f"nested deeper than {_DEEPEST}")
    return depth + 1


def _skip_fixed(size: int) -> Skip:
    return lambda body, at, depth: at + size


_SKIP: dict[int, Skip] = {kind: _skip_fixed(size) for kind, size in _FIXED.items()} | {
    12: skip_string,
    15: skip_string,
    16: skip_string,
    17: _skip_node_id,
    18: _skip_node_id,
    20: _skip_qualified,
    21: _skip_localized,
    22: _skip_extension,
    23: _skip_data_value,
    24: _skip_variant,
    25: skip_diagnostic,
}
