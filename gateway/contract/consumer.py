"""Decoding as a consumer (CONTRACT.md section 9): a word that this version does not know is read as `other`.

Only documents whose words the centre acts on have a reader here. They raise what msgspec raises: `ValidationError` when the
document is not of its struct, `DecodeError` when it is no JSON.
"""

from __future__ import annotations

import msgspec

from gateway.contract.messages import (
    AGENT_STATES,
    ALARM_STATES,
    POINT_TYPES,
    REVISION_STATES,
    SEVERITIES,
    STATES,
    Alarm,
    ConfigReported,
    Meta,
    State,
    Status,
)

OTHER = "other"

_alarm = msgspec.json.Decoder(Alarm)
_meta = msgspec.json.Decoder(Meta)
_reported = msgspec.json.Decoder(ConfigReported)
_state = msgspec.json.Decoder(State)
_status = msgspec.json.Decoder(Status)


def _known(word: str, words: tuple[str, ...]) -> str:
    return word if word in words else OTHER


def read_alarm(payload: bytes) -> Alarm:
    """`up/alarm/{device}/{alarm}`."""
    alarm = _alarm.decode(payload)
    alarm.sev = _known(alarm.sev, SEVERITIES)
    alarm.st = _known(alarm.st, ALARM_STATES)
    return alarm


def read_meta(payload: bytes) -> Meta:
    """`up/dev/{device}/meta`."""
    meta = _meta.decode(payload)
    for point in meta.points.values():
        point.type = _known(point.type, POINT_TYPES)
    return meta


def read_reported(payload: bytes) -> ConfigReported:
    """`up/config/reported`."""
    reported = _reported.decode(payload)
    reported.st = _known(reported.st, REVISION_STATES)
    return reported


def read_state(payload: bytes) -> State:
    """`up/dev/{device}/state`."""
    state = _state.decode(payload)
    state.state = _known(state.state, STATES)
    return state


def read_status(payload: bytes) -> Status:
    """`up/status`."""
    status = _status.decode(payload)
    status.state = _known(status.state, AGENT_STATES)
    return status
