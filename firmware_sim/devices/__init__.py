"""The makes of devices that can be simulated: an explicit table, each file loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module

from firmware_sim.clock import Now
from firmware_sim.device import Device, Model

_HERE = "firmware_sim.devices"

MODELS: dict[str, tuple[str, str]] = {
    "eastron-sdm630": (f"{_HERE}.eastron:SDM630", "three-phase meter, floats, function 4"),
    "chint-dtsu666": (f"{_HERE}.chint:DTSU666", "three-phase meter, floats that are scaled"),
    "schneider-iem3000": (f"{_HERE}.schneider:IEM3000", "three-phase meter, floats and 64-bit Wh"),
    "schneider-pm5000": (f"{_HERE}.schneider:PM5000", "power meter, floats, kWh both as float and 64-bit Wh"),
    "siemens-pac3200": (f"{_HERE}.siemens:PAC3200", "power meter, energies as 64-bit floats"),
    "abb-b23": (f"{_HERE}.abb_meter:B23", "three-phase meter, integers, all-ones for nothing"),
    "carlo-gavazzi-em24": (f"{_HERE}.carlo_gavazzi:EM24", "three-phase meter, 32-bit integers low word first"),
    "socomec-diris": (f"{_HERE}.socomec:DIRIS", "power meter, 32-bit integers"),
    "acrel-dtsd1352": (f"{_HERE}.acrel:DTSD1352", "three-phase meter behind current transformers"),
    "acrel-adw300": (f"{_HERE}.acrel:ADW300", "three-phase meter, integers"),
    "janitza-umg96rm-e": (f"{_HERE}.janitza:UMG96RME", "power analyser, floats, Wh as float"),
    "deye-dtsd422": (f"{_HERE}.deye:DTSD422", "PV meter, sign and magnitude low word first"),
    "generic-branch-meter-24": (f"{_HERE}.branch:BRANCH_24", "branch circuit meter with 24 circuits"),
    "sunspec-inverter-three-phase": (f"{_HERE}.sunspec:INVERTER", "PV inverter, SunSpec models 1, 103, 120"),
    "abb-acs580": (f"{_HERE}.abb_drive:ACS580", "frequency converter, control and status words"),
    "danfoss-vlt-fc102": (f"{_HERE}.danfoss:FC102", "frequency converter, parameter number times ten"),
    "generic-air-quality": (f"{_HERE}.room:AIR_QUALITY", "CO2, dust, temperature, humidity"),
    "waveshare-relay-8ch-d": (f"{_HERE}.room:RELAY_BOARD", "eight relays and eight inputs"),
    "waveshare-relay-8ch-d-barrier": (f"{_HERE}.barrier:BARRIER", "vehicle barrier on a relay board, with cars"),
    "address": (f"{_HERE}.identity:ADDRESS", "every register holds its own address"),
}
"""slug -> (import string, what it is). The slugs of real makes are the ids of the profiles that read them."""


def load_model(slug: str) -> Model:
    """Raises KeyError for a slug that is not in MODELS."""
    module, _, name = MODELS[slug][0].partition(":")
    model = getattr(import_module(module), name)
    assert isinstance(model, Model)
    return model


def build(slug: str, *, id: str, unit: int, seed: int, now: Now, utc_offset_s: float = 0.0) -> Device:
    """A device of that make. Raises KeyError."""
    model = load_model(slug)
    if slug == "address":
        from firmware_sim.devices.identity import AddressDevice

        return AddressDevice(id=id, unit=unit, now=now)
    return Device(model, id=id, unit=unit, seed=seed, now=now, utc_offset_s=utc_offset_s)
