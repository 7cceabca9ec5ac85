"""What the centre asks for, and the answer that this version gives: a clear no.

Every command is answered at once, as `rejected` (`unsupported`) or for what is wrong with it, and leaves a line in the log for
the audit. Nothing here touches a device. Source: CONTRACT.md sections 6 and 8.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec
import structlog

from gateway.contract import messages
from gateway.contract.messages import Command, CommandResult, ConfigDesired, ConfigReported
from gateway.mqtt import Incoming

ANSWER_EXPIRY_S = 3600
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_log = structlog.get_logger("commands")
_decode_command = msgspec.json.Decoder(Command).decode
_decode_desired = msgspec.json.Decoder(ConfigDesired).decode


class Line(Protocol):
    """The part of the uplink that is needed here."""

    def hear(self, rest: str, handler: Callable[[Incoming], None]) -> None: ...
    def retain(self, rest: str, payload: bytes) -> None: ...
    def transient(self, rest: str, payload: bytes, *, qos: int = 0, expiry_s: int | None = None) -> bool: ...


class Commands:
    """Hears `down/cmd/+` and `down/config/desired`. `applied()` is the revision of the configuration in force."""

    def __init__(self, line: Line, *, wall_ms: Callable[[], int], applied: Callable[[], int] = lambda: 0) -> None:
        self._line = line
        self._wall_ms = wall_ms
        self._applied = applied
        self.count: dict[str, int] = dict.fromkeys(("unsupported", "retained", "expired", "malformed", "unanswered"), 0)
        line.hear("cmd/+", self._command)
        line.hear("config/desired", self._desired)

    def _command(self, message: Incoming) -> None:
        topic_id = message.topic.rpartition("/")[2]
        try:
            command = _decode_command(message.payload)
        except msgspec.DecodeError as exc:
            self._refuse(topic_id, None, "malformed", "precondition", f"this is no command: {exc}")
            return
        if command.id != topic_id:
            text = f"the topic says {topic_id[:64]!r} and the command {command.id[:64]!r}"
            self._refuse(topic_id, command, "malformed", "precondition", text)
        elif message.retain:
            text = "a command must not be retained; publish it again without the retain flag"
            self._refuse(topic_id, command, "retained", "precondition", text)
        elif message.expiry_s == 0 or (command.exp is not None and command.exp <= self._wall_ms()):
            self._refuse(topic_id, command, "expired", "expired", "its time was over when it arrived")
        else:
            text = f"this agent carries out no {command.op[:64]!r} yet"
            self._refuse(topic_id, command, "unsupported", "unsupported", text)

    def _refuse(self, command_id: str, command: Command | None, why: str, code: str, text: str) -> None:
        self.count[why] += 1
        facts = {} if command is None else {"op": command.op, "dev": command.dev, "by": command.by, "for": command.why}
        _log.info("command refused", id=command_id[:64], reason=why, detail=text, **facts)
        if _ID.fullmatch(command_id) is None:
            self.count["unanswered"] += 1
            return
        st: Literal["expired", "rejected"] = "expired" if why == "expired" else "rejected"
        error = {"code": code, "msg": text}
        answer = messages.encode(CommandResult(id=command_id, n=0, st=st, t=self._wall_ms(), err=error))
        if not self._line.transient(f"cmd/{command_id}", answer, qos=1, expiry_s=ANSWER_EXPIRY_S):
            self.count["unanswered"] += 1

    def _desired(self, message: Incoming) -> None:
        if not message.payload:
            return
        seen, sha256 = self._applied(), None
        try:
            desired = _decode_desired(message.payload)
        except msgspec.DecodeError as exc:
            self.count["malformed"] += 1
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
