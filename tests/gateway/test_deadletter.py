"""Dead letters: once each, on the disk before anybody is told, bounded, readable after a torn line, replayed with one effect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device_profiles.errors import ConfigError, StoreUnavailable
from gateway.deadletter import DeadLetters

TOPIC = "plantroom/v1/hq/gw-01/up/data/m1"


def letters(folder: Path, **more: int) -> DeadLetters:
    found = DeadLetters(folder / "dead", **more)
    found.open()
    return found


def test_kept_once_also_over_a_restart(tmp_path: Path) -> None:
    dead = letters(tmp_path)
    assert dead.add(TOPIC, b'{"v":1}', "schema", "detail", ["a line"])
    assert not dead.add(TOPIC, b'{"v":1}', "schema", "again")
    assert dead.add(TOPIC + "x", b'{"v":1}', "topic", "another topic is another message")
    assert list(dead) == []  # not before the sync
    dead.sync()
    first, second = dead
    assert (first.id, first.reason, first.payload, first.lines) == (1, "schema", b'{"v":1}', ["a line"])
    dead.close()
    again = letters(tmp_path)
    assert not again.add(TOPIC, b'{"v":1}', "schema", "detail")
    assert again.add(TOPIC, b"\xff\x00", "json", "not UTF-8")
    again.sync()
    assert [letter.id for letter in again] == [first.id, second.id, 3]
    assert again.find(3).payload == b"\xff\x00"
    assert again.by_reason == {"json": 1}


def test_a_large_one_is_named_but_not_kept(tmp_path: Path) -> None:
    dead = letters(tmp_path)
    dead.add(TOPIC, b"x" * 2_000_000, "size", "2 MB")
    dead.sync()
    (letter,) = dead
    assert (letter.size, letter.payload) == (2_000_000, None)
    with pytest.raises(ConfigError, match="was not kept"):
        dead.ask_replay(letter)
    assert sum(path.stat().st_size for path in (tmp_path / "dead").glob("*.jsonl")) < 1000


def test_a_line_that_a_power_cut_tore_is_skipped(tmp_path: Path) -> None:
    dead = letters(tmp_path)
    dead.add(TOPIC, b"1", "json", "")
    dead.sync()
    dead.close()
    path = tmp_path / "dead" / "dead-000001.jsonl"
    path.write_bytes(path.read_bytes() + b'{"id":2,"t":1,"rea')
    again = letters(tmp_path)
    again.add(TOPIC, b"2", "json", "")
    again.sync()
    assert [letter.payload for letter in again] == [b"1", b"2"]


def test_files_are_bounded_and_the_oldest_go_first(tmp_path: Path) -> None:
    dead = letters(tmp_path, file_bytes=2000, files=3)
    for number in range(100):
        dead.add(TOPIC, b"%d" % number, "json", "x" * 100)
        dead.sync()
    names = sorted((tmp_path / "dead").glob("dead-*.jsonl"))
    assert len(names) == 3
    assert sum(path.stat().st_size for path in names) < 3 * 2500
    assert dead.given_up > 0
    assert [letter.id for letter in dead][-1] == 100
    dead.close()
    assert letters(tmp_path).add(TOPIC, b"100", "json", "")


def test_a_replay_is_asked_for_by_one_and_done_by_another(tmp_path: Path) -> None:
    dead = letters(tmp_path)
    dead.add(TOPIC, b"1", "type", "")
    dead.add(TOPIC, b"2", "type", "")
    dead.sync()
    person = DeadLetters(tmp_path / "dead")
    person.ask_replay(person.find(1))
    person.ask_replay(person.find(1))
    ((path, letter),) = dead.replays()
    assert letter.payload == b"1"
    dead.replayed(path, letter)
    assert dead.replays() == []
    assert [one.id for one in person] == [2]
    assert dead.add(TOPIC, b"1", "type", "refused anew: that is a new letter")
    with pytest.raises(ConfigError, match="no dead letter 1"):
        person.find(1)


def test_an_unreadable_replay_is_set_aside(tmp_path: Path) -> None:
    dead = letters(tmp_path)
    (tmp_path / "dead" / "replay" / "1.json").write_text("{")
    assert dead.replays() == []
    assert (tmp_path / "dead" / "replay" / "1.unreadable").exists()


def test_a_disk_that_refuses_is_said_and_nothing_is_forgotten(tmp_path: Path) -> None:
    dead = letters(tmp_path)
    dead.add(TOPIC, b"1", "json", "")
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    import os

    good, dead._file = dead._file, os.open(full, os.O_WRONLY)
    with pytest.raises(StoreUnavailable, match="No space left"):
        dead.sync()
    os.close(dead._file)
    dead._file = good
    dead.sync()
    assert [letter.payload for letter in dead] == [b"1"]


def test_lines_are_json(tmp_path: Path) -> None:
    dead = letters(tmp_path)
    dead.add(TOPIC, b'{"a":"\\u001b[31m\\n"}', "control", "")
    dead.sync()
    (line,) = (tmp_path / "dead" / "dead-000001.jsonl").read_text().splitlines()
    assert json.loads(line)["text"] == '{"a":"\\u001b[31m\\n"}'
