"""Operations of devices that are asked over HTTP: what a profile's `call` says, sent once, and the read-back of its effect."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceError, DeviceMismatch, DeviceRefused, LinkError
from device_profiles.reading import Raw
from device_profiles.strict import Strict

from .base import Address
from .document import Document, pick
from .http_client import HttpClient
from .http_points import encoded, fetch, filled, parsed, quoted

_PAUSE_S = 0.2
_PATH = r"^/[^\x00-\x20\x7f#]*$"


class Expected(Strict):
    """Something in the answer that says it was done."""

    pick: str
    equals: tuple[bool | int | float | str, ...] | bool | int | float | str


class Check(Strict):
    """A resource that shows the effect: asked until it does, for `within` seconds."""

    get: str | None = Field(default=None, pattern=_PATH)
    post: str | None = Field(default=None, pattern=_PATH)
    body: str | dict[str, Any] | None = None
    """What is posted to ask."""
    pick: str
    equals: tuple[bool | int | float | str, ...] | bool | int | float | str
    within: float = Field(default=5, gt=0, le=120)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.get is None) == (self.post is None):
            raise ValueError("a check has either get, or post")
        return self


class Call(Strict):
    """`call` of an operation: one request, what its answer must say, and what shows the effect.

    `{unit}` is the device's unit and `{name}` an input, in path and body.
    """

    get: str | None = Field(default=None, pattern=_PATH)
    put: str | None = Field(default=None, pattern=_PATH)
    post: str | None = Field(default=None, pattern=_PATH)
    delete: str | None = Field(default=None, pattern=_PATH)
    body: str | dict[str, Any] | None = None
    ok: Expected | None = None
    check: Check | None = None
    answer: dict[str, str] = Field(default_factory=dict)
    """What of the answer is told, by name: the way to each."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(path is not None for path in (self.get, self.put, self.post, self.delete)) != 1:
            raise ValueError("a call has one of get, put, post and delete")
        return self

    @property
    def request(self) -> tuple[str, str]:
        """(method, path)."""
        for method in ("get", "put", "post", "delete"):
            path = getattr(self, method)
            if path is not None:
                return method.upper(), path
        raise AssertionError("validated")


def call_of(operation: Operation) -> Call:
    """Raises ConfigError for a `call` that is none."""
    try:
        return Call.model_validate(operation.call)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{at or 'call'}: {first['msg']}",
            where=f"operations.{operation.id}",
            next_step="write call: {put: /path, body: .., check: {get: /path, pick: .., equals: ..}}",
        ) from error


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
