"""The retained documents of an agent: what it, its site and its devices are (CONTRACT.md sections 1, 2 and 5). Pure."""

from __future__ import annotations

import hashlib
from typing import Any

from device_profiles.schema import Point
from device_profiles.units import conversion
from device_profiles.vocabulary import vocabulary
from drivers.base import Layout
from edge_agent.commands import operations
from edge_agent.model import Config, Device
from edge_agent.polling.learned import Learned, identity_of, learned_point, published_unit
from gateway.contract import messages
from gateway.contract.topics import CONTRACT


def meta(device: Device, link_place: str, layout: Layout | None = None) -> messages.Meta:
    """A device's class and points. `rev` is a hash of all the rest, so the same device always has the same revision.

    `layout` is what was learned of the device: labels and serial number that neither profile nor configuration has.
    """
    document = messages.Meta(
        rev="",
        name=device.name,
        cls=device.cls,
        system=device.system,
        space=device.space,
        parent=device.parent,
        profile=f"{device.profile.profile}@{device.profile.version}",
        proto=device.protocol,
        addr=f"{device.link}:{device.unit}" if device.link else "virtual",
        serial=device.serial or identity_of(layout).get("serial"),
        asset=device.asset,
        codes=dict(device.codes),
        params=dict(device.params),
        ext=dict(device.ext) | ({"place": link_place} if link_place else {}),
        points={point.id: _point_meta(learned_point(point, layout)) for point in device.points if not point.internal},
    )
    document.rev = hashlib.sha256(messages.encode(document)).hexdigest()[:8]
    return document


def _point_meta(learned: Learned) -> messages.PointMeta:
    point = learned.point
    defined = vocabulary().point(point.id)
    kind = "text" if point.type == "str" else "enum" if point.labels else "bool" if point.type == "bool" else "num"
    return messages.PointMeta(
        type=kind,
        q=point.quantity,
        unit=published_unit(point),
        ref=_reference(point),
        poll_s=None if point.align else point.poll,
        hb_s=None if point.align else point.heartbeat,
        align_s=point.align,
        deadband=point.deadband,
        min=point.min,
        max=point.max,
        res=_resolution(point, learned.unit),
        labels={str(ordinal): text for ordinal, text in point.labels.items()} if point.labels else None,
        brick=defined.brick if defined is not None else None,
        w=True if "w" in point.access else None,
    )


def _resolution(point: Point, unit: str | None) -> float | None:
    """The step of the published value, where one raw count is always the same step. `unit` is that of the device."""
    if point.scale is None or point.type in ("f32", "f64") or point.ratio or point.scale_from is not None:
        return None
    target = published_unit(point)
    if not unit or not target or unit == target:
        return float(point.scale)
    step = conversion(unit, target)
    return float(point.scale * step.mul / step.div)


def _reference(point: Point) -> str | None:
    """Where the point stands on the device, in its protocol's way of writing it."""
    return None if isinstance(point.address, dict) else point.address.reference


def site(config: Config) -> bytes:
    """What "a day" means here."""
    calendar = {name: list(days) for name, days in config.calendar.items()}
    return messages.encode(messages.Site(tz=config.tz, name=config.name, building=config.building, calendar=calendar))


def caps(config: Config) -> bytes:
    """What the agent can do."""
    drivers = sorted({device.protocol for device in config.devices})
    return messages.encode(messages.Caps(contract=[CONTRACT], drivers=drivers, ops=operations.schemas(config.devices)))


def reported(*, revision: int, state: str, t_ms: int, errors: list[dict[str, Any]] | None = None) -> bytes:
    """The configuration that is in force."""
    return messages.encode(
        messages.ConfigReported(seen=revision, applied=revision, st=state, t=t_ms, errors=errors or [])
    )
