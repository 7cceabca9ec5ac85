"""Where a point of an ONVIF camera or recorder is: in which of its answers."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from .strict import Strict

TEXTS = frozenset({"vendor", "model", "serial", "firmware", "hardware", "stream", "encoding", "resolution", "snapshot"})


class Onvif(Strict):
    """A fact in one word; `stream:2` is that of the second media profile of the device's video source.

    `vendor`, `model`, `serial`, `firmware`, `hardware` are from GetDeviceInformation. `clock` is the seconds that its clock is
    ahead of ours. `sources` counts its video sources, `profiles` the media profiles of its own one. `stream`, `encoding`,
    `resolution` and `frame_rate` are of one media profile, `snapshot` is where a picture is fetched; addresses are without user
    and password. `online`: it answered. `recordings` counts what it keeps, `recording` says whether one of its jobs runs.
    """

    onvif: str = Field(
        pattern=r"^(online|clock|vendor|model|serial|firmware|hardware|sources|profiles|snapshot|recordings|recording|"
        r"(stream|encoding|resolution|frame_rate):[1-9])$"
    )

    @property
    def reference(self) -> str | None:
        """The address as people write it."""
        return self.onvif

    def shifted(self, step: int) -> Self:
        """Video sources of one host are told apart by `unit`."""
        return self
