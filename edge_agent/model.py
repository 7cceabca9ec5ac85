"""What the agent works with once its configuration has been read and its profiles are resolved. Never changes after that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from device_profiles.errors import ConfigError
from device_profiles.schema import Point, Profile
from device_profiles.secrets import Secret
from drivers.base import Address, Limits, LineSettings, LinkConfig
from drivers.listening import Listened
from edge_agent.commands.policy import Policy
from edge_agent.events.pseudonym import Privacy
from gateway.mqtt import MqttSettings


@dataclass(frozen=True, slots=True)
class Device:
    """Something addressable on a link, with its profile resolved for it.

    `points` are final: options and instances applied, `quantity`, `unit`, `counter`, `poll`, `heartbeat`, `min`, `max` and
    `deadband` filled from device, profile and vocabulary in this order; internal points (scale factors) included.
    `link` "" and protocol `virtual` for a device that is computed from others.
    """

    id: str
    name: str
    link: str
    unit: int | str
    protocol: str
    profile: Profile
    points: tuple[Point, ...]
    cls: str
    system: str
    space: str | None = None
    parent: str | None = None
    asset: str | None = None
    serial: str | None = None
    codes: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, float] = field(default_factory=dict)
    """Ratios given in the configuration; those that live in a register are read and kept by the normaliser."""
    options: Mapping[str, str] = field(default_factory=dict)
    ext: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = Limits()
    disabled: str | None = None
    """Why nobody polls it now; None = polled."""
    at: str = ""
    """`host` or `host:port` of its own, on links that have many."""
    secret: Secret | None = None
    direction: Literal["in", "out"] | None = None
    """Which way one goes who is let through here."""
    line: LineSettings | None = None
    """How it speaks on a mixed line, where that differs from the link."""
    tz: str = ""
    """IANA time zone of the site; "" where nobody said."""

    @property
    def address(self) -> Address:
        """Where its driver finds it."""
        return Address(
            self.unit, self.id, self.at, self.secret, self.options, protocol=self.protocol, line=self.line, tz=self.tz,
            strings=self.profile.strings,
        )  # fmt: skip

    def on(self, link: LinkConfig) -> LinkConfig:
        """Its link as it uses it."""
        return link.tuned(self.line)

    def listened(self, tz: str) -> Listened:
        """What its driver needs to tell its events."""
        return Listened(self.address, self.profile.events, self.profile.credential, self.direction, tz)


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Bounds of the spool."""

    path: Path
    max_bytes: int = 2 * 1024**3
    floor_free_bytes: int = 256 * 1024**2
    """Disk space that must stay free."""
    commit_ms: int = 1000
    ballast_bytes: int = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class Config:
    """One agent."""

    agent: str
    site: str
    tz: str
    name: str
    building: str | None
    calendar: Mapping[str, tuple[str, ...]]
    data_dir: Path
    socket: Path
    spool: SpoolSettings
    mqtt: MqttSettings
    links: tuple[LinkConfig, ...]
    devices: tuple[Device, ...]
    snapshot_s: float = 300
    metrics_port: int | None = None
    delivery: str = "ingest"
    """`ingest`: a message leaves the spool when ingest says it is stored. `broker`: on PUBACK (weaker)."""
    log_level: str = "info"
    commands: Policy = Policy()
    privacy: Privacy = Privacy()
    warnings: tuple[ConfigError, ...] = ()
    """What works and should not stay so, with file and line."""
