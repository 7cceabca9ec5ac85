"""Answers and alerts of devices that are asked over HTTP decode to the values and events written beside them.

Every point of a resource is accounted for, through the driver's own way and the normaliser.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device_profiles.reading import Acquisition
from device_profiles.yamlfile import read_yaml
from drivers.base import Address, LinkConfig, WireCount
from drivers.document import parse
from drivers.http_calls import call_of
from drivers.http_points import plan, value_of
from drivers.isapi.happening import Happening
from drivers.isapi.messages import message_of
from drivers.listening import Listened
from edge_agent.model import Device
from edge_agent.normalize import Normalizer
from tests.shipped import LIBRARY

CAPTURES = Path(__file__).parents[1] / "captures"
OURS = ("isapi", "rest")
NOW_MS = 1_795_355_245_000


def frames(key: str) -> Iterator[Any]:
    for path in sorted(CAPTURES.glob("*.yaml")):
        data = read_yaml(path).data
        for frame in data["frames"]:
            if key in frame and LIBRARY.get(data["profile"]).protocol in OURS:
                yield pytest.param(data["profile"], frame, id=f"{data['profile']}: {frame['what']}")


@pytest.mark.parametrize(("profile_id", "frame"), list(frames("answer")))
def test_an_answer_decodes_to_its_values(profile_id: str, frame: dict[str, Any]) -> None:
    profile = LIBRARY.get(profile_id)
    batches = plan(profile.points, LinkConfig("l", "http"))
    [batch] = [each for each in batches if each.plan.path == frame["get"]]
    document = parse(frame["answer"].encode())
    unit = Address(0, "d")
    raws = [value_of(address, kind, document, unit, "host", NOW_MS) for address, kind in batch.plan.places]
    device = Device(
        id="d", name="d", link="l", unit=0, protocol=profile.protocol, profile=profile, cls=profile.class_,
        system=profile.system, points=profile.points,
    )  # fmt: skip
    normalizer, out = Normalizer(device), Acquisition("d", NOW_MS)
    normalizer.take(normalizer.prepare(batch.points), raws, NOW_MS, out)
    status = {flag.point: flag.status for flag in out.flagged}
    assert status == frame.get("status", {})
    assert out.good == frame.get("values", {})
    assert {name: type(value) for name, value in out.good.items() if isinstance(value, bool | str)} == {
        name: type(value) for name, value in frame["values"].items() if isinstance(value, bool | str)
    }


@pytest.mark.parametrize(("profile_id", "frame"), list(frames("alert")))
def test_an_alert_is_its_event(profile_id: str, frame: dict[str, Any]) -> None:
    profile, wanted, counts = LIBRARY.get(profile_id), frame.get("event"), WireCount()
    message = message_of(frame["alert"].encode())
    assert message is not None
    assert {name: message.words[name] for name in frame.get("words", {})} == frame.get("words", {})
    told = Happening(counts).occurrence(Listened(Address(0, "d"), profile.events, profile.credential), message)
    if wanted is None:
        assert (told, counts.errors) == (None, {}), "the profile knows it, and it is no event"
        return
    assert told is not None
    assert (told.name, told.t_ms, told.data) == (wanted["name"], wanted["t"], wanted["data"])
    assert {name: clear.text for name, clear in told.clear.items()} == wanted.get("clear", {})


def test_what_a_profile_calls_can_be_called() -> None:
    found = [profile for profile in LIBRARY.all() if profile.protocol in OURS]
    assert found
    for profile in found:
        assert plan(profile.points, LinkConfig("l", "http"))
        for operation in profile.operations:
            if operation.call.keys() != {"snapshot"} and operation.call != {"time": "sync"}:
                call_of(operation)
