"""A key for pseudonyms that is another than before is said: a lost file of the agent's own, an id given to another key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_agent.events.known_keys import NAMESPACE, tell_changed
from edge_agent.events.own_key import own_key
from edge_agent.events.pseudonym import PseudonymKey
from gateway.contract.events import DATA
from tests.edge_agent.event_world import KEY


class Life:
    """What is kept and told over the starts of one agent."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.told: list[Any] = []

    def start(self, *keys: PseudonymKey) -> int:
        """How many alarms it told."""
        before = len(self.told)
        tell_changed(keys, dict(self.kept), self._remember, self._put, 1_790_000_000_000 + before)
        return len(self.told) - before

    def _remember(self, namespace: str, key: str, value: Any) -> None:
        assert namespace == NAMESPACE
        self.kept[key] = value

    def _put(self, device_id: str, name: str, data: Any, key: str, **more: Any) -> None:
        assert (device_id, name) == ("", "alarm.raised")
        assert set(data) <= set(DATA[name].__struct_fields__)
        self.told.append((key, data["text"]))


def test_an_own_key_that_was_lost_is_told_once(tmp_path: Path) -> None:
    life, first = Life(), own_key(tmp_path)
    assert [life.start(first), life.start(own_key(tmp_path))] == [0, 0]
    (tmp_path / "pseudonym.key").unlink()
    assert [life.start(own_key(tmp_path)), life.start(own_key(tmp_path))] == [1, 0]
    assert "own key was lost" in life.told[0][1]
    said = json.dumps([life.kept, life.told])
    assert first.secret.hex() not in said
    assert own_key(tmp_path).secret.hex() not in said


def test_rotation_is_no_change_and_an_id_of_another_key_is() -> None:
    life = Life()
    later = PseudonymKey("k2", b"another key, as long as it has to be", 1_790_000_000_000)
    assert [life.start(KEY), life.start(KEY, later), life.start(later)] == [0, 0, 0]
    assert life.start(PseudonymKey("k1", later.secret)) == 1
    assert life.start(KEY) == 1, "and back again is a change too"
    assert len({key for key, _ in life.told}) == 2
