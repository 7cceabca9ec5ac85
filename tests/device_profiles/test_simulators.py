"""Profiles against the simulators: every register that a profile reads holds the quantity that the simulator put there.

A simulator imports no profile and encodes by itself, so an address, type, word order or scale that only one of the two has
right shows here, to the last digit of the register.
"""

from __future__ import annotations

import pytest

from device_profiles.reading import Acquisition
from device_profiles.resolve import points_of
from device_profiles.schema import Profile
from drivers.modbus.block import Place, build_block, locate_point
from edge_agent.model import Device as PolledDevice
from edge_agent.normalize import Normalizer
from firmware_sim.device import Device
from firmware_sim.devices import MODELS, build
from firmware_sim.registers import F32, F64, Cell
from tests.shipped import LIBRARY

NOON = 1_795_334_400.0
"""2026-11-22 12:00 UTC: the sun shines and people work."""
SLUGS = sorted(set(MODELS) & set(LIBRARY.files))
PARAMS = {"acrel-dtsd1352": {"pt": 1.0, "ct": 40.0}, "chint-dtsu666": {"pt": 1.0, "ct": 1.0}}
FACTORS = {
    **dict.fromkeys(("w", "va", "var", "wh", "dc_w"), 0.001),
    **dict.fromkeys(("reference_20000", "share_20000"), 100 / 20000),
    **dict.fromkeys(("reference_4000h", "share_4000h"), 100 / 0x4000),
    "tvoc": 1000.0,
    "pf_percent": 0.01,
}
"""Vocabulary units per unit of the simulated world, where the two differ."""


def simulated(slug: str) -> Device:
    device = build(slug, id="d", unit=1, seed=7, now=lambda: NOON)
    device.answer(b"\x03\x00\x00\x00\x01")  # lets it measure
    return device


def layout_of(device: Device) -> dict[str, dict[str, int]]:
    """Where the models of a SunSpec chain are, walked here by hand: ID, length, next."""
    models: dict[str, int] = {}
    at = 40002
    while (head := device.read_registers("holding", at, 2)) is not None and head[:2] != b"\xff\xff":
        models[str(int.from_bytes(head[:2]))] = at
        at += 2 + int.from_bytes(head[2:])
    return {"models": models}


def values_of(profile: Profile, device: Device, places: list[Place], layout: dict[str, dict[str, int]]) -> Acquisition:
    polled = PolledDevice(
        id="d", name="d", link="l", unit=1, protocol="modbus", profile=profile, cls=profile.class_, system=profile.system,
        points=tuple(place.point for place in places), params=PARAMS.get(profile.profile, {}),
    )  # fmt: skip
    normalizer, out = Normalizer(polled), Acquisition("d", 0)
    for place in sorted(places, key=lambda place: not place.point.internal):
        block = build_block(place.table, place.first, place.last, [place], layout)
        if place.table in ("coil", "discrete"):
            bits = device.read_bits(place.table, place.first, 1)
            data = bytes([bits[0]]) if bits is not None else None
        else:
            data = device.read_registers(place.table, place.first, place.last - place.first + 1)
        if data is not None:
            normalizer.take(normalizer.prepare([place.point.id]), block.decode(data), 0, out)
    return out


def devices() -> list[tuple[str, int | None]]:
    """(model, instance): each model once, one that holds many devices by its head and its first two (where simulated)."""
    found: list[tuple[str, int | None]] = []
    for slug in SLUGS:
        has_head = points_of(LIBRARY.get(slug)) != ()
        found += [(slug, None)] if has_head else []
        if LIBRARY.get(slug).instances is not None:
            found += [(slug, 1), (slug, 2)] if has_head else [(slug, 1)]
    return found


@pytest.mark.parametrize(("slug", "instance"), devices())
def test_profile_and_simulator_agree(slug: str, instance: int | None) -> None:
    profile, device = LIBRARY.get(slug), simulated(slug)
    layout = layout_of(device) if slug.startswith("sunspec") else {}
    found = [locate_point(point, layout) for point in points_of(profile, instance=instance)]
    places = [place for place in found if place is not None]
    out = values_of(profile, device, places, layout)
    compared = 0
    for place in places:
        value = out.good.get(place.point.id)
        if value is None or place.point.internal or place.point.parts:
            continue
        if place.table in ("coil", "discrete"):
            assert value == device.snapshot[device.model.bits[place.table][place.first]], place.point.id
            compared += 1
            continue
        cell = cell_at(device, place)
        if cell is None or cell.quantity.startswith("="):
            continue
        truth = device.snapshot[cell.quantity]
        assert cell.kind.words == place.point.registers, place.point.id
        if place.point.bit_range is not None or isinstance(truth, str) or truth is None:
            continue
        factor = FACTORS.get(cell.quantity, 1.0)
        half_a_digit = 0.0 if cell.kind in (F32, F64) else 0.51 * cell.lsb * factor
        expected = float(truth) * factor
        assert float(value) == pytest.approx(expected, rel=2e-6, abs=half_a_digit), (place.point.id, cell.label)
        compared += 1
    assert compared >= 4


def cell_at(device: Device, place: Place) -> Cell | None:
    return next((cell for cell in device.model.tables.get(place.table, ()) if cell.address == place.first), None)
