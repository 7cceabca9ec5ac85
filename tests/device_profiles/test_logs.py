"""A bad peer cannot flood the journal (F40), and nothing it sends moves a terminal."""

import pytest
import structlog

from device_profiles.logs import OnePerSecond, printable


def test_one_line_a_second_a_key_and_the_rest_is_counted() -> None:
    now = [0.0]
    limit = OnePerSecond(lambda: now[0])
    assert limit(None, "warning", {"event": "bad frame", "device": "m1"}) == {"event": "bad frame", "device": "m1"}
    for _ in range(5):
        with pytest.raises(structlog.DropEvent):
            limit(None, "warning", {"event": "bad frame", "device": "m1"})
    assert "suppressed" not in limit(None, "warning", {"event": "bad frame", "device": "m2"})
    now[0] = 1.0
    assert limit(None, "warning", {"event": "bad frame", "device": "m1"})["suppressed"] == 5


def test_many_keys_do_not_grow_without_bound() -> None:
    limit = OnePerSecond(lambda: 0.0)
    for number in range(10_000):
        limit(None, "info", {"event": "x", "device": str(number)})
    assert len(limit._last) <= 4096


def test_control_characters_become_visible() -> None:
    assert printable("a\x1b[2Jb\n") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}"
