"""A link whose displays tell changes by themselves, in its short and its long form."""

from __future__ import annotations

from typing import Any

import pytest

from device_profiles.problems import Problems
from device_profiles.yamlfile import Document
from edge_agent.config.links import read_links


def read(entry: Any) -> int | None:
    document = Document({"links": {"hall": entry}}, "agent.yaml", "")
    links = read_links(document.data["links"], Problems(document))
    return links["hall"].config.notices if "hall" in links else None


@pytest.mark.parametrize(
    "entry", ["tcp://10.0.0.9:4352?notices=4352", {"kind": "tcp", "host": "10.0.0.9", "port": 4352, "notices": 4352}]
)
def test_both_forms(entry: Any) -> None:
    assert read(entry) == 4352


@pytest.mark.parametrize(
    "entry",
    ["tcp://10.0.0.9?notices=0", {"kind": "tcp", "host": "10.0.0.9", "notices": 0}, "rtu+tcp://h:1?notices=4352"],
)
def test_wrong_ones(entry: Any) -> None:
    assert read(entry) is None
    assert read("tcp://10.0.0.9") == 0
