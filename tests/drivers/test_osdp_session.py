"""The OSDP control panel against simulated readers: the secure channel, events, operations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceRefused, DeviceTimeout, LinkError
from device_profiles.secrets import Secret
from drivers.base import Address, CanCycle, CanIdentify, CanOperate, Limits, LinkConfig
from drivers.listening import CanListen, Listened, Occurrence
from drivers.osdp.session import OsdpSession
from drivers.registry import load_driver
from firmware_sim.osdp import OsdpLine, OsdpReader
from firmware_sim.wire import Wire
from tests.shipped import LIBRARY

KEY = "00112233445566778899aabbccddeeff"
CARD = "1" + "0111011000000100" + "11100110" + "1"
NUMBER = str(118 << 16 | 1254)
PROFILE = LIBRARY.get("generic-osdp-reader")
OPERATIONS = {one.id: one for one in PROFILE.operations}
TIMEOUT_S = 0.08
Frames = list[tuple[str, bytes, str]]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCBK", KEY)


def plain(unit: int = 1) -> Address:
    return Address(unit, f"door-{unit}")


def keyed(unit: int = 1, *, install: bool = False) -> Address:
    return Address(unit, f"door-{unit}", secret=Secret(env="SCBK"), options={"install": str(install).lower()})


@asynccontextmanager
async def opened(*readers: OsdpReader, trace: Frames | None = None) -> AsyncIterator[tuple[OsdpSession, OsdpLine]]:
    for reader in readers:
        reader.turnaround_s = 0.001
    with OsdpLine(readers, Wire(115200)) as line:
        link = LinkConfig("osdp-1", "serial", path=line.path, baud=115200, parity="N", timeout_s=TIMEOUT_S)
        show = None if trace is None else lambda *seen: trace.append(seen)
        async with load_driver("osdp").open(link, show) as session:
            assert isinstance(session, OsdpSession)
            yield session, line


async def values(session: OsdpSession, device: Address) -> dict[str, Any]:
    batch = load_driver("osdp").plan(PROFILE.points, Limits(), None, session.link)[0]
    return dict(zip(batch.points, await session.read(device, batch), strict=True))


async def listen(session: OsdpSession, *devices: Address) -> None:
    for device in devices:
        await session.listen(Listened(device, PROFILE.events, PROFILE.credential, "in"))


async def told(session: OsdpSession, *names: str, count: int | None = None) -> Sequence[Occurrence]:
    """The next occurrences of these names, as many as names unless `count` says more."""
    found: list[Occurrence] = []
    async with asyncio.timeout(10):
        async for turn in session.occurrences():
            found += [one for one in turn if one.name in names]
            if len(found) >= (count or len(names)):
                break
    return found


def at_once(line: OsdpLine, *calls: Callable[[], object]) -> None:
    """Between two frames, and nothing between them."""

    def all_of_them() -> None:
        for call in calls:
            call()

    line.ask(all_of_them)


async def until(is_so: Callable[[], object], limit_s: float = 10) -> None:
    async with asyncio.timeout(limit_s):
        while not is_so():
            await asyncio.sleep(0.01)


def test_what_the_driver_and_its_session_can_do() -> None:
    assert isinstance(load_driver("osdp"), CanCycle)
    for ability in (CanIdentify, CanListen, CanOperate):
        assert issubclass(OsdpSession, ability)


async def test_points_and_identity() -> None:
    reader = OsdpReader(1, serial=0xABCDEF01, outputs=[True, False])
    reader.tamper = True
    async with opened(reader) as (session, _):
        found = await values(session, plain())
        assert found["online"] is True
        assert found["secure_channel"] is False
        assert found["tamper"] is True
        assert found["output_1"] is True
        assert found["serial_text"] == "ABCDEF01"
        assert (await session.identify(plain()))["firmware"] == "1.4.2"


@pytest.mark.parametrize("device", [plain(), keyed()])
async def test_cards_keys_tamper_and_power(device: Address) -> None:
    reader = OsdpReader(1, bytes.fromhex(KEY), install=False)
    async with opened(reader) as (session, line):
        await listen(session, device)
        await values(session, device)
        at_once(line, lambda: reader.present(CARD), lambda: reader.type_keys("12#"), lambda: reader.set_tamper(True))
        card, typed, alarm = await told(session, "card.read", "keypad.entered", "alarm.raised")
        assert (card.clear["card"].text, card.data) == (NUMBER, {"bits": 26, "dir": "in"})
        assert NUMBER not in repr(card)
        assert typed.data == {"count": 3, "dir": "in"}
        assert alarm.data == {"id": "tamper", "sev": "high"}
        line.ask(lambda: reader.set_tamper(False))
        assert (await told(session, "alarm.cleared"))[0].data["id"] == "tamper"
        line.ask(lambda: reader.set_power(True))
        assert (await told(session, "alarm.raised"))[0].data["id"] == "power_fault"
        line.ask(lambda: reader.present_text(NUMBER))
        assert (await told(session, "card.read"))[0].clear["card"].text == NUMBER
        assert len({card.key, typed.key, alarm.key}) == 3


async def test_a_card_with_wrong_parity_is_no_card() -> None:
    reader = OsdpReader(1)
    async with opened(reader) as (session, line):
        await listen(session, plain())
        at_once(line, lambda: reader.present("0" + CARD[1:]), lambda: reader.present(CARD))
        assert (await told(session, "card.read"))[0].clear["card"].text == NUMBER
        assert session.counts.errors == {"card": 1}


async def test_a_reader_that_knows_no_crc_is_spoken_to_with_checksums() -> None:
    async with opened(OsdpReader(1, has_crc=False)) as (session, _):
        assert (await values(session, plain()))["online"] is True


async def test_operations_reach_the_reader_once() -> None:
    reader = OsdpReader(1, bytes.fromhex(KEY), install=False)
    async with opened(reader) as (session, _):
        await values(session, keyed())
        reader.done.clear()
        await session.operate(keyed(), OPERATIONS["led"], {"color": "red", "seconds": 2}, None)
        await session.operate(keyed(), OPERATIONS["led"], {"color": "blue", "seconds": 0}, None)
        await session.operate(keyed(), OPERATIONS["buzzer"], {"count": 2, "on_ms": 300}, None)
        await session.operate(keyed(), OPERATIONS["text"], {"text": "Welcome", "seconds": 5}, None)
        state = await session.operate(keyed(), OPERATIONS["output"], {"state": "on", "seconds": 0}, None)
    assert state == {"output_0": True, "output_1": False}
    assert reader.done == [
        (0x69, bytes.fromhex("0000 02 0a 00 01 00 1400 00 00 00 00 00")),
        (0x69, bytes.fromhex("0000 01 00 00 00 00 0000 01 0a 00 04 00")),
        (0x6A, bytes.fromhex("00 02 03 01 02")),
        (0x6B, bytes.fromhex("00 03 05 01 01 07") + b"Welcome"),
        (0x68, bytes.fromhex("00 02 0000")),
    ]


async def test_what_a_reader_refuses_is_said() -> None:
    async with opened(OsdpReader(1)) as (session, _):
        operation = Operation(id="o", call={"command": "output", "output": 7})
        with pytest.raises(DeviceRefused, match="cannot do this command"):
            await session.operate(plain(), operation, {}, None)
        with pytest.raises(ConfigError, match="color 'pink'"):
            await session.operate(plain(), OPERATIONS["led"], {"color": "pink"}, None)
        assert (await values(session, plain()))["online"] is True


async def test_a_new_reader_takes_its_key_in_install_mode_and_never_otherwise() -> None:
    reader = OsdpReader(1)
    async with opened(reader) as (session, _):
        found = await values(session, keyed(install=True))
        assert (found["online"], found["secure_channel"]) == (True, False)
        await listen(session, keyed(install=True))
        assert {one.data["id"] for one in await told(session, "alarm.raised")} == {"install_mode"}
        await session.operate(keyed(install=True), OPERATIONS["keyset"], {}, None)
        assert reader.key == bytes.fromhex(KEY)
        await until(lambda: session.cycle.readers and all(one.facts.secure for one in session.cycle.readers))
    async with opened(OsdpReader(1)) as (session, _):
        assert (await values(session, keyed()))["online"] is False  # it has no key, and nobody said install
    async with opened(OsdpReader(1)) as (session, _):
        await values(session, plain())
        with pytest.raises(ConfigError, match="never sent in clear"):
            await session.operate(keyed(), OPERATIONS["keyset"], {}, None)


async def test_a_wrong_signature_ends_the_channel_with_an_alarm_and_no_plain_word() -> None:
    reader = OsdpReader(1, bytes.fromhex(KEY), install=False)
    seen: Frames = []
    async with opened(reader, trace=seen) as (session, line):
        await listen(session, keyed())
        await values(session, keyed())
        line.ask(lambda: setattr(reader, "spoil_mac", True))
        alarm = next(one for one in await told(session, "alarm.raised") if one.data["id"] == "secure_channel")
        assert "signature" in alarm.data["text"]
        line.ask(lambda: setattr(reader, "spoil_mac", False))
        assert "secure_channel" in {one.data["id"] for one in await told(session, "alarm.cleared", count=3)}
    before_channel = {0x61, 0x62, 0x76, 0x77}
    in_plain = [raw[6] for way, raw, _ in seen if way == ">" and not raw[5] & 8]
    assert set(in_plain) <= before_channel


async def test_another_key_is_an_alarm_and_orders_say_so() -> None:
    reader = OsdpReader(1, bytes(16), install=False)
    async with opened(reader) as (session, _):
        assert (await values(session, keyed()))["online"] is False
        await listen(session, keyed())  # what was so before somebody listened is told as well
        alarm = (await told(session, "alarm.raised"))[0]
        assert (alarm.data["id"], alarm.data["text"]) == (
            "secure_channel",
            "no secure channel: the reader has another key",
        )
        with pytest.raises(DeviceTimeout, match="another key"):
            await session.operate(keyed(), OPERATIONS["buzzer"], {"count": 1}, None)


async def test_a_reader_that_wants_a_channel_gets_none_without_a_key() -> None:
    async with opened(OsdpReader(1, bytes.fromhex(KEY), demands_channel=True)) as (session, _):
        with pytest.raises(DeviceTimeout, match="no key is configured"):
            await session.identify(plain())


async def test_neither_cards_nor_keys_are_in_a_trace() -> None:
    reader = OsdpReader(1)
    seen: Frames = []
    async with opened(reader, trace=seen) as (session, line):
        await listen(session, keyed(install=True))
        await values(session, keyed(install=True))
        await session.operate(keyed(install=True), OPERATIONS["keyset"], {}, None)
    other = OsdpReader(2)
    async with opened(other, trace=seen) as (session, line):
        await listen(session, plain(2))
        at_once(line, lambda: other.present(CARD), lambda: other.type_keys("1234"))
        await told(session, "card.read", "keypad.entered")
    whole = b"".join(raw for _, raw, _ in seen)
    assert bytes.fromhex(KEY) not in whole
    assert int(CARD.ljust(32, "0"), 2).to_bytes(4, "big") not in whole
    assert b"1234" not in whole
    assert any("hidden" in remark for _, _, remark in seen)


async def test_busy_is_waited_for() -> None:
    reader = OsdpReader(1)
    async with opened(reader) as (session, line):
        await values(session, plain())
        line.ask(lambda: setattr(reader, "busy", 5))
        await session.operate(plain(), OPERATIONS["buzzer"], {"count": 1}, None)
        assert [code for code, _ in reader.done].count(0x6A) == 1


async def test_a_reader_that_restarts_is_spoken_to_anew() -> None:
    reader = OsdpReader(1, bytes.fromhex(KEY), install=False)
    async with opened(reader) as (session, line):
        await values(session, keyed())
        at_once(line, lambda: reader.restart(), lambda: reader.done.clear())
        await until(lambda: any(code == 0x66 for code, _ in reader.done))
        await until(lambda: all(one.facts.secure for one in session.cycle.readers))


async def test_comset_and_the_line_goes_along_when_told() -> None:
    reader = OsdpReader(1)
    async with opened(reader) as (session, _):
        await values(session, plain())
        answer = await session.operate(
            plain(), OPERATIONS["comset"], {"address": 9, "baud": 115200, "follow": True}, None
        )
        assert (answer, reader.address) == ({"address": 9, "baud": 115200}, 9)
        before = reader.polls
        await until(lambda: reader.polls > before)
        assert (await values(session, plain()))["online"] is True


async def test_a_late_card_is_told_once() -> None:
    """F24: the repeat and the late answer both arrive; the sequence tells that they are one."""
    reader = OsdpReader(1)
    async with opened(reader) as (session, line):
        await listen(session, plain())
        await values(session, plain())
        late = [True]

        def once(frame: bytes) -> list[tuple[float, bytes]]:
            is_late = late[0] and frame[6] == 0x50
            late[0] = late[0] and not is_late
            return [(1.4 * TIMEOUT_S if is_late else 0.0, frame)]

        at_once(
            line, lambda: setattr(reader, "spoil", once), lambda: reader.present(CARD), lambda: reader.type_keys("1")
        )
        names = [one.name for one in await told(session, "card.read", "keypad.entered")]
        assert names == ["card.read", "keypad.entered"]


async def test_the_port_goes_away() -> None:
    """F26."""
    async with opened(OsdpReader(1)) as (session, line):
        await values(session, plain())
        line.ask(line.unplug)
        with pytest.raises(LinkError):
            await told(session, "card.read")
        with pytest.raises(LinkError):
            await values(session, plain())


async def test_eight_readers_at_38400_are_polled_in_turn() -> None:
    readers = [OsdpReader(unit, bytes.fromhex(KEY), install=False) for unit in range(8)]
    with OsdpLine(readers, Wire(38400)) as line:
        link = LinkConfig("osdp-1", "serial", path=line.path, baud=38400, parity="N", timeout_s=0.2)
        async with load_driver("osdp").open(link) as session:
            assert isinstance(session, OsdpSession)
            await listen(session, *(keyed(unit) for unit in range(8)))
            await until(lambda: all(one.facts.online for one in session.cycle.readers))
            pace = session.cycle.pace
            pace.clear()
            await until(lambda: len(pace) == 8 and max(one.polls for one in pace.values()) >= 10)
            polls = [pace[unit].polls for unit in range(8)]
    assert min(polls) >= 8, "nobody is passed over"


@pytest.mark.parametrize("text", ["", "12", "zz" * 16, "303132333435363738393a3b3c3d3e3f"])
async def test_a_key_that_is_none_is_refused_and_not_repeated(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCBK", text)
    async with opened(OsdpReader(1)) as (session, _):
        with pytest.raises(ConfigError) as caught:
            await values(session, keyed())
    assert len(text) < 3 or text not in str(caught.value)
