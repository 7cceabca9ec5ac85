"""Operations of devices that are asked over HTTP: what a profile's `call` says, sent once, and the read-back of its effect."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from device_profiles.call_http import Check as Check
from device_profiles.call_http import HttpCall, said_of
from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceError, DeviceMismatch, DeviceRefused, LinkError
from device_profiles.reading import Raw

from .base import Address
from .document import Document, pick
from .http_client import HttpClient
from .http_points import encoded, fetch, filled, parsed, quoted

_PAUSE_S = 0.2


def call_of(operation: Operation) -> HttpCall:
    """Raises ConfigError for a `call` that is none."""
    try:
        return HttpCall.model_validate(operation.call)
    except ValidationError as error:
        what, step = said_of(error)
        raise ConfigError(what, where=f"operations.{operation.id}", next_step=step) from error


def _fits(found: Document, wanted: Any) -> bool:
    every = wanted if isinstance(wanted, tuple) else (wanted,)
    word = ("true" if found else "false") if isinstance(found, bool) else str(found)
    return any(word == (("true" if each else "false") if isinstance(each, bool) else str(each)) for each in every)


async def carry_out(
    client: HttpClient, device: Address, operation: Operation, inputs: Mapping[str, Raw], where: str
) -> dict[str, Raw]:
    """Sends it once. Gives `answer`, and `readback` where there is a check.

    Raises ConfigError, DeviceRefused; DeviceMismatch when it was taken and its effect did not show; other DeviceErrors and
    LinkErrors when nobody knows.
    """
    call = call_of(operation)
    method, path = call.request
    body, content_type = encoded(call.body, device, inputs)
    reply = await client.request(
        method, filled(path, device, quoted, inputs), body=body, content_type=content_type, once=True, where=where
    )
    told: dict[str, Raw] = {}
    if call.ok is not None or call.answer:
        document = parsed(reply, path, where)
        if call.ok is not None and not _fits(_picked(document, call.ok.pick), call.ok.equals):
            said = " ".join(reply.body[:200].decode("utf-8", "replace").split())
            raise DeviceRefused(f"it answered {said!r}", code=reply.status, status="BadInvalidState", where=where)
        for name, way in call.answer.items():
            found = _picked(document, way)
            if isinstance(found, str | int | float | bool):
                told[name] = found
    if call.check is not None:
        told["readback"] = await read_back(client, device, call.check, where)
    return told


def _picked(document: Document, way: str) -> Document:
    try:
        return pick(document, way)
    except KeyError:
        return None


async def read_back(client: HttpClient, device: Address, check: Check, where: str) -> Raw:
    """What shows the effect, as soon as it does. Raises DeviceMismatch when it does not within the time, LinkError."""
    loop = asyncio.get_running_loop()
    until = loop.time() + check.within
    way = check.pick.replace("{unit}", str(device.unit))
    method, path = ("GET", check.get) if check.get is not None else ("POST", check.post or "")
    found: Document = None
    trouble: DeviceError | LinkError | None = None
    while True:
        try:
            found = _picked(await fetch(client, method, path, check.body, device, where), way)
            trouble = None
        except DeviceError as error:
            trouble = error
        if isinstance(found, str | int | float | bool) and _fits(found, check.equals):
            return found
        if loop.time() + _PAUSE_S >= until:
            break
        await asyncio.sleep(_PAUSE_S)
    said = trouble.what if trouble is not None else f"{way} is {found!r}"
    raise DeviceMismatch(f"it was taken, and its effect did not show within {check.within:g} s ({said})", where=where)
