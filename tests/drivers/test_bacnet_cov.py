"""drivers.bacnet.cov and notify: subscriptions over their whole life, and what a notification may do to us."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bacnet_script import INSTANCE, Answer, ScriptedDevice, abort, error, object_id, reject, scripted, simple_ack
from hypothesis import given, settings
from hypothesis import strategies as st

from device_profiles.errors import DeviceTimeout
from device_profiles.reading import PointFault, Sample
from device_profiles.schema import Point
from drivers.bacnet.cov import Subscriptions
from drivers.bacnet.names import ABORTED
from drivers.base import Address, Change, Unsubscribed

AHU = Address(INSTANCE, "ahu-1")
SUBSCRIBE, SUBSCRIBE_PROPERTY, READ = 5, 28, 12
RELIABILITY, RESTARTED = 103, 203


def point(id_: str, reference: str = "AI:1", **more: Any) -> Point:
    kinds = {"AI": "f32", "AV": "f32", "BI": "bool", "MV": "u32"}
    return Point.model_validate({"id": id_, "object": reference, "type": kinds[reference[:2]], **more})


TEMPERATURE, RUNNING, MODE = point("temperature"), point("running", "BI:2"), point("mode", "MV:3")
ALL = (TEMPERATURE, RUNNING, MODE)


def tagged(number: int, content: bytes, *, context: bool = True) -> bytes:
    return bytes((number << 4 | (8 if context else 0) | len(content),)) + content


def real(value: float) -> bytes:
    return b"\x44" + struct.pack(">f", value)


def notification(
    process: int,
    value: bytes,
    *,
    reference: tuple[int, int] = (0, 1),
    flags: int = 0,
    seconds: int = 1800,
    device: int = INSTANCE,
) -> bytes:
    size = max(1, (process.bit_length() + 7) // 8)
    return b"".join(
        (
            tagged(0, process.to_bytes(size)),
            tagged(1, object_id(8, device)),
            tagged(2, object_id(*reference)),
            tagged(3, seconds.to_bytes(2)),
            b"\x4e\x09\x55\x2e" + value + b"\x2f\x09\x6f\x2e\x82\x04" + bytes((flags,)) + b"\x2f\x4f",
        )
    )


def read_ack(request: bytes, value: bytes) -> bytes:
    """ReadProperty-ACK of the property asked for."""
    body = request[4:]
    return bytes((0x30, request[2], READ)) + body + b"\x3e" + value + b"\x3f"


class Controller:
    """Scripted answers of a controller that has COV: which objects, how many, whether by property."""

    def __init__(self, *, room: int = 100, by_property: bool = True, reliability: int = 1) -> None:
        self.room = room
        self.by_property = by_property
        self.reliability = reliability
        self.subscribed: set[bytes] = set()
        self.restarted = b"\x21\x01"
        self.refusing: Callable[[bytes], bytes | None] | None = None

    def __call__(self, request: bytes) -> bytes | None:
        service, body = request[3], request[4:]
        if self.refusing is not None and service in (SUBSCRIBE, SUBSCRIBE_PROPERTY):
            return self.refusing(request)
        if service == READ:
            prop = body[6]
            if prop == RESTARTED and self.restarted:
                return read_ack(request, self.restarted)
            if prop == RELIABILITY:
                return read_ack(request, bytes((0x91, self.reliability)))
            return error(request, 2, 32)
        if service == SUBSCRIBE_PROPERTY and not self.by_property:
            return reject(request, 9)
        key = body[: (body[0] & 7) + 6]
        if len(body) == len(key) or (service == SUBSCRIBE_PROPERTY and body[len(key)] == 0x4E):
            self.subscribed.discard(key)
            return simple_ack(request)
        if key not in self.subscribed and len(self.subscribed) >= self.room:
            return error(request, 3, 20)
        self.subscribed.add(key)
        return simple_ack(request)


class Reader:
    """Reads `changes` as they come."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self.turns: list[Change | Unsubscribed] = []
        self.news = asyncio.Event()
        self.task = asyncio.create_task(self._run(subscriptions), name="test reader")

    async def _run(self, subscriptions: Subscriptions) -> None:
        async for turn in subscriptions.changes():
            assert turn
            self.turns += turn
            self.news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.news.clear()
                await self.news.wait()

    def values(self, point_id: str) -> list[Any]:
        return [
            value
            for turn in self.turns
            if isinstance(turn, Change)
            for name, value in zip(turn.points, turn.values, strict=True)
            if name == point_id
        ]

    @property
    def ended(self) -> list[Unsubscribed]:
        return [turn for turn in self.turns if isinstance(turn, Unsubscribed)]


@asynccontextmanager
async def subscribing(
    answer: Answer, *, timeout_s: float = 2.0, **options: Any
) -> AsyncIterator[tuple[ScriptedDevice, Subscriptions, Reader]]:
    async with scripted(answer, timeout_s) as (device, client):
        subscriptions = Subscriptions(client, **options)
        reader = Reader(subscriptions)
        try:
            yield device, subscriptions, reader
        finally:
            await subscriptions.close()
            await asyncio.wait_for(reader.task, 5)


def tell(device: ScriptedDevice, body: bytes, *, confirmed: bool = False) -> None:
    device.send((b"\x00\x05\x21\x01" if confirmed else b"\x10\x02") + body)


async def test_values_come_by_themselves_and_everything_is_ended_at_the_end() -> None:
    controller = Controller()
    async with subscribing(controller) as (device, subscriptions, reader):
        assert await subscriptions.subscribe(AHU, ALL, None) == {"temperature", "running", "mode"}
        requests = device.of(SUBSCRIBE)
        assert len(requests) == 3
        assert all(request.endswith(b"\x29\x00\x3a\x07\x08") for request in requests)  # unconfirmed, 1800 s
        pid = subscriptions.process
        tell(device, notification(pid, real(21.5)))
        tell(device, notification(pid, b"\x91\x01", reference=(3, 2)))
        tell(device, notification(pid, b"\x21\x03", reference=(19, 3)))
        tell(device, notification(pid, real(22.0)))
        await reader.until(lambda: len(reader.values("temperature")) == 2)
        assert reader.values("temperature") == [21.5, 22.0]
        assert reader.values("running") == [True]
        assert reader.values("mode") == [3]
        assert isinstance(reader.values("running")[0], bool)
        assert {turn.device for turn in reader.turns} == {"ahu-1"}
    assert not controller.subscribed
    assert len(device.of(SUBSCRIBE)) == 6


async def test_confirmed_notifications_are_acknowledged() -> None:
    async with subscribing(Controller(), is_confirmed=True) as (device, subscriptions, reader):
        await subscriptions.subscribe(AHU, [TEMPERATURE], None)
        assert b"\x29\x01" in device.of(SUBSCRIBE)[0]
        tell(device, notification(subscriptions.process, real(21.5)), confirmed=True)
        await device.until(lambda: device.acks == [b"\x20\x21\x01"])
        await reader.until(lambda: reader.values("temperature") == [21.5])


async def test_flags_become_quality_and_a_fault_is_asked_for_its_reason_once() -> None:
    async with subscribing(Controller(reliability=1)) as (device, subscriptions, reader):
        await subscriptions.subscribe(AHU, [TEMPERATURE], None)
        pid = subscriptions.process
        for flags in (0x20, 0x90, 0x40, 0x40, 0x00):
            tell(device, notification(pid, real(21.5), flags=flags))
            if flags == 0x40:
                await reader.until(lambda: Sample(None, "BadSensorFailure") in reader.values("temperature"))
        await reader.until(lambda: len(reader.values("temperature")) == 5)
        assert reader.values("temperature") == [
            Sample(21.5, "GoodLocalOverride"),
            Sample(21.5, "UncertainSubstituteValue", flags=("alarm",)),
            Sample(None, "BadSensorFailure"),
            Sample(None, "BadSensorFailure"),
            21.5,
        ]
        assert len([request for request in device.of(READ) if request[10] == RELIABILITY]) == 1


async def test_nothing_that_is_wrong_is_believed() -> None:
    async with subscribing(Controller()) as (device, subscriptions, reader):
        await subscriptions.subscribe(AHU, [TEMPERATURE], None)
        pid = subscriptions.process
        good = notification(pid, real(21.5))
        tell(device, notification(pid + 1, real(1)))
        tell(device, notification(pid, real(1), reference=(0, 9)))
        tell(device, notification(pid, real(1), device=INSTANCE + 1))
        tell(device, good[:-1])
        tell(device, good[:-9] + b"\x2e" * 40)
        tell(device, b"")
        inbox = subscriptions.inbox
        inbox.take("10.9.9.9:47808", good, False)
        inbox.take("10.9.9.9:47808", notification(pid, b"\x10"), False)
        tell(device, notification(pid, real(float("nan"))))
        tell(device, notification(pid, b"\x00"))
        tell(device, notification(pid, real(5)))
        await reader.until(lambda: 5 in reader.values("temperature"))
        nan, null, five = reader.values("temperature")
        assert isinstance(nan, PointFault)
        assert isinstance(null, PointFault)
        assert five == 5
        assert subscriptions.refused == {"process": 1, "object": 1, "device": 1, "malformed": 3, "source": 2}


async def test_a_device_without_room_reports_what_it_can() -> None:
    controller = Controller(room=2)
    wanted = [point("slow", "AV:7", poll=300), *ALL, point("first", "AV:8", cov=True)]
    async with subscribing(controller) as (device, subscriptions, reader):
        taken = await subscriptions.subscribe(AHU, wanted, None)
        assert len(taken) == 2
        assert "first" in taken
        assert "slow" not in taken
        asked = len(device.of(SUBSCRIBE))
        assert asked == 3  # after the first refusal it is known to be full
        assert await subscriptions.subscribe(AHU, wanted, None) == taken
        assert len(device.of(SUBSCRIBE)) == asked + 2
        assert reader.ended == []


@pytest.mark.parametrize("by_property", [True, False])
async def test_an_increment_is_asked_for_where_the_device_lets_one_ask(by_property: bool) -> None:
    wanted = [point("temperature", cov=0.5), point("humidity", "AI:4", cov=1)]
    async with subscribing(Controller(by_property=by_property)) as (device, subscriptions, reader):
        assert await subscriptions.subscribe(AHU, wanted, None) == {"temperature", "humidity"}
        assert len(device.of(SUBSCRIBE_PROPERTY)) == (2 if by_property else 1)
        assert len(device.of(SUBSCRIBE)) == (0 if by_property else 2)
        assert device.of(SUBSCRIBE_PROPERTY)[0].endswith(b"\x4e\x09\x55\x4f\x5c" + struct.pack(">f", 0.5))
        tell(device, notification(subscriptions.process, real(3)))
        await reader.until(lambda: reader.values("temperature") == [3])


async def test_points_that_want_none_and_devices_that_have_none_stay_polled() -> None:
    async with subscribing(Controller()) as (device, subscriptions, _):
        silent = [
            point("a", cov=False),
            point("b", "AI:2", align=900),
            point("c", "AV:3", address={"property": "units"}),
        ]
        assert await subscriptions.subscribe(AHU, silent, None) == frozenset()
        assert device.of(SUBSCRIBE) == []
        assert await subscriptions.subscribe(AHU, ALL, {"services": ["read"]}) == frozenset()
        assert device.of(SUBSCRIBE) == []
    controller = Controller()
    controller.refusing = lambda request: reject(request, 9)
    async with subscribing(controller) as (device, subscriptions, _):
        assert await subscriptions.subscribe(AHU, ALL, None) == frozenset()
        assert len(device.of(SUBSCRIBE)) == 1


async def test_one_object_that_refuses_costs_the_others_nothing() -> None:
    controller = Controller()

    def refusing(request: bytes) -> bytes:
        return error(request, 1, 31) if object_id(3, 2) in request else simple_ack(request)

    controller.refusing = refusing
    async with subscribing(controller) as (_, subscriptions, reader):
        assert await subscriptions.subscribe(AHU, ALL, None) == {"temperature", "mode"}
        assert reader.ended == []


async def test_a_device_that_does_not_answer_raises() -> None:
    controller = Controller()
    controller.refusing = lambda _: None
    async with subscribing(controller, timeout_s=0.2) as (_, subscriptions, _):
        with pytest.raises(DeviceTimeout):
            await subscriptions.subscribe(AHU, ALL, None)
        assert subscriptions.inbox.watches == {}


async def test_subscriptions_are_renewed_before_they_end() -> None:
    async with subscribing(Controller(), lifetime_s=1) as (device, subscriptions, reader):
        await subscriptions.subscribe(AHU, [TEMPERATURE], None)
        began = asyncio.get_running_loop().time()
        await device.until(lambda: len(device.of(SUBSCRIBE)) >= 2)
        assert 0.55 <= asyncio.get_running_loop().time() - began < 1.0
        assert reader.ended == []


async def test_a_shorter_life_than_asked_for_is_kept_up_with() -> None:
    async with subscribing(Controller()) as (device, subscriptions, _):
        await subscriptions.subscribe(AHU, [TEMPERATURE], None)
        tell(device, notification(subscriptions.process, real(3), seconds=1))
        await device.until(lambda: len(device.of(SUBSCRIBE)) >= 2)


async def test_a_renewal_that_is_refused_ends_in_polling() -> None:
    controller = Controller()
    async with subscribing(controller, lifetime_s=1) as (_, subscriptions, reader):
        await subscriptions.subscribe(AHU, [TEMPERATURE, MODE], None)
        controller.refusing = lambda request: error(request, 1, 31)
        await reader.until(lambda: len(reader.ended) == 2)
        assert {one.points for one in reader.ended} == {("temperature",), ("mode",)}
        assert "unknown-object" in reader.ended[0].reason


async def test_a_device_that_went_away_ends_in_polling() -> None:
    async with subscribing(Controller(), lifetime_s=1, timeout_s=0.2) as (device, subscriptions, reader):
        await subscriptions.subscribe(AHU, [TEMPERATURE, MODE], None)
        device.is_silent = True
        await reader.until(lambda: len(reader.ended) == 2)
        assert "not renewed before its end" in reader.ended[0].reason


async def test_after_a_restart_it_is_subscribed_again() -> None:
    controller = Controller()
    async with subscribing(controller) as (device, subscriptions, _):
        await subscriptions.subscribe(AHU, ALL, None)
        controller.subscribed.clear()
        device.i_am()  # it did not restart, as far as it says
        await device.until(lambda: len(device.of(READ)) == 2)
        assert len(device.of(SUBSCRIBE)) == 3
        subscriptions._devices[INSTANCE].looked_at = -1e9
        controller.restarted = b"\x21\x02"
        device.i_am()
        await device.until(lambda: len(controller.subscribed) == 3)


async def test_a_device_that_moved_is_subscribed_where_it_is_now() -> None:
    loop = asyncio.get_running_loop()
    here = there = Controller()
    async with scripted(here) as (device, client):
        transport, moved = await loop.create_datagram_endpoint(lambda: ScriptedDevice(there), ("127.0.0.1", 0))
        place = "{}:{}".format(*moved.address)
        client._directory._peers += (place,)
        moved.is_silent = True
        subscriptions = Subscriptions(client)
        try:
            await subscriptions.subscribe(AHU, ALL, None)
            device.is_silent, moved.is_silent = True, False
            moved.client = ("127.0.0.1", client.port)
            moved.i_am()
            await moved.until(lambda: len(moved.of(SUBSCRIBE)) == 3)
            assert {watch.address for watch in subscriptions._devices[INSTANCE].watches.values()} == {place}
        finally:
            await subscriptions.close()
            transport.close()


async def test_a_restart_notification_makes_subscribe_again() -> None:
    controller = Controller()
    async with subscribing(controller) as (device, subscriptions, _):
        await subscriptions.subscribe(AHU, ALL, None)
        controller.subscribed.clear()
        subscriptions._devices[INSTANCE].renewed_at = -1e9
        tell(device, notification(0, b"\x91\x00", reference=(8, INSTANCE), seconds=0))
        await device.until(lambda: len(controller.subscribed) == 3)
        assert not subscriptions.refused


async def test_several_devices_of_ours_on_one_controller() -> None:
    controller = Controller()
    other = Address(INSTANCE, "vav-2")
    async with subscribing(controller) as (device, subscriptions, reader):
        await subscriptions.subscribe(AHU, [TEMPERATURE, MODE], None)
        await subscriptions.subscribe(other, [point("outside")], None)
        tell(device, notification(subscriptions.process, real(3)))
        await reader.until(lambda: reader.values("outside") == [3])
        assert reader.values("temperature") == [3]
        await subscriptions.unsubscribe(AHU)
        assert len(controller.subscribed) == 1
        tell(device, notification(subscriptions.process, real(4)))
        await reader.until(lambda: reader.values("outside") == [3, 4])
        assert reader.values("temperature") == [3]
        assert reader.ended == []


async def test_what_is_not_read_in_time_is_dropped_counted_and_told() -> None:
    async with scripted(Controller()) as (device, client):
        subscriptions = Subscriptions(client, most_queued=10)
        await subscriptions.subscribe(AHU, ALL, None)
        source = "{}:{}".format(*device.address)
        for n in range(15):
            subscriptions.inbox.take(source, notification(subscriptions.process, real(n)), False)
        subscriptions.inbox.take(source, notification(subscriptions.process, b"\x21\x01", reference=(19, 3)), False)
        reader = Reader(subscriptions)
        await reader.until(lambda: bool(reader.ended))
        assert subscriptions.dropped == 2  # once it is told, nothing more is kept of it
        assert reader.values("temperature")[-1] == 10
        assert reader.values("mode") == [1]
        [ended] = reader.ended
        assert ended.points == ("temperature",)
        assert "faster than they were read" in ended.reason
        await subscriptions.close()
        await reader.task


def test_the_codes_of_a_full_device() -> None:
    from drivers.bacnet import cov

    assert {20, ABORTED + 9} <= cov._FULL
    assert abort(b"\x00\x05\x07\x05", 9) == b"\x71\x07\x09"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 60), st.integers(0, 255), st.integers(0, 60))
def test_mutated_notifications_raise_nothing(at: int, octet: int, cut: int) -> None:
    from drivers.bacnet.codec import Ref
    from drivers.bacnet.notify import Inbox, Reported, Watch, key_of

    ref = Ref(0, 1, 85)
    inbox = Inbox(lambda _: None, lambda *_: None, lambda *_: "object")
    watch = Watch(INSTANCE, "a", ref)
    watch.reported.append(Reported("d", TEMPERATURE, ref))
    inbox.add(key_of(7, INSTANCE, ref), watch)
    body = bytearray(notification(7, real(21.5)))
    body[at % len(body)] = octet
    inbox.take("a", bytes(body[: len(body) - cut % len(body)]), False)
    for turn in inbox._turn():
        assert isinstance(turn, Change)
