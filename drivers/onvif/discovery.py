"""Finds ONVIF devices by WS-Discovery: probes to a group or a host, and who answers them. Believes no other answer.

Source: WS-Discovery 2005/04, 2.4 (port 3702, group 239.255.255.250), 5 (Probe, ProbeMatch); ONVIF Core Specification 24.06, 7.3.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from device_profiles.errors import LinkRefused
from drivers.document import DocumentError, parse_xml, pick

from .device import bare

GROUP, PORT = "239.255.255.250", 3702
_MOST = 2000
"""Devices, and answers that wait."""
_MOST_BYTES = 16_384
_PROBE = (
    '<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" '
    'xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:tds="http://www.onvif.org/ver10/device/wsdl"><s:Header><a:MessageID>{id}</a:MessageID>'
    "<a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To>"
    "<a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action></s:Header>"
    "<s:Body><d:Probe><d:Types>{types}</d:Types></d:Probe></s:Body></s:Envelope>"
)
_TYPES = ("dn:NetworkVideoTransmitter", "tds:Device")
"""Asked for in turn: both at once would find only who is both, and recorders are not always the first."""
_SIOCGIFADDR = 0x8915


@dataclass(frozen=True, slots=True)
class Found:
    """A device that answered."""

    id: str
    """Its own, for as long as it lives (`urn:uuid:..`)."""
    host: str
    """Where the answer came from."""
    name: str
    hardware: str
    addresses: tuple[str, ...]


class _Listener(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: list[tuple[bytes, str]] = []

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(self.heard) < _MOST and len(data) <= _MOST_BYTES:
            self.heard.append((data, addr[0]))

    def error_received(self, exc: Exception) -> None:
        """Nobody there: told by silence."""


async def probe(
    *, within_s: float = 3.0, to: tuple[str, int] = (GROUP, PORT), interfaces: Sequence[str] = ()
) -> list[Found]:
    """Who answers within `within_s`, by address. `interfaces`: our own addresses on the networks that are asked; none given, all.

    Raises LinkRefused where this machine may not, or cannot, send on any of them.
    """
    is_group = to[0].partition(".")[0] in {str(first) for first in range(224, 240)}
    ours = tuple(interfaces) or (own_addresses() if is_group else ()) or ("0.0.0.0",)
    answers = await asyncio.gather(*(_ask(each, to, within_s) for each in ours), return_exceptions=True)
    found: dict[tuple[str, str], Found] = {}
    for answer in answers:
        if isinstance(answer, BaseException):
            if len(interfaces) > 0 or all(isinstance(each, BaseException) for each in answers):
                raise answer
            continue
        for each in answer:
            found.setdefault((each.id, each.host), each)  # cheap cameras come with one id for all of them
    return sorted(found.values(), key=lambda each: [part.zfill(3) for part in each.host.split(".")])


async def _ask(interface: str, to: tuple[str, int], within_s: float) -> list[Found]:
    messages = {f"urn:uuid:{uuid.uuid4()}": types for types in _TYPES}
    loop = asyncio.get_running_loop()
    listener = _Listener()
    place = f"{to[0]}:{to[1]}"
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: listener, local_addr=(interface, 0), family=socket.AF_INET
        )
    except OSError as error:
        step = "give --interface: an address of this machine"
        raise LinkRefused(f"no socket at {interface} ({error.strerror})", where=place, next_step=step) from error
    try:
        own = transport.get_extra_info("socket")
        own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        if interface != "0.0.0.0":
            own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        for _ in range(2):  # datagrams are lost
            for message, types in messages.items():
                transport.sendto(_PROBE.format(id=message, types=types).encode(), to)
            await asyncio.sleep(within_s / 2)
    except OSError as error:
        step = "give --interface: our address on the cameras' network"
        raise LinkRefused(f"the probe does not go out ({error.strerror})", where=place, next_step=step) from error
    finally:
        transport.close()
    return [each for data, host in listener.heard for message in messages for each in matches(data, message, host)]


def own_addresses() -> tuple[str, ...]:
    """Our IPv4 addresses, the first of each network interface, loopback left out. Source: netdevice(7), SIOCGIFADDR."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has none
            found.append(socket.inet_ntoa(answer[20:24]))
    return tuple(dict.fromkeys(each for each in found if not each.startswith("127.")))


def matches(data: bytes, message: str, host: str) -> list[Found]:
    """The devices in one answer to our probe; none in anything else."""
    try:
        envelope = parse_xml(data)
        if pick(envelope, "Envelope/Header/RelatesTo") != message:
            return []
        rows = pick(envelope, "Envelope/Body/ProbeMatches/ProbeMatch")
    except (DocumentError, KeyError):
        return []
    return [_found(each, host) for each in (rows if isinstance(rows, list) else [rows])[:16] if isinstance(each, dict)]


def _found(row: Mapping[str, Any], host: str) -> Found:
    reference = row.get("EndpointReference")
    own = str(reference.get("Address", "")) if isinstance(reference, dict) else ""
    scopes = dict[str, str]()
    for scope in str(row.get("Scopes", "")).split():
        parts = _path(scope)
        if len(parts) == 2 and parts[0] in ("name", "hardware"):
            scopes.setdefault(parts[0], unquote(parts[1])[:100])
    addresses = tuple(bare(each) for each in str(row.get("XAddrs", "")).split()[:8] if bare(each))
    return Found(own[:200] or host, host, scopes.get("name", ""), scopes.get("hardware", ""), addresses)


def _path(scope: str) -> list[str]:
    try:
        return urlsplit(scope).path.strip("/").split("/")
    except ValueError:
        return []
