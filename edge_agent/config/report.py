"""What `plantroom check` says of an agent.yaml, as data: what is there, the load of each link, problems and warnings.

Looks at files and ports that the configuration names, and opens no link and no broker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_profiles.errors import ConfigError
from device_profiles.library import Library
from device_profiles.problems import Problems, finding
from device_profiles.yamlfile import read_yaml
from edge_agent.config.certs import check_tls
from edge_agent.config.disk import check_disk
from edge_agent.config.load import build_config, load_drivers
from edge_agent.config.ports import check_ports
from edge_agent.line_load import LinkLoad, groups_of, link_loads
from edge_agent.local_api import answers
from edge_agent.model import Config, Device

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check. `config` None when the file itself is wrong."""

    file: str
    config: Config | None
    loads: tuple[LinkLoad, ...]
    problems: tuple[ConfigError, ...]
    warnings: tuple[ConfigError, ...]

    def as_json(self) -> dict[str, Any]:
        """For programs; keys are stable."""
        found = {
            "file": self.file,
            "ok": not self.problems,
            "problems": [finding(problem) for problem in self.problems],
            "warnings": [finding(warning) for warning in self.warnings],
        }
        if self.config is None:
            return found
        least, most = messages_per_day(self.config.devices)
        return found | {
            "kind": "agent",
            "site": self.config.site,
            "agent": self.config.agent,
            "devices": len(self.config.devices),
            "points": published(self.config.devices),
            "links": [_link(load) for load in self.loads],
            "messages_per_day": {"least": least, "most": most},
            "syncs_per_day": syncs_per_day(self.config, most),
        }


def examine(path: Path, *, profiles: Library | None = None) -> Report:
    """Checks one agent.yaml. Raises nothing for what is wrong with it: that is in the report."""
    try:
        document = read_yaml(path, shown=path.name)
        config = build_config(document, path.absolute().parent, profiles=profiles, strict=True)
    except ConfigError as error:
        return Report(path.name, None, (), error.problems or (error,), ())
    problems = Problems(document, strict=True)
    check_tls(config.mqtt, ("mqtt",), problems, identity=config.agent)
    check_disk(config, problems)
    check_ports(config.links, problems, is_running=answers(config.socket))
    wired = [device for device in config.devices if device.link]
    loads = link_loads(config.links, wired, load_drivers(wired))
    return Report(path.name, config, loads, problems.problems, config.warnings + problems.warnings)


def published(devices: Sequence[Device]) -> int:
    """Points that are published."""
    return sum(not point.internal for device in devices for point in device.points)


def messages_per_day(devices: Sequence[Device]) -> tuple[int, int]:
    """(when nothing changes, when something changes at every read): one message an acquisition of a device."""
    least = most = 0.0
    for device in devices:
        if device.disabled is not None:
            continue
        groups = groups_of(device.points)
        most += sum(DAY_S / period for period, _ in groups)
        heartbeats = [point.heartbeat for point in device.points if point.heartbeat and not point.internal]
        marks = sum(DAY_S / period for period, is_aligned in groups if is_aligned)
        least += max(marks, DAY_S / min(heartbeats)) if heartbeats else marks
    return round(least), round(most)


def syncs_per_day(config: Config, messages: int) -> int:
    """Writes that reach the flash, at most: one a commit interval, and never more than there are messages."""
    return min(messages, round(DAY_S * 1000 / config.spool.commit_ms))


def _link(load: LinkLoad) -> dict[str, Any]:
    return {
        "id": load.link.id,
        "kind": load.link.kind,
        "place": load.link.place,
        "devices": load.devices,
        "points": load.points,
        "unplanned": load.unplanned,
        "load": round(load.share, 4),
        "is_estimate": not load.link.is_line,
        "groups": [
            {
                "period_s": group.period_s,
                "aligned": group.is_aligned,
                "devices": group.devices,
                "requests": group.requests,
                "bytes": group.wire_bytes,
                "seconds": round(group.seconds, 4),
                "load": round(group.share, 4),
            }
            for group in load.groups
        ],
    }
