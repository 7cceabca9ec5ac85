"""Configuration from the centre, and the answer that this version gives: a clear no (CONTRACT.md section 8).

Every desired configuration is reported as `rejected`, with the revision that was seen and the one in force.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from gateway.contract import messages
from gateway.contract.messages import ConfigDesired, ConfigReported
from gateway.mqtt import Incoming

_log = structlog.get_logger("config")
_decode = msgspec.json.Decoder(ConfigDesired).decode


class Line(Protocol):
    """The part of the uplink that is needed here."""

    def hear(self, rest: str, handler: Callable[[Incoming], None]) -> None: ...
    def retain(self, rest: str, payload: bytes) -> None: ...


class DesiredConfig:
    """Hears `down/config/desired`. `applied()` is the revision of the configuration in force."""

    def __init__(self, line: Line, *, wall_ms: Callable[[], int], applied: Callable[[], int]) -> None:
        self._line = line
        self._wall_ms = wall_ms
        self._applied = applied
        line.hear("config/desired", self._desired)

    def _desired(self, message: Incoming) -> None:
        if not message.payload:
            return
        seen, sha256 = self._applied(), None
        try:
            desired = _decode(message.payload)
        except msgspec.DecodeError as exc:
            text = f"this is no configuration: {exc}"
        else:
            seen, sha256 = desired.rev, desired.sha256
            text = "this agent takes no configuration over MQTT yet; change its file and run `plantroom reload`"
        _log.info("configuration refused", rev=seen, detail=text)
        report = ConfigReported(
            seen=seen,
            applied=self._applied(),
            st="rejected",
            t=self._wall_ms(),
            sha256=sha256,
            errors=[{"path": "", "msg": text}],
        )
        self._line.retain("config/reported", messages.encode(report))
