"""The BACnet client on a wire: requests, segments, routers, BBMD, devices by instance, and everything that should not come."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest
from bacnet_device import Device, bvll, object_id, real, serving, unsigned
from bacnet_talking import link, send, talking, until

from device_profiles.errors import (
    DeviceMismatch,
    DeviceRefused,
    DeviceTimeout,
    LinkLost,
    LinkRefused,
    LinkTimeout,
)
from drivers.bacnet import codec, names, tags
from drivers.bacnet.client import Peer, open_client
from drivers.bacnet.codec import Ref
from drivers.bacnet.directory import Directory

READ = codec.encode_read(Ref(2, 7, 85))


async def test_a_device_is_found_by_its_instance_and_read() -> None:
    async with talking(Device(instance=4_194_302, segmentation=0, max_apdu=480)) as (client, wire):
        peer = await client.resolve(4_194_302)
        assert peer == Peer(4_194_302, wire.place, 480, "both", 15)
        result = codec.decode_read_ack(await client.confirmed(peer, codec.READ_PROPERTY, READ))
        assert result.elements[0].value == 7.0
        heard = len(wire.heard)
        assert await client.resolve(4_194_302) is peer
        assert len(wire.heard) == heard, "what is known is not asked again"


async def test_many_requests_at_once_each_get_their_own_answer() -> None:
    async with talking(Device()) as (client, _):
        peer = await client.resolve(1)
        asked = [Ref(2, at, 85) for at in range(100)]
        answers = await asyncio.gather(
            *(client.confirmed(peer, codec.READ_PROPERTY, codec.encode_read(ref)) for ref in asked)
        )
        assert [codec.decode_read_ack(answer).elements[0].value for answer in answers] == [
            float(at) for at in range(100)
        ]


@pytest.mark.parametrize(
    ("answer", "code", "status", "words"),
    [
        (b"\x50\x00\x0c\x91\x01\x91\x1f", 31, "BadNodeIdUnknown", "unknown-object"),
        (b"\x50\x00\x0c\x0e\x91\x02\x91\x1b\x0f", 27, "BadNotReadable", "read-access-denied"),
        (b"\x60\x00\x09", names.REJECTED + 9, "BadServiceUnsupported", "unrecognized-service"),
        (b"\x71\x00\x04", names.ABORTED + 4, "BadResponseTooLarge", "segmentation-not-supported"),
        (b"\x71\x00\x63", names.ABORTED + 99, "BadCommunicationError", "reason 99"),
    ],
)
async def test_what_a_device_refuses(answer: bytes, code: int, status: str, words: str) -> None:
    async with talking(Device()) as (client, wire):
        peer = await client.resolve(1)
        wire.mood = lambda asked, _: [bvll(b"\x01\x00" + answer[:1] + asked[8:9] + answer[2:])]
        with pytest.raises(DeviceRefused, match=words) as caught:
            await client.confirmed(peer, codec.READ_PROPERTY, READ)
        assert (caught.value.code, caught.value.status) == (code, status)


async def test_an_error_without_class_and_code_is_a_mismatch() -> None:
    async with talking(Device()) as (client, wire):
        peer = await client.resolve(1)
        wire.mood = lambda asked, _: [bvll(b"\x01\x00\x50" + asked[8:9] + b"\x0c\x91")]
        with pytest.raises(DeviceMismatch, match="error that is none"):
            await client.confirmed(peer, codec.READ_PROPERTY, READ)


async def test_foreign_and_late_answers_belong_to_nobody() -> None:
    async with talking(Device()) as (client, wire):
        peer = await client.resolve(1)
        wire.mood = lambda asked, answers: [bytes((*answer[:7], answer[7] ^ 1, *answer[8:])) for answer in answers]
        with pytest.raises(DeviceTimeout, match=wire.place):
            await client.confirmed(peer, codec.READ_PROPERTY, READ)
        assert client.unexpected == 1
        wire.mood = lambda asked, answers: []

        async def spoof() -> None:
            await until(lambda: len(wire.heard) and wire.heard[-1][6:8] == b"\x02\x65")
            await send(client, bvll(b"\x01\x00\x30" + wire.heard[-1][8:9] + b"\x0c" + READ))

        spoofing = asyncio.create_task(spoof())
        with pytest.raises(DeviceTimeout):
            await client.confirmed(peer, codec.READ_PROPERTY, READ)
        await spoofing
        assert client.unexpected == 2
        wire.mood = lambda asked, answers: answers
        assert await client.confirmed(peer, codec.READ_PROPERTY, READ)


def segments(asked: bytes, body: bytes, size: int, window: int) -> list[bytes]:
    """The whole acknowledgement of a request in segments."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return [
        bvll(b"\x01\x00" + bytes((0x38 | (4 if at < len(parts) - 1 else 0), asked[8], at, window, asked[9])) + part)
        for at, part in enumerate(parts)
    ]


async def test_an_answer_in_segments_is_put_together() -> None:
    body = codec.encode_read(Ref(2, 7, 85)) + b"\x3e" + real(7) * 50 + b"\x3f"

    def mood(asked: bytes, answers: list[bytes]) -> list[bytes]:
        parts = segments(wire_request[0], body, 40, 1) if wire_request else []
        if asked[6] >> 4 == 0:
            wire_request.append(asked)
            return segments(asked, body, 40, 1)[:1]
        if asked[6] >> 4 == 4:  # SegmentACK: the next one
            return parts[asked[8] + 1 : asked[8] + 2]
        return answers

    wire_request: list[bytes] = []
    async with talking(Device(segmentation=0)) as (client, wire):
        peer = await client.resolve(1)
        wire.mood = mood
        result = codec.decode_read_ack(await client.confirmed(peer, codec.READ_PROPERTY, READ))
        assert [element.value for element in result.elements] == [7.0] * 50


async def test_a_segment_that_never_comes_is_a_timeout_and_the_next_request_works() -> None:
    body = codec.encode_read(Ref(2, 7, 85)) + b"\x3e" + real(7) * 50 + b"\x3f"
    async with talking(Device(segmentation=0)) as (client, wire):
        peer = await client.resolve(1)
        wire.mood = lambda asked, answers: segments(asked, body, 40, 4)[:2] if asked[6] >> 4 == 0 else []
        with pytest.raises(DeviceTimeout, match="segments of an answer"):
            await client.confirmed(peer, codec.READ_PROPERTY, READ)
        wire.mood = lambda asked, answers: answers
        assert await client.confirmed(peer, codec.READ_PROPERTY, READ)


async def test_segments_without_end_are_given_up() -> None:
    async with talking(Device(segmentation=0)) as (client, wire):
        peer = await client.resolve(1)

        def mood(asked: bytes, answers: list[bytes]) -> list[bytes]:
            head = b"\x01\x00\x3c" + asked[8:9]
            return [bvll(head + bytes((at & 255, 127, 12)) + bytes(40)) for at in range(300)] if asked[6] < 16 else []

        wire.mood = mood
        with pytest.raises((DeviceMismatch, DeviceTimeout), match="segments"):
            await client.confirmed(peer, codec.READ_PROPERTY, READ)
        wire.mood = lambda asked, answers: answers
        assert await client.confirmed(peer, codec.READ_PROPERTY, READ)


async def test_several_devices_behind_one_router() -> None:
    behind = [Device(instance=at, network=(5, bytes((at,)))) for at in (11, 12)]

    def to_station(asked: bytes, answers: list[bytes]) -> list[bytes]:
        if asked[5] & 0x20 and asked[6:8] == b"\x00\x05":  # DNET 5: only the station that is meant answers
            return [answer for answer in answers if answer[9:10] == asked[9:10]]
        return answers

    async with talking(*behind) as (client, wire):
        wire.mood = to_station
        for device in behind:
            device.values[2, 7, 85, None] = real(device.instance)
        for device in behind:
            peer = await client.resolve(device.instance)
            assert peer.address == f"5:0x{device.instance:02x}"
            result = codec.decode_read_ack(await client.confirmed(peer, codec.READ_PROPERTY, READ))
            assert result.elements[0].value == device.instance


async def test_two_devices_of_one_instance_are_told() -> None:
    async with (
        serving(Device(instance=5)) as one,
        serving(Device(instance=5)) as other,
        open_client(link(one.place, other.place)) as client,
    ):
        with pytest.raises(DeviceMismatch, match="claimed by") as caught:
            await client.resolve(5)
        assert one.place in str(caught.value)
        assert other.place in str(caught.value)
        assert client.duplicates == 1


async def test_a_device_that_moved_is_found_again() -> None:
    old, new = Device(instance=5), Device(instance=5, is_silent=True)
    async with serving(old) as one, serving(new) as other, open_client(link(one.place, other.place)) as client:
        assert (await client.resolve(5)).address == one.place
        old.is_silent, new.is_silent = True, False
        other.transport.sendto(new.i_am(), ("127.0.0.1", client.port))
        await until(lambda: client.known(5) is None)
        assert (await client.resolve(5)).address == other.place


async def test_nobody_answers() -> None:
    async with talking(Device(instance=1)) as (client, _):
        with pytest.raises(DeviceTimeout, match="no I-Am from instance 2") as caught:
            await client.resolve(2)
        assert "net-1" in str(caught.value)
        assert caught.value.next_step


MALFORMED = [
    b"", b"\x81", b"\x82\x0a\x00\x04", b"\x81\x0a\xff\xff\x01\x00", b"\x81\x0a\x00\x06\x02\x00", b"\x81\x0b\x00\x04",
    b"\x81\x0a\x00\x08\x01\x20\x00\x00", bvll(b"\x01\x00\x10"), bvll(b"\x01\x00\xf0\x00"), bvll(b"\x01\x28\xff\xff"),
    bvll(b"\x01\x00\x10\x00" + b"\x0e" * 1000), bvll(b"\x01\x00\x10\x00\xc4\xff\xff\xff\xff\x21\x32\x91\x00\x21\x00"),
    bytes(65507), bvll(b"\x01\x00\x10\x08\x75\xff\xff\xff\xff\xff"),
]  # fmt: skip


async def test_malformed_datagrams_are_counted_and_stop_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with talking(Device()) as (client, _):
            peer = await client.resolve(1)
            await send(client, *MALFORMED)
            wanted = len([one for one in MALFORMED if one])
            await until(lambda: client.malformed >= wanted)
            assert client.counts.discarded_bytes >= 65507
            assert await client.confirmed(peer, codec.READ_PROPERTY, READ)
    assert not [record for record in caplog.records if record.exc_info]


async def test_network_messages_that_bacpypes3_cannot_take_stop_nothing() -> None:
    async with talking(Device()) as (client, _):
        peer = await client.resolve(1)
        await send(
            client, *(bvll(b"\x01\x80" + bytes((kind,)) + rest) for kind in range(0x20) for rest in (b"", b"\x05"))
        )
        await send(client, bvll(b"", function=0), bvll(b"\x00\x00", function=0))
        await until(lambda: client.malformed > 0)
        assert await client.confirmed(peer, codec.READ_PROPERTY, READ)


async def test_a_storm_of_i_am_is_bounded_and_counted() -> None:
    asked: list[int | None] = []
    directory = Directory(link(), lambda instance, peers: asked.append(instance))
    heard: list[Peer] = []
    ending = directory.listen(heard.append)
    for instance in range(5000):
        directory.heard(Peer(instance, "10.0.0.7:47808"), None, ("10.0.0.7", 47808))
    ending()
    assert (len(heard), directory.dropped) == (3000, 2000)
    assert (await directory.find(1, 0.1)).address == "10.0.0.7:47808"
    assert asked == [], "what was just heard is not asked for"
    finding = asyncio.create_task(directory.find(9_001, 5.0))
    await asyncio.sleep(0)
    directory.heard(Peer(9_001, "10.0.0.8:47808"), None, ("10.0.0.8", 47808))
    assert (await finding).address == "10.0.0.8:47808", "who is waited for is heard in any storm"
    assert directory.dropped == 2000


async def test_a_storm_on_the_wire_stops_no_request() -> None:
    async with talking(Device()) as (client, _):
        peer = await client.resolve(1)
        stranger = Device()
        for at in range(20):
            storm = []
            for stranger.instance in range(10_000 + at * 50, 10_000 + at * 50 + 50):
                storm.append(stranger.i_am())
            await send(client, *storm)
            assert await client.confirmed(peer, codec.READ_PROPERTY, READ, timeout_s=5)


async def test_notifications_come_undecoded_and_confirmed_ones_are_acknowledged() -> None:
    body = b"\x09\x12\x1c" + object_id(8, 1) + b"\x2c" + object_id(2, 7) + b"\x39\x00\x4e\x4f"
    async with talking(Device()) as (client, wire):
        peer = await client.resolve(1)
        source = ("127.0.0.1", client.port)
        wire.transport.sendto(bvll(b"\x01\x00\x00\x05\x2a\x01" + body), source)
        await until(lambda: wire.heard[-1].endswith(b"\x50\x2a\x01\x91\x05\x91\x4f"))  # nobody subscribed
        assert client.cov_dropped == 1
        got: list[tuple[str, bytes, bool]] = []
        ending = client.listen_cov(lambda *told: got.append(told))
        wire.transport.sendto(bvll(b"\x01\x00\x10\x02" + body), source)
        wire.transport.sendto(bvll(b"\x01\x00\x00\x05\x2b\x01" + body), source)
        await until(lambda: len(got) == 2)
        assert got == [(peer.address, body, False), (peer.address, body, True)]
        await until(lambda: wire.heard[-1].endswith(b"\x20\x2b\x01"))
        ending()


async def test_we_say_who_we_are_and_refuse_the_rest() -> None:
    async with talking(Device(), instance=77, name="box 3") as (client, wire):
        source = ("127.0.0.1", client.port)
        wire.transport.sendto(bvll(b"\x01\x20\xff\xff\x00\xff\x10\x08"), source)
        await until(lambda: wire.heard and wire.heard[-1][6:8] == b"\x10\x00")
        assert codec.decode_i_am(wire.heard[-1][8:]).instance == 77
        wire.transport.sendto(bvll(b"\x01\x00\x00\x05\x01\x0c\x0c" + object_id(8, 77) + b"\x19\x4d"), source)
        await until(lambda: b"box 3" in wire.heard[-1])
        wire.transport.sendto(bvll(b"\x01\x00\x00\x05\x02\x0f\x0c" + object_id(8, 77) + b"\x19\x4d"), source)
        await until(lambda: wire.heard[-1].endswith(b"\x60\x02\x09"))


async def test_what_is_for_another_network_is_left_to_its_router() -> None:
    async with talking(Device(), instance=77) as (client, wire):
        source = ("127.0.0.1", client.port)
        before = client.unexpected
        wire.transport.sendto(bvll(b"\x01\x20\x00\x05\x00\xff\x10\x08"), source)
        asked = b"\x00\x05\x01\x0c\x0c" + object_id(8, 77) + b"\x19\x4d"
        wire.transport.sendto(bvll(b"\x01\x24\x00\x05\x01\x0c\xff" + asked), source)
        wire.transport.sendto(bvll(b"\x01\x00\x00\x05\x02\x0f" + asked[4:]), source)
        await until(lambda: wire.heard)
        assert [heard[6:] for heard in wire.heard] == [b"\x60\x02\x09"]  # only what was for us
        assert client.unexpected == before + 1


async def test_our_own_broadcast_is_not_answered_by_us() -> None:
    async with open_client(link(host="0.0.0.0", instance=77)) as client:
        client._send(bvll(b"\x01\x00\x10\x08"), ("127.0.0.1", client.port))
        sent = client.counts.bytes_out
        await until(lambda: client.counts.bytes_in)
        assert client.counts.bytes_out == sent
        await send(client, bvll(b"\x01\x00\x10\x08"))  # another program of this machine
        await until(lambda: client.counts.bytes_out > sent)


class Bbmd(asyncio.DatagramProtocol):
    """Answers a registration with `result` (None: not at all) and forwards what is distributed to a device."""

    def __init__(self, result: int | None, device: Device) -> None:
        self.result = result
        self.device = device
        self.heard: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)
        sendto = self.transport.sendto  # type: ignore[attr-defined]
        if data[1] == 5 and self.result is not None:
            sendto(b"\x81\x00\x00\x06" + self.result.to_bytes(2, "big"), addr)
        elif data[1] == 9:
            origin = socket.inet_aton("127.0.0.1") + self.transport.get_extra_info("sockname")[1].to_bytes(2, "big")
            for answer in self.device.hear(data):
                sendto(b"\x81\x04" + (len(answer) + 6).to_bytes(2, "big") + origin + answer[4:], addr)
        elif data[1] == 10:
            for answer in self.device.hear(data):
                sendto(answer, addr)


@pytest.mark.parametrize(("result", "error"), [(0, None), (0x30, LinkRefused), (None, LinkTimeout)])
async def test_registration_with_a_bbmd(result: int | None, error: type[Exception] | None) -> None:
    loop = asyncio.get_running_loop()
    transport, bbmd = await loop.create_datagram_endpoint(lambda: Bbmd(result, Device(instance=3)), ("127.0.0.1", 0))
    place = "127.0.0.1:{}".format(transport.get_extra_info("sockname")[1])
    try:
        if error is not None:
            with pytest.raises(error, match=place):
                async with open_client(link(bbmd=place)):
                    pass
            return
        async with open_client(link(bbmd=place, ttl_s=60)) as client:
            peer = await client.resolve(3)
            assert await client.confirmed(peer, codec.READ_PROPERTY, READ)
            assert bbmd.heard[0] == b"\x81\x05\x00\x06\x00\x3c"
        await until(lambda: bbmd.heard[-1] == b"\x81\x05\x00\x06\x00\x00")  # it says goodbye
    finally:
        transport.close()


async def test_a_registration_that_was_lost_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.bacnet.stack.REGISTER_AGAIN_S", 0.0)
    loop = asyncio.get_running_loop()
    transport, bbmd = await loop.create_datagram_endpoint(lambda: Bbmd(0, Device(instance=3)), ("127.0.0.1", 0))
    place = "127.0.0.1:{}".format(transport.get_extra_info("sockname")[1])

    def registrations() -> int:
        return bbmd.heard.count(b"\x81\x05\x00\x06\x00\x3c")

    try:
        async with open_client(link(bbmd=place, ttl_s=60)) as client:
            registration = client._stack.link
            for times in (2, 3):  # it was started anew, twice: it refuses what is to be distributed
                transport.sendto(b"\x81\x00\x00\x06\x00\x60", ("127.0.0.1", client.port))
                await until(lambda: registrations() == times)  # noqa: B023  # awaited within the turn
                await until(lambda: registration.bbmdRegistrationStatus == 0)
            registration._registration_expired()  # it was away for longer than the registration lasts
            await until(lambda: registrations() == 4)
            await until(lambda: registration.bbmdRegistrationStatus == 0)
    finally:
        transport.close()


async def test_a_port_in_use_says_so_and_what_to_do() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(LinkRefused, match="in use") as caught:
            async with open_client(link(port=other.getsockname()[1])):
                pass
        assert "another port" in caught.value.next_step


async def test_a_closed_client_says_so_at_once() -> None:
    async with serving(Device()) as wire:
        async with open_client(link(wire.place)) as client:
            peer = await client.resolve(1)
            wire.mood = lambda asked, answers: []
            waiting = asyncio.create_task(client.confirmed(peer, codec.READ_PROPERTY, READ, timeout_s=30))
            await until(lambda: client.counts.requests == 1)
        with pytest.raises(LinkLost):
            await waiting
        with pytest.raises(LinkLost):
            await client.confirmed(peer, codec.READ_PROPERTY, READ)


def test_an_unsigned_of_the_helper_is_that_of_the_codec() -> None:
    assert unsigned(300) == codec.encode_value(tags.UNSIGNED, 300)
