"""The sockets of the BACnet simulators: broadcasts, routers, MS/TP, BBMD, segments, notifications and faults over UDP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.bacnet import names, npdu, tags
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.faults import SHAPES, BacnetFault
from firmware_sim.bacnet.orders import apply_fault, heal
from firmware_sim.bacnet.server import BacnetServer, Network
from firmware_sim.faults import BadFault
from tests.firmware_sim.bacnet_asker import Asker, asker, build, reading, subscribing, value_of, writing

SET_POINT, SUPPLY = names.object_id(2, 1), names.object_id(0, 1)
READ_SUPPLY = reading(SUPPLY, names.PRESENT_VALUE)
WHO_IS = bytes((0x10, names.WHO_IS))


@pytest.fixture
async def client() -> AsyncIterator[Asker]:
    async with asker() as one:
        yield one


def floor_network(count: int = 3) -> Network:
    devices = {
        bytes((mac,)): build("bacnet-vav", instance=4000 + mac, prefix=f"VAV-3-{mac:02}.")
        for mac in range(1, count + 1)
    }
    return Network(20, devices, mstp=True, turnaround_s=(0.002, 0.004))


def who(apdu: bytes) -> int:
    """The instance of an I-Am."""
    assert apdu[:3] == b"\x10\0\xc4", apdu.hex()
    return int.from_bytes(apdu[3:7], "big") & names.ANY_INSTANCE


async def test_a_device_announces_itself_when_it_is_meant(client: Asker) -> None:
    async with BacnetServer(build("bacnet-ahu")) as server:
        limits = tags.context_unsigned(0, 1) + tags.context_unsigned(1, 1000)
        client.send(server.address, WHO_IS + limits)
        client.send(server.address, WHO_IS, function=npdu.BROADCAST)
        assert who((await client.next()).payload) == 1001
        named = bytes((0x10, names.WHO_HAS)) + tags.context(3, b"\0SA-T")
        client.send(server.address, named)
        i_have = (await client.next()).payload
        assert i_have[:2] == bytes((0x10, names.I_HAVE))
        assert i_have.endswith(tags.text("SA-T"))
        assert client.heard.empty()


async def test_a_router_says_what_is_behind_it_and_carries_requests(client: Asker) -> None:
    async with BacnetServer(networks=[floor_network()]) as server:
        client.transport.sendto(npdu.bvlc(npdu.UNICAST, npdu.npdu(b"", message=npdu.WHO_IS_ROUTER)), server.address)
        told = await client.next()
        assert (told.message, told.payload) == (npdu.I_AM_ROUTER, b"\0\x14")
        client.send(server.address, WHO_IS, net=(npdu.GLOBAL, b""))
        found = [await client.next() for _ in range(3)]
        assert [(one.snet, one.sadr, who(one.payload)) for one in found] == [
            (20, bytes((mac,)), 4000 + mac) for mac in (1, 2, 3)
        ]
        client.send(server.address, WHO_IS)  # without a network it stays on the router's own
        name = await client.ask(server.address, 12, reading(SUPPLY, names.OBJECT_NAME), net=(20, b"\x02"))
        assert value_of(name) == "VAV-3-02.ZN-T"
        client.send(server.address, b"\0\x05\x09\x0c" + READ_SUPPLY, net=(77, b"\x01"))
        refused = await client.next()
        assert (refused.message, refused.payload) == (npdu.REJECT_TO_NETWORK, b"\x01\0\x4d")
        client.send(server.address, b"\0\x05\x09\x0c" + READ_SUPPLY, net=(20, b"\x63"))  # nobody has that MAC address
        assert value_of(await client.ask(server.address, 12, READ_SUPPLY, net=(20, b"\x03")))


async def test_an_mstp_line_serves_one_after_the_other_and_drops_what_it_cannot_hold(client: Asker) -> None:
    network = floor_network()
    network.most_waiting = 5
    async with BacnetServer(networks=[network]) as server:
        for invoke in range(20):
            client.send(server.address, bytes((0, 5, invoke, 12)) + READ_SUPPLY, net=(20, bytes((1 + invoke % 3,))))
        answers = [(await client.next()).payload[1] for _ in range(5)]
        assert answers == sorted(answers)
        async with asyncio.timeout(5):
            while network.overflow + len(answers) < 20:
                answers.append((await client.next()).payload[1])
        assert network.overflow > 0


async def test_a_foreign_device_registers_and_its_broadcasts_are_carried(client: Asker) -> None:
    async with BacnetServer(build("bacnet-ahu"), bbmd=True) as bbmd, asker() as other:
        broadcast = npdu.bvlc(npdu.DISTRIBUTE, npdu.npdu(WHO_IS))
        client.transport.sendto(broadcast, bbmd.address)
        assert (await client.heard.get())[0] == npdu.bvlc(npdu.RESULT, b"\0\x60")
        for one in (client, other):
            one.transport.sendto(npdu.bvlc(npdu.REGISTER, b"\0\x3c"), bbmd.address)
            assert (await one.heard.get())[0] == npdu.bvlc(npdu.RESULT, b"\0\0")
        client.transport.sendto(broadcast, bbmd.address)
        carried = (await other.heard.get())[0]
        assert npdu.open_bvlc(carried) == (
            npdu.FORWARDED,
            npdu.udp_bytes(("127.0.0.1", client.port)) + npdu.npdu(WHO_IS),
        )
        announced = (await client.heard.get())[0]
        assert announced[:10] == bytes((0x81, npdu.FORWARDED)) + announced[2:4] + npdu.udp_bytes(bbmd.address)
        assert who((await other.next()).payload) == 1001
        client.transport.sendto(npdu.bvlc(npdu.READ_FOREIGN, b""), bbmd.address)
        assert len((await client.heard.get())[0]) == 4 + 2 * 10


async def test_a_device_that_is_no_bbmd_refuses_registration(client: Asker) -> None:
    async with BacnetServer(build("bacnet-ahu")) as server:
        client.transport.sendto(npdu.bvlc(npdu.REGISTER, b"\0\x3c"), server.address)
        assert (await client.heard.get())[0] == npdu.bvlc(npdu.RESULT, b"\0\x30")


async def test_a_long_answer_comes_in_segments(client: Asker) -> None:
    device = build("bacnet-vav-floor")
    body = reading(device.me.key, names.OBJECT_LIST)
    async with BacnetServer(device) as server:
        whole = await client.whole(server.address, names.READ_PROPERTY, body)
        reader = tags.Reader(whole)
        reader.object(0), reader.unsigned(1)
        assert len(reader.inside(3)) == 5 * 601
        assert await client.ask(server.address, 12, body, sizes=0x03) == npdu.abort(
            client.invoke, names.ABORT_SEGMENTATION
        )
        few = await client.ask(server.address, 12, body, head=2, sizes=0x13)  # two segments
        assert few == npdu.abort(client.invoke, names.ABORT_OVERFLOW)
        assert not server.exchange.segmented.answers


async def test_a_lost_segment_is_sent_again(client: Asker) -> None:
    device = build("bacnet-vav-floor")
    async with BacnetServer(device) as server:
        server.exchange.segmented.timeout_s = 0.05
        device.faults.add(BacnetFault("lost_segment", count=1, segment=2))
        first = await client.ask(server.address, 12, reading(device.me.key, names.OBJECT_LIST), head=2, sizes=0x73)
        seen = {first[2]}
        client.send(server.address, bytes((0x40, client.invoke, 0, 3)))
        while seen != {0, 1, 2, 3}:
            seen.add((await client.next()).payload[2])
        assert device.faults.hits == {"lost_segment": 1}


async def test_a_long_request_is_put_together(client: Asker) -> None:
    device = build("bacnet-ahu")
    wanted = b"".join(
        tags.context_object(0, SUPPLY + n) + tags.wrapped(1, tags.context_unsigned(0, names.PRESENT_VALUE))
        for n in range(10)
    )
    async with BacnetServer(device) as server:
        client.send(server.address, bytes((0x0E, 0x75, 3, 0, 2, 14)) + wanted[:40])
        assert (await client.next()).payload == npdu.segment_ack(3, 0, 1)
        client.send(server.address, bytes((0x0E, 0x75, 3, 2, 2, 14)) + wanted[40:])  # one is missing
        assert (await client.next()).payload == npdu.segment_ack(3, 0, 1, negative=True)
        client.send(server.address, bytes((0x0A, 0x75, 3, 1, 2, 14)) + wanted[40:])
        assert (await client.next()).payload == npdu.segment_ack(3, 1, 1)
        assert (await client.next()).payload[:3] == bytes((0x30, 3, 14))


async def test_a_subscriber_is_told_of_a_write_and_confirms(client: Asker) -> None:
    device = build("bacnet-ahu")
    async with BacnetServer(device) as server:
        accepted = await client.ask(server.address, names.SUBSCRIBE_COV, subscribing(SET_POINT, confirmed=True))
        assert accepted == npdu.simple_ack(client.invoke, names.SUBSCRIBE_COV)
        first = await client.next()
        assert (first.payload[0], first.payload[3], first.reply_expected) == (0, names.CONFIRMED_COV, True)
        client.send(server.address, npdu.simple_ack(first.payload[2], names.CONFIRMED_COV))
        await client.ask(server.address, names.WRITE_PROPERTY, writing(SET_POINT, tags.real(21.5), 8))
        told = (await client.next()).payload
        assert tags.real(21.5) in told
        assert told[2] != first.payload[2]
        client.send(server.address, npdu.simple_ack(told[2], names.CONFIRMED_COV))
        async with asyncio.timeout(5):
            while server.exchange._pending:
                await asyncio.sleep(0)


@pytest.mark.parametrize("kind", sorted(set(SHAPES) - {"silent"}))
async def test_every_fault_sends_something_else_and_heals(client: Asker, kind: str) -> None:
    device = build("bacnet-ahu")
    async with BacnetServer(device) as server:
        good = await client.ask(server.address, names.READ_PROPERTY, READ_SUPPLY)
        apply_fault(server, device, kind, {"delay_s": 0.001})
        client.send(server.address, bytes((0, 5, client.invoke, names.READ_PROPERTY)) + READ_SUPPLY)
        async with asyncio.timeout(5):
            wrong = [(await client.heard.get())[0] for _ in range(2 if kind == "twice" else 1)]
        expected = npdu.bvlc(npdu.UNICAST, npdu.npdu(good))
        assert (wrong[-1] == expected) == (kind in ("late", "twice"))
        heal(server, device)
        assert (await client.ask(server.address, names.READ_PROPERTY, READ_SUPPLY))[2:] == good[2:]


async def test_silence_is_silence_on_every_service(client: Asker) -> None:
    device = build("bacnet-ahu")
    async with BacnetServer(device) as server:
        apply_fault(server, device, "silent", {})
        client.send(server.address, WHO_IS)
        client.send(server.address, bytes((0, 5, 1, names.READ_PROPERTY)) + READ_SUPPLY)
        client.transport.sendto(npdu.bvlc(npdu.REGISTER, b"\0\x3c"), server.address)  # what the socket itself answers
        assert (await client.heard.get())[0] == npdu.bvlc(npdu.RESULT, b"\0\x30")
        assert client.heard.empty()


async def test_a_small_device_says_so_and_aborts_what_does_not_fit(client: Asker) -> None:
    device = build("bacnet-ahu")
    async with BacnetServer(device) as server:
        apply_fault(server, device, "small_apdu", {"size": 50})
        assert value_of(await client.ask(server.address, 12, reading(device.me.key, 62))) == 50
        answer = await client.ask(server.address, 12, reading(device.me.key, names.OBJECT_LIST), head=2, sizes=0x75)
        assert answer == npdu.abort(client.invoke, names.ABORT_SEGMENTATION)


async def test_storms_come_at_their_rate_and_stop(client: Asker) -> None:
    device = build("bacnet-ahu")
    async with BacnetServer(device) as server:
        await client.ask(server.address, names.SUBSCRIBE_COV, subscribing(SET_POINT))
        await client.next()
        for kind, service in (("iam_storm", names.I_AM), ("cov_storm", names.UNCONFIRMED_COV)):
            apply_fault(server, device, kind, {"rate": 5000})
            heard = [(await client.next()).payload for _ in range(500)]
            assert {apdu[:2] for apdu in heard} == {bytes((0x10, service))}
            heal(server, device)
            await asyncio.sleep(0.02)
            while not client.heard.empty():
                client.heard.get_nowait()


async def test_two_devices_claim_one_instance(client: Asker) -> None:
    device = build("bacnet-ahu")
    async with BacnetServer(device) as server:
        apply_fault(server, device, "duplicate", {})
        async with asyncio.timeout(5):
            while server.impostor is None:
                await asyncio.sleep(0)
        client.send(server.address, WHO_IS)
        async with asyncio.timeout(5):
            heard = [await client.heard.get() for _ in range(2)]
        assert len({address for _, address in heard}) == 2
        assert {who(npdu.open_npdu(data[4:]).payload) for data, _ in heard} == {1001}


async def test_a_restart_forgets_subscribers_and_announces_the_device(client: Asker) -> None:
    device = build("bacnet-ahu")
    async with BacnetServer(device) as server:
        await client.ask(server.address, names.SUBSCRIBE_COV, subscribing(SET_POINT))
        await client.next()
        apply_fault(server, device, "restart", {})
        assert who((await client.next()).payload) == 1001
        await client.ask(server.address, names.WRITE_PROPERTY, writing(SET_POINT, tags.real(21.5), 8))
        assert value_of(await client.ask(server.address, 12, reading(device.me.key, 155))) == 2
        apply_fault(server, device, "renamed", {"name": "AHU-9"})
        assert value_of(await client.ask(server.address, 12, reading(device.me.key, names.OBJECT_NAME))) == "AHU-9"


async def test_a_device_moves_to_another_address(client: Asker) -> None:
    device = build("bacnet-ahu")
    async with BacnetServer(device) as server, BacnetServer(networks=[floor_network()]) as router:
        old = server.address
        apply_fault(server, device, "moved", {})
        async with asyncio.timeout(5):
            while server.address == old:
                await asyncio.sleep(0)
        assert value_of(await client.ask(server.address, 12, READ_SUPPLY))
        box = router.networks[20].devices[b"\x01"]
        apply_fault(router, box, "moved", {})
        client.send(
            router.address, WHO_IS + tags.context_unsigned(0, 4001) + tags.context_unsigned(1, 4001), net=(20, b"")
        )
        assert (await client.next()).sadr == b"\xfe"


async def test_orders_that_make_no_sense_are_told() -> None:
    device = build("bacnet-ahu")
    async with BacnetServer(device) as server:
        for kind, options in (
            ("nope", {}), ("late", {"colour": 1}), ("late", {"delay_s": "soon"}), ("override", {"object": "XX:1"}),
            ("override", {"object": "AI:1", "value": 3}), ("sensor", {"object": "AI:99"}),
        ):  # fmt: skip
            with pytest.raises(BadFault):
                apply_fault(server, device, kind, options)
        apply_fault(server, device, "sensor", {"object": "AI:1", "code": 4})
        assert device.object("AI", 1).flags == (False, True, False, False)


@pytest.fixture(scope="module")
def pump_set() -> BacnetDevice:
    return build("bacnet-pump-set")


@given(st.binary(max_size=120))
def test_no_datagram_stops_a_server(pump_set: BacnetDevice, data: bytes) -> None:
    server = BacnetServer(pump_set, networks=[Network(20, {b"\x01": pump_set})])
    server.exchange.notify = lambda device: None  # type: ignore[method-assign]
    body = npdu.npdu(data, to=(npdu.GLOBAL, b""))
    apdus = (data, b"\0\x05\x01\x0e" + data, b"\0\x05\x01\x0f" + data, b"\x10\x07" + data)
    unicast = [npdu.bvlc(npdu.UNICAST, npdu.npdu(apdu)) for apdu in apdus]
    for datagram in (data, *unicast, npdu.bvlc(npdu.UNICAST, body), npdu.bvlc(npdu.FORWARDED, bytes(6) + body)):
        server.datagram_received(datagram, ("127.0.0.1", 9))
