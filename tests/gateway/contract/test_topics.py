"""Topics are built and taken apart the same way on both sides."""

import pytest

from device_profiles.errors import ConfigError
from gateway.contract.topics import Parsed, Topics, parse


def test_builds_what_it_parses() -> None:
    topics = Topics("hq", "gw-01")
    assert topics.data("meter-01") == "plantroom/v1/hq/gw-01/up/data/meter-01"
    assert parse(topics.data("meter-01")) == Parsed("plantroom", "hq", "gw-01", "up", ("data", "meter-01"))
    assert parse(Topics("hq", "gw-01", root="a/b").down("ack")) == Parsed("a/b", "hq", "gw-01", "down", ("ack",))


@pytest.mark.parametrize(
    "topic", ["", "plantroom", "plantroom/v2/hq/gw/up/data/x", "plantroom/v1/HQ/gw/up/data/x", "v1/a/b/up/c"]
)
def test_foreign_topics_are_none(topic: str) -> None:
    assert parse(topic) is None


def test_a_bad_id_is_refused_with_its_text() -> None:
    with pytest.raises(ConfigError, match="'Gateway 1'"):
        Topics("hq", "Gateway 1")
