"""Every capture of a DL/T 645 meter decodes to the values written beside it, through the planner and the normaliser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device_profiles.library import SHIPPED, Library
from device_profiles.reading import Acquisition
from device_profiles.resolve import points_of
from device_profiles.schema import Dlt645
from device_profiles.yamlfile import read_yaml
from drivers.base import Limits, LinkConfig
from drivers.dlt645.frame import Frame, decode
from drivers.dlt645.planner import REFUSED, Ask, plan
from edge_agent.model import Device
from edge_agent.normalize import Normalizer

CAPTURES = Path(__file__).parents[1] / "captures"
SIZES = {"dlt645-2007": 4, "dlt645-1997": 2}
READS = {"dlt645-2007": 0x11, "dlt645-1997": 0x01}


def frames() -> Iterator[Any]:
    library = Library([Path(__file__).with_name("profiles"), SHIPPED])
    for path in sorted(CAPTURES.glob("*.yaml")):
        data = read_yaml(path).data
        profile = library.get(data["profile"])
        if profile.protocol in SIZES:
            for frame in data["frames"]:
                yield pytest.param(profile, frame, id=f"{data['profile']}: {frame['what']}")


@pytest.mark.parametrize(("profile", "frame"), list(frames()))
def test_frame_decodes_to_its_values(profile: Any, frame: dict[str, Any]) -> None:
    size, read = SIZES[profile.protocol], READS[profile.protocol]
    request, reply = decode(bytes.fromhex(frame["request"])), decode(bytes.fromhex(frame["response"]))
    assert request == Frame(reply.address, read, reply.data[:size])
    assert reply.control == read | 0x80
    di = int.from_bytes(request.data, "little")
    points = points_of(profile, {})
    addresses = [point.address for point in points if isinstance(point.address, Dlt645)]
    others = sorted({address.block for address in addresses if address.block not in (None, di)})
    link = LinkConfig("l", "serial")
    singly = {REFUSED: others}
    [batch] = [
        batch
        for batch in plan(points, singly, link, di_size=size)
        if isinstance(batch.plan, Ask) and batch.plan.di == di
    ]
    device = Device(
        id="d", name="d", link="l", unit=reply.address, protocol=profile.protocol, profile=profile, cls=profile.class_,
        system=profile.system, points=points, params=frame.get("params", {}), limits=Limits(),
    )  # fmt: skip
    normalizer = Normalizer(device)
    out = Acquisition("d", 1_795_355_245_000)
    normalizer.take(normalizer.prepare(batch.points), batch.plan.decode(reply.data[size:]), out.t_ms, out)
    assert out.good == frame["values"]
    assert not out.flagged
