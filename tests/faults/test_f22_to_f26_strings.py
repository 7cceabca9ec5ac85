"""F22 to F26 for strings: garbage, foreign and late answers, a dead device among a hundred, a port that is pulled out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import DeviceError, DeviceTimeout
from device_profiles.schema import Point
from device_profiles.strings import Strings
from drivers.base import Address, LinkConfig
from drivers.registry import load_driver
from drivers.strings.planner import plan
from drivers.strings.session import StringsSession
from firmware_sim.rs232_projector import Projector
from firmware_sim.strings_wire import StringsWire
from tests.drivers.virtual_loop import run_virtually
from tests.drivers.virtual_wire import Other, Piece
from tests.faults.serial_faults import LateBus, a_port_that_is_pulled_out

LINK = LinkConfig("line-1", "serial", path="x", baud=9600, timeout_s=0.5)
CHAR_S = 10 / 9600
_UNIT = {"as": "decimal", "size": 3}
_VALUE = {"unit": _UNIT, "value": {"as": "decimal", "size": 9}, "check": {"as": "hex", "size": 2, "check": "xor8"}}
LANGUAGE = Strings.model_validate(
    {
        "frames": {
            "lamp": {"shape": "*{unit}:L={value},{check}#", "fields": _VALUE},
            "hours": {"shape": "*{unit}:H={value},{check}#", "fields": _VALUE},
            "no": {"shape": "*{unit}:no#", "fields": {"unit": _UNIT}},
        },
        "requests": {
            name: {"shape": shape, "answer": [frame], "refused": ["no"], "fields": {"unit": _UNIT}}
            for name, shape, frame in (("ask_lamp", "*{unit}?L#", "lamp"), ("ask_hours", "*{unit}?H#", "hours"))
        },
    }
)
POINTS = [
    Point.model_validate({"id": "lamp", "address": {"frame": "lamp", "field": "value", "ask": "ask_lamp"}}),
    Point.model_validate({"id": "hours", "address": {"frame": "hours", "field": "value", "ask": "ask_hours"}}),
]
BATCHES = plan(POINTS)


def answer(unit: int, letter: str, value: int) -> bytes:
    body = f"*{unit:03d}:{letter}={value:09d},".encode()
    check = 0
    for byte in body:
        check ^= byte
    return body + f"{check:02X}#".encode()


def asked(frame: bytes) -> tuple[int, str]:
    return int(frame[1:4]), chr(frame[5])


class Bench:
    """An open session on a virtual wire whose other end does what it is told. A channel of the session."""

    def __init__(self, other: Other) -> None:
        self.session = StringsSession(LINK, None)
        self.session.attach(self)
        self._other = other
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes, device: Address) -> None:
        took_s = len(data) * CHAR_S
        for delay, piece in self._other(data, self._loop.time() + took_s):
            self._loop.call_later(took_s + delay + len(piece) * CHAR_S, self.session.take, "", piece)

    def expect(self, device: Address) -> None:
        """Everybody may speak."""

    def is_there(self, device: Address) -> bool:
        return True

    async def read(self, unit: int, batch: int = 0) -> Any:
        """The value; raises DeviceError."""
        device = Address(unit, f"device-{unit}", strings=LANGUAGE)
        [value] = await self.session.read(device, BATCHES[batch])
        return value


# F22, F23: garbage and foreign answers.

_RNG = random.Random(1)
SPOILED: dict[str, Callable[[bytes], list[Piece]]] = {
    "check": lambda frame: [(0.01, frame[:-2] + b"?#")],
    "cut": lambda frame: [(0.01, frame[:10])],
    "garbage": lambda frame: [(0.01, _RNG.randbytes(40))],
    "flood": lambda frame: [(0.01 * n, b"*007:L=" * 40) for n in range(60)],
    "other unit": lambda frame: [(0.01, answer(8, "L", 1))],
    "other answer": lambda frame: [(0.01, answer(7, "H", 1))],
    "echo": lambda frame: [(0.0, b"*007?L#")],
    "silence": lambda frame: [],
}


@pytest.mark.parametrize("kind", SPOILED)
def test_f22_f23_what_is_no_answer_ends_in_time_and_leaves_the_next(kind: str) -> None:
    def other(frame: bytes, _end: float) -> list[Piece]:
        right = answer(*asked(frame), 4217)
        return SPOILED[kind](right) if asked(frame)[0] == 7 else [(0.01, right)]

    async def main() -> None:
        loop, bench = asyncio.get_running_loop(), Bench(other)
        assert await bench.read(1) == 4217
        began = loop.time()
        with pytest.raises(DeviceTimeout):
            await bench.read(7)
        assert loop.time() - began < LINK.timeout_s + 0.05
        assert await bench.read(1) == 4217

    run_virtually(main())


def test_f22_noise_around_an_answer_does_no_harm() -> None:
    async def main() -> None:
        bench = Bench(lambda frame, end: [(0.01, b"\0*00\xff*" + answer(1, "L", 5) + b"*\r\n")])
        assert await bench.read(1) == 5

    run_virtually(main())


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(answer, st.sampled_from([2, 3]), st.sampled_from("LH"), st.integers(0, 999)),
            st.builds(answer, st.just(1), st.just("H"), st.integers(0, 999)),
        ),
        max_size=5,
    )
)
def test_f23_only_the_devices_own_answer_to_this_very_question_is_taken(pieces: list[bytes]) -> None:
    async def main() -> None:
        bench = Bench(lambda frame, end: [(0.01 * n, piece) for n, piece in enumerate(pieces)])
        with pytest.raises(DeviceError):
            await bench.read(1)

    run_virtually(main())


# F24: late answers.

_STEADY = 25
"""So many questions long a value stays as it is: who is in doubt asks twice, and believes two equal answers."""


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_f24_ten_thousand_polls_with_late_answers_give_no_wrong_value(seed: int) -> None:
    """2,500 polls a seed: a value must be one that stood while it was asked for."""

    def reply(frame: bytes, number: int) -> tuple[int, bytes]:
        unit, letter = asked(frame)
        return unit, answer(unit, letter, number // _STEADY)

    bus = LateBus(
        seed,
        reply,
        char_s=CHAR_S,
        timeout_s=LINK.timeout_s,
        refusal=lambda frame: f"*{frame[1:4].decode()}:no#".encode(),
    )

    async def main() -> None:
        bench, choice = Bench(bus), random.Random(seed)
        good = failed = 0
        for _ in range(2500):
            first = bus.number + 1
            try:
                value = await bench.read(choice.randint(1, 5), choice.randrange(2))
            except DeviceError:
                failed += 1
                continue
            if isinstance(value, int):
                good += 1
                assert value in range(first // _STEADY, bus.number // _STEADY + 1), "an answer to an older question"
        assert good > 500
        assert failed > 200

    run_virtually(main())


# F25: a dead device.


def test_f25_a_dead_device_costs_its_time_limit_and_no_more() -> None:
    def others(frame: bytes, _end: float) -> list[Piece]:
        return [] if asked(frame)[0] == 50 else [(0.04, answer(*asked(frame), 1))]

    async def main() -> None:
        loop, bench = asyncio.get_running_loop(), Bench(others)
        one_s = (7 + 20) * CHAR_S + 0.04
        for _ in range(4):
            began = loop.time()
            for unit in range(1, 101):
                if unit == 50:
                    with pytest.raises(DeviceTimeout):
                        await bench.read(unit)
                else:
                    assert await bench.read(unit) == 1
            assert loop.time() - began < 99 * one_s * 1.05 + LINK.timeout_s * 2

    run_virtually(main())


# F26: the adapter is pulled out and put in again.


class Aging(Projector):
    """Its lamp is an hour older at every question, so that there is always something new to publish."""

    def answer(self, key: str, value: str) -> bytes:
        self.power, self.lamp_hours = "on", self.lamp_hours + 1
        return super().answer(key, value)


class Adapter(StringsWire):
    """Asked as the lines of `firmware_sim.line` are."""

    def ask(self, call: Callable[[], None]) -> None:
        call()


async def test_f26_a_port_that_was_pulled_is_back_within_five_seconds(tmp_path: Path) -> None:
    port = tmp_path / "port"
    device = "{id: meter-1, link: line-1, unit: 1, profile: benq-projector-rs232, poll: 0.2}"
    async with Adapter(Aging(), baud=115200, link=port) as line:
        await a_port_that_is_pulled_out(tmp_path, port, line, load_driver("strings"), device)  # type: ignore[arg-type]
