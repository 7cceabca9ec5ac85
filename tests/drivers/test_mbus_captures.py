"""Every recorded M-Bus readout decodes to the values written beside it, through the driver's planner and the normaliser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device_profiles.reading import Acquisition
from device_profiles.resolve import points_of
from device_profiles.yamlfile import read_yaml
from drivers.base import LinkConfig
from drivers.mbus import frame as wire
from drivers.mbus import planner, records
from edge_agent.model import Device
from edge_agent.normalize import Normalizer
from tests.shipped import LIBRARY

CAPTURES = Path(__file__).parents[1] / "captures"
LINK = LinkConfig("mbus-1", "serial", path="/dev/null")


def readouts() -> Iterator[Any]:
    for path in sorted(CAPTURES.glob("*.yaml")):
        data = read_yaml(path).data
        if data["profile"] in {profile.profile for profile in LIBRARY.all() if profile.protocol == "mbus"}:
            for frame in data["frames"]:
                yield pytest.param(data["profile"], frame, id=f"{data['profile']}: {frame['what']}")


@pytest.mark.parametrize(("profile_id", "frame"), list(readouts()))
def test_a_readout_decodes_to_its_values(profile_id: str, frame: dict[str, Any]) -> None:
    profile = LIBRARY.get(profile_id)
    whole = wire.decode(bytes.fromhex(frame["response"]))
    assert whole.ci is not None
    answers = [records.decode(whole.ci, whole.data)]
    points = points_of(profile, {})
    layout = {"units": planner.known_units(points, answers)}
    [batch] = planner.plan(points, layout, LINK)
    device = Device(
        id="d", name="d", link="l", unit=1, protocol="mbus", profile=profile, cls=profile.class_, system=profile.system,
        points=points,
    )  # fmt: skip
    normalizer = Normalizer(device)
    normalizer.adopt(layout)
    out = Acquisition("d", 1_795_355_245_000)
    normalizer.take(normalizer.prepare(batch.points), batch.plan.take(answers), out.t_ms, out)
    assert {flag.point: flag.status for flag in out.flagged} == frame.get("status", {})
    assert out.good == frame["values"]
    assert out.good.keys() | frame.get("status", {}).keys() == {point.id for point in points}
