"""The simulated barrier: a pulse opens it for a while, an arm with a car below does not close, fire release asks nobody."""

from __future__ import annotations

from firmware_sim.barrier import Barrier
from firmware_sim.devices import build

OPEN, CLOSE = bytes.fromhex("05 02 00 00 05"), bytes.fromhex("05 02 01 00 05")


def test_a_timed_pulse_opens_it_for_a_while() -> None:
    now = 0.0
    device = build("waveshare-relay-8ch-d-barrier", id="b", unit=1, seed=0, now=lambda: now)
    assert device.answer(OPEN) == OPEN
    assert device.snapshot["relay1"] is True
    for now, is_up in ((1.0, False), (3.0, True), (9.0, True), (11.0, False)):  # noqa: B007
        assert device.snapshot["input1"] is is_up
    assert device.snapshot["relay1"] is False
    assert device.answer(bytes.fromhex("05 02 07 00 05"))[0] == 0x85


def test_it_does_not_close_on_a_car() -> None:
    barrier = Barrier(0)
    barrier.write("flash1", 5, 28.0)
    assert barrier.snapshot(31.0)["input2"] is True
    barrier.write("flash2", 5, 31.0)
    assert barrier.snapshot(31.5)["input1"] is True
    barrier.write("flash2", 5, 34.0)
    assert barrier.snapshot(34.5)["input1"] is False


def test_fire_release_holds_it_up() -> None:
    barrier = Barrier(0)
    barrier.fire = True
    barrier.write("flash2", 5, 1.0)
    assert barrier.snapshot(2.0)["input1"] is True
