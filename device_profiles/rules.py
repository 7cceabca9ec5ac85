"""What must hold between the parts of a profile, and between it and the vocabulary. Pure.

A rule yields (path into the profile, what is wrong with the observed value, next step); the library adds file and line. A
profile that breaks one of these is refused; `lint` has the softer rules of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .call_http import http_call_rules
from .call_modbus import modbus_call_rules
from .findings import did_you_mean, shown
from .rules_strings import strings_rules
from .rules_write import write_rules
from .schema import WHOLE_TYPES, Bacnet, Dlt645, Http, Modbus, OpcUa, Point, Profile
from .units import UNITS, suggest_unit
from .vocabulary import PointDef, vocabulary
from .yamlfile import KeyPath


@dataclass(frozen=True, slots=True)
class Broken:
    """One broken rule."""

    path: KeyPath
    what: str
    next_step: str


def broken_rules(profile: Profile) -> Iterator[Broken]:
    """Every rule that the profile breaks."""
    yield from _class_and_system(profile)
    yield from _ids(profile)
    for index, point in enumerate(profile.points):
        path: KeyPath = ("points", index)
        yield from _meaning(point, path)
        yield from _unit(point, path)
        yield from _targets(profile, point, path)
        yield from _address(profile, point, path)
    yield from _instances(profile)
    yield from (Broken(*rule) for rule in write_rules(profile))
    yield from (Broken(*rule) for rule in strings_rules(profile))
    yield from (Broken(*rule) for rule in modbus_call_rules(profile))
    yield from (Broken(*rule) for rule in http_call_rules(profile))


def _class_and_system(profile: Profile) -> Iterator[Broken]:
    classes = vocabulary().classes
    if profile.class_ not in classes:
        yield Broken(("class",), f"{shown(profile.class_)} unknown", did_you_mean(profile.class_, classes))
    elif profile.system not in classes[profile.class_]:
        systems = classes[profile.class_]
        yield Broken(("system",), f"{shown(profile.system)} has no {profile.class_}", f"use {' or '.join(systems)}")


def _ids(profile: Profile) -> Iterator[Broken]:
    """An id is there once for each way the options can be set."""
    seen: dict[str, set[str | None]] = {}
    for index, point in enumerate(profile.points):
        others = seen.setdefault(point.id, set())
        if others and (None in others or point.only is None or point.only in others):
            yield Broken(
                ("points", index, "id"), f"{point.id} is here twice", "remove one, or give each its own `only`"
            )
        others.add(point.only)


def _meaning(point: Point, path: KeyPath) -> Iterator[Broken]:
    if point.internal:
        return
    known = vocabulary().point(point.id)
    if known is None and not point.id.startswith("x_"):
        near = vocabulary().suggest(point.id)
        hint = f"did you mean {near!r}?" if near else "use an id of the vocabulary"
        yield Broken((*path, "id"), f"{shown(point.id)} unknown", f"{hint} A maker's own point begins with x_")
    elif known is None:
        yield from _own_point(point, path)
    else:
        yield from _known_point(point, known, path)


def _own_point(point: Point, path: KeyPath) -> Iterator[Broken]:
    quantities = vocabulary().quantities
    if point.quantity is not None and point.quantity not in quantities:
        yield Broken((*path, "quantity"), f"{shown(point.quantity)} unknown", did_you_mean(point.quantity, quantities))
    if point.quantity is None and point.labels is None and point.type not in ("bool", "str") and not _is_one_bit(point):
        yield Broken((*path, "quantity"), f"{point.id} says neither quantity nor labels", "add quantity")


def _known_point(point: Point, known: PointDef, path: KeyPath) -> Iterator[Broken]:
    if point.quantity is not None and point.quantity != known.quantity:
        says = known.quantity or known.type
        yield Broken((*path, "quantity"), f"{point.id} is {says}, not {shown(point.quantity)}", "remove quantity")
    is_bool = point.type == "bool" or _is_one_bit(point) or (point.labels is not None and set(point.labels) <= {0, 1})
    if known.type == "bool" and not is_bool:
        yield Broken(
            (*path, "type"), f"{point.id} is true or false, {point.type} is a number", "give bits, or labels 0 and 1"
        )
    if known.type == "enum" and not point.labels:
        yield Broken(path, f"{point.id} is an enumeration without labels", "add labels: {0: ...}")
    if (known.type == "text") != (point.type == "str"):
        yield Broken(
            (*path, "type"), f"{point.id} is {known.type}, not {point.type}", "use an id that ends in _text for text"
        )
    if point.counter and not known.counter:
        yield Broken((*path, "counter"), f"{point.id} is no counter", "remove counter, or use another id")


def _is_one_bit(point: Point) -> bool:
    return point.bit_range is not None and point.bit_range[0] == point.bit_range[1]


def _unit(point: Point, path: KeyPath) -> Iterator[Broken]:
    if point.unit is None:
        return
    if point.unit not in UNITS:
        near = suggest_unit(point.unit)
        step = f'did you mean "{near}"?' if near else "give a UCUM code of device_profiles/units.py"
        yield Broken((*path, "unit"), f'"{point.unit[:40]}" unknown', step)
        return
    quantity = vocabulary().quantity_of(point.id) or vocabulary().quantities.get(point.quantity or "")
    if quantity is None:
        if not point.internal:
            yield Broken((*path, "unit"), f"{point.id} has no unit", "remove unit")
    elif UNITS[point.unit].kind != UNITS[quantity.unit].kind:
        yield Broken(
            (*path, "unit"),
            f"{point.unit} is {UNITS[point.unit].kind}, {point.id} is {quantity.id} in {quantity.unit}",
            "correct the unit or the id",
        )


def _targets(profile: Profile, point: Point, path: KeyPath) -> Iterator[Broken]:
    for index, name in enumerate(point.ratio):
        if name not in profile.params:
            yield Broken((*path, "ratio", index), f"{shown(name)} is no param", did_you_mean(name, profile.params))
    if point.scale_from is not None:
        yield from _scale_target(profile, point, (*path, "scale_from", "point"))
    if point.only is not None:
        option, _, value = point.only.partition("=")
        if option not in profile.options:
            yield Broken((*path, "only"), f"{shown(option)} is no option", did_you_mean(option, profile.options))
        elif value not in profile.options[option].values:
            values = profile.options[option].values
            yield Broken((*path, "only"), f"{option} has no value {shown(value)}", did_you_mean(value, values))


def _scale_target(profile: Profile, point: Point, path: KeyPath) -> Iterator[Broken]:
    assert point.scale_from is not None
    name = point.scale_from.point
    target = next((other for other in profile.points if other.id == name), None)
    if target is None:
        yield Broken(path, f"{shown(name)} is no point", did_you_mean(name, [other.id for other in profile.points]))
    elif target.type not in WHOLE_TYPES or target.scale_from is not None:
        yield Broken(
            path, f"{name} is {target.type}, a scale factor is a whole number as it is", "use its s16 register"
        )


def _address(profile: Profile, point: Point, path: KeyPath) -> Iterator[Broken]:
    if profile.protocol == "modbus" and not isinstance(point.address, Modbus):
        yield Broken(path, f"{point.id} has no Modbus address", "add reg: 0x0000")
    if profile.protocol == "bacnet" and not isinstance(point.address, Bacnet):
        yield Broken(path, f"{point.id} has no BACnet address", "add object: AI:1, or address: {name: ...}")
    if profile.protocol == "opcua" and not isinstance(point.address, OpcUa):
        yield Broken(path, f"{point.id} has no OPC UA address", "add node: or path:")
    if profile.protocol.startswith("dlt645-"):
        yield from _dlt645_address(profile.protocol, point, path)
    if profile.protocol in ("isapi", "rest"):
        yield from _http_address(point, path)
    if not isinstance(point.address, Modbus):
        return
    if point.address.table in ("input", "discrete") and point.access != "r":
        yield Broken((*path, "access"), f"{point.address.table} registers cannot be written", "remove access")
    last = (point.address.reg or 0) + point.registers - 1
    if profile.instances and point.id in (profile.instances.points or (point.id,)):
        last += (profile.instances.count - 1) * profile.instances.stride
    if last > 65535:
        yield Broken((*path, "reg"), f"register {last} is past 65535", "correct reg, or the instances")


def _http_address(point: Point, path: KeyPath) -> Iterator[Broken]:
    address = point.address
    if not isinstance(address, Http):
        yield Broken(path, f"{point.id} has no HTTP address", "add get: and pick:")
        return
    if point.access != "r":
        yield Broken((*path, "access"), "points over HTTP are only read", "describe it under operations")
    if (point.type == "str") != (address.shown is not None or point.id.endswith("_text")):
        what = (
            "a text, and its id does not end in _text" if point.type == "str" else f"a {point.type}, and shown a text"
        )
        yield Broken((*path, "type"), f"{point.id} is {what}", "correct type, or the id")


def _dlt645_address(protocol: str, point: Point, path: KeyPath) -> Iterator[Broken]:
    address = point.address
    if not isinstance(address, Dlt645):
        yield Broken(path, f"{point.id} has no DL/T 645 address", "add di: and format:")
        return
    if protocol == "dlt645-1997" and max(address.di, address.block or 0) > 0xFFFF:
        yield Broken(
            (*path, "di"), f"{address.reference} is longer than DL/T 645-1997 has", "give two bytes, as 0x9010"
        )
    if protocol == "dlt645-1997" and address.record is not None:
        yield Broken((*path, "record"), "meters of the 1997 edition keep no frozen records", "remove record")
    if "w" in point.access and (protocol == "dlt645-1997" or address.format in ("word", "clock")):
        yield Broken((*path, "access"), f"{point.id} is only read", "remove access")
    types = {"word": "u16", "clock": "f64"}
    wanted = "str" if address.is_text else types.get(address.format, "s64")
    if point.type != wanted or (point.bits is not None and address.format != "word"):
        yield Broken((*path, "type"), f"{address.format} does not make a {point.type}", "leave out type and bits")


def _instances(profile: Profile) -> Iterator[Broken]:
    if profile.instances is None:
        return
    ids = {point.id for point in profile.points}
    for index, name in enumerate(profile.instances.points):
        if name not in ids:
            yield Broken(("instances", "points", index), f"{shown(name)} is no point", did_you_mean(name, ids))
    if profile.instances.count > 1 and "{n}" not in profile.instances.id:
        yield Broken(("instances", "id"), f"{shown(profile.instances.id)} names every device alike", "put {n} into it")
