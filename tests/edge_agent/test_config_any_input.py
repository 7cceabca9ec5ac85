"""Whatever stands in agent.yaml, the answer is a configuration or a ConfigError whose every finding names the file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from device_profiles.errors import ConfigError
from device_profiles.library import SHIPPED, Library
from device_profiles.yamlfile import parse_yaml
from edge_agent.config.load import build_config

SUM = {"power_active": {"plus": ["m/power_active"], "minus": ["p-1/power_active"]}}
GOOD: dict[str, Any] = {
    "agent": {
        "id": "gw-01",
        "site": "hq",
        "tz": "UTC",
        "calendar": {"holidays": ["2027-01-01"]},
        "spool": {"ballast": 0},
    },
    "mqtt": {"url": "mqtts://b:8883", "password": {"env": "HOME"}},
    "links": {"t": "tcp://h:502", "s": {"kind": "serial", "path": "/dev/ttyUSB0", "baud": 9600}},
    "devices": [
        {
            "id": "m",
            "link": "t",
            "unit": 1,
            "profile": "eastron-sdm630",
            "points": {"voltage_l1": {"poll": 10, "min": 1}},
        },
        {"id": "p", "link": "s", "unit": 2, "profile": "generic-branch-meter-24", "instances": {1: {"name": "a"}}},
        {"id": "v", "protocol": "virtual", "class": "electricity_meter", "points": SUM},
    ],
}
LIBRARY = Library((SHIPPED,))

ODD: tuple[Any, ...] = (
    "", "-1", "\x1b[2J", "a/b", "../..", "tcp://[", "serial:", "mqtt://:x@h", "é" * 300,
    0, -1, 65536, 1e308, 2**70, True, None, [], {}, {"file": "x"}, {"": ""}, ["m/power_active"],
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


def test_the_untouched_one_is_good() -> None:
    config = build_config(parse_yaml(yaml.safe_dump(GOOD), "agent.yaml"), Path("/nowhere"), profiles=LIBRARY)
    assert len(config.devices) == 27


@pytest.mark.parametrize("place", places(GOOD)[1:], ids=lambda place: ".".join(map(str, place)))
def test_any_value_anywhere(place: tuple[Any, ...]) -> None:
    for value in ODD:
        document = copy.deepcopy(GOOD)
        target: Any = document
        for key in place[:-1]:
            target = target[key]
        target[place[-1]] = value
        try:
            build_config(parse_yaml(yaml.safe_dump(document), "agent.yaml"), Path("/nowhere"), profiles=LIBRARY)
        except ConfigError as error:
            for problem in error.problems or (error,):
                assert problem.where.startswith("agent.yaml:"), (value, problem)
                assert problem.next_step, (value, problem)
                assert str(problem).isprintable(), (value, problem)


@pytest.mark.parametrize(
    "text", ["agent:\n  id: [", "- - - -", "? a\n? b\n", "a: b: c\n", "%YAML 9.9\n---\na: 1\n", "\ufffe"]
)
def test_broken_yaml(text: str) -> None:
    with pytest.raises(ConfigError):
        build_config(parse_yaml(text, "agent.yaml"), Path("/nowhere"), profiles=LIBRARY)
