"""Whose commands this agent takes: the `commands` section of agent.yaml, read. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal


@dataclass(frozen=True, slots=True)
class Key:
    """A public Ed25519 key of 32 bytes, and the operations that it may sign: names or patterns such as `point.*`."""

    public: bytes
    operations: tuple[str, ...] = ("*",)

    def may(self, operation: str) -> bool:
        return any(fnmatchcase(operation, pattern) for pattern in self.operations)


@dataclass(frozen=True, slots=True)
class Policy:
    """`signatures`: `required` refuses what comes over MQTT without one; `off` still refuses a wrong one by a known key."""

    signatures: Literal["off", "required"] = "off"
    keys: Mapping[str, Key] = field(default_factory=dict)
    timeout_s: float = 30.0
    """Longest time from the arrival of a command to its write."""
