"""What `call` of an operation says over HTTP: one request, and what shows its effect. Data, and its rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationError, model_validator

from .strict import Strict
from .yamlfile import KeyPath

if TYPE_CHECKING:
    from .schema import Profile

_PATH = r"^/[^\x00-\x20\x7f#]*$"
_OWN = {"isapi": ("snapshot", "time")}
"""Calls that a driver carries out in its own way."""


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


class HttpCall(Strict):
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


def said_of(error: ValidationError) -> tuple[str, str]:
    """(what is wrong, next step)."""
    first = error.errors(include_url=False, include_input=False)[0]
    at = ".".join(str(part) for part in first["loc"])
    what = str(first["msg"]).removeprefix("Value error, ")
    return f"{at or 'call'}: {what}", "write call: {put: /path, body: .., check: {get: /path, pick: .., equals: ..}}"


def http_call_rules(profile: Profile) -> Iterator[tuple[KeyPath, str, str]]:
    """Operations of an HTTP profile whose `call` is none: (path, what, next step)."""
    if profile.protocol not in ("isapi", "rest"):
        return
    for index, operation in enumerate(profile.operations):
        if len(operation.call) == 1 and next(iter(operation.call)) in _OWN.get(profile.protocol, ()):
            continue
        try:
            HttpCall.model_validate(operation.call)
        except ValidationError as error:
            yield ("operations", index, "call"), *said_of(error)
