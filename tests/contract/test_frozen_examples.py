"""Released example messages parse for ever: nothing in the folders beside this file is ever changed, only added to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.contract import events, generate, messages

FOLDER = Path(__file__).parent
EXAMPLES = sorted(FOLDER.glob("v*/*.json"))
STRUCTS: dict[str, type[msgspec.Struct]] = {
    "telemetry": messages.Telemetry,
    "ack": messages.Ack,
    "meta": messages.Meta,
    "state": messages.State,
    "status": messages.Status,
    "site": messages.Site,
    "caps": messages.Caps,
    "last": messages.Last,
    "command": messages.Command,
    "command-result": messages.CommandResult,
    "config-desired": messages.ConfigDesired,
    "config-reported": messages.ConfigReported,
    "alarm": messages.Alarm,
    "event": messages.Event,
}


def struct_of(path: Path) -> type[msgspec.Struct]:
    """`status-lost.json` is a Status, `event.card.read.json` an Event."""
    name = path.stem.split(".")[0]
    return STRUCTS.get(name) or STRUCTS[name.rpartition("-")[0]]


def test_there_is_one_of_each() -> None:
    assert {struct_of(path) for path in EXAMPLES} == set(STRUCTS.values())
    assert {path.stem.removeprefix("event.") for path in EXAMPLES if path.stem.startswith("event.")} == set(events.DATA)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
class TestExample:
    def test_decodes_and_encodes_to_the_same(self, path: Path) -> None:
        raw = path.read_bytes().rstrip(b"\n")
        assert json.loads(messages.encode(msgspec.json.decode(raw, type=struct_of(path)))) == json.loads(raw)

    def test_unknown_keys_are_ignored(self, path: Path) -> None:
        raw = path.read_bytes().rstrip(b"\n")
        later = json.loads(raw) | {"of_a_later_version": {"a": [1]}}
        assert msgspec.json.decode(json.dumps(later), type=struct_of(path)) == msgspec.json.decode(
            raw, type=struct_of(path)
        )

    def test_schemas_agree(self, path: Path) -> None:
        jsonschema_rs = pytest.importorskip("jsonschema_rs", reason="jsonschema_rs is not installed")
        document: dict[str, Any] = json.loads(path.read_bytes())
        name = next(name for name, struct in STRUCTS.items() if struct is struct_of(path))
        strict, lenient = (load(f"{name}.{side}.json") for side in ("producer", "consumer"))
        assert jsonschema_rs.is_valid(strict, document)
        assert jsonschema_rs.is_valid(lenient, document)
        later = document | {"of_a_later_version": 1}
        assert not jsonschema_rs.is_valid(strict, later)
        assert jsonschema_rs.is_valid(lenient, later)
        if name == "event":
            schema = load(f"{path.stem}.json")
            assert jsonschema_rs.is_valid(schema, document["data"])
            assert not jsonschema_rs.is_valid(schema, document["data"] | {"stray": 1})


WORDS = {
    "status": ("state",),
    "state": ("state",),
    "meta": ("points", "*", "type"),
    "command-result": ("st",),
    "config-reported": ("st",),
    "alarm": ("sev",),
}


@pytest.mark.parametrize("name", WORDS)
def test_only_a_producer_is_held_to_the_words_of_its_version(name: str) -> None:
    jsonschema_rs = pytest.importorskip("jsonschema_rs", reason="jsonschema_rs is not installed")
    document = json.loads(next(path for path in EXAMPLES if struct_of(path) is STRUCTS[name]).read_bytes())
    *way, last = WORDS[name]
    place = document
    for key in way:
        place = place[key] if key != "*" else next(iter(place.values()))
    place[last] = "word_of_a_later_version"
    assert not jsonschema_rs.is_valid(load(f"{name}.producer.json"), document)
    assert jsonschema_rs.is_valid(load(f"{name}.consumer.json"), document)
    decoded = msgspec.json.decode(json.dumps(document), type=STRUCTS[name])
    assert json.loads(messages.encode(decoded)) == document


def load(name: str) -> Any:
    return json.loads((generate.FOLDER / name).read_text())
