"""Where a point is on a device that is asked over HTTP: which resource, and what in its XML or JSON answer."""

from __future__ import annotations

import re
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from .strict import Strict

_STEP = re.compile(r"[^/\[\]{}]+(\[[^/\[\]=]+=[^/\[\]=]*\])?")


class Http(Strict):
    """A value in an answer. `{unit}` in `get`, `post`, `body` and `pick` is the device's own unit (a channel, a door, a token).

    `pick` is the way from the top: `DeviceInfo/model`, `AcsWorkStatus/doorStatus/0` (from 0), `hddList/hdd[id=2]/status`.
    XML elements and JSON members are named alike; namespaces are left out, an attribute is `@name`. "" is the whole answer.
    """

    get: str | None = Field(default=None, pattern=r"^/[^\x00-\x20\x7f#]*$", max_length=1024)
    post: str | None = Field(default=None, pattern=r"^/[^\x00-\x20\x7f#]*$", max_length=1024)
    body: str | dict[str, Any] | None = None
    """What is posted: text as it is, or a mapping as JSON."""
    pick: str = Field(default="", max_length=256)
    words: dict[str, float | int | bool] | None = None
    """What the device's words mean as numbers: `{ok: 1, idle: 2}`. Another word is a bad value."""
    counted: bool = False
    """How many elements `pick` finds."""
    clock: bool = False
    """`pick` finds the device's date and time; the value is how many seconds it is ahead of ours."""
    shown: str | None = Field(default=None, max_length=256)
    """A text made of it: `rtsp://{host}:554/Streaming/Channels/{value}`."""

    @field_validator("pick")
    @classmethod
    def _steps(cls, pick: str) -> str:
        for step in pick.split("/") if pick else ():
            if _STEP.fullmatch(step.replace("{unit}", "0")) is None:
                raise ValueError(f"{step[:40]!r} is no step; write a name, a number from 0, or name[key=value]")
        return pick

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.get is None) == (self.post is None):
            raise ValueError("an HTTP address has either get, or post")
        if self.body is not None and self.post is None:
            raise ValueError("body goes with post")
        if sum((self.words is not None, self.counted, self.clock, self.shown is not None)) > 1:
            raise ValueError("of words, counted, clock and shown only one holds")
        return self

    @property
    def reference(self) -> str | None:
        """The address as people write it."""
        return f"{self.get or self.post} {self.pick}".rstrip()

    def shifted(self, step: int) -> Self:
        """Devices of one host are told apart by their unit."""
        return self
