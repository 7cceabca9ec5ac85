"""Topics of the contract: builders and one parser. `{root}/v1/{site}/{agent}/(up|down)/...` (CONTRACT.md section 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from device_profiles.errors import ConfigError

VERSION = "v1"
CONTRACT = "1.0"
ROOT = "plantroom"
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")


def is_id(text: str) -> bool:
    """True for a site, agent or device id: `[a-z0-9][a-z0-9_-]{0,47}`."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Topics:
    """Builds the topics of one agent."""

    site: str
    agent: str
    root: str = ROOT

    def __post_init__(self) -> None:
        for name, text in (("site", self.site), ("agent", self.agent)):
            if not is_id(text):
                raise ConfigError(
                    f"{name} id {text!r} is not valid",
                    where="topic",
                    next_step="use 1 to 48 of a-z, 0-9, _ and -, beginning with a letter or digit",
                )

    @property
    def base(self) -> str:
        return f"{self.root}/{VERSION}/{self.site}/{self.agent}"

    def up(self, rest: str) -> str:
        """`up/...` of this agent: `status`, `caps`, `site`, `config/reported`, `metrics`, `cmd/{id}`."""
        return f"{self.base}/up/{rest}"

    def down(self, rest: str) -> str:
        """`down/...` of this agent: `ack`, `cmd/{id}`, `config/desired`."""
        return f"{self.base}/down/{rest}"

    def data(self, device: str) -> str:
        return f"{self.base}/up/data/{device}"

    def hist(self, device: str) -> str:
        return f"{self.base}/up/hist/{device}"

    def event(self, device: str, event_class: str) -> str:
        return f"{self.base}/up/event/{device}/{event_class}"

    def device(self, device: str, what: str) -> str:
        """Retained `meta`, `state` or `last` of a device."""
        return f"{self.base}/up/dev/{device}/{what}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A topic taken apart. `rest` holds the levels after `up` or `down`."""

    root: str
    site: str
    agent: str
    direction: str
    rest: tuple[str, ...]


def parse(topic: str) -> Parsed | None:
    """The parts of a topic of this contract; None for any other topic. A root may have several levels."""
    levels = topic.split("/")
    for at in range(1, len(levels) - 4):
        if levels[at] != VERSION or levels[at + 3] not in ("up", "down"):
            continue
        site, agent = levels[at + 1], levels[at + 2]
        if not (is_id(site) and is_id(agent)):
            return None
        return Parsed("/".join(levels[:at]), site, agent, levels[at + 3], tuple(levels[at + 4 :]))
    return None
