"""Every capture decodes to the values written beside it, through the driver's decoder and the normaliser.

The bytes and the values were written by hand from the datasheets' scales, so that neither the decoder nor the profile confirms
itself. A frame has to account for every point that lies in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from device_profiles.library import SHIPPED, Library
from device_profiles.reading import Acquisition
from device_profiles.resolve import points_of
from device_profiles.schema import Point
from device_profiles.yamlfile import read_yaml
from drivers.modbus.block import Place, build_block, locate_point
from edge_agent.model import Device
from edge_agent.normalize import Normalizer

CAPTURES = Path(__file__).parents[1] / "captures"
LIBRARY = Library([Path(__file__).with_name("profiles"), SHIPPED])
TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}


def frames() -> Iterator[Any]:
    for path in sorted(CAPTURES.glob("*.yaml")):
        data = read_yaml(path).data
        if LIBRARY.get(data["profile"]).protocol != "modbus":
            continue  # those of other protocols are tested beside their drivers
        for frame in data["frames"]:
            yield pytest.param(data["profile"], frame, id=f"{data['profile']}: {frame['what']}")


def crc(data: bytes) -> bytes:
    """MODBUS over Serial Line V1.02, 6.2.2, bit by bit."""
    register = 0xFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ 0xA001 if register & 1 else register >> 1
    return register.to_bytes(2, "little")


@pytest.mark.parametrize(("profile_id", "frame"), list(frames()))
def test_frame_decodes_to_its_values(profile_id: str, frame: dict[str, Any]) -> None:
    request, response = bytes.fromhex(frame["request"]), bytes.fromhex(frame["response"])
    for whole in (request, response):
        assert whole[-2:] == crc(whole[:-2]), "the frame's CRC"
    table, first, count = TABLES[request[1]], int.from_bytes(request[2:4]), int.from_bytes(request[4:6])
    assert response[:2] == request[:2]
    data = response[3:-2]
    assert response[2] == len(data) == (2 * count if table in ("holding", "input") else -(-count // 8))

    profile = LIBRARY.get(profile_id)
    points = points_of(profile, frame.get("options"), instance=frame.get("instance"))
    layout = {"models": {str(model): base for model, base in frame.get("models", {}).items()}}
    inside = [place for place in located(points, layout) if is_inside(place, table, first, first + count - 1)]
    block = build_block(table, first, first + count - 1, inside, layout)
    ordered = tuple(place.point.id for place in block.places)
    device = Device(
        id="d", name="d", link="l", unit=1, protocol="modbus", profile=profile, cls=profile.class_, system=profile.system,
        points=tuple(place.point for place in block.places), params=frame.get("params", {}),
    )  # fmt: skip
    normalizer = Normalizer(device)
    out = Acquisition("d", 1_795_355_245_000)
    normalizer.take(normalizer.prepare(ordered), block.decode(data), out.t_ms, out)

    status = {flag.point: flag.status for flag in out.flagged}
    assert status == frame.get("status", {})
    assert out.good == frame.get("values", {})
    told = out.good.keys() | status.keys()
    assert told == {place.point.id for place in inside if not place.point.internal}
    booleans = {name for name, value in frame.get("values", {}).items() if isinstance(value, bool)}
    assert {name for name, value in out.good.items() if isinstance(value, bool)} == booleans  # True == 1.0 says nothing


def located(points: tuple[Point, ...], layout: dict[str, Any]) -> list[Place]:
    return [place for point in points if (place := locate_point(point, layout)) is not None]


def is_inside(place: Place, table: str, first: int, last: int) -> bool:
    return place.table == table and first <= place.first and place.last <= last


def test_every_capture_is_of_a_profile_and_says_where_it_is_from() -> None:
    for path in sorted(CAPTURES.glob("*.yaml")):
        data = read_yaml(path).data
        assert data["profile"] == path.stem
        LIBRARY.get(path.stem)
        for frame in data["frames"]:
            assert frame["origin"] in ("recorded", "documented", "computed")
            assert frame["origin"] == "computed" or frame["source"]
            assert any(frame.get(key) for key in ("values", "status", "event", "facts")) or "events" in frame


def test_values_are_exact_decimals() -> None:
    """A value in a capture is the float nearest to the decimal that a person would write."""
    for parameters in frames():
        for value in parameters.values[1].get("values", {}).values():
            assert isinstance(value, bool) or float(Decimal(repr(value))) == value
