"""The MQTT session over the embedded broker, and against servers that say what they like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.broker import EmbeddedBroker
from gateway.mqtt import CONNECTION_LOST, FAILURE, Incoming, Message, MqttSession, MqttSettings
from tests.gateway.mqtt_box import Probe, mosquitto, needs_mosquitto, probe, scripted, settings, until

CONNACK_OK = b"\x20\x03\x00\x00\x00"


async def subscribed(sender: Probe, heard: list[Incoming], topic: str = "t") -> None:
    """Returns when messages arrive and none is on its way, and leaves `heard` empty."""
    await until(lambda: sender.session.publish(topic, b"-", qos=0) and bool(heard))
    sender.session.publish(topic, b"last")
    await until(lambda: heard[-1].payload == b"last")
    heard.clear()


def connack(code: int) -> bytes:
    return bytes((0x20, 3, 0, code, 0))


@pytest.fixture
async def mqtt() -> AsyncIterator[MqttSettings]:
    async with EmbeddedBroker() as broker:
        yield settings(broker.port)


async def test_publish_and_receive(mqtt: MqttSettings) -> None:
    codes: list[int] = []
    async with probe(mqtt, "a") as a, probe(mqtt, "b") as b:
        b.session.subscribe([("t/#", 1), ("u", 0)])
        await subscribed(a, b.heard, "t/0")
        assert a.session.publish("t/1", b"one", on_ack=codes.append)
        assert a.session.publish("t/2", b"x" * 300_000, expiry_s=60, on_ack=codes.append)
        assert a.session.publish("u", b"", qos=0)
        await until(lambda: len(b.heard) == 3 and len(codes) == 2)
        heard = {m.topic: m for m in b.heard}
        assert heard["t/1"].payload == b"one"
        assert (heard["t/1"].qos, heard["u"].qos) == (1, 0)
        assert len(heard["t/2"].payload) == 300_000
        assert 0 < (heard["t/2"].expiry_s or 0) <= 60
        assert codes == [0, 0]
        assert a.session.outstanding == 0


async def test_publish_without_connection_takes_nothing() -> None:
    session = MqttSession(settings(1), client_id="x", session_expiry_s=0, on_message=print)
    assert not session.publish("t", b"")
    assert not session.connected


async def test_more_than_the_window_waits_and_arrives_in_order(mqtt: MqttSettings) -> None:
    codes: list[int] = []
    async with probe(mqtt, "a") as a, probe(mqtt, "b") as b:
        b.session.subscribe([("t", 1)])
        await subscribed(a, b.heard)
        for number in range(1000):
            assert a.session.publish("t", b"%d" % number, on_ack=codes.append)
        await until(lambda: len(codes) == 1000)
        await until(lambda: len(b.heard) == 1000)
        assert [m.payload for m in b.heard] == [b"%d" % number for number in range(1000)]


async def test_acknowledgements_leave_in_order_of_receipt(mqtt: MqttSettings) -> None:
    """iotcore disconnects a client that acknowledges out of order; acknowledged backwards, all of them stay connected."""
    async with probe(mqtt, "a") as a, probe(mqtt, "b", manual_ack=True) as b:
        b.session.subscribe([("t", 1)])
        for number in range(50):
            await until(lambda: a.session.publish("t", b"") and (number > 0 or bool(b.heard)))  # noqa: B023
        await until(lambda: len(b.heard) >= 50)
        for message in reversed(b.heard):
            b.session.ack(message)
        a.session.publish("t", b"end")
        await until(lambda: b.heard[-1].payload == b"end")
        assert b.reasons == []


async def test_unacknowledged_comes_again_and_late_acks_are_ignored(mqtt: MqttSettings) -> None:
    async with probe(mqtt, "a") as a:
        async with probe(mqtt, "b", session_expiry_s=60, manual_ack=True) as b:
            b.session.subscribe([("t", 1)])
            await until(lambda: a.session.publish("t", b"-", qos=0) and bool(b.heard))
            a.session.publish("t", b"one")
            await until(lambda: b.heard[-1].payload == b"one")
            first = b.heard[-1]
        async with probe(mqtt, "b", session_expiry_s=60, manual_ack=True) as b:
            assert b.present == [True]
            await until(lambda: bool(b.heard) and b.heard[-1].payload == b"one")
            b.session.ack(first)  # of the connection before: must not acknowledge a stranger
            for message in b.heard:
                b.session.ack(message)
            a.session.publish("t", b"two")
            await until(lambda: b.heard[-1].payload == b"two")
            b.session.ack(b.heard[-1])
            assert b.reasons == []


async def test_paused_delivers_nothing(mqtt: MqttSettings) -> None:
    async with probe(mqtt, "a") as a, probe(mqtt, "b") as b:
        b.session.subscribe([("t", 1)])
        await subscribed(a, b.heard)
        b.session.pause()
        acked: list[int] = []
        for _ in range(200):
            a.session.publish("t", b"x" * 1000, on_ack=acked.append)
        await until(lambda: len(acked) == 200)
        assert b.heard == []
        b.session.resume()
        await until(lambda: len(b.heard) == 200)


async def test_pause_in_the_middle_of_a_chunk(mqtt: MqttSettings) -> None:
    """What had arrived with the message that filled the window stays where it is."""
    heard: list[Incoming] = []

    def take(message: Incoming) -> None:
        heard.append(message)
        if len(heard) == 10 and message.payload == b"x":
            b.session.pause()

    async with probe(mqtt, "a") as a, probe(mqtt, "b", on_message=take) as b:
        b.session.subscribe([("t", 1)])
        await subscribed(a, heard)
        acked: list[int] = []
        for _ in range(100):
            a.session.publish("t", b"x", on_ack=acked.append)
        await until(lambda: len(acked) == 100)
        await until(lambda: len(heard) >= 10)
        assert len(heard) == 10
        b.session.resume()
        await until(lambda: len(heard) == 100)


async def test_end_of_the_connection_is_told_to_every_publisher() -> None:
    async with EmbeddedBroker() as broker:
        codes: list[int] = []
        async with probe(settings(broker.port), "a") as a:
            broker_pid_stop(broker)
            for _ in range(300):
                a.session.publish("t", b"", on_ack=codes.append)
            await broker.kill()
            await until(lambda: len(codes) == 300)
            assert set(codes) <= {0, CONNECTION_LOST}
            assert CONNECTION_LOST in codes
            assert CONNECTION_LOST >= FAILURE
            await until(lambda: bool(a.reasons))
            await broker.start()
            await a.connected()
            assert a.session.connects == 2


def broker_pid_stop(broker: EmbeddedBroker) -> None:
    """Freeze it, so that nothing is answered any more."""
    import os
    import signal

    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGSTOP)


async def test_will_and_clean_farewell(mqtt: MqttSettings) -> None:
    wills: list[int] = []

    def will() -> Message:
        wills.append(len(wills))
        return Message("w", b"lost %d" % len(wills), retain=True)

    async with probe(mqtt, "b") as b:
        b.session.subscribe([("w", 1)])
        async with probe(mqtt, "a", will=will, will_delay_s=0):
            pass
        async with probe(mqtt, "a", will=will, will_delay_s=0) as a:
            connection = a.session._connection
            assert connection is not None
            connection.wire.abort()
            await until(lambda: bool(b.heard))
        assert [m.payload for m in b.heard] == [b"lost 2"]  # none for the clean DISCONNECT


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (connack(0x86), ["bad user name or password", "'secretary'", "mqtt.username"]),
        (connack(0x87), ["not authorised", "'probe'", "access list"]),
        (connack(0x84), ["does not speak MQTT 5", "Mosquitto 2.0"]),
        (b"\x20\x02\x00\x01", ["does not speak MQTT 5"]),
        (connack(0x85), ["client id 'probe' is not valid"]),
        (connack(0x8A), ["banned"]),
        (b"", ["closed before the broker answered CONNECT", "mqtt.tls"]),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ["MQTT 5 listener"]),
        (b"\x20\xff\xff\xff\xff\xff", ["remaining length"]),
        (CONNACK_OK + b"\x30\x02\x00\x09", ["PUBLISH cannot be read"]),
        (CONNACK_OK + b"\xe0\x01\x8b", ["shutting down"]),
    ],
)
async def test_refusal_is_one_line_that_says_what_and_what_to_do(answer: bytes, words: list[str]) -> None:
    async with scripted(answer) as (port, times):
        mqtt = settings(port, username="secretary", password="hush-hush")
        async with probe(mqtt, join=False) as one:
            await until(lambda: len(one.reasons) >= 2, "two attempts")
        line = one.reasons[0]
        assert "\n" not in line
        assert f"127.0.0.1:{port}" in line
        for word in words:
            assert word in line, line
        assert len(times) >= 2, "it must go on trying"
        assert not any("hush-hush" in reason for reason in one.reasons)
        assert "hush-hush" not in repr(mqtt)


async def test_server_that_says_nothing_is_given_up() -> None:
    async with scripted(close=False) as (port, _), probe(settings(port, connect_timeout_s=0.2), join=False) as one:
        await until(lambda: bool(one.reasons))
        assert "no MQTT connection within 0.2 s" in one.reasons[0]


async def test_nothing_listens_and_no_such_name() -> None:
    async with probe(settings(1), join=False) as one:
        await until(lambda: bool(one.reasons))
        assert "nothing listens there" in one.reasons[0]
    async with probe(settings(1, host="no-such-host.invalid"), join=False) as one:
        await until(lambda: bool(one.reasons))
        assert "the name does not resolve" in one.reasons[0]


async def test_f21_taken_over_backs_off_and_says_so() -> None:
    """0x8E after CONNACK: another client has our identity."""
    async with scripted(CONNACK_OK + b"\xe0\x01\x8e") as (port, times):
        async with probe(settings(port, takeover_wait_s=0.5), join=False) as one:
            await until(lambda: len(times) >= 3)
        assert {name for name, _ in one.alarms} == {"duplicate_identity"}
        assert "own agent id" in one.alarms[0][1]
        assert min(later - earlier for earlier, later in pairwise(times)) >= 0.5


def test_waits() -> None:
    """Full jitter up to a cap, five seconds between connections, a minute after a take-over; longer after a refusal."""
    session = Probe(MqttSettings()).session
    waits = [session._wait(failures, 0.0, refusal=False, taken_over=False) for failures in range(30) for _ in range(50)]
    assert min(waits) >= 5.0
    assert max(waits) <= 60.0
    assert max(waits) > 50.0
    assert max(session._wait(30, 0.0, refusal=True, taken_over=False) for _ in range(200)) > 200.0
    assert all(60.0 <= session._wait(1, 100.0, refusal=False, taken_over=True) <= 120.0 for _ in range(50))
    assert session._wait(0, 100.0, refusal=False, taken_over=False) <= 2.0


async def test_bug_in_a_callback_ends_the_session_loudly(mqtt: MqttSettings) -> None:
    def broken(message: Incoming) -> None:
        raise ZeroDivisionError

    session = MqttSession(mqtt, client_id="b", session_expiry_s=0, on_message=broken)
    session.subscribe([("t", 1)])
    task = asyncio.create_task(session.run())
    async with probe(mqtt, "a") as a:
        await until(lambda: session.connected)
        await until(lambda: a.session.publish("t", b"", qos=0) and task.done())
        with pytest.raises(ZeroDivisionError):
            task.result()


@pytest.mark.real
@needs_mosquitto
async def test_receive_maximum_of_mosquitto_is_kept(tmp_path: Path) -> None:
    codes: list[int] = []
    lines = "allow_anonymous true\nmax_inflight_messages 3"
    async with mosquitto(tmp_path, lines) as broker, probe(settings(broker.port), "a") as a:
        for _ in range(500):
            a.session.publish("t", b"", on_ack=codes.append)
        await until(lambda: len(codes) == 500)
        assert a.reasons == []
        assert set(codes) == {0x10}, "nobody subscribes, and mosquitto says so"


@pytest.mark.real
@needs_mosquitto
async def test_denied_publish_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "acl").write_text("topic read #\ntopic write allowed/#\n")
    codes: list[int] = []
    lines = f"allow_anonymous true\nacl_file {tmp_path}/acl"
    async with mosquitto(tmp_path, lines) as broker, probe(settings(broker.port), "a") as a:
        a.session.publish("denied/t", b"", on_ack=codes.append)
        a.session.publish("allowed/t", b"", on_ack=codes.append)
        await until(lambda: len(codes) == 2)
        assert codes == [0x87, 0x10]
