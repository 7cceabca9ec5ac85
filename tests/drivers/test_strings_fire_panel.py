"""Fire panels are heard and never spoken to: their messages become alarms, and no way to write to one can be written down."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from strings_world import opened

from device_profiles.control import Operation
from device_profiles.errors import PlantroomError, ProfileError
from device_profiles.library import SHIPPED, Library
from device_profiles.lint import lint_file
from firmware_sim.fire_panel_strings import FirePanel
from tests.shipped import LIBRARY


@pytest.mark.parametrize("kind", ["serial", "tcp"])
async def test_a_printed_alarm_is_raised_and_not_a_byte_is_sent(kind: str) -> None:
    panel = FirePanel()
    async with opened(panel, "gst-gst9000-printer", kind) as world:
        await world.listen()
        if kind == "tcp":
            await world.until(lambda: world.wire.connections)
        panel.fire(4, 4, "裙楼一层上空")
        panel.fire(6, 7, "中央六层计划部")
        first, second = await world.next(), await world.next()
        assert first.name == "alarm.raised"
        assert first.data == {"id": "fire_4_4", "sev": "critical", "text": "裙楼一层上空 感烟探测器"}
        assert second.data["id"] == "fire_6_7"
        panel.reset()
        ended = [await world.next(), await world.next()]
        assert [(one.name, one.data["id"]) for one in ended] == [
            ("alarm.cleared", "fire_4_4"),
            ("alarm.cleared", "fire_6_7"),
        ]
        assert len({one.key for one in ended}) == 2
        panel.reset()
        while (await world.values("messages_heard"))["messages_heard"] < 4:
            await asyncio.sleep(0.005)
        assert (await world.values("messages_refused"))["messages_refused"] == 0
        for point in world.profile.points:
            with pytest.raises(PlantroomError):
                await world.session.write(world.device, point, 1, None)
        silence = Operation.model_validate({"id": "silence", "call": {"request": "silence"}})
        with pytest.raises(PlantroomError):
            await world.session.operate(world.device, silence, {}, None)
    assert world.wire.bytes_heard == 0
    assert world.session.counts.bytes_out == 0


async def test_an_ascii_panel_raises_and_clears() -> None:
    panel = FirePanel("afp2800")
    async with opened(panel, "firesense-afp2800-printer") as world:
        await world.listen()
        panel.fire(1, 1, "AZF 1 ON MODULE 1 (28 CHAR)")
        panel.reset(1, 1, "AZF 1 ON MODULE 1 (28 CHAR)")
        raised, cleared = await world.next(), await world.next()
    assert (raised.name, cleared.name) == ("alarm.raised", "alarm.cleared")
    assert raised.data["id"] == cleared.data["id"] == "fire_z1_1-1-z1"
    assert world.wire.bytes_heard == 0


WAYS: dict[str, dict[str, Any]] = {
    "a point that can be written": {
        "points": [{"id": "messages_heard", "tally": "heard", "label": "x", "access": "rw"}]
    },
    "an operation": {"operations": [{"id": "silence", "call": {"request": "silence"}}]},
    "a request": {"strings": {"requests": {"silence": {"shape": "S"}}}},
    "a question": {
        "strings": {"requests": {"ask": {"shape": "?", "answer": ["detector"]}}},
        "points": [{"id": "messages_heard", "frame": "detector", "field": "loop", "ask": "ask", "label": "x"}],
    },
}


@pytest.mark.parametrize("more", WAYS.values(), ids=WAYS.keys())
def test_no_profile_of_a_fire_panel_can_speak(more: dict[str, Any], tmp_path: Path) -> None:
    text = (SHIPPED / "fire_panel" / "gst-gst9000-printer.yaml").read_text()
    data = yaml.safe_load(text) | {"profile": "mine"}
    for key, value in more.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) else value
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False))
    with pytest.raises(ProfileError, match="fire_panel"):
        Library([tmp_path, SHIPPED]).get("mine")


def test_a_fire_panel_of_another_protocol_cannot_be_written_either(tmp_path: Path) -> None:
    data = {
        "profile": "mine", "version": 1, "class": "fire_panel", "system": "security", "products": ["x"],
        "protocol": "modbus", "points": [{"id": "fire_alarm", "table": "coil", "reg": 0, "access": "rw", "label": "x"}],
        "source": {"title": "x", "url": "https://example.org"},
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    with pytest.raises(ProfileError, match="can be written"):
        Library([tmp_path, SHIPPED]).get("mine")


def test_every_shipped_fire_panel_is_silent() -> None:
    library = LIBRARY
    panels = [library.get(name) for name, path in library.files.items() if path.parent.name == "fire_panel"]
    assert len(panels) >= 3
    for panel in panels:
        assert not panel.operations
        assert panel.strings is None or not panel.strings.requests
        assert all(point.access == "r" for point in panel.points)
        assert lint_file(library, library.path(panel.profile)) == []
