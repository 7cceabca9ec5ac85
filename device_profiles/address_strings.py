"""Where a point is in a device's own messages: a field of a frame, the request that asks for it, the one that sets it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from .strict import Strict
from .strings import Name


class StringsField(Strict):
    """A field of one of the profile's `strings.frames`.

    With `ask` the device is asked; without, the value is what was heard last. `set` is the request that writes it, with the value
    in its field `value`; or one request for each value. `tally`: frames that were heard (or refused as wrong) since the link was
    opened, for devices that say nothing of themselves.
    """

    frame: Name | None = None
    field: Name = "value"
    ask: Name | None = None
    set: Name | dict[int, Name] | None = None
    tally: Literal["heard", "refused"] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.frame is None) == (self.tally is None):
            raise ValueError("give either frame (and field), or tally")
        if self.tally is not None and (self.ask or self.set):
            raise ValueError("a tally is neither asked for nor set")
        return self

    @property
    def reference(self) -> str | None:
        """The address as people write it."""
        return f"{self.frame}.{self.field}" if self.frame else f"tally {self.tally}"

    def shifted(self, step: int) -> Self:
        """Devices are told apart by their `unit`."""
        return self

    def setting(self, value: int | float | bool | str) -> tuple[str, bool] | None:
        """(request, whether its field `value` takes the value) that writes this; None where there is none."""
        if isinstance(self.set, dict):
            name = None if isinstance(value, str) else self.set.get(int(value)) if value == int(value) else None
            return None if name is None else (name, False)
        return None if self.set is None else (self.set, True)

    @property
    def settings(self) -> tuple[str, ...]:
        """The requests that write it."""
        if isinstance(self.set, dict):
            return tuple(self.set.values())
        return () if self.set is None else (self.set,)


SHORT = {
    "frame": {"type": "string", "description": "Frame of `strings` that holds the value."},
    "field": {"type": "string", "description": "Field of the frame; `value` where nothing is said."},
    "ask": {"type": "string", "description": "Request of `strings` that is answered by the frame; none = heard only."},
    "set": {
        "description": "Request of `strings` that writes it, or one for each value, as {0: power_off, 1: power_on}."
    },
    "tally": {"enum": ["heard", "refused"], "description": "Frames heard or refused since the link was opened."},
}
"""The keys that may stand beside a point's own, for the JSON Schema."""
