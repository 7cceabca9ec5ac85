"""What a command says of itself, judged before anything of the plant is looked at: the first gate of CONTRACT.md section 6.

In order: readable, not retained, for this agent and under its own id, in time, and (after the journal was asked whether the id
is known) signed where the policy asks for it. Pure. Each refusal is a CommandRefused with the contract's code.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from device_profiles.errors import CommandRefused
from edge_agent.clock import Quality
from edge_agent.commands.policy import Policy
from edge_agent.commands.signature import NotCanonical, is_valid, parse, signed_bytes
from gateway.contract.messages import Command
from gateway.mqtt import Incoming

MAX_PAYLOAD = 16 * 1024
MAX_CORRELATION = 256
REMEMBERED_MS = 24 * 3_600_000
HORIZON_MS = 7 * REMEMBERED_MS
HARMLESS = frozenset({"point.read", "meta.republish"})
"""They change nothing: taken while the clock of the box is not set, too."""
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A command that could be read."""

    command: Command
    digest: bytes
    """SHA-256 of its canonical form without the signature: what makes a repeat the same."""
    message: bytes = b""
    """What the signature is over; empty for one from the box itself."""
    topic: str | None = None
    correlation: bytes | None = None
    exp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Me:
    """This agent: `site/agent`, and the topic below which its answers go (`.../up/cmd/`)."""

    name: str
    answers: str


def is_id(text: str) -> bool:
    """True for what may be the id of a command."""
    return _ID.fullmatch(text) is not None


def answer_topic(message: Incoming, me: Me) -> str | None:
    """Where the answer goes: the request's response topic where that is one of ours, else the id's; None for no id."""
    wanted = message.response_topic
    if wanted is not None and wanted.startswith(me.answers) and is_id(wanted.removeprefix(me.answers)):
        return wanted
    command_id = message.topic.rpartition("/")[2]
    return me.answers + command_id if is_id(command_id) else None


def read(message: Incoming, me: Me, now_ms: int) -> Request:
    """The command in a message. Raises CommandRefused `precondition` for what is none."""
    if len(message.payload) > MAX_PAYLOAD:
        raise _refused(f"{len(message.payload)} bytes are more than {MAX_PAYLOAD}")
    try:
        document = parse(message.payload)
        command = msgspec.convert(document, Command)
        signed = signed_bytes(document)
    except (NotCanonical, msgspec.ValidationError, RecursionError) as error:
        raise _refused(f"this is no command: {error}") from error
    correlation = message.correlation
    return Request(
        command=command,
        digest=hashlib.sha256(signed).digest(),
        message=signed,
        topic=answer_topic(message, me),
        correlation=correlation if correlation and len(correlation) <= MAX_CORRELATION else None,
        exp_ms=_deadline(command.exp, message.expiry_s, now_ms),
    )


def check(request: Request, message: Incoming, me: Me, now_ms: int, quality: Quality) -> None:
    """Everything but repetition and signature. Raises CommandRefused."""
    command = request.command
    if message.retain:
        raise _refused("a command must not be retained", "publish it again without the retain flag")
    topic_id = message.topic.rpartition("/")[2]
    if command.id != topic_id or not is_id(command.id):
        raise _refused(f"the topic says {topic_id[:64]!r} and the command {command.id[:64]!r}", "use one id")
    if command.to and command.to != me.name:
        raise CommandRefused(
            f"it is for {command.to[:100]!r}, this is {me.name}", code="unauthorised", next_step="send it to its agent"
        )
    if message.expiry_s == 0 or (request.exp_ms is not None and request.exp_ms <= now_ms):
        raise _expired("its time was over when it arrived")
    if command.t is not None and command.t < now_ms - REMEMBERED_MS:
        raise _expired("it is older than a day, and its id may be forgotten")
    if command.op in HARMLESS:
        return
    if quality == "unsync":
        raise _refused("the clock of this box is not set, so its time cannot be judged", "see to NTP on the box")
    if request.exp_ms is None:
        raise _expired("it does not say how long it is good for; give exp")
    if request.exp_ms > now_ms + HORIZON_MS:
        raise _expired("it is good for more than a week; give a nearer exp")


def check_signature(request: Request, policy: Policy) -> None:
    """Raises CommandRefused `unauthorised`."""
    command = request.command
    if command.sig is None or command.kid is None:
        if policy.signatures == "required":
            raise _unauthorised("it is not signed, and this agent asks for that", "sign it: kid and sig")
        return
    key = policy.keys.get(command.kid)
    if key is None:
        if policy.signatures == "required":
            raise _unauthorised(f"no key {command.kid[:64]!r} here", "add it to commands.keys in agent.yaml")
        return
    if not is_valid(key.public, command.sig, request.message):
        raise _unauthorised("its signature is wrong", "sign the canonical form (RFC 8785) without sig")
    if not key.may(command.op):
        raise _unauthorised(f"key {command.kid[:64]!r} may not sign {command.op[:64]}", "use a key that may")
    if policy.signatures == "required" and (not command.to or command.exp is None):
        raise _unauthorised("a signed command names its agent and its end", "add to and exp")


def _deadline(exp_ms: int | None, expiry_s: int | None, now_ms: int) -> int | None:
    ends: list[int] = [
        end for end in (exp_ms, None if expiry_s is None else now_ms + expiry_s * 1000) if end is not None
    ]
    return min(ends, default=None)


def _refused(what: str, next_step: str = "see CONTRACT.md section 6") -> CommandRefused:
    return CommandRefused(what, code="precondition", where="command", next_step=next_step)


def _expired(what: str) -> CommandRefused:
    return CommandRefused(what, code="expired", where="command", next_step="send it anew under another id")


def _unauthorised(what: str, next_step: str) -> CommandRefused:
    return CommandRefused(what, code="unauthorised", where="command", next_step=next_step)


def facts(command: Command) -> dict[str, Any]:
    """What the audit log says of a command. Arguments only where the operation is known to carry no secret."""
    said: dict[str, Any] = {
        "id": command.id[:64],
        "op": command.op[:64],
        "dev": command.dev,
        "by": command.by,
        "why": command.why,
    }
    if command.op.startswith("point."):
        said["args"] = {name: value for name, value in command.args.items() if name in ("p", "val", "prio", "hold_s")}
    if command.kid is not None:
        said["kid"] = command.kid
    if command.dry:
        said["dry"] = True
    return {name: _short(value) for name, value in said.items() if value is not None}


def _short(value: Any) -> Any:
    return value[:500] if isinstance(value, str) else value
