"""What a session of strings promises on its wire: neighbours on one line, silence, cancelling, lost wires, what is told."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from strings_world import LIBRARY, World, address, opened

from device_profiles.errors import ConfigError, DeviceError, DeviceTimeout, LinkError, LinkLost, LinkRefused
from device_profiles.reading import PointFault, Sample
from device_profiles.schema import Profile
from drivers.base import LinkConfig
from drivers.listening import Listened
from drivers.registry import load_driver
from firmware_sim.reader_strings import Reader
from firmware_sim.rs232_projector import Projector
from firmware_sim.strings_wire import StringsWire

CARD = 0xCE754C
SECRET = b"3C00CE754C"


class Monitors:
    """LG monitors 1 to 3 on one line: `ka 01 FF` is answered by `a 01 OK01x`. Monitor 3 is dead."""

    def __init__(self) -> None:
        self.power = {1: 1, 2: 0}
        self.answers_as: int | None = None
        self.wire: StringsWire | None = None
        self._buffer = b""

    def plug(self, wire: StringsWire) -> None:
        self.wire = wire

    def heard(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\r")
        for line in lines:
            command, unit, value = line[:2].decode(), int(line[3:5], 16), int(line[6:8], 16)
            if unit not in self.power:
                continue
            if command == "ka" and value != 0xFF:
                self.power[unit] = value
            held = self.power[unit] if command == "ka" else 9
            assert self.wire is not None
            self.wire.say(f"{command[1]} {self.answers_as or unit:02X} OK{held:02X}x".encode())


async def power_of(world: World, unit: int) -> object:
    device = address(world.profile, unit=unit, device=f"lg-{unit}")
    [batch] = [one for one in load_driver("strings").plan(world.profile.points, None, None, world.session.link)  # type: ignore[arg-type]
               if one.points == ("power_state",)]  # fmt: skip
    [value] = await world.session.read(device, batch)
    return value


async def test_neighbours_on_one_line_get_their_own_answers() -> None:
    """Also when all are asked at once, and one of them is dead."""
    async with opened(Monitors(), "lg-monitor-rs232", timeout_s=0.08) as world:
        answers = await asyncio.gather(
            *(power_of(world, unit) for unit in (1, 2, 3, 2, 1, 3, 1)), return_exceptions=True
        )
        assert [answers[at] for at in (0, 1, 3, 4, 6)] == [1, 0, 0, 1, 1]
        assert all(isinstance(answers[at], DeviceTimeout) for at in (2, 5))
        assert "lg-3" in str(answers[2])


async def test_an_answer_of_another_unit_is_none() -> None:
    monitors = Monitors()
    async with opened(monitors, "lg-monitor-rs232", timeout_s=0.05) as world:
        assert await power_of(world, 1) == 1
        monitors.answers_as = 2
        with pytest.raises(DeviceTimeout):
            await power_of(world, 1)


async def test_a_dead_device_costs_its_neighbours_one_time_limit() -> None:
    """F25: it is asked once; nothing is repeated, and what it may still owe delays only itself."""
    async with opened(Monitors(), "lg-monitor-rs232", timeout_s=0.05) as world:
        for _ in range(2):
            with pytest.raises(DeviceTimeout):
                await power_of(world, 3)
            began = time.monotonic()
            assert await power_of(world, 1) == 1
            assert time.monotonic() - began < 0.05


async def test_an_echo_is_no_answer() -> None:
    async with opened(Projector(echo=False), "benq-projector-rs232", echo=True) as world:
        wire = world.wire
        heard = wire.talker.heard

        def echoed(data: bytes) -> None:
            wire.say(data)
            heard(data)

        wire.talker.heard = echoed  # type: ignore[method-assign]
        assert (await world.values("power_state"))["power_state"] == 0
        assert world.session.counts.discarded_bytes == 0


async def test_a_cancelled_question_leaves_the_line_usable() -> None:
    async with opened(Monitors(), "lg-monitor-rs232", timeout_s=0.1) as world:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await power_of(world, 3)
        assert await power_of(world, 1) == 1


@pytest.mark.parametrize("kind", ["serial", "tcp"])
async def test_a_wire_that_goes_away_is_a_lost_link_for_readers_and_listeners(kind: str) -> None:
    """F26: an adapter that is pulled out, a connection that is closed."""
    async with opened(Projector(), "benq-projector-rs232", kind) as world:
        await world.listen()
        assert (await world.values("power_state"))["power_state"] == 0
        if kind == "serial":
            world.wire.unplug()
        else:
            world.wire.drop()
        with pytest.raises(LinkLost):
            await world.next()
        with pytest.raises(LinkLost):
            await world.values("power_state")


@pytest.mark.parametrize(
    "link",
    [LinkConfig("a", "serial", path="/dev/no-such-port"), LinkConfig("a", "tcp", host="127.0.0.1", port=1),
     LinkConfig("a", "rtu+tcp", host="127.0.0.1", port=1)],
    ids=lambda link: link.kind,
)  # fmt: skip
async def test_a_wire_that_does_not_open_says_why(link: LinkConfig) -> None:
    with pytest.raises(LinkRefused) as caught:
        async with load_driver("strings").open(link):
            pass
    assert caught.value.next_step


async def test_other_links_are_refused() -> None:
    with pytest.raises(ConfigError):
        load_driver("strings").open(LinkConfig("a", "bacnet"))


async def test_a_device_that_must_dial_in_and_has_not_is_silent() -> None:
    async with opened(Reader(), "id-innovations-id-12", "tcp-listen") as world:
        for task in (world.wire._dialling,):
            assert task is not None
            task.cancel()
        world.wire.drop()
        await world.until(lambda: not world.session._channel.is_there(world.device))  # type: ignore[union-attr]
        with pytest.raises(DeviceTimeout, match="dialled in"):
            await world.values()


def talking(silent_s: float) -> Profile:
    """A reader with a heartbeat, made of the decimal one."""
    of = LIBRARY.get("generic-reader-decimal")
    assert of.strings is not None
    point = of.points[0].model_validate(
        {"id": "x_state", "frame": "card", "field": "card", "type": "f64", "label": "x"}
    )
    return of.model_copy(
        update={"strings": of.strings.model_copy(update={"silent_s": silent_s}), "points": (*of.points, point)}
    )


async def test_what_was_heard_is_told_with_its_time_until_the_device_falls_silent() -> None:
    reader = Reader("decimal")
    async with opened(reader, talking(0.2)) as world:
        await world.listen()
        assert isinstance((await world.values("x_state"))["x_state"], PointFault)
        before = time.time() * 1000
        reader.swipe(CARD)
        await world.next()
        value = (await world.values("x_state"))["x_state"]
        assert isinstance(value, Sample)
        assert value.value == CARD
        assert value.source_time_ms is not None
        assert before - 1 <= value.source_time_ms <= time.time() * 1000

        async def until_silent() -> None:
            while await world.values("x_state"):
                await asyncio.sleep(0.01)

        with pytest.raises(DeviceTimeout, match="nothing was heard"):
            await asyncio.wait_for(until_silent(), 5)


async def test_a_card_stands_in_no_log_no_trace_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    reader = Reader("id-12")
    with caplog.at_level(logging.DEBUG):
        async with opened(reader, "id-innovations-id-12", trace=lambda *args: seen.append(repr(args))) as world:
            await world.listen()
            frame = reader.frame(0x3C00CE754C)
            world.wire.say(frame[:9] + frame[10:] + frame)
            event = await world.next()
            assert (await world.values())["messages_refused"] >= 1
    shown = "".join(seen) + caplog.text + repr(event) + event.key + str(event.data)
    assert event.clear["card"].text == str(CARD)
    for secret in (SECRET.decode(), SECRET[:6].decode(), str(CARD), "CE754C"):
        assert secret not in shown


async def test_events_that_nobody_takes_are_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.strings.session._MOST_EVENTS", 5)
    reader = Reader("decimal")
    async with opened(reader, "generic-reader-decimal", "tcp") as world:
        await world.listen()
        await world.until(lambda: world.wire.connections)
        for card in range(1, 21):
            reader.swipe(card)
        await world.until(lambda: world.session.dropped == 15)
        assert (await world.next()).clear["card"].text == "16"
        await world.session.forget(world.device)
        reader.swipe(99)
        await world.session.listen(Listened(world.device, world.profile.events, world.profile.credential))


async def test_garbage_without_end_is_heard_in_bounded_memory_and_time() -> None:
    reader = Reader("id-12")
    async with opened(reader, "id-innovations-id-12", "tcp") as world:
        await world.listen()
        await world.until(lambda: world.wire.connections)
        world.wire.say(b"\x02" * 20_000 + b"0" * 60_000)
        reader.swipe(CARD)
        assert (await world.next()).clear["card"].text == str(CARD)


async def test_a_profile_without_strings_is_a_mistake() -> None:
    async with opened(Reader(), "rdm6300") as world:
        lost = world.device.__class__(1, "other")
        with pytest.raises((ConfigError, DeviceError, LinkError)):
            await world.session.listen(Listened(lost))
