"""What the devices of the agent show now, for people on the box: the local API's `latest`. Asks nobody; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.model import Device
from edge_agent.polling.fresh import FreshValues
from edge_agent.polling.learned import learned_point, published_unit
from edge_agent.polling.poller import LinkPoller
from edge_agent.publish import Publisher
from gateway.contract import messages

Of = Callable[[str], LinkPoller | None]


def latest(publisher: Publisher, poller_of: Of) -> dict[str, Any]:
    """Every device: `t` UTC ms, good values `s`, flags `x`, and `m`, how each point is kept: `cov`, `polled` or `stale`."""
    found = {}
    for device_id, t_ms, values, flags, _ in publisher.latest():
        poller = poller_of(device_id)
        found[device_id] = {
            "t": t_ms,
            "s": dict(values),
            "x": [messages.to_plain(flag) for flag in flags.values()],
            "m": poller.modes_of(device_id) if poller is not None else {},
        }
    return found


def points_of(device: Device, fresh: FreshValues, poller: LinkPoller | None) -> list[dict[str, Any]]:
    """The points of one device in the order of its profile: value, unit, status, mode and age in seconds."""
    modes: Mapping[str, str] = poller.modes_of(device.id) if poller is not None else {}
    layout = poller.layout_of(device.id) if poller is not None else None
    rows = []
    for point in device.points:
        if point.internal:
            continue
        known, now = learned_point(point, layout).point, fresh(device.id, point.id)
        value = now.value if now is not None else None
        has_label = known.labels is not None and isinstance(value, int | float)
        rows.append(
            {
                "id": point.id,
                "value": value,
                "unit": published_unit(known),
                "text": known.labels.get(int(value)) if has_label else None,  # type: ignore[union-attr, arg-type]
                "status": now.status if now is not None else None,
                "mode": modes.get(point.id),
                "age_s": round(now.age_s, 1) if now is not None else None,
            }
        )
    return rows
