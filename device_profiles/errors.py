"""The one error tree. Every error a person can meet is one of these.

    PlantroomError                  what, where, the observed value, one next step
    ├── ConfigError                 something a person wrote is wrong (file and line)
    │   └── ProfileError            ... in a device profile
    ├── LinkError                   the wire or socket as a whole: every device on it is concerned
    │   ├── LinkTimeout             no connection in time
    │   ├── LinkLost                it was open and is gone
    │   └── LinkRefused             the other side, or this machine, said no
    ├── DeviceError                 one device; its neighbours on the link go on
    │   ├── DeviceTimeout           no (believable) answer in time
    │   ├── DeviceRefused           it answered with an error code
    │   └── DeviceMismatch          it answered something that is not the answer
    ├── StoreError                  the central store
    │   ├── StoreUnavailable        try the same again later
    │   └── StoreRejected           the same will be refused again
    └── CommandRefused              a command was not carried out; `code` is the contract's word for why

`retryable` says whether the same call may succeed later without a person. Library exceptions never pass a package's border:
they are raised `from` as one of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class PlantroomError(Exception):
    """An error that a person can act on.

    `what` says what is wrong with the observed value in it, `where` names the file and line, link, device or topic, and
    `next_step` is one imperative sentence. `str()` joins them as `where: what. next_step`.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what = what
        self.where = where
        self.next_step = next_step
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.next_step}" if self.next_step else text


class ConfigError(PlantroomError):
    """What a person wrote is wrong. `problems` holds every single finding when several were found in one pass."""

    def __init__(
        self, what: str, *, where: str = "", next_step: str = "", problems: Sequence[ConfigError] = ()
    ) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.problems: tuple[ConfigError, ...] = tuple(problems)

    def __str__(self) -> str:
        if self.problems:
            return "\n".join(str(problem) for problem in self.problems)
        return super().__str__()


class ProfileError(ConfigError):
    """A device profile is wrong."""


class LinkError(PlantroomError):
    """The link as a whole does not work."""

    retryable = True


class LinkTimeout(LinkError):
    """No connection in time."""


class LinkLost(LinkError):
    """The link was open and is gone."""


class LinkRefused(LinkError):
    """The other side or this machine refused: no such port, no permission, in use, connection refused."""


class DeviceError(PlantroomError):
    """One device does not work; `status` is the OPC UA symbolic name that its points take."""

    retryable = True
    status: str = "BadCommunicationError"


class DeviceTimeout(DeviceError):
    """No believable answer in time."""

    status = "BadTimeout"


class DeviceRefused(DeviceError):
    """The device answered with an error `code` of its protocol."""

    def __init__(self, what: str, *, code: int, status: str, where: str = "", next_step: str = "") -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.code = code
        self.status = status


class DeviceMismatch(DeviceError):
    """The device answered something that does not belong to the question (unit, function code, length, checksum)."""


class StoreError(PlantroomError):
    """The central store did not take it."""


class StoreUnavailable(StoreError):
    """Try the same again, not before `retry_after_s`."""

    retryable = True

    def __init__(self, what: str, *, where: str = "", next_step: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.retry_after_s = retry_after_s


class StoreRejected(StoreError):
    """The same bytes will be refused again; `reason` is a short word for the dead-letter file."""

    def __init__(self, what: str, *, reason: str, where: str = "", next_step: str = "") -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.reason = reason


class CommandRefused(PlantroomError):
    """A command was not carried out, or not with the effect that was asked for. `code`: CONTRACT.md section 6."""

    def __init__(self, what: str, *, code: str, where: str = "", next_step: str = "") -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.code = code
