"""Where a point of a PJLink display is: in which of its answers."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from .strict import Strict

TEXTS = frozenset({
    "name", "manufacturer", "product", "info", "serial", "software", "resolution", "recommended_resolution", "inputs",
    "lamp_model", "filter_model",
})  # fmt: skip
FLAGS = frozenset({"picture_mute", "audio_mute", "freeze"})
ERRORS = ("fan", "lamp", "temperature", "cover", "filter", "other")
"""What the six digits of ERST are about, in their order."""


class Pjlink(Strict):
    """A fact of a display in one word; lamps are counted from 1.

    `power` is 0 standby, 1 on, 2 cooling, 3 warming up. `input` is the two characters of INPT as a number: 31 is digital 1; a
    letter counts from 10, so that 3A is 310. `error:fan` is 0 right, 1 warning, 2 error. `lamp_hours:1` and `lamp_on:1` are from
    LAMP. `inputs` is what it can be switched to, `11 31 32`. `serial`, `software`, `resolution`, `recommended_resolution`,
    `filter_hours`, `lamp_model`, `filter_model` (what to order) and `freeze` are of class 2.
    """

    pjlink: str = Field(
        pattern=r"^(power|input|picture_mute|audio_mute|freeze|name|manufacturer|product|info|serial|software|resolution|"
        r"recommended_resolution|inputs|lamp_model|filter_model|filter_hours|error:(fan|lamp|temperature|cover|filter|other)|(lamp_hours|lamp_on):[1-8])$"
    )

    @property
    def reference(self) -> str | None:
        """The address as people write it."""
        return self.pjlink

    def shifted(self, step: int) -> Self:
        """Displays have addresses of their own."""
        return self
