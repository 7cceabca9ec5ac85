"""`plantroom watch` on a running agent: what it has of one device, again and again, and its events. The device is not asked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from edge_agent.cli.living import Living
from edge_agent.cli.points import points_from, table_of, value_text
from edge_agent.cli.watch_events import line
from edge_agent.local_api import ask


def agent_has(socket: Path, device: str) -> bool:
    """An agent runs there. Raises ConfigError when it does and has no such device."""
    from device_profiles.errors import LinkRefused

    try:
        points_from(socket, device)
    except LinkRefused:
        return False
    return True


def watch(socket: Path, device: str, *, interval: float, times: int | None, as_json: bool) -> None:
    """Shows the points with their mode and age, and events as they come; values that changed stand out. Until Ctrl-C, or
    `times` looks.
    """
    if as_json:
        _print(socket, device, interval, times)
        return
    before: dict[str, Any] = {}
    with Living() as living:
        for points, changed, events, is_last in _looks(socket, device, times, before):
            for event in events:
                living.say(line(event))
            rows = (f"{point['id']} {value_text(point)}" for point in points if point["id"] in changed)
            living.draw(table_of(device, points, changed), f"as the agent has it, {len(changed)} changed", rows)
            if not is_last:
                time.sleep(interval)


def _print(socket: Path, device: str, interval: float, times: int | None) -> None:
    for points, changed, events, is_last in _looks(socket, device, times, {}):
        for event in events:
            print(json.dumps(event, ensure_ascii=False), flush=True)
        document = {"device": device, "points": points, "changed": sorted(changed)}
        print(json.dumps(document, ensure_ascii=False), flush=True)
        if not is_last:
            time.sleep(interval)


def _looks(socket: Path, device: str, times: int | None, before: dict[str, Any]) -> Any:
    """(points, those that changed, events since the last look, whether it was the last one)."""
    looked, last = 0, None
    while times is None or looked < times:
        looked += 1
        happened = ask(socket, "events", device=device, after=last)
        last = happened["last"]
        points = points_from(socket, device)["points"]
        changed = frozenset(
            point["id"] for point in points if point["id"] in before and before[point["id"]] != point["value"]
        )
        before.update({point["id"]: point["value"] for point in points})
        yield points, changed, happened["events"], looked == times
