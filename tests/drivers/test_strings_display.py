"""Displays on RS-232: asked, written and read back; what they refuse, send back, garble or say too late."""

from __future__ import annotations

import random

import pytest
from strings_world import opened

from device_profiles.errors import ConfigError, DeviceError, DeviceRefused, DeviceTimeout
from device_profiles.reading import PointFault
from drivers.base import CanRehearse, CanWrite
from firmware_sim.rs232_projector import Projector


async def test_a_projector_is_switched_on_and_read() -> None:
    projector = Projector()
    async with opened(projector, "benq-projector-rs232", unit=0) as world:
        assert isinstance(world.session, CanWrite)
        assert isinstance(world.session, CanRehearse)
        off = await world.values()
        assert off["power_state"] == 0
        assert isinstance(off["input_source"], PointFault)  # it refuses all else while it is off
        power = world.profile.point("power_state")
        assert world.session.rehearse(world.device, power, 1, None) == "set_power: b'\\r*pow=on#\\r'"
        await world.session.write(world.device, power, 1, None)
        assert (await world.session.standing(world.device, power, None)).value == 1
        await world.session.write(world.device, world.profile.point("input_source"), 1, None)
        await world.session.write(world.device, world.profile.point("picture_muted"), True, None)
        found = await world.values()
        assert found == {
            "power_state": 1, "input_source": 1, "lamp_hours": 1234, "audio_muted": False, "picture_muted": True,
        }  # fmt: skip
        with pytest.raises(DeviceRefused, match="unknown"):
            await world.session.write(world.device, world.profile.point("input_source"), 13, None)
        with pytest.raises(ConfigError):
            await world.session.write(world.device, world.profile.point("input_source"), 99, None)


async def test_power_is_refused_while_it_warms_up() -> None:
    clock = 0.0
    projector = Projector(warm_s=30, now=lambda: clock)
    async with opened(projector, "benq-projector-rs232") as world:
        power = world.profile.point("power_state")
        await world.session.write(world.device, power, 1, None)
        with pytest.raises(DeviceRefused, match="blocked"):
            await world.session.write(world.device, power, 0, None)
        clock = 31.0
        await world.session.write(world.device, power, 0, None)
        assert projector.power == "off"


async def test_garbage_is_no_value() -> None:
    """F22, F23: cut, damaged and foreign answers, noise before and after; never a wrong number."""
    projector = Projector()
    projector.power = "on"
    dice = random.Random(7)
    async with opened(projector, "benq-projector-rs232", timeout_s=0.08) as world:
        spoils = [
            lambda frame: frame[: len(frame) // 2],
            lambda frame: frame.replace(b"#", b""),
            lambda frame: dice.randbytes(40),
            lambda frame: frame.replace(b"LTIM", b"LTIX"),
            lambda frame: b"*LTIM=12a4#",
            lambda frame: b"*POW=ON#",
        ]
        for spoil in spoils:
            projector.spoil = spoil
            with pytest.raises(DeviceError):
                await world.values("lamp_hours")
        projector.spoil = lambda frame: dice.randbytes(30).replace(b"*", b"") + frame + dice.randbytes(30)
        for _ in range(3):
            try:
                assert (await world.values("lamp_hours"))["lamp_hours"] == 1234
            except DeviceError:
                continue
        projector.spoil = lambda frame: frame
        assert (await world.values("lamp_hours"))["lamp_hours"] == 1234


@pytest.mark.parametrize("late", [1.4, 2.6])
async def test_late_answers_are_never_taken_for_the_next(late: float) -> None:
    """F24: every answer is late; each asks for a number that grows with each question."""
    limit = 0.03
    projector = Projector(echo=False)
    projector.power = "on"
    asked: list[int] = []

    def counting(frame: bytes) -> bytes:
        asked.append(len(asked))
        return b"*LTIM=%d#" % (len(asked) - 1)

    projector.spoil = counting
    async with opened(projector, "benq-projector-rs232", timeout_s=limit) as world:
        for turn in range(12):
            projector.late_s = late * limit if turn % 6 else 0.0
            try:
                value = (await world.values("lamp_hours"))["lamp_hours"]
            except DeviceError:
                continue
            assert value == len(asked) - 1, "an answer to an older question"


async def test_a_silent_device_costs_one_time_limit_and_says_so() -> None:
    projector = Projector()
    projector.mute = True
    async with opened(projector, "benq-projector-rs232", timeout_s=0.05) as world:
        with pytest.raises(DeviceTimeout, match="no answer to ask_power"):
            await world.values("power_state")
