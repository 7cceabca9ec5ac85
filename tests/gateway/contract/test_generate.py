"""What is generated is fresh, complete and consistent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.contract import generate


def test_committed_files_are_fresh() -> None:
    assert generate.stale() == []


def test_stale_files_are_found_and_mended(tmp_path: Path) -> None:
    assert generate.stale(tmp_path / "none")
    generate.write(tmp_path)
    assert generate.stale(tmp_path) == []
    (tmp_path / "ack.consumer.json").write_text("{}")
    (tmp_path / "extra.json").write_text("{}")
    assert generate.stale(tmp_path) == ["ack.consumer.json", "extra.json"]
    generate.write(tmp_path)
    assert generate.stale(tmp_path) == []


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0
    assert generate.main(["--what"]) == 2
    assert "usage" in capsys.readouterr().err


def test_asyncapi_references_exist() -> None:
    document = generate.documents()["asyncapi.json"]
    names = generate.documents().keys()
    for message in document["components"]["messages"].values():
        if "payload" in message:
            assert message["payload"]["$ref"] in names
    for name, channel in document["channels"].items():
        assert channel["messages"][name]["$ref"] == f"#/components/messages/{name}"
        assert set(channel["parameters"]) == set(_braced(channel["address"]))
    assert document["operations"]["ack"]["action"] == "receive"
    assert document["operations"]["status"]["bindings"]["mqtt"]["retain"] is True
    assert json.dumps(document)


def _braced(address: str) -> list[str]:
    return [level[1:-1] for level in address.split("/") if level.startswith("{")]
