"""Points of devices that are asked over HTTP: one request a resource, and what a point takes from its answer."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from device_profiles.errors import ConfigError, DeviceMismatch, DeviceRefused
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Http, Point

from .base import Address, Batch, LinkConfig
from .device_time import epoch_ms, posix_zone
from .document import Document, DocumentError, count, parse, pick
from .http_client import HttpClient, Reply

_WORDS = {"true": True, "false": False, "1": True, "0": False, "on": True, "off": False, "yes": True, "no": False}
_HEAD = 300
"""About the bytes of an HTTP head, for the arithmetic of load."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, and the points that its answer holds: (address, type)."""

    method: str
    path: str
    body: str | Mapping[str, Any] | None
    places: tuple[tuple[Http, str], ...]


def plan(points: Sequence[Point], link: LinkConfig) -> tuple[Batch, ...]:
    """A batch a resource, in the order of the points. Raises ConfigError for a point without an HTTP address."""
    groups: dict[tuple[str, str, str], list[Point]] = {}
    for point in points:
        address = point.address
        if not isinstance(address, Http):
            raise ConfigError(f"{point.id} has no HTTP address", where=link.id, next_step="add get: and pick:")
        body = json.dumps(address.body, sort_keys=True)
        groups.setdefault(("GET" if address.get else "POST", address.get or address.post or "", body), []).append(point)
    return tuple(
        Batch(
            points=tuple(point.id for point in group),
            request_bytes=_HEAD + len(path) + len(body),
            reply_bytes=_HEAD + 60 * len(group),
            plan=Ask(method, path, group[0].address.body, tuple((point.address, point.type) for point in group)),  # type: ignore[union-attr,misc]
        )
        for (method, path, body), group in groups.items()
    )


async def read(client: HttpClient, device: Address, batch: Batch, where: str) -> Sequence[Raw | Sample | PointFault]:
    """The values of a batch. A resource that the device has not is a fault of its points; a refused login is the device's."""
    ask: Ask = batch.plan
    try:
        document = await fetch(client, ask.method, ask.path, ask.body, device, where)
    except DeviceRefused as error:
        if error.code == 401:
            raise
        return [PointFault(error.status, error.what) for _ in batch.points]
    now_ms = time.time_ns() // 1_000_000
    return [value_of(address, kind, document, device, client.link.host, now_ms) for address, kind in ask.places]


async def fetch(
    client: HttpClient, method: str, path: str, body: str | Mapping[str, Any] | None, device: Address, where: str
) -> Document:
    """The parsed answer of a resource. Raises DeviceError, LinkError."""
    data, content_type = encoded(body, device)
    reply = await client.request(
        method, filled(path, device, quoted), body=data, content_type=content_type, where=where
    )
    return parsed(reply, path, where)


def parsed(reply: Reply, path: str, where: str) -> Document:
    """Raises DeviceMismatch for an answer that is neither XML nor JSON."""
    try:
        return parse(reply.body, reply.content_type)
    except DocumentError as error:
        raise DeviceMismatch(f"the answer to {path} is {error}", where=where) from error


def encoded(
    body: str | Mapping[str, Any] | None, device: Address, inputs: Mapping[str, Raw] | None = None
) -> tuple[bytes | None, str]:
    """(bytes, content type) of a body with its `{unit}` and `{inputs}` filled in."""
    if body is None:
        return None, ""
    if isinstance(body, str):
        kind = "application/xml" if body.lstrip().startswith("<") else "application/x-www-form-urlencoded"
        quoting = _in_xml if kind == "application/xml" else quoted
        return filled(body, device, quoting, inputs).encode(), kind
    return json.dumps(_deep(body, device, inputs or {}), ensure_ascii=False).encode(), "application/json"


def _deep(value: Any, device: Address, inputs: Mapping[str, Raw]) -> Any:
    if isinstance(value, Mapping):
        return {key: _deep(each, device, inputs) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_deep(each, device, inputs) for each in value]
    if isinstance(value, str):
        if value[:1] == "{" and value[-1:] == "}" and value[1:-1] in inputs:
            return inputs[value[1:-1]]
        return device.unit if value == "{unit}" else filled(value, device, str, inputs)
    return value


def filled(text: str, device: Address, quoting: Callable[[str], str], inputs: Mapping[str, Raw] | None = None) -> str:
    """`{unit}` and `{name}` of the inputs replaced, each quoted for where it stands."""
    found = text.replace("{unit}", quoting(str(device.unit)))
    for name, value in (inputs or {}).items():
        words = (
            ("true" if value else "false")
            if isinstance(value, bool)
            else f"{value:g}"
            if isinstance(value, float)
            else str(value)
        )
        found = found.replace("{" + name + "}", quoting(words))
    return found


def quoted(text: str) -> str:
    """For a path, a query or a form."""
    return quote(text, safe="")


def _in_xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def value_of(address: Http, kind: str, document: Document, device: Address, host: str, now_ms: int) -> Raw | PointFault:
    """What a point takes from an answer. `host` and `now_ms` are for `shown` and `clock`."""
    way = address.pick.replace("{unit}", str(device.unit))
    if address.counted:
        return count(document, way)
    try:
        found = pick(document, way)
    except KeyError as error:
        return PointFault("BadNodeIdUnknown", f"the answer has no {error.args[0]} (of {way})")
    if found is None or found == "" or isinstance(found, dict | list):
        return PointFault("BadSensorFailure", f"{way} is empty" if not found else f"{way} is no single value")
    if address.words is not None:
        word = ("true" if found else "false") if isinstance(found, bool) else str(found)
        if word not in address.words:
            return PointFault("BadDecodingError", f"{word[:40]!r} is none of its words")
        return address.words[word]
    if address.clock:
        return _skew(str(found), document, now_ms)
    if address.shown is not None:
        return address.shown.replace("{host}", host).replace("{value}", str(found))
    return _typed(found, kind)


def _skew(text: str, document: Document, now_ms: int) -> Raw | PointFault:
    zone = None
    with contextlib.suppress(KeyError):  # not every device names its zone
        zone = posix_zone(str(pick(document, "Time/timeZone")))
    then_ms = epoch_ms(text, zone)
    if then_ms is None:
        return PointFault("BadDecodingError", f"{text[:40]!r} is no time with an offset from UTC")
    return (then_ms - now_ms) / 1000


def _typed(found: str | int | float | bool, kind: str) -> Raw | PointFault:
    if kind == "str":
        return str(found)
    if kind == "bool":
        word = _WORDS.get(str(found).strip().lower())
        return (
            PointFault("BadDecodingError", f"{str(found)[:40]!r} is neither true nor false") if word is None else word
        )
    if isinstance(found, str):
        try:
            number: int | float = float(found) if len(found) <= 40 else float("nan")
        except ValueError:
            number = float("nan")
        if number != number or number in (float("inf"), float("-inf")):
            return PointFault("BadDecodingError", f"{found[:40]!r} is no number")
        found = number
    if kind in ("f32", "f64"):
        return float(found)
    return int(found) if found == int(found) else PointFault("BadDecodingError", f"{found} is no whole number")
