"""Every capture of an OSDP reader says what is written beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device_profiles.address import Osdp
from device_profiles.yamlfile import read_yaml
from drivers.osdp import frame as wire
from drivers.osdp.reader import Reader
from drivers.osdp.session import value_of
from tests.shipped import LIBRARY

CAPTURES = Path(__file__).parents[1] / "captures"


def frames() -> Iterator[Any]:
    for profile in LIBRARY.all():
        path = CAPTURES / f"{profile.profile}.yaml"
        if profile.protocol == "osdp" and path.exists():
            for frame in read_yaml(path).data["frames"]:
                yield pytest.param(profile, frame, id=f"{profile.profile}: {frame['what']}")


@pytest.mark.parametrize(("profile", "frame"), list(frames()))
def test_frame_says_its_values(profile: Any, frame: dict[str, Any]) -> None:
    reply = wire.decode(bytes.fromhex(frame["response"]))
    reader = Reader(reply.address, None)
    reader.next()
    reader.heard(reply, 0.0)
    reader.facts.online = True
    addresses = {point.id: point.address for point in profile.points}
    for name, value in frame["values"].items():
        assert isinstance(addresses[name], Osdp)
        assert value_of(reader, addresses[name].osdp) == value
