"""What a broker's refusal, a TLS failure or a dead network means, in one line a person can act on.

Pure: codes and exceptions in, `LinkError`s out. Reason codes are those of MQTT 5, section 2.4.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

from device_profiles.errors import LinkError, LinkLost, LinkRefused, LinkTimeout

TAKEN_OVER = 0x8E
NO_SUBSCRIBERS = 0x10
FAILURE = 0x80
"""PUBACK reasons from here on are failures."""

_REFUSALS = {
    0x80: ("unspecified error", "look into the broker's log"),
    0x81: ("malformed packet", "look into the broker's log; something between may alter the stream"),
    0x82: ("protocol error", "look into the broker's log"),
    0x83: ("refused for a reason of its own", "look into the broker's log"),
    0x84: ("it does not speak MQTT 5", "use an MQTT 5 listener, for example Mosquitto 2.0 or later"),
    0x85: ("client id {client} is not valid here", "allow this client id in the broker's configuration"),
    0x86: (
        "bad user name or password for user {user}",
        "set mqtt.username and the password reference, or the broker's password file",
    ),
    0x87: (
        "client {client} (user {user}) is not authorised",
        "correct mqtt.username and mqtt.password, or enter the client in the broker's users and access list",
    ),
    0x88: ("the server is unavailable", "wait, or look at the broker's host"),
    0x89: ("the server is busy", "wait; more brokers or fewer clients if it stays so"),
    0x8A: ("client {client} is banned", "remove the ban in the broker's configuration"),
    0x8B: ("the server is shutting down", "wait until it is started again"),
    0x8C: ("bad authentication method", "use a password or a client certificate"),
    0x8D: ("keepalive ran out: the broker heard nothing from here", "look at the network between"),
    TAKEN_OVER: (
        "another client connected as {client} and took the session over",
        "find the second device with this identity (a cloned card?) and give it its own agent id",
    ),
    0x90: ("a topic name is not accepted", "compare mqtt.root with the broker's access list"),
    0x93: ("more messages in flight than the broker's receive maximum", "report this as a defect"),
    0x94: ("topic alias not valid", "report this as a defect"),
    0x95: ("a packet is larger than the broker allows", "raise the broker's packet size limit to 256 KiB"),
    0x96: ("messages come faster than the broker allows", "raise the broker's rate limit"),
    0x97: ("a quota is exceeded", "raise the broker's quota"),
    0x98: ("closed by an administrator", "ask who runs the broker"),
    0x99: ("payload format not valid", "report this as a defect"),
    0x9A: ("retained messages are not supported", "allow retained messages in the broker"),
    0x9B: ("QoS 1 is not supported", "allow QoS 1 in the broker"),
    0x9C: ("use another server", "set mqtt.url to the server the broker's operator names"),
    0x9D: ("the server moved", "set mqtt.url to the server the broker's operator names"),
    0x9E: ("shared subscriptions are not supported", "allow shared subscriptions in the broker"),
    0x9F: ("connections come faster than the broker allows", "raise the broker's connection rate limit"),
    0xA2: ("wildcard subscriptions are not supported", "allow wildcard subscriptions in the broker"),
}


class BrokerRefused(LinkRefused):
    """The broker said no; `code` is its MQTT 5 reason code."""

    def __init__(self, what: str, *, code: int, where: str, next_step: str) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.code = code


def refused(code: int, *, where: str, client: str, user: str | None) -> BrokerRefused:
    """The error for a CONNACK, SUBACK or DISCONNECT reason `code` of 0x80 and above."""
    text, step = _REFUSALS.get(code, ("reason unknown here", "look into the broker's log"))
    what = f"the broker says 0x{code:02X}: {text.format(client=repr(client), user=repr(user) if user else '(none)')}"
    return BrokerRefused(what, code=code, where=where, next_step=step)


def duplicate(*, where: str, client: str) -> BrokerRefused:
    """The error for a second client of our identity that shows by what it publishes."""
    text, step = _REFUSALS[TAKEN_OVER]
    return BrokerRefused(text.format(client=repr(client)), code=TAKEN_OVER, where=where, next_step=step)


def unreachable(exc: BaseException, *, where: str, timeout_s: float, cert: Path | None = None) -> LinkError:
    """The error for what connecting raised: DNS, TCP, TLS or the time limit."""
    if isinstance(exc, ssl.SSLError):
        return _tls(exc, where=where, cert=cert)
    if isinstance(exc, TimeoutError | asyncio.TimeoutError):
        return LinkTimeout(
            f"no MQTT connection within {timeout_s:g} s", where=where, next_step="look at host, port and firewall"
        )
    if isinstance(exc, socket.gaierror):
        return LinkRefused(
            f"the name does not resolve ({exc.strerror})", where=where, next_step="correct mqtt.url or the DNS"
        )
    if isinstance(exc, ConnectionRefusedError):
        return LinkRefused("nothing listens there", where=where, next_step="start the broker or correct mqtt.url")
    return LinkLost(f"the network failed ({reason_of(exc)})", where=where, next_step="look at the network")


def ended(
    exc: BaseException | None, *, where: str, has_joined: bool, is_tls: bool, cert: Path | None = None
) -> LinkError:
    """The error for a connection that ended without a word from the broker."""
    if isinstance(exc, ssl.SSLError):
        return _tls(exc, where=where, cert=cert)
    how = f" ({reason_of(exc)})" if exc is not None else ""
    if has_joined:
        return LinkLost(
            f"the connection was closed{how}", where=where, next_step="look at the network and the broker's log"
        )
    if not is_tls:
        step = "check that the port is an MQTT 5 listener without TLS, or set mqtt.tls: true"
    elif cert is None:
        step = "the broker may want a client certificate: set mqtt.cert and mqtt.key"
    else:
        # The alert that names the reason can be lost with the connection, but an expired certificate shows here as well.
        end = _valid_until(cert)
        if end is not None and end < datetime.now(UTC):
            return _refused_ours(cert, f"closed{how}", where)
        step = f"check that the broker accepts our certificate {cert}"
    return LinkRefused(f"closed before the broker answered CONNECT{how}", where=where, next_step=step)


def reason_of(exc: BaseException) -> str:
    """The shortest honest text of an exception."""
    strerror = getattr(exc, "strerror", None)
    return str(strerror or exc or type(exc).__name__)


def _tls(exc: ssl.SSLError, *, where: str, cert: Path | None) -> LinkRefused:
    reason = (exc.reason or str(exc)).replace("_", " ").lower()
    if isinstance(exc, ssl.SSLCertVerificationError):
        found = exc.verify_message.rstrip(".")
        if "expired" in found:
            step = "renew the broker's certificate, and check this machine's clock"
        elif "match" in found or "mismatch" in found:
            step = "set mqtt.url to a name that the broker's certificate carries"
        else:
            step = "set mqtt.ca to the authority that signed the broker's certificate"
        return LinkRefused(f"the broker's certificate is not accepted: {found}", where=where, next_step=step)
    if "alert" in reason and "cert" in reason:
        return _refused_ours(cert, reason, where)
    return LinkRefused(f"TLS failed: {reason}", where=where, next_step="check that the port speaks TLS 1.2 or later")


def _refused_ours(cert: Path | None, reason: str, where: str) -> LinkRefused:
    end = None if cert is None else _valid_until(cert)
    ours = ": none is configured" if cert is None else f" {cert}" + (f", valid until {end:%Y-%m-%d}" if end else "")
    return LinkRefused(
        f"the broker refuses our certificate{ours} ({reason})", where=where, next_step="renew mqtt.cert and mqtt.key"
    )


def _valid_until(cert: Path) -> datetime | None:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None
