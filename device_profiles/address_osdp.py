"""Where a point of an OSDP reader is: in its answers to status commands, or in what it says of itself."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from .strict import Strict

TEXTS = frozenset({"vendor", "model", "serial", "firmware"})


class Osdp(Strict):
    """A fact of a reader, in one word, or `input:0`, `output:0`, `reader:0` counted from 0 as on the wire.

    `online` and `secure` are what the control panel knows of it, `tamper` and `power_fault` come from LSTATR, inputs from ISTATR,
    outputs from OSTATR, readers (0 normal, 1 not connected, 2 tampered with) from RSTATR; `vendor`, `model`, `serial` and
    `firmware` from PDID.
    """

    osdp: str = Field(
        pattern=r"^(online|secure|install|tamper|power_fault|vendor|model|serial|firmware|(input|output|reader):[0-9]{1,2})$"
    )

    @property
    def reference(self) -> str | None:
        """The address as people write it."""
        return self.osdp

    def shifted(self, step: int) -> Self:
        """Readers are told apart by their `unit`."""
        return self


SHORT: dict[str, Any] = {
    "osdp": {"type": "string", "description": "Fact of an OSDP reader: online, tamper, output:0, serial ..."},
}
"""The key that may stand beside a point's own, for the JSON Schema."""
