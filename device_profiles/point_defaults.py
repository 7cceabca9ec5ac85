"""What the points of a profile take that do not say their own, by protocol: type, scale, table and word order. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from .address import with_address
from .address_onvif import TEXTS as ONVIF_TEXTS
from .address_osdp import TEXTS as OSDP_TEXTS
from .address_pjlink import FLAGS as PJLINK_FLAGS
from .address_pjlink import TEXTS as PJLINK_TEXTS
from .bacnet import VALUE_TYPES, parse_object


def with_defaults(point: Any, profile: dict[str, Any]) -> Any:
    """A point of a profile's file with what it takes where it does not say its own; what is no point stays as it is."""
    protocol = profile.get("protocol")
    defaults = _POINT_DEFAULTS.get(protocol) if isinstance(protocol, str) else None
    if not isinstance(point, dict) or defaults is None:
        return point
    point = with_address(point)
    address = point.get("address", {})
    return defaults(point, address, profile) if isinstance(address, dict) else point


def _modbus_defaults(point: dict[str, Any], address: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    table = address.get("table", profile.get("table", "holding"))
    is_bit = table in ("coil", "discrete")
    return {
        "type": "bool" if is_bit else profile.get("type", "u16"),
        **({"word_order": profile["word_order"]} if "word_order" in profile else {}),
        **point,
        "address": {**address, "table": table},
    }


def _bacnet_defaults(point: dict[str, Any], address: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    """The type of a present value is that of its object; everything else is a REAL unless it says otherwise."""
    kind = "f32"
    if isinstance(given := address.get("object"), str) and address.get("property") in (None, "present-value"):
        with contextlib.suppress(ValueError):  # said by the address itself
            kind = VALUE_TYPES.get(parse_object(given)[0], kind)
    return {"type": profile.get("type", kind), **point, "address": address}


def _opcua_defaults(point: dict[str, Any], address: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    return {"type": profile.get("type", "f64"), **point, "address": address}


def _dlt645_defaults(point: dict[str, Any], address: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    """Digits are a whole number, scaled by what the format has behind the point; other letters make a text."""
    shape = address.get("format", "XXXXXX.XX")
    if shape in ("word", "clock"):
        return {"type": "u16" if shape == "word" else "f64", **point, "address": address}
    if isinstance(shape, str) and not shape.startswith("X"):
        return {"type": "str", **point, "address": address}
    places = len(shape.partition(".")[2]) if isinstance(shape, str) else 0
    scale = {"scale": Decimal(1).scaleb(-places)} if places else {}
    return {"type": "s64", **scale, **point, "address": address}


def _text_or_number(point: dict[str, Any], address: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    """A text where the id says so, an ordinal where there are labels, else a number."""
    kind = "str" if str(point.get("id")).endswith("_text") else "s32" if point.get("labels") else "f64"
    return {"type": profile.get("type", kind), **point, "address": address}


def _osdp_defaults(point: dict[str, Any], address: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    """What a reader says of itself is text, everything else is so or not."""
    return {"type": "str" if address.get("osdp") in OSDP_TEXTS else "bool", **point, "address": address}


def _pjlink_defaults(point: dict[str, Any], address: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    """What a display says of itself is text, muted and frozen are so or not, everything else is an ordinal or a count."""
    kind = str(address.get("pjlink")).partition(":")[0]
    is_flag = kind in PJLINK_FLAGS or kind == "lamp_on"
    return {"type": "str" if kind in PJLINK_TEXTS else "bool" if is_flag else "s32", **point, "address": address}


def _onvif_defaults(point: dict[str, Any], address: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    """What a camera says of itself is text, that it answers or records is so or not, everything else a number."""
    kind = str(address.get("onvif")).partition(":")[0]
    is_flag = kind in ("online", "recording")
    return {"type": "str" if kind in ONVIF_TEXTS else "bool" if is_flag else "f64", **point, "address": address}


def _doors_defaults(point: dict[str, Any], address: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    """A text where the id says so, an ordinal where there are labels, a number where it is counted, else yes or no."""
    kind = "str" if str(point.get("id")).endswith("_text") else "s32" if point.get("labels") else None
    told = address.get("board", address.get("told"))
    if kind is None:
        kind = "bool" if told in ("online", "door_open", "button", "unlocked", "locked") else "f64"
    return {"type": profile.get("type", kind), **point, "address": address}


def _meter_defaults(point: dict[str, Any], address: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    """Values come with exponent and unit applied; names say what is a text, a state or a word of bits."""
    name = str(address.get("cjt188", address.get("mbus", "")))
    kind = "str" if name.endswith("_text") or name in _METER_TEXTS else "f64"
    if name in ("valve_open", "battery_low"):
        kind = "bool"
    elif name in ("status_word", "header_status", "error_flags"):
        kind = "u32"
    return {"type": kind, **point, "address": address}


_METER_TEXTS = frozenset(
    {"date", "time", "fabrication_number", "identification", "model", "firmware_version", "customer"}
)

_POINT_DEFAULTS: dict[str, Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], dict[str, Any]]] = {
    "modbus": _modbus_defaults,
    "bacnet": _bacnet_defaults,
    "opcua": _opcua_defaults,
    "dlt645-2007": _dlt645_defaults,
    "dlt645-1997": _dlt645_defaults,
    "cjt188": _meter_defaults,
    "mbus": _meter_defaults,
    "isapi": _text_or_number,
    "rest": _text_or_number,
    "strings": _text_or_number,
    "osdp": _osdp_defaults,
    "pjlink": _pjlink_defaults,
    "onvif": _onvif_defaults,
    "uhppote": _doors_defaults,
    "zkteco-push": _doors_defaults,
}
"""What points take that do not say their own, by protocol."""
