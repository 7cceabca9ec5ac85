"""Events: CloudEvents 1.0, closed data, ids that follow from what happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.events import EventName
from gateway.contract.events import DATA, make_event

SCHEMA = Path(__file__).parents[4] / "shared" / "vectors" / "schemas" / "cloudevents-1.0.json"
EXAMPLES = Path(__file__).parents[2] / "contract" / "v1.0"


def event(name: str = "system.device_down", **more: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "site": "hq", "agent": "gw-01", "device": "door-3", "data": {"since": 5}, "key": "k",
        "t_ms": 1795355245338, "epoch": "7Q2XK9M4TB", "seq": 7,
    }  # fmt: skip
    return json.loads(make_event(name, **{**fields, **more}))  # type: ignore[no-any-return]


def test_attributes() -> None:
    found = event()
    assert found == {
        "specversion": "1.0",
        "id": found["id"],
        "source": "/hq/gw-01/door-3",
        "type": "plantroom.system.device_down.v1",
        "time": "2026-11-22T13:47:25.338Z",
        "subject": "door-3",
        "datacontenttype": "application/json",
        "epoch": "7Q2XK9M4TB",
        "seq": "7",
        "data": {"since": 5},
    }
    assert event(device="gw-01")["source"] == "/hq/gw-01"


def test_id_follows_from_what_happened() -> None:
    """The same occurrence spooled twice, under whatever number, is one event; anything else is another."""
    first = event()["id"]
    assert event(seq=8, epoch="AAAAAAAAAA", t_ms=1)["id"] == first
    others = [
        event(key="k2"),
        event(device="door-4"),
        event(site="b"),
        event(agent="gw-02"),
        event("system.device_up", data={"since": 5, "down_ms": 1}),
    ]
    assert len({first, *(other["id"] for other in others)}) == 6


@pytest.mark.parametrize("data", [{}, {"since": "5"}, {"since": 5, "stray": 1}])
def test_data_is_closed(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"system\.device_down"):
        event(data=data)


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"no event 'door\.eaten'"):
        event("door.eaten", data={})


def test_every_type_of_section_7_is_there() -> None:
    assert len(set(DATA) - {"keypad.entered"}) == 33


@given(st.integers(0, 4_102_444_800_000))
def test_time_is_exact_to_the_millisecond(t_ms: int) -> None:
    from datetime import datetime

    stamp = datetime.fromisoformat(event(t_ms=t_ms)["time"])
    assert round(stamp.timestamp() * 1000) == t_ms


@pytest.mark.skipif(not SCHEMA.is_file(), reason="the shared vectors are not here")
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("event.*.json")), ids=lambda path: path.stem)
def test_valid_by_the_schema_of_cloudevents(path: Path) -> None:
    jsonschema_rs = pytest.importorskip("jsonschema_rs", reason="jsonschema_rs is not installed")
    schema = json.loads(SCHEMA.read_text())
    document = json.loads(path.read_text())
    assert jsonschema_rs.is_valid(schema, document)
    del document["source"]
    assert not jsonschema_rs.is_valid(schema, document)


def test_what_devices_can_tell_is_of_the_contract() -> None:
    """A profile names no event that the contract lacks."""
    assert set(get_args(EventName)) <= set(DATA)


def test_digits_of_a_keypad_never_travel() -> None:
    """There is no field that they would fit into."""
    assert event("keypad.entered", data={"count": 4, "dir": "in"})["data"] == {"count": 4, "dir": "in"}
    for field in ("digits", "code", "pin", "keys"):
        with pytest.raises(ValueError, match=r"keypad\.entered"):
            event("keypad.entered", data={"count": 4, field: "1234"})
