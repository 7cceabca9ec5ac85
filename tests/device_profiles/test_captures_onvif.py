"""Notifications that cameras sent become the events written beside them, each after those above it."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.yamlfile import read_yaml
from drivers.base import Address, WireCount
from drivers.document import parse_xml
from drivers.listening import Listened
from drivers.onvif.happening import Happening, messages_of
from tests.shipped import LIBRARY

CAPTURES = Path(__file__).parents[1] / "captures"


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*-onvif*.yaml")), ids=lambda path: path.stem)
def test_notifications_are_their_events(path: Path) -> None:
    happening, device = Happening(WireCount()), Listened(Address(0, "camera-1"), LIBRARY.get(path.stem).events)
    for frame in read_yaml(path).data["frames"]:
        body = parse_xml(f"<PullMessagesResponse>{frame['notification']}</PullMessagesResponse>".encode())
        assert isinstance(body, dict)
        messages = messages_of(body["PullMessagesResponse"])
        assert len(messages) == 1, frame["what"]
        told = [happening.occurrence(device, each) for each in messages if happening.is_news(each)]
        assert [(each.name, each.t_ms, each.data) for each in told if each is not None] == [
            (each["name"], each["t"], each["data"]) for each in frame["events"]
        ], frame["what"]
    assert happening.counts.errors == {}
