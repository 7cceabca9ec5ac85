"""Clients that nobody here wrote against our simulated BACnet devices, and tshark on what these send."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.bacnet import names, npdu, tags
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.models import load_model
from firmware_sim.bacnet.server import BacnetServer, Network

pytestmark = pytest.mark.real

NODE = Path(__file__).parent / "node"
needs_node_bacnet = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules" / "node-bacnet").is_dir(),
    reason="node-bacnet is not installed (bash tests/install_peers.sh)",
)
needs_tshark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is not installed (apt-get install tshark)"
)


@dataclass(slots=True)
class Site:
    """An air handler, a controller of 600 objects, and three boxes on MS/TP behind a router; every datagram they send."""

    ahu: BacnetServer
    floor: BacnetServer
    router: BacnetServer
    sent: list[tuple[int, int, bytes]] = field(default_factory=list)
    """(from port, to port, datagram)."""


def device(slug: str, **keys: Any) -> BacnetDevice:
    return BacnetDevice(load_model(slug), id=slug, now=time.time, **keys)


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    boxes = {bytes((mac,)): device("bacnet-vav", instance=4000 + mac, prefix=f"VAV-3-{mac:02}.") for mac in (1, 2, 3)}
    line = Network(20, boxes, mstp=True, turnaround_s=(0.005, 0.02))
    async with (
        BacnetServer(device("bacnet-ahu")) as ahu,
        BacnetServer(device("bacnet-vav-floor")) as floor,
        BacnetServer(networks=[line]) as router,
    ):
        open_site = Site(ahu, floor, router)
        for server in (ahu, floor, router):
            _record(server, open_site.sent)
        yield open_site


def _record(server: BacnetServer, sent: list[tuple[int, int, bytes]]) -> None:
    plain, port = server.send, server.port

    def send(datagram: bytes, to: npdu.Udp) -> None:
        sent.append((port, to[1], datagram))
        plain(datagram, to)

    server.send = send  # type: ignore[method-assign]
    server.exchange._send = send


async def ask_all(open_site: Site) -> dict[str, Any]:
    """What node-bacnet got from all of them."""
    ports = [str(server.port) for server in (open_site.ahu, open_site.floor, open_site.router)]
    process = await asyncio.create_subprocess_exec(
        "node", str(NODE / "bacnet_client.js"), *ports, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(40):
            assert process.stdout is not None
            found: dict[str, Any] = json.loads(await process.stdout.readline())
            return found
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def values(answer: dict[str, Any]) -> list[Any]:
    return [one["value"] for one in answer["values"]]


@needs_node_bacnet
async def test_node_bacnet_reads_writes_and_subscribes() -> None:
    async with site() as open_site:
        found = await ask_all(open_site)
        floor = open_site.floor.device
        assert floor is not None
        keys = floor.me.object_keys()
    assert found["heard"] == [1001]
    assert isinstance(values(found["real"])[0], float)
    assert "UNKNOWN_OBJECT" in found["missing"]["error"]
    several = {
        (one["objectId"]["type"], each["id"]): [value["value"] for value in each["value"]]
        for one in found["several"]["values"]
        for each in one["values"]
    }
    assert several[8, 121] == ["Plantroom Simulators"]
    assert several[8, 70] == ["SIM-AHU-45"]
    assert several[19, 110] == ["Occupied", "Unoccupied", "Standby", "Bypass"]
    assert len(several[1, names.PRIORITY_ARRAY]) == 16
    assert several[1, names.UNIT] == [names.UNITS["percent"]]
    assert values(found["slots"]) == [None] * 7 + [24.5] + [None] * 8
    assert "error" not in (found.get("written") or {}), found["written"]
    assert "error" not in (found.get("released") or {}), found["released"]
    assert "VALUE_OUT_OF_RANGE" in found["tooHigh"]["error"]
    listed = [names.object_id(one["type"], one["instance"]) for one in values(found["objects"])]
    assert listed == list(keys)
    assert (found["log"]["itemCount"], found["log"]["resultFlag"]["value"]) == (20, [1])
    assert values(found["routed"]) == ["VAV-3-02.ZN-T"]
    told = [notice["values"][0]["value"][0]["value"] for notice in found["notified"]]
    assert told[:2] == [18, 24.5]
    assert {notice["subscriberProcessId"] for notice in found["notified"]} == {7}


@pytest.fixture
async def bacpypes() -> AsyncIterator[Any]:
    """bacpypes3 as a client on a port of its own."""
    pytest.importorskip("bacpypes3", reason="bacpypes3 is not installed (uv sync)")
    from bacpypes3.basetypes import Segmentation
    from bacpypes3.ipv4.app import NormalApplication
    from bacpypes3.local.device import DeviceObject
    from bacpypes3.pdu import IPv4Address

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = DeviceObject(
        objectIdentifier=("device", 4_194_000), objectName="peer", vendorIdentifier=999, maxApduLengthAccepted=480,
        segmentationSupported=Segmentation("segmented-both"), maxSegmentsAccepted=64,
    )  # fmt: skip
    app = NormalApplication(own, IPv4Address(f"127.0.0.1:{port}"))
    yield app
    app.close()


async def test_bacpypes3_reads_every_property_of_every_kind_of_object(bacpypes: Any) -> None:
    from bacpypes3.basetypes import ErrorType
    from bacpypes3.pdu import Address
    from bacpypes3.primitivedata import ObjectIdentifier

    async with site() as open_site, BacnetServer(device("bacnet-lift-bank")) as lifts:
        for server, instance in ((open_site.ahu, 1001), (lifts, 3001)):
            address = Address(f"127.0.0.1:{server.port}")
            [i_am] = await bacpypes.who_is(instance, instance, address=address, timeout=0.3)
            assert i_am.iAmDeviceIdentifier[1] == instance
            assert server.device is not None
            one_of_each = {key >> 22: key for key in server.device.me.object_keys()}
            for kind, key in one_of_each.items():
                wanted = [ObjectIdentifier((kind, key & names.ANY_INSTANCE)), ["all"]]
                results = await bacpypes.read_property_multiple(address, wanted)
                assert len(results) >= 5
                assert not [result for result in results if isinstance(result[3], ErrorType)], kind
        lists = await bacpypes.read_property(
            Address(f"127.0.0.1:{open_site.floor.port}"), ObjectIdentifier(("device", 505)), "object-list"
        )
        assert len(lists) == 601


async def test_bacpypes3_writes_subscribes_and_goes_through_the_router(bacpypes: Any) -> None:
    from bacpypes3.apdu import ErrorRejectAbortNack
    from bacpypes3.pdu import Address
    from bacpypes3.primitivedata import Null, ObjectIdentifier

    async with site() as open_site:
        address, point = Address(f"127.0.0.1:{open_site.ahu.port}"), ObjectIdentifier("analog-value,1")
        async with bacpypes.change_of_value(address, point, 5, True, 60) as changes, asyncio.timeout(10):
            assert (await changes.get_value())[1] == 18.0
            await changes.get_value()  # its status flags
            await bacpypes.write_property(address, point, "present-value", 22.5, priority=8)
            assert (await changes.get_value())[1] == 22.5
        await bacpypes.write_property(address, point, "present-value", Null(()), priority=8)
        assert await bacpypes.read_property(address, point, "present-value") == 18.0
        with pytest.raises(ErrorRejectAbortNack, match="value-out-of-range"):
            await bacpypes.write_property(address, point, "present-value", 99.0, priority=8)
        router = f"127.0.0.1:{open_site.router.port}"
        found = await bacpypes.nse.who_is_router_to_network(destination=Address(router), network=20)
        assert len(found) == 1
        name = await bacpypes.read_property(
            Address(f"20:3@{router}"), ObjectIdentifier("analog-input,1"), "object-name"
        )
        assert name == "VAV-3-03.ZN-T"


def pcap(sent: list[tuple[int, int, bytes]]) -> bytes:
    """The datagrams as a capture of raw IPv4 packets (LINKTYPE_RAW, 101)."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)
    local = socket.inet_aton("127.0.0.1")
    for number, (source, target, datagram) in enumerate(sent):
        udp = struct.pack(">HHHH", source, target, 8 + len(datagram), 0) + datagram
        packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number & 0xFFFF, 0, 64, 17, 0, local, local) + udp
        out += struct.pack("<IIII", 1_795_420_800 + number, 0, len(packet), len(packet)) + packet
    return out


def dissect(path: Path, sent: list[tuple[int, int, bytes]]) -> str:
    ports = {port for source, target, _ in sent for port in (source, target)}
    decode = [part for port in sorted(ports) for part in ("-d", f"udp.port=={port},bvlc")]
    path.write_bytes(pcap(sent))
    result = subprocess.run(
        ["tshark", "-r", str(path), "-V", *decode], capture_output=True, text=True, timeout=50, check=True
    )
    return result.stdout


@needs_tshark
async def test_tshark_finds_nothing_malformed(tmp_path: Path) -> None:
    """Every property of every kind of object, notifications, errors, segments, BBMD and router messages."""
    sent: list[tuple[int, int, bytes]] = []
    async with site() as open_site, BacnetServer(device("bacnet-lift-bank")) as lifts:
        open_site.ahu.bbmd = True
        client: npdu.Udp = ("127.0.0.1", 9)
        for server in (open_site.ahu, open_site.floor, open_site.router, lifts):
            _record(server, sent)
        for server in (open_site.ahu, lifts):
            assert server.device is not None
            for key in {key >> 22: key for key in server.device.me.object_keys()}.values():
                every = tags.context_object(0, key) + tags.wrapped(1, tags.context_unsigned(0, names.ALL))
                server.datagram_received(request(names.READ_MULTIPLE, every), client)
        ahu = open_site.ahu
        key = names.object_id(2, 1)
        subscribe = (
            tags.context_unsigned(0, 7) + tags.context_object(1, key) + tags.context_unsigned(2, 1) + b"\x39\x3c"
        )
        for service, body in (
            (names.SUBSCRIBE_COV, subscribe), (names.SUBSCRIBE_COV, subscribe.replace(b"\x29\x01", b"\x29\x00")),
            (names.READ_PROPERTY, b"\x0c\0\0\0\x63\x19\x55"), (names.REINITIALIZE, b"\x09\0"), (99, b""),
            (names.READ_RANGE, tags.context_object(0, names.object_id(20, 1)) + tags.context_unsigned(1, names.LOG_BUFFER)),
        ):  # fmt: skip
            ahu.datagram_received(request(service, body), client)
        ahu.datagram_received(npdu.bvlc(npdu.REGISTER, b"\0\x3c"), client)
        ahu.datagram_received(npdu.bvlc(npdu.READ_FOREIGN, b""), client)
        ahu.datagram_received(npdu.bvlc(npdu.DISTRIBUTE, npdu.npdu(b"\x10\x08")), client)
        open_site.router.datagram_received(
            npdu.bvlc(npdu.UNICAST, npdu.npdu(b"\x10\x08", to=(npdu.GLOBAL, b""))), client
        )
        open_site.router.datagram_received(npdu.bvlc(npdu.UNICAST, npdu.npdu(b"", message=npdu.WHO_IS_ROUTER)), client)
        listed = tags.context_object(0, names.object_id(8, 505)) + tags.context_unsigned(1, names.OBJECT_LIST)
        for head in (0, 2):  # an abort, then the first segment
            open_site.floor.datagram_received(request(names.READ_PROPERTY, listed, head=head), client)
        text = await asyncio.to_thread(dissect, tmp_path / "sim.pcap", sent)
    assert len(sent) > 25
    assert text.count("\nBACnet Virtual Link Control") == len(sent)
    assert "alformed" not in text
    for word in ("SF-KW", "weekly-schedule", "exception-schedule", "log-device-object-property", "car-position", "I-Am-Router",
                 "confirmedCOVNotification", "Abort", "BVLC-Result", "Forwarded-NPDU", "segmented"):  # fmt: skip
        assert word.lower() in text.lower(), word


def request(service: int, body: bytes, *, head: int = 0) -> bytes:
    apdu = bytes((head, 0x75, service, service)) + body
    return npdu.bvlc(npdu.UNICAST, npdu.npdu(apdu, reply_expected=True))
