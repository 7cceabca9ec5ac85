"""OPC UA status codes: their symbolic names (OPC 10000-6, annex A.2), and what of ours a failed service becomes.

Whether an error concerns a point, the device or the link is decided here, once, by the status code.
"""

from __future__ import annotations

import asyncio
import struct
from functools import cache

from asyncua import ua
from asyncua.crypto.uacrypto import InvalidSignature
from asyncua.ua import status_codes

from device_profiles.errors import (
    DeviceError,
    DeviceMismatch,
    DeviceRefused,
    DeviceTimeout,
    LinkLost,
    LinkRefused,
    PlantroomError,
)

LIBRARY_ERRORS = (
    ua.UaError, InvalidSignature, OSError, asyncio.TimeoutError, asyncio.InvalidStateError, struct.error, ValueError,
    TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
"""What asyncua raises for what a server sends or does: its own errors, and Python's where it decodes without checking."""


class Broken(ConnectionError):
    """The server sent what no server may send; the connection was closed by us."""


_CODE = 0xFFFF_0000
_BY_NAME: dict[str, int] = {name: code for code, (name, _) in status_codes.code_to_name_doc.items()}


def _codes(*names: str) -> frozenset[int]:
    return frozenset(_BY_NAME[name] for name in names)


_NODE = _codes(
    "BadNodeIdUnknown", "BadNodeIdInvalid", "BadAttributeIdInvalid", "BadIndexRangeInvalid", "BadIndexRangeNoData",
    "BadDataEncodingInvalid", "BadDataEncodingUnsupported", "BadNotReadable", "BadUserAccessDenied", "BadNoMatch",
    "BadNotFound", "BadSecurityModeInsufficient",
)  # fmt: skip
"""The node cannot be read as asked; every other bad status is said by a node that was read."""
UNKNOWN_NODE = _codes("BadNodeIdUnknown", "BadNodeIdInvalid")
TOO_MUCH = _codes(
    "BadTooManyOperations", "BadRequestTooLarge", "BadResponseTooLarge", "BadEncodingLimitsExceeded"
)  # fmt: skip
"""The same in smaller portions may be answered."""
_SESSION = _codes(
    "BadSessionIdInvalid", "BadSessionClosed", "BadSessionNotActivated", "BadSecureChannelIdInvalid",
    "BadSecureChannelClosed", "BadSecureChannelTokenUnknown", "BadSequenceNumberInvalid", "BadConnectionClosed",
    "BadServerNotConnected", "BadShutdown", "BadServerHalted", "BadConnectionRejected", "BadDisconnect",
    "BadCommunicationError", "BadNotConnected", "BadTcpSecureChannelUnknown", "BadTcpMessageTypeInvalid",
    "BadTcpMessageTooLarge", "BadTcpInternalError", "BadTcpServerTooBusy", "BadTcpNotEnoughResources",
)  # fmt: skip
"""Session, channel or connection do not hold any more: everything has to be opened anew."""
_TIMEOUT = _codes("BadTimeout", "BadRequestTimeout", "BadRequestInterrupted", "BadRequestCancelledByClient")
_OUR_CERTIFICATE = _codes(
    "BadSecurityChecksFailed", "BadCertificateUntrusted", "BadCertificateInvalid", "BadCertificateTimeInvalid",
    "BadCertificateUriInvalid", "BadCertificateHostNameInvalid", "BadCertificateUseNotAllowed",
    "BadCertificateIssuerTimeInvalid", "BadCertificateIssuerUseNotAllowed", "BadCertificateChainIncomplete",
    "BadCertificateRevocationUnknown", "BadCertificateIssuerRevocationUnknown", "BadCertificateRevoked",
    "BadCertificateIssuerRevoked", "BadCertificatePolicyCheckFailed", "BadApplicationSignatureInvalid",
)  # fmt: skip
_OUR_IDENTITY = _codes(
    "BadUserAccessDenied", "BadIdentityTokenInvalid", "BadIdentityTokenRejected", "BadUserSignatureInvalid"
)  # fmt: skip


@cache
def name_of(code: int) -> str:
    """The symbolic name of a status code; its severity (`Bad`) for one that nobody defined. Info bits say nothing here."""
    name: str = status_codes.get_name_and_doc(code & _CODE)[0]
    return name


def code_of(name: str) -> int | None:
    """The status code of a symbolic name."""
    return _BY_NAME.get(name)


def is_of_the_node(code: int) -> bool:
    """True when the node cannot be read as asked; False when it was read and says itself that its value is bad."""
    return code & _CODE in _NODE


def failure(code: int, where: str, what: str = "") -> PlantroomError:
    """What a bad service result becomes."""
    name, code = name_of(code), code & _CODE
    said = f"{what} failed with {name}" if what else f"the server said {name}"
    if code in _SESSION:
        return LinkLost(said, where=where, next_step="nothing to do: session and subscriptions are opened anew")
    if code in _TIMEOUT:
        return DeviceTimeout(said, where=where, next_step="look at the server's load")
    step = "see what the server allows this user and this node"
    return DeviceRefused(said, code=code, status=name, where=where, next_step=step)


def not_done(code: int, where: str, what: str) -> DeviceError:
    """What a bad result of one write or call becomes. A code that as a service's result would mean our session or connection is
    here about what is behind the node, as of a PLC that its server does not reach: then nobody knows whether it was done.
    """
    name, code = name_of(code), code & _CODE
    if code in _SESSION | _TIMEOUT:
        said = f"it is not known whether {what} was done: {name}"
        return DeviceTimeout(said, where=where, next_step="read it back; see whether the server reaches the device")
    said = f"{what} failed with {name}"
    step = "see what the server allows this user and this node"
    return DeviceRefused(said, code=code, status=name, where=where, next_step=step)


def translated(error: BaseException, where: str, what: str) -> PlantroomError:
    """What one of LIBRARY_ERRORS becomes while a session is open."""
    if isinstance(error, PlantroomError):
        return error
    if isinstance(error, ua.UaStatusCodeError):
        return failure(_code(error), where, what)
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        step = "check the server's load, or give the link a longer timeout"
        return DeviceTimeout(f"no answer to {what} in time", where=where, next_step=step)
    if isinstance(error, OSError | InvalidSignature | asyncio.InvalidStateError):
        return LinkLost(f"the connection is gone ({_words(error)})", where=where, next_step="check server and network")
    step = "record the traffic with tshark and show it to the server's maker"
    return DeviceMismatch(f"{what} was answered by no right encoding ({_words(error)})", where=where, next_step=step)


def refusal(error: BaseException, where: str, what: str, own_certificate: str) -> PlantroomError:
    """What one of LIBRARY_ERRORS becomes while connecting."""
    code = _code(error) if isinstance(error, ua.UaStatusCodeError) else 0
    name = name_of(code)
    if code in _OUR_CERTIFICATE:
        step = f"let the server trust {own_certificate}" if own_certificate else "configure policy and certificate"
        return LinkRefused(f"the server does not accept our certificate ({name})", where=where, next_step=step)
    if code in _OUR_IDENTITY:
        step = "check identity, user, password_file or the user certificate of the link, and the user's rights"
        return LinkRefused(f"the server does not accept our identity ({name})", where=where, next_step=step)
    if code:
        return LinkRefused(
            f"the server refused to {what} ({name})",
            where=where,
            next_step="check the link's path, policy and identity",
        )
    if isinstance(error, InvalidSignature):
        step = "do not use this server before it is known why"
        return LinkRefused("the server's signature is wrong: it does not hold its key", where=where, next_step=step)
    if isinstance(error, ConnectionRefusedError):
        step = "check the port, and that the OPC UA server runs"
        return LinkRefused("connection refused", where=where, next_step=step)
    if isinstance(error, ConnectionError) and own_certificate and not isinstance(error, Broken):
        step = f"let the server trust {own_certificate}, and see its log"
        return LinkRefused(f"the server closed the connection when asked to {what}", where=where, next_step=step)
    if isinstance(error, OSError):
        step = "check that an OPC UA server listens there, and see its log"
        return LinkRefused(f"cannot {what} ({_words(error)})", where=where, next_step=step)
    return LinkRefused(
        f"cannot {what} ({_words(error)})",
        where=where,
        next_step="check that this is an OPC UA server, and see its log",
    )


def _code(error: ua.UaStatusCodeError) -> int:
    try:
        code: int = int(error.code) & _CODE
        return code
    except (IndexError, TypeError, ValueError):
        return _BY_NAME["BadUnexpectedError"]


def _words(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:200]
