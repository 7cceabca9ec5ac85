"""Frames from outside of this project, as their profiles read and write them (tests/captures): fields, events and requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device_profiles.strings_codec import Heard, Language
from device_profiles.yamlfile import read_yaml
from drivers.base import Address
from drivers.listening import Listened
from drivers.strings.station import Station
from drivers.strings.stream import Decoder
from tests.shipped import LIBRARY

CAPTURES = Path(__file__).parents[1] / "captures"


def frames() -> Iterator[Any]:
    for path in sorted(CAPTURES.glob("*.yaml")):
        of = path.stem
        if of not in LIBRARY.files or LIBRARY.get(of).strings is None:
            continue
        for frame in read_yaml(path).data["frames"]:
            yield pytest.param(of, frame, id=f"{of}: {frame['what']}")


@pytest.mark.parametrize(("profile_id", "frame"), list(frames()))
def test_a_frame_is_what_is_written_beside_it(profile_id: str, frame: dict[str, Any]) -> None:
    of = LIBRARY.get(profile_id)
    assert of.strings is not None
    language = Language(of.strings)
    if "sent" in frame:
        raw, _ = language.build(frame["request"], frame["values"])
        assert raw == bytes.fromhex(frame["sent"])
        return
    wire = bytes.fromhex(frame["heard"]) if "heard" in frame else frame["text"].encode() + language.line_end
    [heard] = Decoder(language).feed(wire)
    assert isinstance(heard, Heard)
    assert heard.frame == frame["frame"]
    assert {name: heard.values[name] for name in frame["values"]} == frame["values"]
    device = Address(1, "d", strings=of.strings)
    events = Station(device, language, 0.0, Listened(device, of.events, of.credential)).take(heard, 0, 0.0)
    assert [event.name for event in events] == ([frame["event"]] if "event" in frame else [])
    for event in events:
        assert {name: event.data[name] for name in frame.get("data", {})} == frame.get("data", {})
        assert {name: clear.text for name, clear in event.clear.items()} == frame.get("clear", {})
