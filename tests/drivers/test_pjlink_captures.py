"""Lines that real displays sent decode to the values written beside them, and what was asked is what the driver asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from device_profiles.schema import Pjlink
from device_profiles.yamlfile import read_yaml
from drivers.pjlink import codec
from tests.shipped import LIBRARY

CAPTURE = read_yaml(Path(__file__).parents[1] / "captures" / "generic-pjlink-1.yaml").data


@pytest.mark.parametrize("frame", CAPTURE["frames"], ids=lambda frame: frame["what"])
def test_a_line_is_its_values(frame: dict[str, Any]) -> None:
    points = {point.id: point.address for point in LIBRARY.get(CAPTURE["profile"]).points}
    command, _, parameter = frame["asked"].partition(" ")
    body = codec.body_of(command, codec.trimmed(frame["answered"].encode()))
    assert isinstance(body, str)
    for name, value in frame.get("values", {}).items():
        address = points[name]
        assert isinstance(address, Pjlink)
        assert (codec.command_of(address.pjlink), parameter) == (command, "?")
        assert codec.value_of(address.pjlink, body) == value
    facts = frame.get("facts", {})
    assert body == facts.get("answer", body)
    if "level" in facts:
        assert codec.level_of(body) == facts["level"]
