"""The part of a simulated camera that answers WS-Discovery probes, on a port of loopback instead of the multicast group.

Source: WS-Discovery 2005/04, 5 (Probe and ProbeMatch); ONVIF Core Specification 24.06, 7.3 (scopes).
"""

from __future__ import annotations

import asyncio
import re
from types import TracebackType
from typing import Self
from urllib.parse import quote


class DiscoveryResponder(asyncio.DatagramProtocol):
    """Answers while it is entered. `spoil`: sent instead of the right answer."""

    def __init__(
        self, addresses: str, name: str, hardware: str, *, uuid: str = "sim-1", spoil: bytes | None = None
    ) -> None:
        self.addresses, self.name, self.hardware, self.uuid, self.spoil = addresses, name, hardware, uuid, spoil
        self.port = 0
        self.probes = 0
        self.asked_from: set[str] = set()
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", self.port))
        self.port = int(self._transport.get_extra_info("sockname")[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._transport is not None
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        asked = re.search(rb"MessageID[^>]*>([^<]{1,200})<", data)
        if asked is None or b"Probe" not in data or self._transport is None:
            return
        self.probes += 1
        self.asked_from.add(addr[0])
        for _ in range(2):  # devices say it twice, because datagrams are lost
            self._transport.sendto(self.spoil if self.spoil is not None else self._match(asked[1].decode()), addr)

    def _match(self, relates_to: str) -> bytes:
        scopes = " ".join(
            f"onvif://www.onvif.org/{kind}/{quote(text)}"
            for kind, text in (("name", self.name), ("hardware", self.hardware))
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
            'xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
            'xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl">'
            f"<s:Header><a:RelatesTo>{relates_to}</a:RelatesTo>"
            "<a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches</a:Action></s:Header><s:Body>"
            f"<d:ProbeMatches><d:ProbeMatch><a:EndpointReference><a:Address>urn:uuid:{self.uuid}</a:Address>"
            f"</a:EndpointReference><d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>{scopes}</d:Scopes>"
            f"<d:XAddrs>{self.addresses}</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion></d:ProbeMatch></d:ProbeMatches>"
            "</s:Body></s:Envelope>"
        ).encode()
