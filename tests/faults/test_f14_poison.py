"""F14: messages that will never be right. Acknowledged and dead-lettered once, counted, and nobody is held up."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.gateway.centre import centre, fake_agent
from tests.gateway.message_box import DEV, NOW, SITE, TOPICS, telemetry
from tests.gateway.mqtt_box import mosquitto, needs_mosquitto, until

pytestmark = [pytest.mark.real, needs_mosquitto]
T = NOW - 100_000

POISON: list[tuple[str, bytes, str]] = [
    (TOPICS.data(DEV), b"", "json"),
    (TOPICS.data(DEV), b"{" * 60_000, "json"),
    (TOPICS.data(DEV), b"\x00\xff\xfe", "json"),
    (TOPICS.data(DEV), b"x" * 2_000_000, "size"),
    (TOPICS.data(DEV), telemetry(1).replace(b'"v":1', b'"v":9'), "version"),
    (TOPICS.data(DEV), telemetry(2, T, {"power_active": 1}).replace(b":1}", b":NaN}"), "json"),
    (TOPICS.data(DEV), telemetry(3)[:-1] + b',"z":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "depth"),
    (TOPICS.data(DEV), telemetry(4, 1), "time"),
    (TOPICS.data(DEV), telemetry(5, T, {"x_a,b=1 2": 1}), "point"),
    (TOPICS.event(DEV, "access"), telemetry(6), "schema"),
    (TOPICS.up("data/Bad Device"), telemetry(7), "topic"),
    (TOPICS.up("data/a/b/c"), telemetry(8), "topic"),
    (TOPICS.up("event/" + DEV), telemetry(9), "topic"),
    ("plantroom/v1/HQ/gw-01/up/data/x", telemetry(10), "topic"),
]


async def test_each_once_and_the_good_ones_go_through(tmp_path: Path) -> None:
    async with mosquitto(tmp_path / "mosquitto") as broker, AsyncExitStack() as stack:
        one = await stack.enter_async_context(centre(broker.port, tmp_path))
        async with fake_agent(broker.port) as agent:
            good = 0
            for again in range(3):
                for topic, payload, _ in POISON:
                    agent.publish(topic, payload)
                    agent.publish(TOPICS.data(DEV), telemetry(100 + good, T + good, {"power_active": float(good)}))
                    good += 1
                if again == 0:
                    await one.settled(2 * len(POISON))
            await one.settled(6 * len(POISON))
            letters = list(one.dead)
            expected = sorted((topic, why) for topic, _, why in POISON)
            assert sorted((letter.topic, letter.reason) for letter in letters) == expected
            assert one.figure("dead") == len(POISON)
            assert sum(one.dead.by_reason.values()) == len(POISON)
            samples = await one.store.samples(SITE, DEV, ["power_active"], 0, 2 * NOW)
            assert [value for _, value in samples["power_active"]] == [float(n) for n in range(good)]
            await until(lambda: {100 + n for n in range(good)} <= agent.ok.get("7Q2XK9M4TB", set()))
            assert {1: "version", 4: "time", 6: "schema"}.items() <= agent.dead.items()
            await until(lambda: len(agent.pubacks) == 6 * len(POISON))
            assert not one.task.done()


async def test_the_broker_does_not_bring_them_again(tmp_path: Path) -> None:
    """They are acknowledged: after a restart of the worker nothing comes back."""
    async with mosquitto(tmp_path / "mosquitto") as broker, fake_agent(broker.port) as agent:
        async with centre(broker.port, tmp_path) as one:
            for topic, payload, _ in POISON:
                agent.publish(topic, payload)
            await one.settled(len(POISON))
        async with centre(broker.port, tmp_path) as one:
            agent.publish(TOPICS.data(DEV), telemetry(500, T))
            await until(lambda: 500 in agent.ok.get("7Q2XK9M4TB", ()))
            assert one.figure("received") == 1
            assert len(list(one.dead)) == len(POISON)


async def test_retained_telemetry_is_taken_as_any_other(tmp_path: Path) -> None:
    async with mosquitto(tmp_path / "mosquitto") as broker, fake_agent(broker.port) as agent:
        agent.publish(TOPICS.data(DEV), telemetry(1, T, {"power_active": 4.0}), retain=True)
        await until(lambda: len(agent.pubacks) == 1)
        for _ in range(2):
            async with centre(broker.port, tmp_path) as one:
                agent.publish(TOPICS.data(DEV), telemetry(2, T + 1, {"power_active": 5.0}))
                await one.settled(1)
                await until(lambda: 2 in agent.ok.get("7Q2XK9M4TB", ()))
                samples = await one.store.samples(SITE, DEV, ["power_active"], T, NOW)
                assert samples["power_active"][-1] == (T + 1, 5.0)
                assert list(one.dead) == []
